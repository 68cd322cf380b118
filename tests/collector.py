"""A real collector (rotel) for tests, and behind it a receiver that keeps what has come through.

program ──▶ Rotel (HTTP and gRPC, on ports of its own) ──▶ Receiver (protobuf over HTTP)
"""

import base64
import contextlib
import gzip
import json
import os
import socket
import ssl
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fakes import eventually

REQUESTS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens at just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def is_listening(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


class Server(ThreadingHTTPServer):
    """A server that does not mind a client that is killed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless the client has gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Receiver:
    """An HTTP server that keeps every OTLP request, and the headers that came with it."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: dict[str, list[Any]] = {path: [] for path in REQUESTS}
        self.headers: list[dict[str, str]] = []
        kept, headers = self.requests, self.headers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                headers.append({key.lower(): value for key, value in self.headers.items()})
                if self.path in kept:
                    kept[self.path].append(REQUESTS[self.path].FromString(body))
                self.send_response(200 if self.path in kept else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

        self._scheme = "https" if tls else "http"
        self._server = Server(("127.0.0.1", port), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def spans(self) -> list[tuple[str, bytes]]:
        """Return every span as bytes, after the name of its service."""
        return spans_of(self.requests["/v1/traces"])

    def lines(self) -> list[Any]:
        """Return every log record."""
        return [
            record
            for request in self.requests["/v1/logs"]
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def metrics(self) -> dict[str, bytes]:
        """Return each metric's newest state as bytes."""
        return metrics_of(self.requests["/v1/metrics"])

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)


class Rotel:
    """The collector. `http` and `grpc` are its ports; it can be killed and started again."""

    def __init__(self, directory: Path, behind: Receiver) -> None:
        self.http, self.grpc = free_ports(2)
        self._directory = directory
        self._behind = behind
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, grpc: bool = True, http: bool = True) -> None:
        """Start it, and wait until it listens. What is not asked for listens at another port."""
        import rotel

        away = free_ports(2)
        self._process = subprocess.Popen(
            [
                *(str(Path(rotel.__file__).with_name("rotel-agent")), "start"),
                *("--otlp-grpc-endpoint", f"127.0.0.1:{self.grpc if grpc else away[0]}"),
                *("--otlp-http-endpoint", f"127.0.0.1:{self.http if http else away[1]}"),
                *("--batch-timeout", "20ms", "--exporter", "otlp"),
                *("--otlp-exporter-protocol", "http"),
                *("--otlp-exporter-endpoint", self._behind.url),
                *("--pid-file", str(self._directory / "rotel.pid")),
                *("--log-file", str(self._directory / "rotel.log")),
            ],
            # Of some versions of Python its wheel wants that library, wherever this one has it.
            env={**os.environ, "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ports = [*([self.grpc] if grpc else []), *([self.http] if http else [])]
        assert eventually(lambda: all(map(is_listening, ports)), 30), "rotel does not listen"

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None


@contextlib.contextmanager
def running(directory: Path) -> Iterator[tuple[Rotel, Receiver]]:
    """A collector that is not started yet, and the receiver behind it."""
    receiver = Receiver()
    rotel = Rotel(directory, receiver)
    try:
        yield rotel, receiver
    finally:
        rotel.kill()
        receiver.close()


def spans_of(requests: list[Any]) -> list[tuple[str, bytes]]:
    """Return every span of the requests as bytes, after the name of its service."""
    found = []
    for request in requests:
        for resource in request.resource_spans:
            service = resource.resource.SerializeToString(deterministic=True).decode("latin-1")
            for scope in resource.scope_spans:
                found += [
                    (service, span.SerializeToString(deterministic=True)) for span in scope.spans
                ]
    return found


def metrics_of(requests: list[Any]) -> dict[str, bytes]:
    """Return each metric's last state as bytes, whichever way they are grouped."""
    return {
        metric.name: metric.SerializeToString(deterministic=True)
        for request in requests
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def requests_in(path: Path, kind: Any) -> list[Any]:
    """Return the lines of one of the program's OTLP files as the requests that they stand for."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [ParseDict(_with_base64_ids(json.loads(line)), kind()) for line in lines]


def _with_base64_ids(value: Any) -> Any:
    """OTLP's JSON writes ids in hex, where JSON of protobuf has base64."""
    if isinstance(value, list):
        return [_with_base64_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(each)).decode()
        if key in ("traceId", "spanId", "parentSpanId")
        else _with_base64_ids(each)
        for key, each in value.items()
    }
