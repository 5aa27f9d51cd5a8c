#!/usr/bin/python3
"""relay.py PORT[:GUEST]... -- COMMAND...     (helper of uml-run -p)

Listens on 127.0.0.1:PORT of the host, moves into a new network namespace, creates a tap device for
the guest there and runs COMMAND, which is the guest. A socket belongs to the namespace in which it
was created, so this process reaches both sides. Namespace and tap end with the process.

relay.py --loopback PORT     (in the guest)

Leads connections from the host to port PORT of the guest's loopback interface, for a command that listens
on that alone."""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys

GUEST = "10.254.0.2"
OUT, ERR = 5, 6    # the descriptors that uml-run passes to the guest
CHUNK = 1 << 18
CLONE_NEWNET = 0x40000000


def say(text):    # stderr is the log; descriptor 6 is the caller's stderr
    os.write(ERR, f"uml-run: {text}\n".encode())


def fail(text):
    say(text)
    sys.exit(125)


def listen(spec):
    port, _, guest = spec.partition(":")
    try:
        sock = socket.create_server(("127.0.0.1", int(port)), backlog=512)
    except OSError as e:
        fail(f"cannot listen on 127.0.0.1:{port}: {os.strerror(e.errno)}")
    except (OverflowError, ValueError):
        fail(f"not a port: {port}")
    if port == "0":
        say(f"listening on 127.0.0.1:{sock.getsockname()[1]}")
    return sock, int(guest or sock.getsockname()[1])


def make_tap():
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        fail("no new network namespace: " + os.strerror(ctypes.get_errno()))
    commands = "link set lo up\ntuntap add tap0 mode tap\naddr add 10.254.0.1/30 dev tap0\nlink set tap0 up\n"
    if subprocess.run(["ip", "-batch", "-"], input=commands, text=True).returncode:
        fail("no tap device: is there /dev/net/tun?")


async def copy(reader, writer):
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def connect(host, port, reader, writer):
    try:
        guest_reader, guest_writer = await asyncio.open_connection(host, port, limit=CHUNK)
    except OSError:
        return writer.transport.abort()
    await asyncio.gather(copy(reader, guest_writer), copy(guest_reader, writer))
    writer.close()
    guest_writer.close()


async def main(listeners, command):
    guest = await asyncio.create_subprocess_exec(*command, pass_fds=(OUT, ERR))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, guest.kill)
    for sock, port in listeners:
        await asyncio.start_server(lambda r, w, port=port: connect(GUEST, port, r, w), sock=sock, limit=CHUNK)
    return await guest.wait()


async def loopback(port):
    server = await asyncio.start_server(lambda r, w: connect("127.0.0.1", port, r, w), GUEST, port, limit=CHUNK)
    await server.serve_forever()


if sys.argv[1] == "--loopback":
    asyncio.run(loopback(int(sys.argv[2])))

cut = sys.argv.index("--")
listeners = [listen(spec) for spec in sys.argv[1:cut]]
make_tap()
status = asyncio.run(main(listeners, sys.argv[cut + 1 :]))
sys.exit(status if status >= 0 else 128 - status)
