"""Where telemetry goes by OTLP, the gate before a collector, its courier, and the form of a line."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk.metrics.export import MetricsData

from chatbot.messages import AttributeValue, Level, LogRecord, SpanEvent, SpanRecord
from chatbot.telemetry import destination
from chatbot.telemetry.courier import BUDGET_BYTES, Courier
from chatbot.telemetry.destination import GRPC, HTTP, SIGNALS, Endpoint, Route, Signal, route
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.gate import Gate, NotTaken, listens
from chatbot.telemetry.judge import Judged
from chatbot.telemetry.logs import LogFile, TraceLog
from chatbot.telemetry.open import Source
from chatbot.telemetry.otlp import (
    FinishedSpan,
    LogLine,
    Newspaper,
    Otlp,
    size_of_line,
    size_of_span,
)
from chatbot.telemetry.otlp_logs import readable
from chatbot.telemetry.resources import Resources
from tests.collector import Receiver, free_ports
from tests.fakes import eventually

SEARCHED = destination.SEARCHED  # as it is; in every test nobody is searched for
E = "OTEL_EXPORTER_OTLP_ENDPOINT"
T = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
P = "OTEL_EXPORTER_OTLP_PROTOCOL"


@pytest.mark.parametrize(
    ("environ", "url", "protocol"),
    [
        ({E: "http://c:4318"}, "http://c:4318/v1/traces", HTTP),
        ({E: "http://c:4318/base/"}, "http://c:4318/base/v1/traces", HTTP),
        ({E: "https://c"}, "https://c/v1/traces", HTTP),
        ({T: "http://c/x"}, "http://c/x", HTTP),
        ({E: "http://c:4318", T: "https://d/x"}, "https://d/x", HTTP),
        ({E: "http://c:4317"}, "http://c:4317", GRPC),
        ({E: "http://c:4317", P: "http/protobuf"}, "http://c:4317/v1/traces", HTTP),
        ({E: "http://c:9", P: "grpc"}, "http://c:9", GRPC),
        ({E: "http://c:9", P: " GRPC "}, "http://c:9", GRPC),
        ({E: "http://c:9", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "http://c:9", GRPC),
        ({E: "c:9", P: "grpc"}, "https://c:9", GRPC),
        ({E: "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, "http://c:4317", GRPC),
        ({E: "http://c:9", "OTEL_TRACES_EXPORTER": "console,otlp"}, "http://c:9/v1/traces", HTTP),
    ],
)
def test_traces_go_where_the_variables_say(
    environ: dict[str, str], url: str, protocol: str
) -> None:
    way = route(environ, "traces")
    (endpoint,) = way.endpoints
    assert (endpoint.url, endpoint.protocol, way.searched) == (url, protocol, False)
    assert endpoint.insecure is url.startswith("http://")


def test_the_variables_of_one_signal_say_nothing_of_another() -> None:
    assert route({T: "http://c/x"}, "logs") == Route((), searched=True)
    assert route({T: "http://c/x", E: "http://d"}, "logs").endpoints[0].host == "d"


def test_without_an_endpoint_http_is_searched_before_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "SEARCHED", SEARCHED)
    for signal in SIGNALS:
        way = route({}, signal)
        assert way.searched
        assert [each.url for each in way.endpoints] == [
            f"http://127.0.0.1:4318/v1/{signal}",
            "http://127.0.0.1:4317",
        ]
    assert way.decision == (
        "whoever listens at http://127.0.0.1:4318/v1/logs or http://127.0.0.1:4317"
    )
    assert [each.port for each in route({P: "grpc"}, "logs").endpoints] == [4317]
    assert [each.port for each in route({P: HTTP}, "logs").endpoints] == [4318]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({E: "localhost:4318"}, "not an http"),
        ({E: "http://"}, "not an http"),
        ({E: "http://c:99999"}, "not an http"),
        ({E: "unix:///run/otel", P: "grpc"}, "not an http"),
        ({E: "http://c:4318", P: "http/json"}, "protocol http/json is not supported"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "exporter zipkin is not supported"),
    ],
)
def test_what_cannot_be_exported_to_is_refused_with_a_reason(
    environ: dict[str, str], reason: str
) -> None:
    way = route(environ, "traces")
    assert way.endpoints == ()
    assert reason in way.refused
    assert way.decision == way.refused


def test_none_is_an_exporter_and_no_mistake() -> None:
    environ = {"OTEL_LOGS_EXPORTER": "none", E: "http://c"}
    assert route(environ, "logs") == Route()
    assert route(environ, "traces").endpoints


def test_timeouts_are_milliseconds_and_unknown_compressions_are_none() -> None:
    def first(**variables: str) -> Endpoint:
        of = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in variables.items()}
        return route({E: "http://c:1", **of}, "metrics").endpoints[0]

    timeouts = ("2500", "0", "soon", "")
    assert [first(TIMEOUT=text).timeout_s for text in timeouts] == [2.5, 10.0, 10.0, 10.0]
    assert first(TIMEOUT="1", METRICS_TIMEOUT="700").timeout_s == 0.7
    packed = ("gzip", "GZIP", "deflate", "none", "zstd")
    assert [first(COMPRESSION=c).compression for c in packed] == ["gzip", "gzip", "deflate", "", ""]
    assert first(COMPRESSION="deflate", PROTOCOL="grpc").compression == ""


def test_a_password_in_an_address_is_not_shown() -> None:
    (endpoint,) = route({E: "https://me:secret@[::1]:9/a?key=secret"}, "traces").endpoints
    assert endpoint.shown == "https://[::1]:9/a"
    assert (endpoint.host, endpoint.port) == ("::1", 9)


# --- the gate --------------------------------------------------------------------------------


class Result(Enum):
    SUCCESS = 0
    FAILURE = 1


class Exporting:
    """An exporter whose result the test says."""

    def __init__(self) -> None:
        self.result: Result | Exception = Result.SUCCESS
        self.batches: list[Sequence[Any]] = []
        self.shut = 0

    def export(self, batch: Sequence[Any], /) -> Result:
        if isinstance(self.result, Exception):
            raise self.result
        self.batches.append(batch)
        return self.result

    def shutdown(self) -> None:
        self.shut += 1


class Scene:
    """A gate, its clock, and what was told."""

    def __init__(self, *urls: str, searched: bool = False) -> None:
        self.now = 1000.0
        self.news: list[tuple[str, str]] = []
        self.reasons: list[str] = []
        self.exporter = Exporting()
        self.opened: list[str] = []
        self.error: Exception | None = None
        route = Route(tuple(Endpoint(url) for url in urls), searched=searched)
        self.gate = Gate("traces", route, self.connect, self.tell, lambda: self.now)

    def connect(self, endpoint: Endpoint, signal: Signal) -> Exporting:
        if self.error is not None:
            raise self.error
        self.opened.append(endpoint.url)
        return self.exporter

    def tell(self, change: str, signal: Signal, where: str, reason: str = "") -> None:
        self.news.append((change, where))
        self.reasons.append(reason)

    def send(self) -> bool:
        return self.gate.send(["span"], 1)

    def looks_after(self) -> float:
        """Let time pass until it is due; return how long that took."""
        passed = 0.0
        while not self.gate.is_due():
            self.now += 0.5
            passed += 0.5
        return passed


@pytest.fixture
def listener() -> Iterator[Callable[[], str]]:
    """Return a function that begins to listen, and its address."""
    sockets: list[socket.socket] = []

    def listen() -> str:
        sockets.append(socket.create_server(("127.0.0.1", 0)))
        return f"http://127.0.0.1:{sockets[-1].getsockname()[1]}"

    yield listen
    for each in sockets:
        each.close()


def deserted() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_the_first_batch_waits_for_the_look_and_is_sent(listener: Callable[[], str]) -> None:
    url = listener()
    scene = Scene(url, searched=True)
    assert scene.gate.where == ""
    assert scene.send()
    assert (scene.exporter.batches, scene.gate.sent) == ([["span"]], 1)
    assert scene.gate.where == url
    assert scene.news == [("found", url)]
    scene.send()
    assert len(scene.news) == 1


def test_nobody_there_is_no_loss_and_is_looked_for_more_and_more_seldom() -> None:
    scene = Scene(deserted(), deserted(), searched=True)
    pauses = []
    for _ in range(6):
        assert not scene.send()
        assert not scene.send()  # not due: no second look
        pauses.append(scene.looks_after())
    assert pauses == [1, 2, 4, 8, 10, 10]
    assert scene.gate.lost == 0
    assert scene.news == []  # nobody has asked for one


def test_an_endpoint_that_was_asked_for_is_missed_aloud() -> None:
    url = deserted()
    scene = Scene(url)
    scene.send()
    assert scene.news == [("unreachable", url)]


def test_a_collector_that_dies_and_comes_back_is_used_again(listener: Callable[[], str]) -> None:
    url = listener()
    scene = Scene(url)
    scene.send()
    first, scene.exporter.result = scene.exporter, Result.FAILURE
    assert not scene.send()
    assert (scene.gate.where, scene.gate.lost, first.shut) == ("", 1, 1)
    assert not scene.send()  # given up at once: the exporter is not asked
    assert (scene.gate.lost, len(first.batches)) == (1, 2)
    scene.exporter = Exporting()
    assert scene.looks_after() == 1
    assert scene.send()
    assert scene.gate.where == url
    assert scene.news == [("found", url), ("gone", url), ("back", url)]
    scene.exporter.result = Result.FAILURE
    scene.send()
    assert scene.looks_after() == 1  # the success began anew


def test_an_exporter_that_raises_has_failed(listener: Callable[[], str]) -> None:
    scene = Scene(listener())
    scene.exporter.result = ValueError("no proto")
    assert not scene.send()
    assert (scene.gate.lost, scene.exporter.shut) == (1, 1)


def test_who_is_there_and_will_not_have_it_refuses(listener: Callable[[], str]) -> None:
    url = listener()
    scene = Scene(url)
    scene.send()
    scene.exporter.result = NotTaken("HTTP 401 Unauthorized", refused=True)
    assert not scene.send()
    assert (scene.gate.where, scene.gate.lost) == ("", 1)
    scene.looks_after()
    scene.exporter.result = NotTaken("HTTP 503 Service Unavailable")
    assert not scene.send()
    assert scene.news == [("found", url), ("refused", url), ("unreachable", url)]
    assert scene.reasons[1:] == ["HTTP 401 Unauthorized", "HTTP 503 Service Unavailable"]


def test_who_listens_but_is_no_collector_makes_room_for_the_other(
    listener: Callable[[], str],
) -> None:
    wrong, right = listener(), listener()
    scene = Scene(wrong, right, searched=True)
    scene.exporter.result = Result.FAILURE
    scene.send()
    scene.looks_after()
    scene.exporter.result = Result.SUCCESS
    assert scene.send()
    assert scene.opened == [wrong, right]
    assert scene.gate.where == right


def test_variables_that_no_exporter_can_use_are_told_once_and_for_all(
    listener: Callable[[], str],
) -> None:
    scene = Scene(listener())
    scene.error = ValueError("bad certificate")
    assert not scene.send()
    assert [change for change, _ in scene.news] == ["refused"]
    scene.now += 1e6
    assert not scene.gate.is_due()
    assert not scene.send()
    assert len(scene.news) == 1


def test_at_the_end_this_machine_is_looked_at_once_more(listener: Callable[[], str]) -> None:
    url = listener()
    scene = Scene(url)
    scene.exporter.result = Result.FAILURE
    scene.send()
    scene.exporter.result = Result.SUCCESS
    assert not scene.gate.is_due()
    scene.gate.hurry()
    assert scene.send()


def test_at_the_end_a_host_that_was_down_is_not_asked_again() -> None:
    scene = Scene("http://192.0.2.1:4318")  # an address for documentation: nobody has it
    scene.exporter.result = Result.FAILURE
    scene.send()
    scene.gate.hurry()
    assert not scene.send()
    assert len(scene.exporter.batches) == 1


def test_at_the_end_the_first_failure_is_the_last(listener: Callable[[], str]) -> None:
    scene = Scene(listener())
    scene.gate.hurry()
    scene.exporter.result = Result.FAILURE
    scene.send()
    scene.now += 1e6
    assert not scene.send()
    assert len(scene.exporter.batches) == 1


def test_abandoning_wakes_up_who_waits_and_sends_nothing_more(
    listener: Callable[[], str],
) -> None:
    scene = Scene(listener())
    scene.send()
    scene.gate.abandon()
    assert scene.exporter.shut == 1
    scene.exporter.result = Result.FAILURE
    scene.send()
    assert scene.exporter.shut == 1
    scene.now += 1e6
    assert not scene.send()


def test_only_this_machine_is_looked_at() -> None:
    assert not listens(Endpoint(deserted()))
    assert listens(Endpoint("http://no-such-host.invalid:4318"))


# --- the courier -----------------------------------------------------------------------------


class Slow(Exporting):
    """An exporter that waits for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.may_go_on = threading.Event()

    def export(self, batch: Sequence[Any], /) -> Result:
        self.began.set()
        assert self.may_go_on.wait(30)
        return super().export(batch)


