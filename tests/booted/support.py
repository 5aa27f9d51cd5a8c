"""What the checks on a booted system use: commands, the unit, the kernel's table, and HTTP clients."""

import contextlib
import glob
import json
import os
import socket
import subprocess
import threading
import time

SERVICE = "ipvsd.service"
SOCKET = "ipvsd.socket"
UNIX = "/run/ipvsd/ipvsd.sock"
TCP = ("127.0.0.1", 4787)


class Failure(Exception):
    """A check that failed, with what was found instead."""


def require(condition, message):
    if not condition:
        raise Failure(message)


def attempt(*command, **options):
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, **options
    )


def run(*command, **options):
    """The output of a command, which must succeed."""
    done = attempt(*command, **options)
    require(done.returncode == 0, f"{' '.join(command)}: status {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def until(condition, what, seconds=30):
    """Polls, and returns the first true value of the condition."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        require(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.02)


def prop(name, unit=SERVICE):
    return run("systemctl", "show", "--property", name, "--value", unit).strip()


def state(unit=SERVICE):
    return attempt("systemctl", "is-active", unit).stdout.strip()


def pid():
    return int(prop("MainPID"))


def status_of_process(field):
    with open(f"/proc/{pid()}/status") as file:
        return next(line.split(":", 1)[1].split() for line in file if line.startswith(field + ":"))


def table():
    """The kernel's table, by another program than ipvsd."""
    return run("ipvsadm", "-Sn")


def modules():
    with open("/proc/modules") as file:
        return {line.split()[0] for line in file}


def drop_in(name, text, unit=SERVICE):
    directory = f"/etc/systemd/system/{unit}.d"
    os.makedirs(directory, exist_ok=True)
    path = f"{directory}/{name}.conf"
    with open(path, "w") as file:
        file.write(text)
    run("systemctl", "daemon-reload")
    return path


def journal(*options):
    """The entries of the unit, those of systemd about it included."""
    lines = run("journalctl", "--unit", SERVICE, "--output", "json", "--no-pager", *options).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def package(which):
    """The package of a directory of the host: "old", or "new" with a higher version."""
    (path,) = glob.glob(f"{os.environ['LAB_PACKAGES']}/{which}/ipvsd_*.deb")
    return path


def install(which):
    return run("apt-get", "install", "--yes", package(which), env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


class Connection:
    """An HTTP/1.1 client of one connection. `address`: a path, or (host, port)."""

    def __init__(self, address, token=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(30)
        self.socket.connect(address)
        self.head = "Host: localhost\r\n" + (f"Authorization: Bearer {token}\r\n" if token else "")
        self.rest = b""

    def get(self, path, close=False):
        """Status and body. `close`: the connection ends with this request."""
        return self.request("GET", path, ("Connection: close\r\n" if close else ""))

    def request(self, method, path, head="", body=b""):
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{self.head}{head}\r\n".encode() + body)
        data = self.rest
        while b"\r\n\r\n" not in data:
            data += self.receive()
        head, body = data.split(b"\r\n\r\n", 1)
        lines = head.decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        while len(body) < length:
            body += self.receive()
        self.rest = body[length:]
        return int(lines[0].split()[1]), body[:length]

    def receive(self):
        data = self.socket.recv(65536)
        require(data, "the connection was closed within a response")
        return data

    def close(self):
        self.socket.close()


def listener(port):
    found = socket.socket()
    found.bind(("127.0.0.1", port))
    found.listen()
    return found


def get(address, path, token=None):
    with contextlib.closing(Connection(address, token)) as connection:
        return connection.get(path, close=True)


def post(address, path, body):
    with contextlib.closing(Connection(address)) as connection:
        head = f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return connection.request("POST", path, head, body)


class Load:
    """Clients that send requests in threads, and count those that fail."""

    def __init__(self, token):
        self.token = token
        self.failures = []
        self.done = 0
        self.lock = threading.Lock()
        self.threads = []
        self.requests = 0

    def client(self, address, requests, keep_alive):
        self.requests += requests
        thread = threading.Thread(target=self.work, args=(address, requests, keep_alive))
        self.threads.append(thread)
        thread.start()

    def work(self, address, requests, keep_alive):
        connection = None
        for number in range(requests):
            try:
                connection = connection or Connection(address, self.token)
                status, body = connection.get("/v1/services", close=not keep_alive)
                require(status == 200, f"{status} {body[:200]}")
            except (Failure, OSError) as error:
                with self.lock:
                    self.failures.append(f"request {number} at {address}: {error!r}")
                connection = None
                if len(self.failures) >= 10:
                    return
                continue
            with self.lock:
                self.done += 1
            if not keep_alive:
                connection.close()
                connection = None

    def meanwhile(self, times, action):
        """Repeats the action, each time after another part of the requests. Returns how often."""
        for number in range(times):
            part = self.requests * number // times
            until(lambda: self.done >= part or not self.running(), "requests", 120)
            if not self.running():
                return number
            action()
        return times

    def running(self):
        return any(thread.is_alive() for thread in self.threads)

    def end(self):
        for thread in self.threads:
            thread.join()
        failures = "\n".join(self.failures[:5])
        require(not self.failures, f"{len(self.failures)} of {self.done + len(self.failures)} requests failed:\n{failures}")
        return self.done
