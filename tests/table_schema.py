#!/usr/bin/env python3
"""Validates table files with the JSON Schema that `ipvsctl schema` prints, and compares with the daemon.

    table_schema.py IPVSCTL HOST:PORT

Requires jsonschema_rs and PyYAML. Exits with 0 if all checks pass.
"""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request

import jsonschema_rs
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent


def examples():
    """The files that docs/tables.md shows."""
    text = (ROOT / "docs/tables.md").read_text()
    files = re.findall(r"^\$ cat \S+\.(?:json|yaml)\n(.*?)^(?:\$ |```)", text, re.M | re.S)
    return [yaml.safe_load(file) for file in files]


def wrong(table):
    """Tables with one mistake each, with its name."""

    def mutated(change):
        other = copy.deepcopy(table)
        change(other, other["services"][0], other["services"][0]["servers"][0])
        return other

    changes = {
        "an unknown member": lambda t, s, r: t.update(service=[]),
        "no services": lambda t, s, r: t.pop("services"),
        "services that are no list": lambda t, s, r: t.update(services={}),
        "an unknown field of a service": lambda t, s, r: s.update(shceduler="rr"),
        "no id": lambda t, s, r: s.pop("id"),
        "no servers": lambda t, s, r: s.pop("servers"),
        "a scheduler that is no text": lambda t, s, r: s.update(scheduler=5),
        "a scheduler with a long name": lambda t, s, r: s.update(scheduler="a" * 16),
        "flags that are no list": lambda t, s, r: s.update(scheduler_flags="sh-port"),
        "a flag that is no text": lambda t, s, r: s.update(scheduler="sh", scheduler_flags=[1]),
        "an unknown flag": lambda t, s, r: s.update(scheduler="sh", scheduler_flags=["sh-x"]),
        "persistence that is no object": lambda t, s, r: s.update(persistence=300),
        "a timeout of 0": lambda t, s, r: s.update(persistence={"timeout_seconds": 0}),
        "an unknown field of a server": lambda t, s, r: r.update(wieght=1),
        "weight -1": lambda t, s, r: r.update(weight=-1),
        "a weight with a fraction": lambda t, s, r: r.update(weight=1.5),
        "a weight as text": lambda t, s, r: r.update(weight="1"),
        "an unknown method": lambda t, s, r: r.update(forwarding="nat"),
        "port 65536": lambda t, s, r: r.update(port=65536),
        "no address": lambda t, s, r: r.pop("address"),
        "an unknown tunnel": lambda t, s, r: r.update(forwarding="tunnel", tunnel={"type": "vxlan"}),
    }
    return {name: mutated(change) for name, change in changes.items()}


def main():
    ipvsctl, address = sys.argv[1:]

    def output(*words):
        return subprocess.run([ipvsctl, *words], check=True, capture_output=True, text=True).stdout

    def is_accepted(table):
        """Whether the daemon accepts a table."""
        url = f"http://{address}/v1/tables/schema?dry_run=true&adopt=any&max_deletes=100%25"
        headers = {"content-type": "application/json"}
        if token := os.environ.get("IPVSD_TEST_TOKEN"):
            headers["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url, json.dumps(table).encode(), headers, method="PUT")
        try:
            with urllib.request.urlopen(request):
                return True
        except urllib.error.HTTPError as error:
            if error.code != 400:
                sys.exit(f"{error.code}: {error.read().decode()}")
            return False

    schema = json.loads(output("schema"))
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.Draft202012Validator(schema)
    converted = output("convert", str(ROOT / "tests/fixtures/keepalived/keepalived.conf"), "--output", "json")
    shown = examples()
    if len(shown) < 2:
        sys.exit("docs/tables.md has no examples")
    right = [*shown, json.loads(converted), {"owner": "web", "keep_weights": True, "services": []}]
    for table in right:
        validator.validate(table)
        if not is_accepted(table):
            sys.exit(f"the daemon refuses what the schema accepts: {table}")
    for name, table in wrong(shown[0]).items():
        if validator.is_valid(table) or is_accepted(table):
            sys.exit(f"{name} is accepted: {table}")
    if validator.is_valid({"owner": "Web", "services": []}):
        sys.exit("an invalid owner is accepted")


if __name__ == "__main__":
    main()
