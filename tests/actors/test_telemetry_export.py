"""The telemetry process and collectors of all kinds: searched for, silent, full, none at all.

It is a process of its own here: over gRPC it gives up its standard error.
"""

import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from chatbot import actor
from chatbot.errors import ExitCode
from chatbot.messages import LogRecord, Measurement, Stop
from chatbot.settings import LOG_FILE, SPAN_FILE, TRACE_LOG_FILE, TelemetrySettings
from chatbot.telemetry import destination
from chatbot.telemetry.destination import GRPC, HTTP
from tests.actors.test_telemetry import (
    IN_TIME_S,
    SPAWN,
    Supervisor,
    counters,
    json_lines,
    log,
    span,
    span_names,
    text_of,
    wait_for,
)
from tests.collector import Receiver, Rotel, free_ports, running, spans_of

rotel_only = pytest.mark.skipif(sys.platform == "win32", reason="rotel is not made for Windows")


def run_with_ports(searched: Any, child: actor.Child, *ends: Any) -> None:
    """Be the process, which searches at these ports instead of the usual ones."""
    destination.SEARCHED = searched
    actor.run(child, *ends)


class Process:
    """The telemetry process, which nobody has told where a collector is."""

    def __init__(self, logs: Path, searched: Any, environ: dict[str, str]) -> None:
        self.logs = logs
        self.supervisor = Supervisor()
        child = actor.Child("telemetry", 0, "chatbot.telemetry.process")
        ends = (self.supervisor.child_inbox, self.supervisor.child_outbox)
        self.process = SPAWN.Process(target=run_with_ports, args=(searched, child, *ends))
        self.process.start()
        settings = TelemetrySettings(str(logs), environ=environ)
        self.supervisor.parent_out.send_bytes(msgspec.msgpack.encode(settings))
        self.supervisor.wait_ready()

    def stop(self) -> None:
        """Stop it; it ends as it should."""
        self.supervisor.outbox.send(Stop())
        self.process.join(IN_TIME_S)
        assert self.process.exitcode == ExitCode.OK
        self.supervisor.close()

    def said(self, change: str, signal: str = "traces") -> bool:
        """Whether the trace log tells of a change."""
        return f" export {change} signal={signal} " in text_of(self.logs / TRACE_LOG_FILE)


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Start]:
    """Start the process; at the end see that it wrote nothing to the terminal."""
    started: list[Process] = []

    def start_one(
        *ports: tuple[str, int], environ: dict[str, str] | None = None, name: str = "logs"
    ) -> Process:
        started.append(Process(tmp_path / name, ports, environ or {}))
        return started[-1]

    yield start_one
    for each in started:
        if each.process.is_alive():
            each.process.kill()
            each.process.join(IN_TIME_S)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[tuple[Rotel, Receiver]]:
    with running(tmp_path) as both:
        yield both


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@rotel_only
@pytest.mark.parametrize(
    ("http", "grpc", "chosen"), [(True, True, HTTP), (True, False, HTTP), (False, True, GRPC)]
)
def test_a_collector_is_found_over_http_or_else_over_grpc(
    start: Start, collector: tuple[Rotel, Receiver], http: bool, grpc: bool, chosen: str
) -> None:
    rotel, receiver = collector
    rotel.start(http=http, grpc=grpc)
    process = start((HTTP, rotel.http), (GRPC, rotel.grpc))
    process.supervisor.report(span(1), log("one"), Measurement("chatbot.retries", "counter", 2))
    process.stop()
    wait_for(lambda: len(receiver.spans()) == 1)
    wait_for(lambda: "one" in [line.body.string_value for line in receiver.lines()])
    wait_for(lambda: "chatbot.retries" in receiver.metrics())
    port = rotel.http if chosen == HTTP else rotel.grpc
    told = text_of(process.logs / TRACE_LOG_FILE)
    assert f" export found signal=traces otlp=http://127.0.0.1:{port}" in told
    assert span_names(process.logs) == ["span 1"]


