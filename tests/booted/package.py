"""The life of the package: installed, started, reloaded, killed, activated by sockets, upgraded and removed."""

import contextlib
import glob
import grp
import os
import pwd
import re
import signal
import stat
import statistics
import subprocess
import time
from pathlib import Path

import support
from support import SERVICE, SOCKET, TCP, UNIX, Load, get, prop, require, run, state, table, until

CHECKS = []
CONFIGURATION = "/etc/ipvsd/ipvsd.toml"
POLICY = "/etc/ipvsd/policy.toml"
CAP_NET_ADMIN = 1 << 12
REQUESTS = 10_000
WATCHDOG = 4    # seconds
token = None


def check(name):
    def register(function):
        CHECKS.append((name, function))

    return register


def serves():
    """Requires that a new connection to each address is served at once."""
    for address in (UNIX, TCP):
        status, body = get(address, "/v1/services", token)
        require(status == 200, f"{address}: {status} {body}")


def restarted_after(action, why):
    """Requires that systemd restarts the service, and that it serves again. `action` gets the process id."""
    before, restarts = support.pid(), int(prop("NRestarts"))
    action(before)
    until(lambda: int(prop("NRestarts")) == restarts + 1 and state() == "active", why, 60)
    require(support.pid() != before, "the process is the same")
    serves()


@contextlib.contextmanager
def configuration(key, value):
    """With another value of a key of the configuration file; of a new one at its beginning."""
    with open(CONFIGURATION) as file:
        original = file.read()
    changed, count = re.subn(f"^#?{key} = .*", f"{key} = {value}", original, count=1, flags=re.MULTILINE)
    with open(CONFIGURATION, "w") as file:
        file.write(changed if count else f"{key} = {value}\n{original}")
    try:
        yield
    finally:
        with open(CONFIGURATION, "w") as file:
            file.write(original)


def owner(path):
    found = os.stat(path)
    return (
        stat.S_IMODE(found.st_mode),
        pwd.getpwuid(found.st_uid).pw_name,
        grp.getgrgid(found.st_gid).gr_name,
    )


# --- installed


@check("the package installs, and starts nothing")
def _():
    require(not os.path.exists("/proc/net/ip_vs"), "the kernel has a table before the start")
    support.install("old")
    for unit in (SERVICE, SOCKET):
        require(state(unit) == "inactive", f"{unit} is {state(unit)}")
        enabled = support.attempt("systemctl", "is-enabled", unit).stdout.strip()
        require(enabled == "disabled", f"{unit} is {enabled}")
    require("ip_vs" not in support.modules(), "ip_vs was loaded")


@check("the files have their owners and modes")
def _():
    for path, expected in {
        CONFIGURATION: (0o644, "root", "root"),
        POLICY: (0o640, "root", "ipvsd"),
        "/var/lib/ipvsd": (0o700, "ipvsd", "ipvsd"),
        "/var/log/ipvsd": (0o750, "ipvsd", "ipvsd"),
        "/run/ipvsd": (0o755, "ipvsd", "ipvsd"),
        "/usr/sbin/ipvsd": (0o755, "root", "root"),
        "/usr/bin/ipvsctl": (0o755, "root", "root"),
    }.items():
        require(owner(path) == expected, f"{path}: {owner(path)}")
    shell = pwd.getpwnam("ipvsd").pw_shell
    require(shell.endswith("nologin"), f"the user ipvsd may log in: {shell}")


@check("systemd finds no fault in the units")
def _():
    output = run("systemd-analyze", "verify", "--man=no", SERVICE, SOCKET)
    require(not output, output)
    # The checks below have a shorter one.
    require(prop("WatchdogUSec") != "0", "the service has no watchdog")


@check("the exposure of the service is at most 2.0")
def _():
    lines = run("systemd-analyze", "security", "--no-pager", SERVICE).splitlines()
    level = float(lines[-1].split(":")[1].split()[0])
    print(f"    systemd-analyze security: {level}")
    require(level <= 2.0, "\n".join(line for line in lines if line.startswith("✗")))


