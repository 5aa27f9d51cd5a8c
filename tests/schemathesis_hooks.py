"""Hooks of schemathesis: what a request needs that a schema cannot express.

An idempotency key is a new one for each request. A DELETE without X-Request-Id has no If-Match either, so that it
is invalid.
"""

import re
import uuid

import schemathesis

KEY = "Idempotency-Key"


@schemathesis.hook
def before_call(context, case, kwargs):
    headers = case.headers or {}
    if re.fullmatch(r"[\x21-\x7e]{1,255}", str(headers.get(KEY, ""))):
        headers[KEY] = uuid.uuid4().hex
    if case.method.upper() == "DELETE" and "X-Request-Id" not in headers:
        headers.pop("If-Match", None)
