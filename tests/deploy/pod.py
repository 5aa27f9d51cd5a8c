"""Runs the pod of a rendered DaemonSet as the kubelet would, and uses it: no cluster, but the real daemon.

    unshare --mount --net python pod.py IPVSD IPVSCTL FILE

The root directory is read-only, and has the volumes with the owners and modes of a kubelet. The processes have the user, the
groups and the capabilities of their security context. Secrets that the file refers to and does not have are made here. The
kernel is the fake one, unless POD_KERNEL is netlink.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import secrets
import signal
import ssl
import subprocess
import sys
import time
import tomllib

import yaml

ipvsd, ipvsctl, rendered = sys.argv[1:]
work = pathlib.Path(os.environ["WORK"])
root, host = work / "root", work / "host"


def expect(condition, message):
    if not condition:
        raise SystemExit(f"{pathlib.Path(rendered).name}: {message}")


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    expect(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


objects = [o for o in yaml.safe_load_all(open(rendered)) if o]
(daemonset,) = (o for o in objects if o["kind"] == "DaemonSet")
pod = daemonset["spec"]["template"]["spec"]
(container,) = pod["containers"]
volumes = {volume["name"]: volume for volume in pod["volumes"]}
user = {**pod["securityContext"], **container["securityContext"]}
files = {}    # of ConfigMaps and Secrets, by kind and name
for o in objects:
    if o["kind"] == "ConfigMap":
        files["configMap", o["metadata"]["name"]] = {k: v.encode() for k, v in o["data"].items()}
    if o["kind"] == "Secret":
        data = {k: base64.b64decode(v) for k, v in o.get("data", {}).items()}
        files["secret", o["metadata"]["name"]] = data | {k: v.encode() for k, v in o.get("stringData", {}).items()}

# What an administrator would put into the Secrets.
certificates = work / "certificates"
certificates.mkdir(mode=0o700)
authority = certificates / "ca.pem"
run(ipvsd, "cert", "--self-signed", "--ca", "--certificate", authority, "--key", certificates / "ca-key.pem")


def certificate(name, *options):
    pair = certificates / f"{name}.pem", certificates / f"{name}-key.pem"
    run(ipvsd, "cert", "--ca-certificate", authority, "--ca-key", certificates / "ca-key.pem",
        "--certificate", pair[0], "--key", pair[1], *options)
    return pair


# By which clients in the cluster connect: all names of the Service.
(service,) = [o["metadata"] for o in objects if o["kind"] == "Service"] or [daemonset["metadata"]]
host_name = f"{service['name']}.{service['namespace']}.svc"
server = certificate("server", "--name", host_name)
client = certificate("client", "--client", "--name", "spiffe://example.org/controller")
stranger = certificate("stranger", "--client", "--name", "stranger")
token = "ipvsd_" + secrets.token_hex(32)
policy = f'''
[[token]]
name = "prometheus"
sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"
role = "viewer"
[[certificate]]
uri = "spiffe://example.org/controller"
role = "viewer"
'''
config = tomllib.loads(files["configMap", volumes["config"]["configMap"]["name"]]["ipvsd.toml"].decode())


def needed(directory):    # the file below a directory that the configuration names
    (name,) = {v for v in [config.get("policy", ""), *config.get("tls", {}).values()] if str(v).startswith(directory)}
    return pathlib.Path(name).name


for name, volume in volumes.items():
    if "secret" in volume and ("secret", volume["secret"]["secretName"]) not in files:
        files["secret", volume["secret"]["secretName"]] = {
            "policy": lambda: {needed("/etc/ipvsd/policy"): policy.encode()},
            "tls": lambda: {"tls.crt": server[0].read_bytes(), "tls.key": server[1].read_bytes(),
                            "ca.crt": authority.read_bytes()},
            "client-ca": lambda: {needed("/etc/ipvsd/client-ca"): authority.read_bytes()},
        }[name]()


def projected(target, contents, mode):
    """As the kubelet writes ConfigMaps and Secrets: links to a directory that it replaces as a whole."""
    data = target / "..2026_01_01"
    data.mkdir(parents=True)
    (target / "..data").symlink_to(data.name)
    group = user.get("fsGroup", 0)
    for name, content in contents.items():
        (data / name).write_bytes(content)
        os.chown(data / name, 0, group)
        (data / name).chmod(mode | 0o440 if group else mode)
        (target / name).symlink_to(f"..data/{name}")


def mount_pod():
    """The root directory: the programs and libraries of this machine, the volumes, and nothing else that can be written."""
    root.mkdir()
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    for directory in ("usr", "proc", "dev", "tmp", "etc/ipvsd", "pod", "run", "var/lib"):
        (root / directory).mkdir(parents=True)
    for link in ("bin", "lib", "lib64", "sbin"):
        (root / link).symlink_to(f"usr/{link}")
    run("mount", "--bind", "/usr", root / "usr")
    run("mount", "--bind", "/proc", root / "proc")
    run("mount", "--bind", "/dev", root / "dev")
    for program in (ipvsd, ipvsctl):    # the image has them in /usr
        (root / "pod" / pathlib.Path(program).name).touch()
        run("mount", "--bind", program, root / "pod" / pathlib.Path(program).name)
    for name, volume in volumes.items():
        source = work / "volumes" / name
        if "configMap" in volume:
            projected(source, files["configMap", volume["configMap"]["name"]], volume["configMap"].get("defaultMode", 0o644))
        elif "secret" in volume:
            projected(source, files["secret", volume["secret"]["secretName"]], volume["secret"].get("defaultMode", 0o644))
        elif "emptyDir" in volume:
            source.mkdir(parents=True)
            os.chown(source, 0, user.get("fsGroup", 0))
            source.chmod(0o2777)
        else:    # the node has none of these directories yet
            source = host / volume["hostPath"]["path"].lstrip("/")
            source.mkdir(parents=True, mode=0o755)
            if name == "state" and not any(i["name"] == "state-owner" for i in pod.get("initContainers", [])):
                os.chown(source, user['runAsUser'], user['runAsGroup'])    # as the administrator of the node does
            expect(volume["hostPath"]["type"] == "DirectoryOrCreate" or name == "modules", f"{name} would be missing")
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        source = host / volume["hostPath"]["path"].lstrip("/") if "hostPath" in volume else work / "volumes" / mount["name"]
        target = root / mount["mountPath"].lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", source, target)
        if mount.get("readOnly"):
            run("mount", "-o", "remount,bind,ro", target)
    if user["readOnlyRootFilesystem"]:
        run("mount", "-o", "remount,ro", root)


def in_pod(command, context):
    """A command with the user, the groups, and the capabilities that the context has."""
    expect(context["capabilities"]["drop"] == ["ALL"], "not all capabilities are dropped")
    expect(context["allowPrivilegeEscalation"] is False, "privileges can be gained")
    added = "".join(f",+{name.lower()}" for name in context["capabilities"]["add"])
    # In the image, a file capability keeps the added ones; here, where the programs have none, they are ambient.
    return ["chroot", str(root), "setpriv", f"--reuid={context['runAsUser']}", f"--regid={context['runAsGroup']}",
            f"--groups={context['fsGroup']}", f"--bounding-set=-all{added}", f"--inh-caps=-all{added}",
            f"--ambient-caps=-all{added}", "--no-new-privs", *command]


def request(url, path, headers=None, context=None, name=None):
    """The status and the body of a GET; name: that of the certificate."""
    scheme, _, address = url.partition("://")
    address, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(address, int(port), timeout=10)
    if scheme == "https":
        connection.connect()
        connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()


def tls(pair=None):
    context = ssl.create_default_context(cafile=authority)
    if pair:
        context.load_cert_chain(*pair)
    return context


def probe(name):
    get = container[name]["httpGet"]
    status, body = request(f"http://{get['host']}:{get['port']}", get["path"])
    return 200 <= status < 400 or expect(False, f"{name}: {status} {body}")


def listening():
    """Ports on which any process of this network namespace listens, on other addresses than loopback."""
    ports = set()
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        for line in open(f"/proc/self/net/{table}").readlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and address != loopback:
                ports.add(int(port, 16))
    return ports


def check_api():
    port = next(iter(p["containerPort"] for p in container["ports"] if p["name"] == "https"))
    url, bearer = f"https://127.0.0.1:{port}", {"Authorization": f"Bearer {token}"}

    def whoami(headers, pair=None, host=host_name):
        return request(url, "/v1/whoami", {**headers, "Host": f"{host}:{port}"}, tls(pair), host_name)

    required = config["tls"].get("client_certificates") == "required"
    expect(required == ("mtls" in rendered), "the name mtls stands for required client certificates")
    if required:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            whoami({})
            expect(False, "a client without a certificate is served")
    else:
        expect(whoami({})[0] == 401, "a request without a credential is served")
        status, body = whoami(bearer)
        expect(status == 200 and json.loads(body)["name"] == "prometheus", f"the token is refused: {status} {body}")
    if config["tls"].get("client_ca"):
        status, body = whoami({}, client)
        expect(status == 200 and json.loads(body)["kind"] == "certificate", f"the certificate is refused: {status} {body}")
        status, body = whoami({}, stranger)
        expect(status in (401, 403), f"a certificate that the policy does not have is accepted: {status} {body}")
    if "Service" in {o["kind"] for o in objects}:
        domain = "lb.example.com" if "everything" in rendered else "cluster.local"
        credentials = ({}, client) if required else (bearer, None)
        status, body = whoami(*credentials, f"{host_name}.{domain}")
        expect(status == 200, f"the name {host_name}.{domain} is refused: {status} {body}")
        expect(whoami(*credentials, "other.example.org")[0] == 403, "any name is accepted")


def check_monitor(monitor):
    """A scrape as Prometheus makes it from the PodMonitor."""
    labels = daemonset["spec"]["template"]["metadata"]["labels"]
    expect(monitor["spec"]["selector"]["matchLabels"].items() <= labels.items(), "the PodMonitor selects no pod")
    expect(monitor["spec"]["jobLabel"] in labels, "the pods have no label for the job")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (port,) = (p["containerPort"] for p in container["ports"] if p["name"] == endpoint["port"])
    options = endpoint.get("tlsConfig", {})
    context = tls(client if "cert" in options else None)
    if options.get("insecureSkipVerify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif options["ca"]["secret"]["key"] not in files["secret", options["ca"]["secret"]["name"]]:
        expect(False, "the Secret has no such key of the authority")
    headers = {"Authorization": f"{endpoint['authorization']['type']} {token}"} if "authorization" in endpoint else {}
    url = f"{endpoint['scheme']}://127.0.0.1:{port}"
    status, body = request(url, endpoint["path"], headers, context, options.get("serverName"))
    expect(status == 200 and "\nipvs_up 1" in body, f"the scrape fails: {status} {body[:200]}")


def check_sizes(settings):
    """Memory and time, as docs/limits.md and docs/ipvsd.md have them."""
    limits, mebibyte = settings["limits"], 2**20
    amount, unit = re.fullmatch(r"(\d+)(Mi|Gi)", container["resources"]["limits"]["memory"]).groups()
    allowed = int(amount) * {"Mi": mebibyte, "Gi": 2**10 * mebibyte}[unit]
    worst = (25 + 128 + 96 + 20) * mebibyte + limits["max_memory_bytes"] * 5 // 4 + 100_000 * 320 + \
        limits["max_connections"] * (limits["max_header_bytes"] + (32 + 80) * 1024)
    expect(allowed >= worst, f"the limit of memory is {allowed >> 20} MiB, the daemon may need {worst >> 20} MiB")
    grace = float(limits["shutdown_grace"].removesuffix("s")) + 8
    expect(pod["terminationGracePeriodSeconds"] >= grace, f"the grace period is shorter than {grace} s")


run("ip", "link", "set", "lo", "up")
mount_pod()
for init in pod.get("initContainers", []):
    if init["command"][0] == "chown":
        run(*in_pod(init["command"], {**user, **init["securityContext"]}))
arguments = ["/pod/ipvsd", *container["args"], "--kernel", os.environ.get("POD_KERNEL", "fake")]
environment = {"PATH": os.environ["PATH"], **{e["name"]: e["value"] for e in container.get("env", [])}}
checked = run(*in_pod([*arguments, "--check-config"], user), env=environment)
check_sizes(tomllib.loads(checked))
log = open(work / "log", "w")
daemon = subprocess.Popen(in_pod(arguments, user), stderr=log, env=environment)
try:
    startup, deadline = container["startupProbe"], time.monotonic() + 30
    while True:
        expect(daemon.poll() is None, f"the daemon ended: {(work / 'log').read_text()}")
        with contextlib.suppress(ConnectionError):
            probe("startupProbe")
            break
        expect(time.monotonic() < deadline, "the startup probe does not succeed")
        time.sleep(0.02)
    probe("livenessProbe")
    probe("readinessProbe")
    status = pathlib.Path(f"/proc/{daemon.pid}/status").read_text()
    (bounding,) = re.findall(r"CapBnd:\s+(\w+)", status)
    expect(int(bounding, 16) == 1 << 12, f"capabilities other than NET_ADMIN: {bounding}")
    expect(re.search(rf"^Uid:\s+{user['runAsUser']}\t", status, re.M), "the user is another")
    ports = {p["containerPort"] for p in container.get("ports", [])}
    expect(listening() == ports, f"open ports {listening()}, of which the pod names {ports}")
    expect(all(p["hostPort"] == p["containerPort"] for p in container.get("ports", [])), "other ports of the host")
    run(*in_pod(["/pod/ipvsctl", "-A", "-t", "192.0.2.1:80"], user))    # kubectl exec
    expect("192.0.2.1:80" in run(*in_pod(["/pod/ipvsctl", "-Ln"], user)), "ipvsctl in the pod has no service")
    if ports:
        check_api()
    for o in objects:
        if o["kind"] == "PodMonitor":
            check_monitor(o)
        if o["kind"] == "Service":
            expect(o["spec"]["selector"].items() <= daemonset["spec"]["template"]["metadata"]["labels"].items(),
                   "the Service selects no pod")
            expect({p["targetPort"] for p in o["spec"]["ports"]} <= {p["name"] for p in container["ports"]},
                   "the Service has a port that the pod does not have")
finally:
    daemon.send_signal(signal.SIGTERM)
    ended = daemon.wait(pod["terminationGracePeriodSeconds"])
text = (work / "log").read_text()
expect(ended == 0, f"exit status {ended}: {text}")
expect(not re.search(r"WARN|ERROR|panic", text), f"the log has warnings: {text}")
if config["state_dir"] != "memory":
    expect((root / config["state_dir"].lstrip("/") / "state.redb").exists(), "no state is stored in the volume")