# --- started


@check("the service starts, and is active only when it serves")
def _():
    support.drop_in("watchdog", f"[Service]\nWatchdogSec={WATCHDOG}s\n")
    run("systemctl", "enable", "--now", SERVICE)
    require(state() == "active", state())
    status, _ = get(UNIX, "/readyz")
    require(status == 200, f"/readyz on the unix socket: {status}")
    status, _ = get(TCP, "/readyz")
    require(status == 200, f"/readyz on TCP: {status}")
    require(owner(UNIX)[1:] == ("ipvsd", "ipvsd"), f"{UNIX}: {owner(UNIX)}")


@check("a start that cannot serve fails")
def _():
    run("systemctl", "stop", SERVICE)
    with configuration("listen", '["127.0.0.1:4786"]'), contextlib.closing(support.listener(4786)):
        started = support.attempt("systemctl", "start", SERVICE)
        require(started.returncode != 0, "systemctl start succeeded, with the address in use")
        run("systemctl", "stop", SERVICE)
    run("systemctl", "start", SERVICE)


@check("the daemon runs as ipvsd, with CAP_NET_ADMIN and no other capability, in its sandbox")
def _():
    uid = str(pwd.getpwnam("ipvsd").pw_uid)
    require(support.status_of_process("Uid") == [uid] * 4, f"Uid: {support.status_of_process('Uid')}")
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        (found,) = support.status_of_process(name)
        require(int(found, 16) == CAP_NET_ADMIN, f"{name}: {found}")
    require(support.status_of_process("NoNewPrivs") == ["1"], "NoNewPrivs is not set")
    require(support.status_of_process("Seccomp") == ["2"], "system calls are not filtered")
    inside = ["nsenter", "--target", str(support.pid()), "--mount"]
    for path, writable in {"/usr": False, "/etc/ipvsd": False, "/var/lib/ipvsd": True, "/run/ipvsd": True}.items():
        touched = support.attempt(*inside, "sh", "-c", f": >{path}/probe && rm {path}/probe").returncode == 0
        require(touched == writable, f"{path} in the sandbox: writable is {touched}")


@check("ipvsctl makes services, and the kernel loads their scheduler by itself")
def _():
    require("ip_vs" in support.modules(), "the unit has not loaded ip_vs")
    require("ip_vs_mh" not in support.modules(), "the scheduler is there already")
    run("ipvsctl", "-A", "-t", "192.0.2.1:80", "-s", "mh")
    for server in (1, 2):
        run("ipvsctl", "-a", "-t", "192.0.2.1:80", "-r", f"10.0.0.{server}:80", "-m", "-w", "3")
    run("ipvsctl", "-A", "-u", "[2001:db8::1]:53", "-s", "rr")
    require("ip_vs_mh" in support.modules(), "the scheduler was not loaded")
    lines = sorted(table().splitlines())
    expected = [
        "-A -t 192.0.2.1:80 -s mh",
        "-A -u [2001:db8::1]:53 -s rr",
        "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3",
        "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 3",
    ]
    require(lines == expected, "\n".join(lines))
    support.expected_table = table()


@check("a token of the policy is valid when a reload has returned")
def _():
    global token
    status, _ = get(TCP, "/v1/services")
    require(status == 401, f"without a token: {status}")
    # Several, because each must be valid when the reload returns.
    for number in range(10):
        made = subprocess.run(
            ["ipvsctl", "token", "create", "--name", f"check{number}", "--role", "admin"], capture_output=True, text=True
        )
        token = made.stdout.strip()
        with open(POLICY, "a") as file:
            file.write(made.stderr)
        run("systemctl", "reload", SERVICE)
        serves()


