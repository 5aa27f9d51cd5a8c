#!/usr/bin/env python3
"""A collector of traces for trials: prints the spans that it receives by OTLP over HTTP.

    pip install opentelemetry-proto
    collector.py [PORT]        # 4318
"""
import http.server
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in group.scope_spans:
                for span in scope.spans:
                    show(span)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def show(span):
    microseconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1000
    failed = " ERROR" if span.status.code == span.status.STATUS_CODE_ERROR else ""
    print(f"{span.name}: {microseconds:.0f} us{failed}")
    parent = span.parent_span_id.hex() or "-"
    print(f"  trace {span.trace_id.hex()} span {span.span_id.hex()} parent {parent}")
    for attribute in span.attributes:
        value = getattr(attribute.value, attribute.value.WhichOneof("value"))
        print(f"  {attribute.key} = {value}")
    sys.stdout.flush()


port = int(sys.argv[1]) if len(sys.argv) > 1 else 4318
http.server.ThreadingHTTPServer(("127.0.0.1", port), Collector).serve_forever()
