"""The telemetry process's `main`, run here over real pipes, and once as a real process that is killed."""

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chatbot import actor
from chatbot.errors import ChatbotError, ExitCode
from chatbot.mailbox import Inbox, Outbox, Reader
from chatbot.messages import (
    Flush,
    Flushed,
    FromAny,
    FromTelemetry,
    LogRecord,
    Measurement,
    ProcessEnded,
    Ready,
    Record,
    Report,
    Resigned,
    SpanRecord,
    SpanStarted,
    Stop,
    Taken,
    TelemetryStatus,
)
from chatbot.settings import (
    LOG_FILE,
    METRIC_FILE,
    SPAN_FILE,
    TRACE_LOG_FILE,
    Arguments,
    TelemetrySettings,
    load,
)
from chatbot.supervisor import plan
from chatbot.telemetry import process
from chatbot.telemetry.destination import SIGNALS
from chatbot.telemetry.gate import Gate
from chatbot.telemetry.logs import SdkLogHandler
from chatbot.telemetry.open import Source
from chatbot.tracing import Recorder
from tests.fakes import NO_COLLECTOR

IN_TIME_S = 30.0
SETTINGS = load(Arguments(mode="chat"), {})
SPAWN = multiprocessing.get_context("spawn")


def wait_for(condition: Callable[[], bool], timeout_s: float = IN_TIME_S) -> None:
    """Look until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.005)


class Supervisor:
    """The test's side of the pipes."""

    def __init__(self, queued: int = 1024) -> None:
        self.child_inbox, self.parent_out = SPAWN.Pipe(duplex=False)
        parent_in, self.child_outbox = SPAWN.Pipe(duplex=False)
        self.outbox = Outbox(self.parent_out, queued)
        self.received: list[Any] = []
        self.ended = threading.Event()
        self._ends = [self.parent_out, parent_in, self.child_inbox, self.child_outbox]
        self.reader = Reader(
            parent_in, FromAny | FromTelemetry, self.received.extend, lambda _: self.ended.set()
        )

    def wait_ready(self) -> None:
        wait_for(lambda: any(isinstance(m, Ready | Resigned) for m in self.received))

    def report(self, *records: Record, dropped: int = 0) -> None:
        payload = msgspec.msgpack.encode(list(records))
        self.outbox.send(Report("worker", 1, 4711, payload, dropped, records=len(records)))

    def heard(self, kind: type) -> list[Any]:
        """Return what the room has said of a kind."""
        return [message for message in self.received if isinstance(message, kind)]

    def vanish(self) -> None:
        """Leave as a supervisor does that is killed: without a word."""
        assert self.outbox.close(IN_TIME_S)
        self.parent_out.close()

    def close(self) -> None:
        assert self.outbox.close(IN_TIME_S)
        for end in (self._ends[0], *self._ends[2:]):
            end.close()
        assert self.ended.wait(IN_TIME_S)
        self.reader.join(IN_TIME_S)
        self._ends[1].close()


class Running:
    """`main` in a thread."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self.logs = Path(settings.log_dir)
        self.supervisor = Supervisor()
        self.code: ExitCode | None = None
        self.error: ChatbotError | None = None
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="telemetry")
        self._thread.start()

    def _run(self) -> None:
        inbox: Inbox[Any] = Inbox(self.supervisor.child_inbox, process.INBOX)
        outbox = Outbox(self.supervisor.child_outbox)
        recorder = Recorder("telemetry", 0, outbox.offer)
        try:
            self.code = process.main(self._settings, inbox, outbox, recorder)
        except ChatbotError as error:
            self.error = error
        outbox.close(IN_TIME_S)

    def stop(self) -> None:
        """Stop it."""
        self.supervisor.outbox.send(Stop())
        self.join()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join(IN_TIME_S)
        assert not self._thread.is_alive()

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop()
        self.supervisor.close()


Start = Callable[..., Running]


@pytest.fixture(autouse=True)
def _loggers_given_back() -> Iterator[None]:
    """The room keeps the SDK's loggers until its process ends; here the process goes on."""
    yield
    for name in SdkLogHandler.LOGGERS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