@check("a user of the group ipvsd needs no token, another one may not connect")
def _():
    for name, groups in {"member": ["ipvsd"], "other": []}.items():
        run("useradd", "--groups", ",".join(groups), name)
    run("runuser", "-u", "member", "--", "ipvsctl", "-Ln")
    require(support.attempt("runuser", "-u", "other", "--", "ipvsctl", "-Ln").returncode != 0, "the other user may read")


# --- the journal


@check("the journal has priorities and fields")
def _():
    listening = until(
        lambda: [entry for entry in support.journal() if entry.get("IPVSD_ADDRESS") == "127.0.0.1:4787"],
        "an entry with IPVSD_ADDRESS of the listener",
    )
    require(listening[0]["PRIORITY"] == "6", f"PRIORITY of information: {listening[0]['PRIORITY']}")
    require(listening[0]["SYSLOG_IDENTIFIER"] == "ipvsd", str(listening[0]))
    with configuration("no_such_key", 1):
        os.kill(support.pid(), signal.SIGHUP)
        errors = until(lambda: [e for e in support.journal("--priority", "err") if "no_such_key" in str(e)], "an error in the journal")
    require(errors[0]["PRIORITY"] == "3", f"PRIORITY of an error: {errors[0]['PRIORITY']}")
    serves()


# --- reloaded


@check("a reload applies the configuration, and returns when it has")
def _():
    before = support.pid()
    with configuration("max_body_bytes", 2000):
        run("systemctl", "reload", SERVICE)
        status, body = support.post(UNIX, "/v1/services", b"x" * 3000)
        require(status == 413, f"a body over the new limit: {status} {body}")
    run("systemctl", "reload", SERVICE)
    require(support.pid() == before, "the process is another one")


@check("a faulty configuration makes the reload fail, and the daemon goes on")
def _():
    before = support.pid()
    with configuration("no_such_key", 1):
        reloaded = support.attempt("systemctl", "reload", SERVICE)
        require(reloaded.returncode != 0, "systemctl reload succeeded")
        require(state() == "active" and support.pid() == before, f"the service is {state()}")
        serves()
    run("systemctl", "reload", SERVICE)


