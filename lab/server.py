#!/usr/bin/python3
"""server.py HOST...     (helper of topology.sh)

Runs all named real servers in one process: a socket stays in the network namespace in which it was
created. Responds to HTTP on port 80 and to any datagram on UDP port 53 with the host's name; path
/hold leaves the connection open. Goes to the background when all of them listen."""

import asyncio
import ctypes
import os
import socket
import sys

CLONE_NEWNET = 0x40000000
PREFIX = os.environ.get("LAB_PREFIX", "")


def enter(namespace):
    with open(f"/run/netns/{PREFIX}{namespace}") as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET):
            sys.exit(f"{namespace}: {os.strerror(ctypes.get_errno())}")


def listen(host):
    enter(host)
    tcp = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    udp.bind(("::", 53))
    udp.setblocking(False)
    return host.encode(), tcp, udp


async def http(name, reader, writer):
    try:
        request = await reader.readuntil(b"\r\n\r\n")
        hold = b" /hold " in request.split(b"\r\n")[0]
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s\n"
            % (len(name) + (99 if hold else 1), name)
        )
        await writer.drain()
        if hold:
            await reader.read(1)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    writer.close()


def datagram(name, udp):
    _, ancillary, _, peer = udp.recvmsg(2048, 256)
    # Reply from the destination address, which may be the virtual one.
    source = [(level, kind, data[:16] + bytes(4)) for level, kind, data in ancillary if kind == socket.IPV6_PKTINFO]
    udp.sendmsg([name], source, 0, peer)


async def main(hosts):
    for name, tcp, udp in hosts:
        await asyncio.start_server(lambda r, w, name=name: http(name, r, w), sock=tcp)
        asyncio.get_running_loop().add_reader(udp, datagram, name, udp)
    await asyncio.Event().wait()


hosts = [listen(host) for host in sys.argv[1:]]
child = os.fork()
if child:
    with open(f"/run/{PREFIX}servers.pid", "w") as f:
        f.write(str(child))
    os._exit(0)
os.setsid()
null = os.open("/dev/null", os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(null, fd)
asyncio.run(main(hosts))
