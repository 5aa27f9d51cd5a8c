#!/usr/bin/env python3
"""Keeps the services of an owner as a JSON file declares them.

    controller.py OWNER FILE HOST:PORT|unix:PATH

FILE has the services as docs/tables.md describes them: {"services": [...]}. The table is applied at the start,
when the file changes, and when somebody else changes one of its services. docs/controller.md describes how
the code is generated that is imported here. IPVSCTL_TOKEN, if set, is sent as the bearer token.
"""

import collections
import json
import os
import queue
import sys
import threading
import time

import grpc
from google.protobuf.json_format import ParseDict, ParseError
from ipvsd.v1 import ipvs_service_pb2_grpc, services_pb2, tables_pb2, watch_pb2

TIMEOUT = 30  # seconds for a request
PERIOD = 1  # seconds between two looks at the file
MAX_PAUSE = 60  # seconds between two attempts after errors


class Controller:
    def __init__(self, channel, owner, path):
        self.stub = ipvs_service_pb2_grpc.IpvsServiceStub(channel)
        token = os.environ.get("IPVSCTL_TOKEN")
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        self.owner, self.path = owner, path
        self.modified, self.table = None, None
        self.present = {}  # the director's table: by service and server, "" for the service itself
        self.is_complete = True  # no part of it is still to come
        self.own = collections.deque(maxlen=100)  # ids of own applies, whose events come back
        self.pause = PERIOD

    def run(self):
        while True:
            try:
                self.follow()
            except grpc.RpcError as error:
                print(f"{error.code().name}: {error.details()}", flush=True)
            except OSError as error:
                print(error, flush=True)
            time.sleep(self.pause)
            self.pause = min(2 * self.pause, MAX_PAUSE)

    def follow(self):
        """Lists, applies, and watches from the revision of the list, until an error."""
        events = queue.Queue()
        request = watch_pb2.WatchRequest(from_revision=self.list())
        watch = self.stub.Watch(request, metadata=self.metadata)
        threading.Thread(target=self.receive, args=(watch, events), daemon=True).start()
        try:
            self.load()
            self.apply()
            while True:
                is_changed = self.load()
                try:
                    is_changed |= self.handle(events.get(timeout=PERIOD))
                    while not events.empty():
                        is_changed |= self.handle(events.get())
                except queue.Empty:
                    pass
                if is_changed:
                    self.apply()
        finally:
            watch.cancel()

    @staticmethod
    def receive(watch, events):
        try:
            for event in watch:
                events.put(event)
            events.put(ConnectionError("the watch ended"))
        except grpc.RpcError as error:
            events.put(error)

    def list(self):
        """Reads the director's table; returns the revision from which to watch, that of the first page."""
        self.present, self.is_complete = {}, True
        revision, token = None, ""
        while True:
            request = services_pb2.ListServicesRequest(page_token=token)
            page = self.stub.ListServices(request, timeout=TIMEOUT, metadata=self.metadata)
            for service in page.services:
                self.present[service.id, ""] = service
                self.present.update({(service.id, server.id): server for server in service.servers})
            revision, token = revision or page.revision, page.next_page_token
            if not token:
                return revision

    def handle(self, event):
        """Brings the copy up to date; returns whether the table must be applied again."""
        if isinstance(event, Exception):
            raise event
        if event.type == "resync":  # the whole state follows, and then a bookmark
            self.present, self.is_complete = {}, False
        elif event.type == "bookmark" and not self.is_complete:
            self.is_complete = True
            return True
        elif event.type == "deleted":
            self.present.pop((event.service, event.server), None)
        elif event.type in ("added", "modified"):
            self.present[event.service, event.server] = getattr(event.after, event.resource)
        ids = {service.id for service in self.table.services} if self.table else set()
        if not self.is_complete or event.service not in ids or event.request_id in self.own:
            return False
        print(f"{event.origin}: {event.type} {event.service} {event.server}".rstrip(), flush=True)
        return True

    def load(self):
        """Reads the file if it was modified; returns whether it has another table."""
        modified = os.stat(self.path).st_mtime_ns
        if modified == self.modified:
            return False
        self.modified = modified
        try:
            with open(self.path) as file:
                self.table = ParseDict(json.load(file), tables_pb2.TableServices())
        except (ValueError, ParseError) as error:
            print(f"{self.path}: {error}", flush=True)
            return False
        return True

    def apply(self):
        """Declares the table, unless no file was valid yet."""
        if self.table is None:
            return
        options = tables_pb2.ApplyTableOptions(owner=self.owner)
        parts = [tables_pb2.ApplyTableRequest(options=options)]
        parts.append(tables_pb2.ApplyTableRequest(services=self.table))
        report = self.stub.ApplyTable(iter(parts), timeout=TIMEOUT, metadata=self.metadata).report
        self.own.append(report.apply_id)
        self.pause = PERIOD
        for operation in report.operations:
            print(f"  {operation.op} {operation.service} {operation.server}".rstrip(), flush=True)
        print(f"{report.outcome}: generation {report.generation}", flush=True)


def main():
    owner, path, endpoint = sys.argv[1:]
    options = [("grpc.default_authority", "localhost")]  # for unix sockets
    with grpc.insecure_channel(endpoint, options) as channel:
        Controller(channel, owner, path).run()


if __name__ == "__main__":
    main()