@check(f"no request of {REQUESTS} fails while the service is reloaded")
def _():
    load = Load(token)
    for address in (UNIX, TCP):
        load.client(address, REQUESTS * 4 // 10, keep_alive=True)
        load.client(address, REQUESTS // 10, keep_alive=False)
    reloads = load.meanwhile(10, lambda: run("systemctl", "reload", SERVICE))
    print(f"    {load.end()} requests, {reloads} reloads")
    require(load.done == REQUESTS and reloads == 10, f"{load.done} requests, {reloads} reloads")


# --- killed, and starved


@check("until then, nothing has made systemd restart it, the watchdog included")
def _():
    require(prop("NRestarts") == "0", f"{prop('NRestarts')} restarts")
    age = time.clock_gettime(time.CLOCK_MONOTONIC) - int(prop("ActiveEnterTimestampMonotonic")) / 1e6
    require(age > 2 * WATCHDOG, f"it runs for {age} s only")


@check("killed by SIGKILL, it is restarted")
def _():
    restarted_after(lambda pid: os.kill(pid, signal.SIGKILL), "a restart after SIGKILL")


@check("it is restarted when its executor is blocked in the kernel")
def _():
    # The kernel loads the module of a scheduler while it holds the lock of the table, by this program.
    program = "/run/blocked-modprobe"
    with open(program, "w") as file:
        file.write("#!/bin/sh\necho $$ >/run/blocked\nexec sleep infinity\n")
    os.chmod(program, 0o755)
    with open("/proc/sys/kernel/modprobe") as file:
        original = file.read()
    try:
        def block(_):
            with open("/proc/sys/kernel/modprobe", "w") as file:
                file.write(program)
            subprocess.Popen(["ipvsctl", "-A", "-t", "192.0.2.9:80", "-s", "nq"], stderr=subprocess.DEVNULL)
            until(lambda: os.path.exists("/run/blocked"), "a blocked executor")
            with open("/proc/sys/kernel/modprobe", "w") as file:
                file.write(original)

        restarted_after(block, "a restart by the watchdog")
    finally:
        if os.path.exists("/run/blocked"):
            os.kill(int(Path("/run/blocked").read_text()), signal.SIGKILL)
    require(any("Watchdog timeout" in entry["MESSAGE"] for entry in support.journal()), "systemd reports no watchdog timeout")


# --- started by sockets


def activates(connect, what):
    run("systemctl", "stop", SERVICE)
    require(state() == "inactive", state())
    connect()
    require(state() == "active", f"the service is {state()} after a request on {what}")


@check("the first request starts it: on the unix socket, on TCP, and on a further socket")
def _():
    run("systemctl", "disable", "--now", SERVICE)
    support.drop_in("further", "[Socket]\nListenStream=127.0.0.1:4785\n", SOCKET)
    run("systemctl", "enable", "--now", SOCKET)
    require(state() == "inactive", "the socket unit has started the service")
    require(owner(UNIX) == (0o660, "ipvsd", "ipvsd"), f"{UNIX}: {owner(UNIX)}")
    activates(lambda: run("ipvsctl", "-Ln"), "the unix socket")
    for address in (TCP, ("127.0.0.1", 4785)):
        def request(address=address):
            status, body = get(address, "/v1/services", token)
            require(status == 200, f"{status} {body}")

        activates(request, address)
    serves()


@check("no request is lost while it is restarted with its sockets")
def _():
    load = Load(token)
    for address in (UNIX, TCP) * 4:
        load.client(address, 150, keep_alive=False)
    restarts = load.meanwhile(10, lambda: run("systemctl", "restart", SERVICE))
    print(f"    {load.end()} requests, {restarts} restarts")
    require(restarts == 10, f"{restarts} restarts")


@check("requests that come while it is stopped wait, and are served")
def _():
    run("systemctl", "stop", SERVICE)
    # Started by the first one; the others wait in the sockets.
    load = Load(token)
    for address in [UNIX, TCP] * 10:
        load.client(address, 1, keep_alive=False)
    require(load.end() == 20, "requests were lost")


@check("killed with its sockets, it is restarted, and the sockets stay")
def _():
    restarted_after(lambda pid: os.kill(pid, signal.SIGKILL), "a restart after SIGKILL")
    require(state(SOCKET) == "active", f"the socket unit is {state(SOCKET)}")


# --- compared


KEEPALIVED = """virtual_server 192.0.2.1 80 {
    lb_algo mh
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.1 80 {
        weight 3
    }
    real_server 10.0.0.2 80 {
        weight 3
    }
}
"""


def since_execution(unit, microseconds):
    """Milliseconds. Older versions of systemd have only the time of the fork, before they make the sandbox."""
    executed = prop("ExecMainHandoffTimestampMonotonic", unit) or prop("ExecMainStartTimestampMonotonic", unit)
    return (microseconds - int(executed)) / 1000


def start(unit):
    run("systemctl", "stop", unit)
    support.attempt("systemctl", "reset-failed", unit)    # the limit of starts
    # Nothing else runs meanwhile, because there is one processor.
    starting = subprocess.Popen(["systemctl", "start", unit])
    until(lambda: "TCP" in Path("/proc/net/ip_vs").read_text(), "a virtual service")
    appeared = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    require(starting.wait(60) == 0, f"{unit} does not start")
    ready = int(prop("ActiveEnterTimestampMonotonic", unit))
    return since_execution(unit, ready), since_execution(unit, appeared)


@check("times from execution to readiness, beside those of keepalived")
def _():
    """Of keepalived also the time to its first service, because it reports that it is ready before. ipvsd finds the services."""
    run("systemctl", "disable", "--now", SOCKET)
    ours = statistics.median(start(SERVICE)[0] for _ in range(5))
    run("systemctl", "stop", SERVICE)
    with open("/etc/keepalived/keepalived.conf", "w") as file:
        file.write(KEEPALIVED)
    figures = []
    for _ in range(5):
        run("systemctl", "stop", "keepalived.service")
        run("ipvsadm", "-C")
        figures.append(start("keepalived.service"))
    ready, service = (statistics.median(column) for column in zip(*figures))
    run("systemctl", "stop", "keepalived.service")
    since = "execution" if prop("ExecMainHandoffTimestampMonotonic") else "the fork, with the sandbox"
    print(f"    since {since}: ipvsd: READY after {ours:.0f} ms; keepalived: READY after {ready:.0f} ms, first service after {service:.0f} ms")
    run("ipvsadm", "-C")
    restore = subprocess.run(["ipvsadm", "-R"], input=support.expected_table, text=True)
    require(restore.returncode == 0, "the table cannot be restored")
    run("systemctl", "enable", "--now", SERVICE)
    serves()


# --- upgraded, and removed


def version():
    return run("dpkg-query", "--show", "--showformat", "${Version}", "ipvsd")


@check("an upgrade restarts the service, and loses no request")
def _():
    run("systemctl", "stop", SERVICE)
    run("systemctl", "enable", "--now", SOCKET)
    run("systemctl", "start", SERVICE)
    before, old = support.pid(), version()
    load = Load(token)
    load.client(UNIX, 300, keep_alive=False)
    load.client(TCP, 300, keep_alive=False)
    support.install("new")
    load.end()
    require(version() != old, "the version is the same")
    require(state() == "active" and support.pid() != before, f"the service is {state()}, of process {support.pid()}")
    with open(POLICY) as file:
        require("check" in file.read(), "the changed policy was replaced")
    serves()


@check("an upgrade does not start a service that is stopped")
def _():
    run("systemctl", "disable", "--now", SOCKET, SERVICE)
    run("apt-get", "install", "--yes", "--reinstall", support.package("new"))
    for unit in (SERVICE, SOCKET):
        require(state(unit) == "inactive", f"{unit} is {state(unit)}")
        enabled = support.attempt("systemctl", "is-enabled", unit).stdout.strip()
        require(enabled == "disabled", f"{unit} is {enabled}")
    run("systemctl", "enable", "--now", SERVICE)
    serves()


@check("removed, it leaves configuration, state and table, and nothing that runs")
def _():
    run("systemctl", "disable", "--now", SERVICE)
    run("systemctl", "enable", "--now", SOCKET)
    serves()
    run("apt-get", "remove", "--yes", "ipvsd")
    for unit in (SERVICE, SOCKET):
        require(state(unit) == "inactive", f"{unit} is {state(unit)}")
    names = [Path(name).read_text() for name in glob.glob("/proc/[0-9]*/comm")]
    require("ipvsd\n" not in names, "the daemon runs")
    for path in (CONFIGURATION, POLICY, "/var/lib/ipvsd"):
        require(os.path.exists(path), f"{path} was removed")
    require(os.listdir("/var/lib/ipvsd"), "the state was removed")
    require(not os.path.exists("/usr/lib/systemd/system/ipvsd.service"), "the unit is there")
    require(not os.path.exists("/run/ipvsd/ipvsd.sock"), "the unix socket is there")


@check("installed again, it finds configuration and state")
def _():
    support.install("new")
    run("systemctl", "enable", "--now", SERVICE)
    serves()


@check("purged, it leaves the table, and no file")
def _():
    run("apt-get", "purge", "--yes", "ipvsd")
    for path in ("/etc/ipvsd", "/var/lib/ipvsd", "/var/log/ipvsd", "/run/ipvsd", "/etc/systemd/system/multi-user.target.wants/ipvsd.service"):
        require(not os.path.lexists(path), f"{path} is there")
    left = support.attempt("dpkg-query", "--show", "--showformat", "${Status}", "ipvsd").stdout
    require("installed" not in left.split() and "config-files" not in left, left)
