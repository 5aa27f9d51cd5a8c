"""Validates Kubernetes objects against the strict schemas of their API.

    schemas.py VERSION,... FILE...

PodMonitor is no type of Kubernetes: tests/deploy/podmonitor checks it.
"""

import functools
import json
import sys

import kubernetes_validate
import yaml
from kubernetes_validate import utils

# It reads the definitions, 1.6 MB, for each object.
utils.schema_contents = functools.cache(utils.schema_contents)

versions, failed, seen = sys.argv[1].split(","), False, set()
for path in sys.argv[2:]:
    with open(path) as file:
        objects = [o for o in yaml.safe_load_all(file) if o]
    if not objects:
        failed = print(f"{path}: no object") or True
    for o in objects:
        text = json.dumps(o, sort_keys=True)
        if o["kind"] == "PodMonitor" or text in seen:
            continue
        seen.add(text)
        for version in versions:
            try:
                used = kubernetes_validate.validate(o, version, strict=True)
                assert used == version, f"no schemas of {version}"
            except kubernetes_validate.ValidationError as error:
                failed = True
                where = ".".join(map(str, error.path))
                print(f"{path}: {version}: {o['kind']} {o['metadata']['name']}: {where}: {error.message}")
print(f"{len(seen)} different objects, {len(versions)} versions of the API")
sys.exit(failed or not seen)