@pytest.fixture
def start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Start]:
    """Start the room; at the end stop it, and see that it wrote nothing to the terminal."""
    with contextlib.ExitStack() as stack:

        def start_one(environ: dict[str, str] | None = None, *, debug: bool = False) -> Running:
            settings = TelemetrySettings(str(tmp_path / "logs"), debug, environ or {})
            running = Running(settings)
            stack.callback(running.close)
            return running

        yield start_one
    assert capfd.readouterr() == ("", "")


def span(number: int, **changes: Any) -> SpanRecord:
    made = SpanRecord(f"{1:032x}", f"{number:016x}", "", f"span {number}", 2, 10**18, 10**18 + 5)
    return msgspec.structs.replace(made, **changes)


def log(event: str, **fields: Any) -> LogRecord:
    return LogRecord(10**18, "info", event, "", fields)


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def span_names(logs: Path) -> list[str]:
    return [
        each["name"]
        for line in json_lines(logs / SPAN_FILE)
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
        for each in scope["spans"]
    ]


def counters(logs: Path) -> dict[str, dict[tuple[str, ...], int]]:
    """Return the counters of the last metrics line: by name, by the values of their attributes."""
    lines = json_lines(logs / METRIC_FILE)
    if not lines:  # nothing was counted, and there is nothing to export
        return {}
    (resource,) = lines[-1]["resourceMetrics"]
    return {
        metric["name"]: {
            tuple(sorted(a["value"]["stringValue"] for a in point.get("attributes", []))): int(
                point["asInt"]
            )
            for point in metric["sum"]["dataPoints"]
        }
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        if "sum" in metric
    }


def test_each_record_goes_to_its_file_and_stop_drains_them_all(start: Start) -> None:
    room = start()
    room.supervisor.wait_ready()
    for number in range(1, 2001):
        room.supervisor.report(
            span(number),
            log("call", number=number),
            Measurement("llm.usage.total_tokens", "counter", number),
        )
    room.stop()
    assert room.code is ExitCode.OK
    assert span_names(room.logs) == [f"span {number}" for number in range(1, 2001)]
    lines = json_lines(room.logs / LOG_FILE)
    assert [line["fields"]["number"] for line in lines] == list(range(1, 2001))
    assert counters(room.logs)["llm.usage.total_tokens"] == {(): 2001000}
    trace_lines = (room.logs / TRACE_LOG_FILE).read_text().splitlines()
    assert len([line for line in trace_lines if " span process=worker pid=4711 " in line]) == 2000


def test_what_stands_behind_the_stop_is_taken_too(tmp_path: Path) -> None:
    supervisor = Supervisor()
    inbox: Inbox[Any] = Inbox(supervisor.child_inbox, process.INBOX)
    outbox = Outbox(supervisor.child_outbox)
    inbox.post(Stop())
    for number in range(3000):  # more than one batch holds
        payload = msgspec.msgpack.encode([log("late", n=number)])
        inbox.post(Report("ui", 0, 1, payload))
    settings = TelemetrySettings(str(tmp_path))
    process.main(settings, inbox, outbox, Recorder("telemetry", 0, outbox.offer))
    outbox.close(IN_TIME_S)
    supervisor.close()
    lines = json_lines(tmp_path / LOG_FILE)
    assert [line["fields"]["n"] for line in lines] == list(range(3000))


def test_records_are_on_the_disk_within_a_second_without_a_further_message(start: Start) -> None:
    room = start()
    room.supervisor.wait_ready()
    room.supervisor.report(span(1), log("one"))
    wait_for(lambda: (room.logs / LOG_FILE).read_text() != "", timeout_s=5)
    wait_for(lambda: (room.logs / SPAN_FILE).read_text() != "", timeout_s=5)
    assert span_names(room.logs) == ["span 1"]


