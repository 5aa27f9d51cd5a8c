"""Hooks of schemathesis: it does not know that an idempotency key must be a new one for each request."""

import re
import uuid

import schemathesis

KEY = "Idempotency-Key"


@schemathesis.hook
def before_call(context, case, kwargs):
    headers = case.headers or {}
    if re.fullmatch(r"[\x21-\x7e]{1,255}", str(headers.get(KEY, ""))):
        headers[KEY] = uuid.uuid4().hex
