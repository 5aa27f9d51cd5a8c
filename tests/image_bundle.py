"""Writes config.json of a runtime bundle as the engines do it, from the one that umoci has made of the image.

  python3 tests/image_bundle.py BUNDLE HOST ENGINE

The container has the network of the host, only CAP_NET_ADMIN, the default system calls of Podman and Docker, a
read-only root file system, and the directories of HOST at /run/ipvsd, /var/lib/ipvsd and /etc/ipvsd. ENGINE says which
sets have the capability, and whether the process may get privileges by the execution of a file:

  kubernetes   containerd, CRI-O: bounding, permitted, effective, with allowPrivilegeEscalation: false
  docker       bounding
  root         docker with no-new-privileges and --user 0
  none         no capability
"""

import json
import sys

SETS = {
    "kubernetes": ("bounding", "permitted", "effective"),
    "docker": ("bounding",),
    "root": ("bounding", "permitted", "effective"),
    "none": (),
}
CAPABILITY = "CAP_NET_ADMIN"


def seccomp() -> dict:
    """The profile of the engines, reduced to this capability and processor."""
    with open("/usr/share/containers/seccomp.json") as file:
        profile = json.load(file)

    def applies(rule: dict) -> bool:
        include, exclude = rule.get("includes") or {}, rule.get("excludes") or {}
        return (
            all(name == CAPABILITY for name in include.get("caps", []))
            and "amd64" in include.get("arches", ["amd64"])
            and CAPABILITY not in exclude.get("caps", [])
            and "amd64" not in exclude.get("arches", [])
        )

    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key)}
            for rule in profile["syscalls"]
            if applies(rule)
        ],
    }


def main() -> None:
    bundle, host, engine = sys.argv[1:]
    path = f"{bundle}/config.json"
    with open(path) as file:
        config = json.load(file)
    process, linux = config["process"], config["linux"]
    process["terminal"] = False
    process["capabilities"] = {name: [CAPABILITY] for name in SETS[engine]}
    process["noNewPrivileges"] = engine != "docker"
    process.pop("rlimits", None)
    user = 0 if engine == "root" else 65532
    process["user"] = {"uid": user, "gid": user}
    config["root"]["readonly"] = True
    config["mounts"] = [
        mount
        for mount in config["mounts"]
        if mount["destination"] in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/sys")
    ] + [
        {"destination": path, "type": "bind", "source": host + path, "options": ["rbind", mode, "nosuid", "nodev", "noexec"]}
        for path, mode in (("/run/ipvsd", "rw"), ("/var/lib/ipvsd", "rw"), ("/etc/ipvsd", "ro"))
    ]
    linux["namespaces"] = [space for space in linux["namespaces"] if space["type"] != "network"]
    linux["seccomp"] = seccomp()
    linux.pop("resources", None)
    with open(path, "w") as file:
        json.dump(config, file)


main()
