#!/usr/bin/env python3
"""A stock gRPC client in another language, which knows the API only from server reflection.

Creates the examples of the ipvsadm manual in three ways, reads the table back and prints it in the
format of `ipvsadm -S -n`.

    grpc_stock_client.py [--clear] HOST:PORT|unix:PATH

Requires grpcio, grpcio-reflection and protobuf. Exits with 0 if all checks pass.
"""

import argparse
import os
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "ipvsd.v1.IpvsService"
TIMEOUT = 10  # seconds per call

EXAMPLE_1 = "tcp-207.175.44.110-80"
EXAMPLE_2 = "fwmark-1"
EXAMPLE_IPV6 = "tcp-2001:db8::80-80"

FORWARDING = {"masquerade": "-m", "tunnel": "-i", "direct": "-g"}
PROTOCOLS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}


class Ipvs:
    """The methods of the service, discovered by reflection, with keyword arguments."""

    def __init__(self, channel):
        self.channel = channel
        database = ProtoReflectionDescriptorDatabase(channel)
        names = list(database.get_services())
        if SERVICE not in names:
            sys.exit(f"reflection lists {names} without {SERVICE}")
        pool = descriptor_pool.DescriptorPool(database)
        self.methods = {m.name: m for m in pool.FindServiceByName(SERVICE).methods}

    def __getattr__(self, name):
        method = self.methods[name]
        request_class = message_factory.GetMessageClass(method.input_type)
        response_class = message_factory.GetMessageClass(method.output_type)
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = make(
            f"/{SERVICE}/{name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        token = os.environ.get("IPVSD_TEST_TOKEN")
        metadata = [("authorization", f"Bearer {token}")] if token else None
        return lambda **fields: call(request_class(**fields), timeout=TIMEOUT, metadata=metadata)


def create_examples(ipvs):
    # Example 1, command by command.
    ipvs.CreateService(
        service={"protocol": "tcp", "address": "207.175.44.110", "port": 80, "scheduler": "rr"}
    )
    for last in range(1, 6):
        ipvs.CreateServer(
            service=EXAMPLE_1,
            server={
                "address": f"192.168.10.{last}",
                "port": 80,
                "forwarding": "masquerade",
            },
        )
    # Example 2, the servers together.
    ipvs.CreateService(service={"fwmark": 1, "scheduler": "rr"})
    servers = [{"id": f"192.168.10.{i}-0", "forwarding": "masquerade"} for i in range(1, 6)]
    ipvs.CreateServers(service=EXAMPLE_2, servers=servers)
    # The IPv6 example in one call, and again: a replace is idempotent.
    example = {
        "id": EXAMPLE_IPV6,
        "scheduler": "rr",
        "servers": [{"address": "2001:db8::a0a0", "forwarding": "masquerade"}],
    }
    first = ipvs.ReplaceService(service=example)
    again = ipvs.ReplaceService(service=example)
    check(first.created and first.changed, f"not created: {first}")
    check(not again.created and not again.changed, f"changed again: {again}")


def check_errors(ipvs):
    def expect_error(code, method, **fields):
        try:
            response = method(**fields)
        except grpc.RpcError as error:
            check(error.code() == code, f"{code} expected, got {error}")
        else:
            check(False, f"{code} expected, got {response}")

    expect_error(grpc.StatusCode.ALREADY_EXISTS, ipvs.CreateService, service={"id": EXAMPLE_1})
    expect_error(grpc.StatusCode.NOT_FOUND, ipvs.GetService, id="tcp-192.0.2.99-9")
    heavy = {"address": "192.168.10.9", "weight": 65536}
    expect_error(grpc.StatusCode.INVALID_ARGUMENT, ipvs.CreateServer, service=EXAMPLE_1, server=heavy)


def services(ipvs):
    token = ""
    while True:
        page = ipvs.ListServices(page_token=token)
        yield from page.services
        token = page.next_page_token
        if not token:
            return


def address(text, port):
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def saved(service):
    """The lines of `ipvsadm -S -n` for a service."""
    if service.HasField("fwmark"):
        name = f"-f {service.fwmark}" + (" -6" if service.family == "ipv6" else "")
    else:
        name = f"{PROTOCOLS[service.protocol]} {address(service.address, service.port)}"
    line = f"-A {name} -s {service.scheduler}"
    if service.HasField("persistence"):
        line += f" -p {service.persistence.timeout_seconds}"
        if service.persistence.netmask not in ("255.255.255.255", "128"):
            line += f" -M {service.persistence.netmask}"
    if service.one_packet:
        line += " -o"
    yield line
    for server in service.servers:
        line = f"-a {name} -r {address(server.address, server.port)}"
        yield line + f" {FORWARDING.get(server.forwarding, '-g')} -w {server.weight}"


def check(condition, message):
    if not condition:
        sys.exit(message)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("endpoint", help="HOST:PORT or unix:PATH")
    parser.add_argument("--clear", action="store_true", help="delete all services first")
    arguments = parser.parse_args()
    # With a unix socket, the gRPC C core sends the path as the HTTP/2 authority, which is invalid.
    options = [("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(arguments.endpoint, options) as channel:
        ipvs = Ipvs(channel)
        if arguments.clear:
            ipvs.ClearServices(confirm=len(list(services(ipvs))))
        create_examples(ipvs)
        check_errors(ipvs)
        for service in services(ipvs):
            for line in saved(service):
                print(line)
        info = ipvs.GetInfo()
        check(info.kernel.ipvs_version, "no version")
        connections = [c for part in ipvs.ListConnections() for c in part.connections]
        check(all(c.protocol for c in connections), f"no protocol: {connections}")


if __name__ == "__main__":
    main()
