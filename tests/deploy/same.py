"""Compares what the chart makes with default values with the Kustomize base: they are two forms of one deployment.

    same.py HELM.yaml KUSTOMIZE.yaml
"""

import difflib
import sys
import tomllib

import yaml


def normal(path):
    with open(path) as file:
        objects = {o["kind"]: o for o in yaml.safe_load_all(file) if o}
    objects.pop("Namespace", None)    # of Kustomize only: helm makes it with --create-namespace
    for o in objects.values():
        for metadata in (o["metadata"], o.get("spec", {}).get("template", {}).get("metadata", {})):
            metadata.pop("annotations", None)
            for label in ("app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"):
                metadata.get("labels", {}).pop(label, None)
    config = objects["ConfigMap"]
    config["data"] = {name: tomllib.loads(text) for name, text in config["data"].items()}
    config["metadata"] = {"namespace": config["metadata"]["namespace"]}    # Kustomize adds a hash to the name
    for volume in objects["DaemonSet"]["spec"]["template"]["spec"]["volumes"]:
        if "configMap" in volume:
            del volume["configMap"]["name"]
    return yaml.safe_dump(objects).splitlines()


difference = list(difflib.unified_diff(*map(normal, sys.argv[1:3]), *sys.argv[1:3], lineterm=""))
print("\n".join(difference), end="")
sys.exit(bool(difference))