@rotel_only
def test_a_collector_that_is_started_later_is_found(
    start: Start, collector: tuple[Rotel, Receiver]
) -> None:
    rotel, receiver = collector
    process = start((HTTP, rotel.http), (GRPC, rotel.grpc))
    process.supervisor.report(span(1))
    wait_for(lambda: span_names(process.logs) == ["span 1"])
    rotel.start()
    numbers = iter(range(2, 100_000))

    def found() -> bool:
        process.supervisor.report(span(next(numbers)))
        return process.said("found")

    wait_for(found)
    process.stop()
    wait_for(lambda: len(receiver.spans()) > 0)
    assert not [each for each in json_lines(process.logs / LOG_FILE) if each["level"] == "warning"]
    assert len(span_names(process.logs)) == next(numbers) - 1


@rotel_only
def test_who_listens_there_but_is_no_collector_does_not_hide_the_other(
    start: Start, collector: tuple[Rotel, Receiver]
) -> None:
    rotel, receiver = collector
    rotel.start(http=False)
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.listen()
        environ = {"OTEL_EXPORTER_OTLP_TIMEOUT": "200"}
        process = start((HTTP, other.getsockname()[1]), (GRPC, rotel.grpc), environ=environ)
        numbers = iter(range(1, 100_000))

        def found() -> bool:
            process.supervisor.report(span(next(numbers)))
            return process.said("found")

        wait_for(found)
        process.stop()
    assert process.said("unreachable")
    wait_for(lambda: len(receiver.spans()) > 0)


def test_with_nobody_there_nothing_is_told_and_the_files_have_it_all(start: Start) -> None:
    http, grpc = free_ports(2)
    process = start((HTTP, http), (GRPC, grpc))
    process.supervisor.report(span(1), log("one"))
    wait_for(lambda: "span 1" in text_of(process.logs / SPAN_FILE))
    process.supervisor.report(span(2))
    process.stop()
    assert span_names(process.logs) == ["span 1", "span 2"]
    assert [line["event"] for line in json_lines(process.logs / LOG_FILE)] == ["one"]
    exports = [
        line.split(" ", 2)[2]
        for line in text_of(process.logs / TRACE_LOG_FILE).splitlines()
        if " export " in line
    ]
    assert [line.split()[0] for line in exports] == ["decision"] * 3


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_collector_that_never_answers_is_left_without_a_word(start: Start, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        process = start(environ=environ)
        for number in range(1, 4000):  # more than a queue holds
            process.supervisor.report(span(number))
        process.stop()
    assert len(span_names(process.logs)) == 3999
    assert "export lost reason=export_otlp_traces" in text_of(process.logs / TRACE_LOG_FILE)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.LeafCert:
    """A certificate of an authority that only the standard variable vouches for."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    return authority.issue_cert("127.0.0.1")


@pytest.mark.parametrize("vouched", [True, False])
def test_https_is_spoken_with_whom_the_variable_vouches_for(
    start: Start, certificate: trustme.LeafCert, monkeypatch: pytest.MonkeyPatch, vouched: bool
) -> None:
    if not vouched:
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_CERTIFICATE")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(tls)
    receiver = Receiver(tls)
    try:
        process = start(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
        process.supervisor.report(span(1))
        process.stop()
    finally:
        receiver.close()
    assert len(receiver.spans()) == vouched
    assert process.said("found") is vouched


class Traces(TraceServiceServicer):
    """A gRPC service that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[int, dict[str, str]]] = []

    def Export(  # noqa: N802 - the name of the call
        self, request: Any, context: Any
    ) -> ExportTraceServiceResponse:
        self.got.append((len(spans_of([request])), dict(context.invocation_metadata())))
        return ExportTraceServiceResponse()


def test_grpc_speaks_tls_without_a_proxy_to_this_machine_and_sends_headers(
    start: Start, certificate: trustme.LeafCert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{free_ports(1)[0]}")
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Tenant=chat%20bot")
    key = certificate.private_key_pem.bytes()
    chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
    server = grpc.server(ThreadPoolExecutor(2))
    service = Traces()
    add_TraceServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    try:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }
        process = start(environ=environ)
        process.supervisor.report(span(1), span(2))
        process.stop()
    finally:
        server.stop(None).wait(IN_TIME_S)
    ((number, headers),) = service.got
    assert (number, headers["x-tenant"]) == (2, "chat bot")