def test_it_beats_while_idle(start: Start) -> None:
    room = start()
    wait_for(lambda: len([m for m in room.supervisor.received if type(m).__name__ == "Beat"]) >= 2)


def test_metrics_are_written_at_every_interval_while_nothing_arrives(start: Start) -> None:
    room = start({"OTEL_METRIC_EXPORT_INTERVAL": "20"})
    room.supervisor.report(Measurement("chatbot.retries", "counter", 1))
    wait_for(lambda: text_of(room.logs / METRIC_FILE).count("\n") >= 3)


@pytest.mark.parametrize(("filter_", "shown"), [("always_off", False), ("trace_based", True)])
def test_the_standard_variable_chooses_the_exemplars_of_the_file(
    start: Start, filter_: str, shown: bool
) -> None:
    room = start({"OTEL_METRICS_EXEMPLAR_FILTER": filter_})
    traceparent = f"00-{7:032x}-{8:016x}-01"
    room.supervisor.report(Measurement("chatbot.retries", "counter", 1, {}, traceparent))
    room.stop()
    assert (f"{7:032x}" in text_of(room.logs / METRIC_FILE)) == shown


def test_an_id_that_is_none_is_quoted_in_the_trace_log(start: Start) -> None:
    room = start()
    room.supervisor.report(span(1, parent_id="a b\n"), span(2, span_id="c d\n"))
    room.stop()
    lines = text_of(room.logs / TRACE_LOG_FILE).splitlines()
    spans = [line for line in lines if " span process=" in line]
    assert ['parent="a b\\n"' in spans[0], 'span="c d\\n"' in spans[1]] == [True, True]


def test_dropped_records_are_counted_by_process(start: Start) -> None:
    room = start()
    room.supervisor.report(log("one"), dropped=3)
    room.supervisor.report(log("two"), dropped=4)
    room.stop()
    assert counters(room.logs)["chatbot.telemetry.dropped"] == {("queue_full", "worker"): 7}


def test_a_bad_payload_is_logged_and_counted_and_its_good_records_are_kept(start: Start) -> None:
    room = start()
    good = msgspec.msgpack.encode(log("good"))
    bad = msgspec.msgpack.encode(["NoSuchRecord", 1])
    room.supervisor.outbox.send(Report("ui", 0, 1, b"\x93" + good + bad + good))
    room.supervisor.outbox.send(Report("ui", 0, 1, b"not MessagePack at all"))
    room.supervisor.report(log("after"), span(1, trace_id="nonsense"), span(2))
    room.stop()
    events = [line["event"] for line in json_lines(room.logs / LOG_FILE)]
    assert sorted(events) == ["after", "good", "good", "report_malformed", "report_malformed"]
    assert span_names(room.logs) == ["span 2"]
    assert counters(room.logs)["chatbot.telemetry.dropped"] == {
        ("malformed", "ui"): 2,
        ("malformed_span", "telemetry"): 1,
    }


def test_a_key_reaches_none_of_the_files(start: Start) -> None:
    room = start()
    key = "sk-ant-api03-abcdefghijklmnop"
    room.supervisor.report(
        log("failed", error=f"401 for {key}"),
        span(1, error=f"401 for {key}", attributes={"message": f"Bearer {key}"}),
        Measurement("chatbot.retries", "counter", 1, {"reason": key}),
    )
    room.stop()
    files = [file.read_text() for file in room.logs.iterdir()]
    assert len(files) == 4
    assert not [text for text in files if key in text]
    assert all("[redacted]" in text for text in files)


def test_debug_records_come_through_only_with_debug(start: Start) -> None:
    room = start(debug=True)
    room.supervisor.report(LogRecord(1, "debug", "detail"))
    room.stop()
    assert [line["event"] for line in json_lines(room.logs / LOG_FILE)] == ["detail"]