@pytest.fixture
def slow(listener: Callable[[], str]) -> Scene:
    scene = Scene(listener())
    scene.exporter = Slow()
    return scene


def test_a_full_queue_refuses_and_counts(slow: Scene) -> None:
    assert isinstance(slow.exporter, Slow)
    courier = Courier(slow.gate, limit=10, delay_s=0.0)
    courier.add(0)
    assert slow.exporter.began.wait(30)
    for number in range(1, 16):
        courier.add(number)
    assert courier.refused == 5
    slow.exporter.may_go_on.set()
    courier.close()
    assert courier.join(30)
    assert slow.exporter.batches == [[0], list(range(1, 11))]
    assert (slow.gate.sent, courier.lost) == (11, 5)


def test_what_waits_and_what_is_being_sent_is_bounded_by_bytes_too(slow: Scene) -> None:
    assert isinstance(slow.exporter, Slow)
    courier = Courier(slow.gate, 1000, 0.0, len)
    text = "x" * (BUDGET_BYTES // 64)
    courier.add(text)
    assert slow.exporter.began.wait(30)
    for _ in range(100):
        courier.add(text)
    assert courier.refused == 101 - 64
    slow.exporter.may_go_on.set()
    assert eventually(lambda: slow.gate.sent == 64)
    courier.add(text)  # there is room again
    courier.close()
    assert courier.join(30)
    assert (slow.gate.sent, courier.lost) == (65, 37)
    assert max(len(batch) for batch in slow.exporter.batches) == 8  # a collector takes 4 MB at once


def test_a_batch_that_is_large_enough_does_not_wait(slow: Scene) -> None:
    assert isinstance(slow.exporter, Slow)
    slow.exporter.may_go_on.set()
    courier = Courier(slow.gate, 1000, 60.0, len)
    for _ in range(9):
        courier.add("x" * (BUDGET_BYTES // 64))
    assert eventually(lambda: slow.gate.sent == 8)
    courier.close()
    assert courier.join(30)


def test_the_size_of_a_record_is_that_of_the_text_in_it() -> None:
    long: dict[str, AttributeValue] = {"a": "x" * 5000, "b": ("x" * 5000, "y" * 5000), "c": 1}
    events = (SpanEvent("e", 1, {"a": "x" * 5000}),)
    span = SpanRecord("1" * 32, "1" * 16, "", "s", 0, 1, 2, long, events, error="x" * 5000)
    resource = Resources({}).of(Source("worker", 2, 4711))
    assert 25_000 < size_of_span(FinishedSpan(Judged(span), resource)) < 30_000
    line = LogLine(LogRecord(1, "info", "e", "", long), resource)
    assert 15_000 < size_of_line(line) < 18_000


def test_of_cumulative_metrics_only_the_newest_waits(slow: Scene) -> None:
    assert isinstance(slow.exporter, Slow)
    courier = Courier(slow.gate, limit=1, delay_s=0.0, newest=True)
    courier.add(0)
    assert slow.exporter.began.wait(30)
    for number in range(1, 16):
        courier.add(number)
    slow.exporter.may_go_on.set()
    courier.close()
    assert courier.join(30)
    assert slow.exporter.batches == [[0], [15]]
    assert courier.refused == 0


def test_batches_are_full_or_old(slow: Scene) -> None:
    assert isinstance(slow.exporter, Slow)
    slow.exporter.may_go_on.set()
    courier = Courier(slow.gate, limit=4000, delay_s=60.0)
    for number in range(1100):
        courier.add(number)
    assert eventually(lambda: slow.gate.sent == 1024)
    courier.close()
    assert courier.join(30)
    assert [len(batch) for batch in slow.exporter.batches] == [512, 512, 76]
    courier.add("late")
    assert (slow.gate.sent, courier.lost) == (1100, 0)


def test_at_the_end_everybody_looks_once_more(tmp_path: Path) -> None:
    """A collector that was started a moment ago gets the last metrics, and the next looks are far."""
    log, traces = RotatingFile(tmp_path / "log"), RotatingFile(tmp_path / "traces")
    (port,) = free_ports(1)
    environ = {E: f"http://127.0.0.1:{port}", "OTEL_LOGS_EXPORTER": "none"}
    otlp = Otlp(environ, LogFile(log, 1, debug=False), TraceLog(traces))
    otlp.add_metrics(MetricsData([]))

    def is_missed() -> bool:
        traces.flush()
        return "export unreachable signal=metrics" in (tmp_path / "traces").read_text()

    assert eventually(is_missed)
    receiver = Receiver(port=port)
    try:
        otlp.begin_shutdown()
        otlp.add_metrics(MetricsData([]))
        otlp.finish_shutdown()
    finally:
        receiver.close()
        log.close()
        traces.close()
    assert len(receiver.requests["/v1/metrics"]) == 1


def test_while_nobody_is_there_nothing_is_kept() -> None:
    scene = Scene(deserted())
    courier = Courier(scene.gate, limit=10, delay_s=0.0)
    courier.add(0)
    assert eventually(lambda: not scene.gate.is_due())
    for number in range(100):
        courier.add(number)
    assert courier.lost == 0
    courier.close()
    assert courier.join(30)


# --- lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "number"), [("debug", 5), ("info", 9), ("warning", 13), ("error", 17)]
)
def test_a_line_keeps_its_all(level: Level, number: int) -> None:
    fields: dict[str, AttributeValue] = {"port": 2**64, "ok": True, "kinds": ("a", "b"), "s": 0.5}
    traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    record = LogRecord(10**18, level, "listening", traceparent, fields)
    resource = Resources({}).of(Source("worker", 2, 4711))
    (group,) = encode_logs([readable(LogLine(record, resource))]).resource_logs
    names = {each.key: each.value.string_value for each in group.resource.attributes}
    assert names["service.name"] == "chatbot-worker"
    assert names["service.instance.id"].startswith("worker-2-4711@")
    (scope,) = group.scope_logs
    (line,) = scope.log_records
    assert (line.severity_number, line.severity_text) == (number, level)
    assert (line.body.string_value, line.event_name) == ("listening", "listening")
    assert (line.trace_id.hex(), line.span_id.hex(), line.flags) == ("ab" * 16, "cd" * 8, 1)
    assert line.time_unix_nano == 10**18
    values = {each.key: each.value for each in line.attributes}
    assert values["port"].string_value == str(2**64)
    assert values["ok"].bool_value
    assert [each.string_value for each in values["kinds"].array_value.values] == ["a", "b"]


@pytest.mark.parametrize("traceparent", ["", "00-nonsense", f"00-{'xy' * 16}-{'cd' * 8}-01"])
def test_a_line_without_a_trace_has_none(traceparent: str) -> None:
    record = LogRecord(-5, "info", "hello", traceparent)
    lines = encode_logs([readable(LogLine(record, Resources({}).of(Source("ui", 0, 1))))])
    line = lines.resource_logs[0].scope_logs[0].log_records[0]
    assert (line.trace_id, line.span_id, line.time_unix_nano) == (b"", b"", 0)


def test_what_is_wrong_is_said_once_a_minute_and_every_change_in_the_trace_log(
    tmp_path: Path,
) -> None:
    log, traces = RotatingFile(tmp_path / "log"), RotatingFile(tmp_path / "traces")
    tell = Newspaper(LogFile(log, 1, debug=False), TraceLog(traces))
    for _ in range(3):
        for signal in SIGNALS:
            tell("unreachable", signal, "http://c:1", "nobody listens there")
            tell("found", signal, "http://c:1")
            tell("gone", signal, "http://c:1", "it does not take what it is sent")
            tell("refused", signal, "http://c:1", "UNAUTHENTICATED: no such key as sk-123456789")
    log.close()
    traces.close()
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert events == ["otlp_unreachable", "otlp_gone", "otlp_refused"]
    told = (tmp_path / "traces").read_text().splitlines()
    assert len([line for line in told if " export unreachable " in line]) == 3
    assert len([line for line in told if " export found " in line]) == 9
    assert len([line for line in told if " export gone " in line]) == 9
    assert len([line for line in told if " export refused " in line]) == 3
    for text in ((tmp_path / "log").read_text(), *told):
        assert "sk-1" not in text