def test_what_a_collector_has_taken_is_counted(start: Start, receiver: Receiver) -> None:
    process = start(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
    process.supervisor.report(span(1), span(2))
    wait_for(lambda: process.said("found"))
    process.stop()
    exported = counters(process.logs)["chatbot.telemetry.exported"]
    assert exported == {("file",): 2, ("otlp",): 2}


TRACES_ONLY = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


@pytest.mark.parametrize(
    ("protocol", "scheme", "more", "event", "reason"),
    [
        (HTTP, "http", {}, "otlp_refused", "HTTP 404 Not Found"),
        (HTTP, "https", {}, "otlp_unreachable", "SSL"),
        (HTTP, "https", {"CERTIFICATE": "/no/ca.pem"}, "otlp_refused", "/no/ca.pem"),
        (HTTP, "http", {"HEADERS": "x-key=hidden%0Ahidden"}, "otlp_unreachable", "header"),
        (GRPC, "http", {}, "otlp_refused", "UNIMPLEMENTED"),
        (GRPC, "https", {}, "otlp_unreachable", "UNAVAILABLE"),
        (GRPC, "https", {"CERTIFICATE": "/no/ca.pem"}, "otlp_refused", "/no/ca.pem"),
    ],
)
def test_why_a_collector_does_not_take_it_is_told(
    start: Start,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    scheme: str,
    more: dict[str, str],
    event: str,
    reason: str,
) -> None:
    for name, value in more.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    server = grpc.server(ThreadPoolExecutor(2))  # it knows no service
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    address = f"127.0.0.1:{port}" if protocol == GRPC else receiver.url.removeprefix("http://")
    environ = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{scheme}://me:hidden@{address}/nothing?key=hidden",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        **TRACES_ONLY,
    }
    try:
        process = start(environ=environ)
        process.supervisor.report(span(1))
        wait_for(lambda: f'"{event}"' in text_of(process.logs / LOG_FILE))
        process.stop()
    finally:
        server.stop(None).wait(IN_TIME_S)
    (line,) = [line for line in json_lines(process.logs / LOG_FILE) if line["event"] == event]
    assert reason in line["fields"]["reason"]
    assert process.said(event.removeprefix("otlp_"))
    for name in (LOG_FILE, TRACE_LOG_FILE):
        assert "hidden" not in text_of(process.logs / name)


def test_grpc_is_loaded_only_where_it_is_chosen_and_http_only_where_somebody_listens() -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import chatbot.telemetry.sdk\n"
        "print(*[n for n in ('grpc', 'requests', 'opentelemetry.sdk._logs') if n in sys.modules])\n"
        "from chatbot.telemetry.destination import Endpoint\n"
        "from chatbot.telemetry.otlp import connect\n"
        "connect(Endpoint('http://127.0.0.1:1/v1/traces'), 'traces')\n"
        "print(*[n for n in ('grpc', 'requests') if n in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["", "requests"]


def test_what_grpc_writes_to_standard_error_reaches_nobody() -> None:
    code = (
        "import os\n"
        "os.write(2, b'before ')\n"
        "import chatbot.telemetry.otlp_grpc\n"
        "os.write(2, b'after')\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (found.stdout, found.stderr) == (b"", b"before ")


def test_the_rooms_own_lines_are_sent_too_and_debug_ones_only_where_they_are_written(
    start: Start, receiver: Receiver
) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json",
    }
    process = start(environ=environ)
    process.supervisor.report(LogRecord(10**18, "debug", "detail"), log("one"))
    process.stop()
    sent = [line.body.string_value for line in receiver.lines()]
    assert sorted(sent) == ["one", "otlp_refused"]
    assert sorted(each["event"] for each in json_lines(process.logs / LOG_FILE)) == sorted(sent)
    services = {
        attribute.value.string_value
        for request in receiver.requests["/v1/logs"]
        for resource in request.resource_logs
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    assert services == {"chatbot-worker", "chatbot-telemetry"}
