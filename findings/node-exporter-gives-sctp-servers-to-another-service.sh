#!/bin/bash
# node_exporter gives the servers of an SCTP service to the service before it.
#
# Subject: the collector ipvs of prometheus-node-exporter 1.5.0 (Debian 12), which reads /proc/net/ip_vs. The kernel
# writes a line for each service (TCP, UDP, SCTP, FWM), and below it one for each server. The collector knows TCP, UDP
# and FWM. It skips the line of an SCTP service without an error, and takes the servers below it for ones of the
# service before: a sum over a virtual address then has servers and connections that it does not have, and the SCTP
# service is not there. Without a service before it, the servers have no address and port at all.
#
# Seen, a TCP service with one server (weight 1) before an SCTP service with another (weight 7):
#   node_ipvs_backend_weight{local_address="10.9.0.1",local_port="80",…,proto="TCP",remote_address="10.1.0.11",…} 1
#   node_ipvs_backend_weight{local_address="10.9.0.1",local_port="80",…,proto="TCP",remote_address="10.1.0.13",…} 7
#
# Exit status 0: as described; 1: it behaves otherwise. Needs apt-get and python3.
set -eu
work=$(mktemp -d)
exporter='' && trap '[ -z "$exporter" ] || kill "$exporter"; rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq prometheus-node-exporter=1.5.0-1+b6
dpkg -x prometheus-node-exporter_*.deb files

# What Linux 6.1 writes, in the order in which it lists services.
mkdir -p proc/net
cat >proc/net/ip_vs <<'END'
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A090001:0050 rr  
  -> 0A01000B:0050      Masq    1      0          0         
SCTP 0A090002:005A rr  
  -> 0A01000D:005A      Masq    7      0          0         
END
cat >proc/net/ip_vs_stats <<'END'
   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       0        0        0                0                0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       0        0        0                0                0
END

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
files/usr/bin/prometheus-node-exporter --collector.disable-defaults --collector.ipvs --path.procfs="$work/proc" \
    --web.listen-address="127.0.0.1:$port" 2>log &
exporter=$!
python3 - "$port" <<'END'
import re, sys, time, urllib.request

url = f"http://127.0.0.1:{sys.argv[1]}/metrics"
for _ in range(100):
    try:
        text = urllib.request.urlopen(url).read().decode()
        break
    except OSError:
        time.sleep(0.1)
lines = [line for line in text.splitlines() if line.startswith("node_ipvs_backend_weight{")]
print("\n".join(lines))
of = [(dict(re.findall(r'(\w+)="([^"]*)"', line)), line.split()[-1]) for line in lines]
seen = [(l["proto"], l["local_address"], l["local_port"], l["remote_address"], weight) for l, weight in of]
sys.exit(seen != [("TCP", "10.9.0.1", "80", "10.1.0.11", "1"), ("TCP", "10.9.0.1", "80", "10.1.0.13", "7")])
END
