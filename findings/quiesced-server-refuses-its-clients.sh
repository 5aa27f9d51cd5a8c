#!/bin/bash
# Linux IPVS refuses new connections that sh and mh assign to a server of weight 0.
#
# Subject: the schedulers sh and mh of the kernel in Debian's package user-mode-linux (6.1), with ipvsadm.
# A server of weight 0 gets no new connections, which is how operators take one out for maintenance
# (ipvsadm(8), --weight). With most schedulers the other servers get them. With sh and mh, without the flags
# sh-fallback and mh-fallback, the kernel still hashes clients to the server of weight 0, and refuses them:
#   - mh keeps the share that the server had before: about half of the clients, if there are two servers;
#   - sh gives it one entry each time it goes round the servers: half of the clients if the other server has
#     weight 1, a fifth with weight 4.
#
# Seen, 64 clients, two servers with this weight, one of them then set to 0:
#   1 sh: 31 of 64 connected             4 sh: 52 of 64 connected
#   1 sh -b sh-fallback: 64 of 64        4 sh -b sh-fallback: 64 of 64
#   1 mh: 28 of 64 connected             4 mh: 28 of 64 connected
#   1 mh -b mh-fallback: 64 of 64        4 mh -b mh-fallback: 64 of 64
#
# Exit status 0: as described; 1: the kernel behaves otherwise. Needs root, apt-get, ipvsadm, iproute2 and python3.
set -eu
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$work"
version=6.1um4+b13
apt-get download -qq "user-mode-linux=$version"
dpkg -x user-mode-linux_*.deb kernel && mv kernel/usr/bin/linux.uml kernel/

cat >clients.py <<'END'
import concurrent.futures, socket, subprocess, sys

addresses = [f"207.175.44.{host}" for host in range(20, 84)]
for address in addresses:
    subprocess.run(["ip", "addr", "add", f"{address}/24", "dev", "eth0"], stderr=subprocess.DEVNULL)

def connects(address):
    with socket.socket() as client:
        client.bind((address, 0))
        client.settimeout(2)
        try:
            client.connect(("207.175.44.110", 80))
        except OSError:
            return False
        return True

with concurrent.futures.ThreadPoolExecutor(len(addresses)) as pool:
    print(sys.argv[1], sum(pool.map(connects, addresses)), len(addresses), sep=" : ")
END

cat >guest.sh <<'END'
"$1"/lab/topology.sh example1 up 2
service="-t 207.175.44.110:80"
for weight in 1 4; do
    for scheduler in sh "sh -b sh-fallback" mh "mh -b mh-fallback"; do
        ipvsadm -C
        ipvsadm -A $service -s $scheduler
        for server in 1 2; do ipvsadm -a $service -r 192.168.10.$server:80 -m -w $weight; done
        ipvsadm -e $service -r 192.168.10.1:80 -m -w 0
        "$1"/lab/topology.sh on client python3 clients.py "$weight $scheduler"
    done
done
END

"$here/../lab/uml-run" -t 120 -K "$work/kernel" -w "$work" bash guest.sh "$here/.." | tee seen
python3 - <<'END'
seen = dict(line.rsplit(" : ", 2)[:2] for line in open("seen"))
connected = {name: int(count) for name, count in seen.items()}
expected = {
    "1 sh": range(16, 49), "1 sh -b sh-fallback": [64], "1 mh": range(16, 49), "1 mh -b mh-fallback": [64],
    "4 sh": range(44, 62), "4 sh -b sh-fallback": [64], "4 mh": range(16, 49), "4 mh -b mh-fallback": [64],
}
wrong = [name for name, counts in expected.items() if connected.get(name) not in counts]
raise SystemExit(f"not as described: {wrong}" if wrong else 0)
END
