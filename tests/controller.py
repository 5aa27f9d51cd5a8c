#!/usr/bin/env python3
"""Runs docs/controller.py against a daemon: it applies, reverts what others change, and follows its file.

    controller.py HOST:PORT [COMMAND]

COMMAND changes the weight of the server 192.168.10.1:80 of tcp-192.0.2.1-80 to 0, in place of a request to the
API. Requires grpcio and grpcio-tools. Exits with 0 if all checks pass.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIMEOUT = 60  # seconds for each step
SERVER = "services/tcp-192.0.2.1-80/servers/192.168.10.1-80"


def main():
    address, *command = sys.argv[1:]

    def request(method, path, body=None):
        headers = {"content-type": "application/json"}
        if token := os.environ.get("IPVSD_TEST_TOKEN"):
            headers["authorization"] = f"Bearer {token}"
        data = body and json.dumps(body).encode()
        url = f"http://{address}/v1/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as response:
            return json.load(response)

    def weights():
        services = request("GET", "services")["services"]
        return {
            (service["id"], server["id"]): server["weight"]
            for service in services
            for server in service["servers"]
        }

    def wait(what, is_so):
        end = time.monotonic() + TIMEOUT
        while not is_so():
            if time.monotonic() > end:
                sys.exit(f"{what}: timed out: {weights()}\n{log.read_text()}")
            time.sleep(0.05)

    def table(*weights):
        servers = [
            {"id": f"192.168.10.{n}-80", "forwarding": "masquerade", "weight": weight}
            for n, weight in enumerate(weights, 1)
        ]
        services = [{"id": "tcp-192.0.2.1-80", "scheduler": "wlc", "servers": servers}]
        # The controller must not read a part of it.
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"services": services}))
        new.rename(file)

    def outcomes():
        lines = log.read_text().splitlines()
        return [line.split(":")[0] for line in lines if ": generation" in line]

    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        file, log = directory / "web.json", directory / "log"
        protos = [str(path) for path in (ROOT / "proto/ipvsd/v1").glob("*.proto")]
        out = [f"--{kind}_out={directory}" for kind in ("python", "grpc_python")]
        protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
        subprocess.run(protoc + out + protos, check=True)
        table(2, 1)
        environment = {"PYTHONPATH": str(directory), "IPVSCTL_TOKEN": os.environ.get("IPVSD_TEST_TOKEN", "")}
        controller = [sys.executable, str(ROOT / "docs/controller.py"), "controller", str(file), address]
        with open(log, "w") as output:
            process = subprocess.Popen(
                controller, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            ids = [("tcp-192.0.2.1-80", f"192.168.10.{n}-80") for n in (1, 2)]
            applied = lambda *wanted: weights().items() >= dict(zip(ids, wanted)).items()
            wait("the table is applied", lambda: applied(2, 1))
            table(7, 1)
            wait("the file is followed", lambda: applied(7, 1))
            if command:
                subprocess.run(command, check=True)
            else:
                request("PATCH", SERVER, {"weight": 0})
            wait("a change of somebody else is reverted", lambda: applied(7, 1))
            # Each apply has changed something: its own events are not followed by another one.
            wait("three applies", lambda: len(outcomes()) > 2)
            if outcomes() != ["applied"] * 3 or ": modified tcp-192.0.2.1-80" not in log.read_text():
                sys.exit(f"three applies expected, and the change: {log.read_text()}")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
