"""The real program and a real collector: what it gets, and what becomes of it without one."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chatbot.settings import LOG_FILE, METRIC_FILE, SPAN_FILE, TRACE_LOG_FILE
from tests.collector import (
    Receiver,
    Rotel,
    free_ports,
    metrics_of,
    requests_in,
    running,
    spans_of,
)
from tests.fakes import eventually
from tests.system.program import Program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rotel is not made for Windows")

BY_OTLP = {f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("TRACES", "METRICS", "LOGS")}


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[tuple[Rotel, Receiver]]:
    with running(tmp_path) as both:
        yield both


def environment(rotel: Rotel, protocol: str, **more: str) -> dict[str, str]:
    port = rotel.grpc if protocol == "grpc" else rotel.http
    return {
        **BY_OTLP,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        **more,
    }


def answered(program: Program, *questions: str) -> None:
    for question in questions:
        program.say(question)
        program.next("answered")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_gets_all_that_is_in_the_files(
    tmp_path: Path, collector: tuple[Rotel, Receiver], protocol: str
) -> None:
    rotel, receiver = collector
    rotel.start()
    compressed = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    program = Program(tmp_path, "--backend", "sim", **environment(rotel, protocol, **compressed))
    try:
        answered(program, "What is a pipeline?", "And an actor?", "And a supervisor?")
        assert program.finish() == 0
    finally:
        program.end()
    assert program.stderr == ""
    logs = tmp_path / "logs"

    written = sorted(spans_of(requests_in(logs / SPAN_FILE, ExportTraceServiceRequest)))
    assert len(written) > 20
    assert eventually(lambda: len(receiver.spans()) >= len(written))
    assert sorted(receiver.spans()) == written

    measured = metrics_of(requests_in(logs / METRIC_FILE, ExportMetricsServiceRequest))
    assert len(measured) > 5
    assert eventually(lambda: receiver.metrics() == measured), set(measured)

    told = [
        (line["event"], line["trace_id"], line["span_id"]) for line in lines_of(logs / LOG_FILE)
    ]
    assert len(told) > 5
    assert eventually(lambda: len(receiver.lines()) >= len(told))
    heard = [
        (line.body.string_value, line.trace_id.hex(), line.span_id.hex())
        for line in receiver.lines()
    ]
    assert sorted(heard) == sorted(told)

    found = [
        line
        for line in (logs / TRACE_LOG_FILE).read_text().splitlines()
        if " export found " in line
    ]
    assert sorted(line.split("signal=")[1].split()[0] for line in found) == [
        "logs",
        "metrics",
        "traces",
    ]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_that_is_killed_and_comes_back_gets_what_comes_then(
    tmp_path: Path, collector: tuple[Rotel, Receiver], protocol: str
) -> None:
    rotel, receiver = collector
    rotel.start()
    often = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
    program = Program(tmp_path, "--backend", "sim", **environment(rotel, protocol, **often))
    changes = tmp_path / "logs" / TRACE_LOG_FILE
    said = iter(range(1000))

    def a_turn_until(change: str) -> bool:
        """Say something; return whether the change has been told of the traces."""
        answered(program, f"Question {next(said)}?")
        return f" export {change} signal=traces " in text_of(changes)

    try:
        assert eventually(lambda: a_turn_until("found"), 30)
        rotel.kill()
        assert eventually(lambda: a_turn_until("gone"), 30)
        before = len(receiver.spans())
        rotel.start()
        assert eventually(lambda: a_turn_until("back"), 30)
        assert eventually(lambda: len(receiver.spans()) > before)
        assert eventually(lambda: " export back signal=metrics " in text_of(changes), 30)
        assert program.finish() == 0
    finally:
        program.end()
    assert program.stderr == ""
    written = requests_in(tmp_path / "logs" / SPAN_FILE, ExportTraceServiceRequest)
    turns = [
        span
        for request in written
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.name == "chat_turn"
    ]
    assert len(turns) == next(said)  # the files have missed nothing
    warned = [line for line in lines_of(tmp_path / "logs" / LOG_FILE) if line["level"] == "warning"]
    assert len([line for line in warned if line["event"] == "otlp_gone"]) == 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_without_a_collector_the_files_have_everything_and_nothing_is_said(
    tmp_path: Path, protocol: str
) -> None:
    (port,) = free_ports(1)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    environ |= {**BY_OTLP, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    program = Program(tmp_path, "--backend", "sim", **environ)
    try:
        answered(program, "What is a pipeline?")
        assert program.finish() == 0
    finally:
        program.end()
    assert program.stderr == ""
    logs = tmp_path / "logs"
    spans = spans_of(requests_in(logs / SPAN_FILE, ExportTraceServiceRequest))
    assert len(spans) > 8
    counted = metrics_of(requests_in(logs / METRIC_FILE, ExportMetricsServiceRequest))
    assert "chatbot.telemetry.dropped" not in counted
    events = [line["event"] for line in lines_of(logs / LOG_FILE)]
    assert events.count("otlp_unreachable") == 1


def test_headers_are_sent(tmp_path: Path) -> None:
    receiver = Receiver()
    environ = {
        **BY_OTLP,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=chat%20bot",
        # On this machine no proxy stands between, whatever the environment says.
        "HTTP_PROXY": f"http://127.0.0.1:{free_ports(1)[0]}",
    }
    program = Program(tmp_path, "--backend", "sim", **environ)
    try:
        answered(program, "What is a pipeline?")
        assert program.finish() == 0
    finally:
        program.end()
        receiver.close()
    assert len(receiver.spans()) > 8
    assert {headers["x-tenant"] for headers in receiver.headers} == {"chat bot"}
    key_files = [path for path in (tmp_path / "logs").iterdir() if "chat bot" in path.read_text()]
    assert key_files == []


def test_what_is_wrong_with_the_variables_is_one_line_and_no_obstacle(tmp_path: Path) -> None:
    environ = {**BY_OTLP, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}
    program = Program(tmp_path, "--backend", "sim", **environ)
    try:
        answered(program, "What is a pipeline?")
        assert program.finish() == 0
    finally:
        program.end()
    assert program.stderr == ""
    lines = lines_of(tmp_path / "logs" / LOG_FILE)
    (refused,) = [line for line in lines if line["event"] == "otlp_refused"]
    assert "http/json is not supported" in refused["fields"]["reason"]
    assert (tmp_path / "logs" / SPAN_FILE).stat().st_size > 0