def test_with_the_sdk_disabled_only_the_log_is_written(start: Start) -> None:
    room = start({"OTEL_SDK_DISABLED": "true"})
    room.supervisor.report(span(1), log("one"), Measurement("chatbot.retries", "counter", 1))
    room.stop()
    assert [file.name for file in room.logs.iterdir()] == [LOG_FILE]
    assert [line["event"] for line in json_lines(room.logs / LOG_FILE)] == ["one"]


def test_a_log_directory_that_cannot_be_written_is_told_before_ready(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("a file is in the way")
    room = start()
    wait_for(lambda: room.error is not None)
    assert "--log-dir" in str(room.error)
    assert "\n" not in str(room.error)
    assert room.supervisor.received == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_told_once_and_costs_the_other_files_nothing(
    start: Start, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / TRACE_LOG_FILE).symlink_to("/dev/full")
    room = start()
    for number in range(1, 4):
        room.supervisor.report(span(number), log("one"))
        wait_for(lambda n=number: text_of(logs / LOG_FILE).count('"one"') == n)  # type: ignore[misc]
    room.stop()
    events = [line["event"] for line in json_lines(logs / LOG_FILE)]
    assert sorted(events) == ["one", "one", "one", "write_failed"]
    assert span_names(logs) == ["span 1", "span 2", "span 3"]
    failures = counters(logs)["chatbot.telemetry.write_failures"]
    assert list(failures) == [(TRACE_LOG_FILE,)]


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture
def abandoned(monkeypatch: pytest.MonkeyPatch) -> list[Gate]:
    """The gates that were given up at the end, after the time that a collector has then."""
    gates: list[Gate] = []
    abandon = Gate.abandon

    def note(gate: Gate) -> None:
        gates.append(gate)
        abandon(gate)

    monkeypatch.setattr(Gate, "abandon", note)
    return gates


def test_without_a_collector_nobody_is_waited_for(start: Start, abandoned: list[Gate]) -> None:
    room = start()
    room.supervisor.wait_ready()
    room.supervisor.report(span(1))
    room.stop()
    assert abandoned == []


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def test_a_dead_collector_is_not_waited_for_and_costs_nothing_of_the_files(
    start: Start, abandoned: list[Gate]
) -> None:
    room = start({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{closed_port()}"})
    room.supervisor.wait_ready()
    room.supervisor.report(span(1))
    wait_for(lambda: '"otlp_unreachable"' in text_of(room.logs / LOG_FILE))
    room.supervisor.report(span(2))
    room.stop()
    assert abandoned == []
    assert span_names(room.logs) == ["span 1", "span 2"]
    lost = counters(room.logs).get("chatbot.telemetry.dropped", {})
    assert sum(lost.values()) <= 2  # an export may still be waiting to try again


def test_a_collector_that_never_answers_is_given_up(start: Start, abandoned: list[Gate]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        room = start({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
        room.supervisor.wait_ready()
        room.supervisor.report(span(1))
        room.stop()
    assert len(abandoned) == len(SIGNALS)
    assert span_names(room.logs) == ["span 1"]


@pytest.fixture
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """An HTTP server that takes everything; its address, and what came by path."""
    bodies: dict[str, list[bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join(IN_TIME_S)


def test_a_collector_gets_the_spans_and_metrics_that_the_files_get(
    start: Start, collector: tuple[str, dict[str, list[bytes]]]
) -> None:
    url, bodies = collector
    room = start({"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    room.supervisor.report(span(1), Measurement("chatbot.retries", "counter", 2))
    room.stop()
    assert span_names(room.logs) == ["span 1"]
    traces = [ExportTraceServiceRequest.FromString(body) for body in bodies["/v1/traces"]]
    assert traces[0].resource_spans[0].scope_spans[0].spans[0].name == "span 1"
    metrics = [ExportMetricsServiceRequest.FromString(body) for body in bodies["/v1/metrics"]]
    sums = {
        metric.name: metric.sum.data_points[0].as_int
        for metric in metrics[-1].resource_metrics[0].scope_metrics[0].metrics
    }
    assert sums == {"chatbot.retries": 2, "chatbot.telemetry.exported": 1}
    decisions = (room.logs / TRACE_LOG_FILE).read_text()
    assert f"export decision signal=traces otlp={url}/v1/traces" in decisions


def started(number: int) -> SpanStarted:
    return SpanStarted(f"{1:032x}", f"{number:016x}", "", f"span {number}", 2, 10**18)


def spans_of(logs: Path) -> dict[str, dict[str, Any]]:
    """Return the spans of the trace file by their names; each is there once."""
    spans = [
        each
        for line in json_lines(logs / SPAN_FILE)
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
        for each in scope["spans"]
    ]
    by_name = {each["name"]: each for each in spans}
    assert len(by_name) == len(spans)
    return by_name


def test_the_open_spans_of_a_killed_process_are_ended_as_errors_everywhere(start: Start) -> None:
    room = start()
    room.supervisor.report(started(1), started(2), started(3))
    room.supervisor.report(span(2))
    room.supervisor.outbox.send(
        ProcessEnded("worker", 1, 4711, 10**18 + 700, "killed by signal 9 (key sk-0123456789)")
    )
    room.supervisor.outbox.send(Flush("f"))
    wait_for(lambda: room.supervisor.heard(Flushed) == [Flushed("f")])
    spans = spans_of(room.logs)
    assert list(spans) == ["span 2", "span 1", "span 3"]
    assert "status" not in spans["span 2"] or spans["span 2"]["status"] == {}
    for name in ("span 1", "span 3"):
        ended = spans[name]
        assert ended["endTimeUnixNano"] == str(10**18 + 700)
        assert ended["status"] == {"code": 2, "message": "killed by signal 9 (key [redacted])"}
        assert {"key": "error.type", "value": {"stringValue": "process_ended"}} in ended[
            "attributes"
        ]
    lines = (room.logs / TRACE_LOG_FILE).read_text().splitlines()
    assert len([line for line in lines if "process=worker pid=4711" in line]) == 3
    room.stop()
    assert len(spans_of(room.logs)) == 3


def test_what_is_open_at_the_end_is_ended_by_it(start: Start) -> None:
    room = start()
    room.supervisor.report(started(1))
    room.stop()
    status = spans_of(room.logs)["span 1"]["status"]
    assert status == {"code": 2, "message": "the program ended"}


@pytest.mark.parametrize(("killed", "error"), [(False, ""), (True, "the program ended")])
def test_what_a_supervisor_has_left_open_is_an_error_only_where_it_was_killed(
    start: Start, killed: bool, error: str
) -> None:
    room = start()
    payload = msgspec.msgpack.encode([started(1)])
    room.supervisor.outbox.send(Report("supervisor", 0, 4710, payload, records=1))
    if killed:
        room.supervisor.vanish()
        room.join()
    else:
        room.stop()
    assert spans_of(room.logs)["span 1"].get("status", {}).get("message", "") == error


def test_when_the_supervisor_is_killed_all_is_written_down_once(start: Start) -> None:
    room = start()
    for number in range(1, 501):
        room.supervisor.report(started(number))
    for number in range(1, 401):
        room.supervisor.report(span(number), Measurement("chatbot.retries", "counter", 1))
    room.supervisor.vanish()
    room.join()
    spans = spans_of(room.logs)
    failed = [name for name, each in spans.items() if each.get("status", {}).get("code") == 2]
    assert failed == [f"span {number}" for number in range(401, 501)]
    assert len(spans) == 500
    assert counters(room.logs)["chatbot.retries"] == {(): 400}


def test_after_flush_all_that_was_reported_can_be_read(start: Start) -> None:
    room = start()
    for number in range(1, 1001):
        room.supervisor.report(span(number), log("one"))
        if number % 100 == 0:
            room.supervisor.outbox.send(Flush(f"{number}"))
            wait_for(lambda n=number: Flushed(f"{n}") in room.supervisor.received)  # type: ignore[misc]
            assert len(span_names(room.logs)) == number
            assert len(json_lines(room.logs / LOG_FILE)) == number


def test_with_the_sdk_disabled_flush_is_answered_and_open_spans_are_nobodys(start: Start) -> None:
    room = start({"OTEL_SDK_DISABLED": "true"})
    room.supervisor.report(started(1), log("one"))
    room.supervisor.outbox.send(ProcessEnded("worker", 1, 4711, 1, "killed"))
    room.supervisor.outbox.send(Flush("f"))
    wait_for(lambda: room.supervisor.heard(Flushed) == [Flushed("f")])
    assert [line["event"] for line in json_lines(room.logs / LOG_FILE)] == ["one"]


def test_the_supervisor_hears_how_much_was_given_up(start: Start) -> None:
    room = start()
    room.supervisor.report(log("one"), dropped=3)
    wait_for(lambda: room.supervisor.heard(TelemetryStatus) != [])
    assert room.supervisor.heard(TelemetryStatus) == [TelemetryStatus(3)]
    room.supervisor.report(span(1, trace_id="nonsense"), dropped=4)
    wait_for(lambda: len(room.supervisor.heard(TelemetryStatus)) == 2)
    assert room.supervisor.heard(TelemetryStatus)[1] == TelemetryStatus(8)


def spawn(supervisor: Supervisor, logs: Path, environ: dict[str, str] | None = None) -> Any:
    child = plan.telemetry(SETTINGS).child
    settings = TelemetrySettings(str(logs), environ=environ or NO_COLLECTOR)
    ends = (supervisor.child_inbox, supervisor.child_outbox)
    born = SPAWN.Process(target=actor.run, args=(child, *ends))
    born.start()
    supervisor.parent_out.send_bytes(msgspec.msgpack.encode(settings))
    return born


def test_the_supervisor_hears_of_losses_once_a_second_at_most(tmp_path: Path) -> None:
    told: list[Any] = []
    telemetry = process.Telemetry(
        TelemetrySettings(str(tmp_path), environ=NO_COLLECTOR), told.append
    )
    assert telemetry._sdk is not None
    for tenths in range(25):
        telemetry._sdk.dropped(1, "queue_full", "worker")
        telemetry._tell_status(telemetry._sdk, 100.0 + tenths / 10)
    telemetry.close(in_order=True)
    assert told == [TelemetryStatus(number) for number in (1, 11, 21)]


def test_what_the_sdk_says_of_its_end_is_not_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = process.Telemetry(TelemetrySettings(str(tmp_path), environ=NO_COLLECTOR), print)
    sdk = telemetry._sdk
    assert sdk is not None
    logger = logging.getLogger("opentelemetry.sdk")
    logger.warning("while it runs")
    close = sdk.close

    def complaining() -> None:
        logger.warning("already shut down")
        close()

    monkeypatch.setattr(sdk, "close", complaining)
    telemetry.close(in_order=True)
    messages = [line["fields"]["message"] for line in json_lines(tmp_path / LOG_FILE)]
    assert messages == ["while it runs"]


WRONG = {
    "OTEL_METRICS_EXEMPLAR_FILTER": "bogus",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "-3",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "x",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
    "OTEL_EXPORTER_OTLP_HEADERS": "s3cret",
}


def test_wrong_variables_end_nothing_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The SDK reads the environment of its process, which a child is born with."""
    logs = tmp_path / "logs"
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # its exporters are made, too
        port = silent.getsockname()[1]
        endpoint = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        supervisor = Supervisor()
        born = spawn(supervisor, logs, {**WRONG, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
        supervisor.wait_ready()
        assert supervisor.heard(Ready)
        supervisor.report(span(1), Measurement("chatbot.retries", "counter", 1))
        wait_for(lambda: "span 1" in text_of(logs / SPAN_FILE))
        supervisor.outbox.send(Stop())
        born.join(IN_TIME_S)
    supervisor.close()
    assert born.exitcode == ExitCode.OK
    told = {
        line["fields"]["name"]: line["fields"]["used"]
        for line in json_lines(logs / LOG_FILE)
        if line["event"] == "wrong_variable"
    }
    assert told == {
        "OTEL_METRICS_EXEMPLAR_FILTER": "trace_based",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "128",
        "OTEL_SPAN_LINK_COUNT_LIMIT": "128",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "10000",
        "OTEL_EXPORTER_OTLP_HEADERS": "0 of 1 headers",
    }
    assert counters(logs)["chatbot.retries"] == {(): 1}
    assert "s3cret" not in text_of(logs / LOG_FILE) + text_of(logs / TRACE_LOG_FILE)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_process_has_lost_nothing_that_was_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    for life in (1, 2):
        supervisor = Supervisor()
        born = spawn(supervisor, logs)
        supervisor.wait_ready()
        supervisor.report(span(life), log("one"))
        wait_for(lambda n=life: text_of(logs / SPAN_FILE).count("\n") == n)  # type: ignore[misc]
        os.kill(born.pid, signal.SIGKILL)
        born.join(IN_TIME_S)
        assert born.exitcode == -signal.SIGKILL
        supervisor.close()
        # What a kill in the middle of a write leaves is a half line; the next life begins a fresh one.
        if life == 1:
            with (logs / LOG_FILE).open("a") as file:
                file.write('{"half')
    assert span_names(logs) == ["span 1", "span 2"]
    lines = (logs / LOG_FILE).read_text().splitlines()
    assert [json.loads(line)["event"] for line in (lines[0], lines[2])] == ["one", "one"]
    assert lines[1] == '{"half'
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM")
def test_a_signal_to_all_the_program_does_not_end_who_writes_down_its_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    supervisor = Supervisor()
    born = spawn(supervisor, logs)
    supervisor.wait_ready()
    supervisor.report(started(1), log("before"))
    wait_for(lambda: "before" in text_of(logs / LOG_FILE))
    os.kill(born.pid, signal.SIGTERM)
    supervisor.report(span(1), Measurement("chatbot.retries", "counter", 1))
    wait_for(lambda: "span 1" in text_of(logs / TRACE_LOG_FILE))
    supervisor.vanish()
    born.join(IN_TIME_S)
    assert born.exitcode == ExitCode.OK
    supervisor.close()
    assert not spans_of(logs)["span 1"].get("status")
    assert counters(logs)["chatbot.retries"] == {(): 1}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("listening", [False, True])
def test_a_process_whose_collector_is_down_leaves_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], listening: bool
) -> None:
    supervisor = Supervisor()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if listening else closed_port()
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        born = spawn(supervisor, tmp_path / "logs", environ)
        supervisor.wait_ready()
        supervisor.report(span(1))
        wait_for(lambda: "span 1" in text_of(tmp_path / "logs" / SPAN_FILE))
        supervisor.outbox.send(Stop())
        born.join(IN_TIME_S)
    assert born.exitcode == ExitCode.OK
    supervisor.close()
    assert capfd.readouterr() == ("", "")


def true_total(path: Path, name: str) -> int:
    """Return the total of a counter: its last values, over all its start times."""
    last: dict[tuple[str, str], int] = {}
    for line in json_lines(path):
        for resource in line["resourceMetrics"]:
            for metric in resource["scopeMetrics"][0]["metrics"]:
                if metric["name"] == name:
                    for point in metric["sum"]["dataPoints"]:
                        key = (point["startTimeUnixNano"], json.dumps(point.get("attributes")))
                        last[key] = int(point["asInt"])
    return sum(last.values())


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_sums_survive_kill_9(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    words = logs / f"{METRIC_FILE}.{os.getpid()}.last"
    for life in range(1, 4):
        supervisor = Supervisor()
        born = spawn(supervisor, logs)
        supervisor.wait_ready()
        supervisor.report(Measurement("chatbot.retries", "counter", life))
        wait_for(lambda n=life: f'"asInt":"{n}"' in text_of(words))  # type: ignore[misc]
        os.kill(born.pid, signal.SIGKILL)
        born.join(IN_TIME_S)
        supervisor.close()
    supervisor = Supervisor()
    born = spawn(supervisor, logs)
    supervisor.wait_ready()
    supervisor.report(Measurement("chatbot.retries", "counter", 10))
    supervisor.outbox.send(Stop())
    born.join(IN_TIME_S)
    supervisor.close()
    assert true_total(logs / METRIC_FILE, "chatbot.retries") == 16
    assert not list(logs.glob("*.last*"))


def test_it_tells_what_it_takes_in_hand_a_few_reports_at_once(start: Start) -> None:
    room = start()
    for number in range(150):
        room.supervisor.report(log(f"line {number}"))
    room.supervisor.outbox.send(ProcessEnded("worker", 1, 4711, 0, "exit code 0"))
    room.supervisor.outbox.send(Flush("f"))
    room.stop()
    taken = [message.reports for message in room.supervisor.heard(Taken)]
    assert sum(taken) == 151  # a Flush and a Stop are not given to a successor
    assert max(taken) <= 64


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("how", ["killed by signal 9", "exit code 0", ""])
def test_what_was_open_when_telemetry_was_killed_is_ended_by_its_successor(
    tmp_path: Path, how: str
) -> None:
    logs = tmp_path / "logs"
    table = logs / f"{SPAN_FILE}.{os.getpid()}.open"
    supervisor = Supervisor()
    born = spawn(supervisor, logs)
    supervisor.wait_ready()
    supervisor.report(started(1), started(2), started(3))
    wait_for(table.exists)
    supervisor.report(span(3))
    wait_for(lambda: "span 3" in text_of(logs / SPAN_FILE))
    os.kill(born.pid, signal.SIGKILL)
    born.join(IN_TIME_S)
    supervisor.close()
    supervisor = Supervisor()
    born = spawn(supervisor, logs)
    supervisor.wait_ready()
    supervisor.report(span(2))
    if how:
        supervisor.outbox.send(ProcessEnded("worker", 1, 4711, 10**18 + 700, how))
    supervisor.outbox.send(Stop())
    born.join(IN_TIME_S)
    supervisor.close()
    errors = {
        name: each.get("status", {}).get("message", "") for name, each in spans_of(logs).items()
    }
    expected = {"killed by signal 9": "killed by signal 9", "exit code 0": ""}
    assert errors == {"span 1": expected.get(how, "the program ended"), "span 2": "", "span 3": ""}
    assert not list(logs.glob("*.open*")) + list(logs.glob("*.lock"))


def test_what_a_dead_program_has_left_is_taken_at_once(start: Start, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    dead = 2**22 + 1  # no system gives its processes such a number
    (logs / f"telemetry.{dead}.lock").touch()
    left = [(Source("worker", 1, 4711), started(1))]
    table = logs / f"{SPAN_FILE}.{dead}.open"
    table.write_bytes(msgspec.json.encode(left))
    (logs / f"{METRIC_FILE}.{dead}.last").write_text('{"resourceMetrics":[]}\n')
    known_ns = table.stat().st_mtime_ns
    room = start()
    room.supervisor.wait_ready()
    (ended,) = spans_of(logs).values()
    assert ended["status"] == {"code": 2, "message": "the program was killed"}
    assert ended["endTimeUnixNano"] == str(max(known_ns, int(ended["startTimeUnixNano"])))
    assert text_of(logs / METRIC_FILE) == '{"resourceMetrics":[]}\n'
    room.stop()
    assert not [*logs.glob("*.open*"), *logs.glob("*.lock"), *logs.glob("*.last")]
