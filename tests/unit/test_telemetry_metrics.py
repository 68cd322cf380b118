"""Measurements on their way into the metrics file: the sums are what was fed, in declared buckets."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chatbot.instruments import DECLARED
from chatbot.messages import AttributeValue, EncodedMeasurement, EncodedRecord, Measurement, Report
from chatbot.telemetry.exemplars import Reservoir, choice
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.last import MetricFile
from chatbot.telemetry.metrics import Meters
from chatbot.telemetry.resources import Resources
from chatbot.tracing import Recorder
from tests.unit.test_telemetry_spans import attributes_of


def count(name: str, value: float = 1, **attributes: AttributeValue) -> Measurement:
    return Measurement(name, "counter", value, attributes)


def observe(name: str, value: float, **attributes: AttributeValue) -> Measurement:
    return Measurement(name, "histogram", value, attributes)


def exemplars_of(point: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Return the exemplars of a data point: trace, span, value."""
    return [
        (
            each.get("traceId", ""),
            each.get("spanId", ""),
            float(each.get("asDouble", each.get("asInt"))),
        )
        for each in point.get("exemplars", [])
    ]


class Room:
    """Meters whose reader writes to a file, as in the telemetry process."""

    def __init__(self, directory: Path, interval_ms: int = 3_600_000, filter_: str = "") -> None:
        self.path = directory / "metrics"
        self.stream = RotatingFile(self.path)
        self.meters = Meters(Resources({}).of_program(4711), choice(filter_, interval_ms))
        self.file = MetricFile(self.stream, interval_ms, self.meters.collect, lambda _: None)

    def close(self) -> dict[str, Any]:
        """Shut down, and return the metrics of the last line by name."""
        self.file.write()
        self.stream.close()
        return last_metrics(self.path)


def last_metrics(path: Path) -> dict[str, Any]:
    (resource,) = json.loads(path.read_text().splitlines()[-1])["resourceMetrics"]
    (scope,) = resource["scopeMetrics"]
    return {metric["name"]: metric for metric in scope["metrics"]}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.stream.close()


def test_counters_hold_the_sum_of_what_was_fed_after_the_final_flush(room: Room) -> None:
    for value in (100, 20, 3):
        assert room.meters.add(count("llm.usage.input_tokens", value, backend="sim")) == ""
    room.meters.add(count("llm.usage.input_tokens", 7, backend="ollama"))
    metric = room.close()["llm.usage.input_tokens"]
    points = metric["sum"]["dataPoints"]
    sums = {attributes_of(point)["backend"]: int(point["asInt"]) for point in points}
    assert sums == {"sim": 123, "ollama": 7}
    assert metric["sum"]["isMonotonic"]
    assert metric["sum"]["aggregationTemporality"] == 2  # cumulative


def test_histograms_hold_count_and_sum_in_the_declared_buckets(room: Room) -> None:
    for value in (3.0, 80.0, 90.5, 200_000.0):
        room.meters.add(observe("http.client.request.duration", value))
    metric = room.close()["http.client.request.duration"]
    (point,) = metric["histogram"]["dataPoints"]
    assert metric["unit"] == "ms"
    assert (int(point["count"]), point["sum"]) == (4, 200_173.5)
    assert point["explicitBounds"][:6] == [5, 10, 25, 50, 75, 100]
    assert point["explicitBounds"][-4:] == [20000, 40000, 80000, 160000]
    filled = [index for index, number in enumerate(point["bucketCounts"]) if int(number)]
    assert filled == [0, 5, 18]
    assert metric["histogram"]["aggregationTemporality"] == 2


@pytest.mark.parametrize(
    ("name", "unit", "first", "last"),
    [
        ("gen_ai.client.operation.duration", "s", 0.01, 81.92),
        ("gen_ai.client.operation.time_to_first_chunk", "s", 0.01, 81.92),
        ("gen_ai.client.token.usage", "{token}", 1, 67108864),
        ("chatbot.store.commit.duration", "ms", 0.1, 10000),
    ],
)
def test_an_instrument_has_the_unit_and_bounds_of_its_convention(
    room: Room, name: str, unit: str, first: float, last: float
) -> None:
    room.meters.add(observe(name, 1.0))
    metric = room.close()[name]
    bounds = metric["histogram"]["dataPoints"][0]["explicitBounds"]
    assert (metric["unit"], bounds[0], bounds[-1]) == (unit, first, last)


def test_the_file_is_cumulative_whatever_the_collector_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA")
    room = Room(tmp_path)
    room.meters.add(count("chatbot.retries"))
    room.meters.add(observe("chatbot.queue.wait", 1.0))
    metrics = room.close()
    assert metrics["chatbot.retries"]["sum"]["aggregationTemporality"] == 2
    assert metrics["chatbot.queue.wait"]["histogram"]["aggregationTemporality"] == 2


def test_every_line_is_an_export_request_of_the_otlp_schema(room: Room) -> None:
    for name, kind in DECLARED.items():
        assert room.meters.add(Measurement(name, kind.instrument, 1)) == ""
    room.close()
    request = ExportMetricsServiceRequest()
    json_format.Parse(room.path.read_text(), request)
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    assert {metric.name for metric in scope.metrics} == set(DECLARED)
    names = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert names["service.name"] == "chatbot"


def test_what_no_instrument_can_take_is_refused_with_a_reason(room: Room) -> None:
    add = room.meters.add
    assert add(count("llm.usage.x", -1)) == "value"
    assert add(count("llm.usage.x", 2**60)) == "value"
    assert add(observe("chatbot.queue.wait", -0.5)) == "value"
    assert add(observe("chatbot.queue.wait", float("nan"))) == "value"
    assert add(observe("chatbot.queue.wait", float("inf"))) == "value"
    assert add(count("llm.usage.grün")) == "name"
    assert add(count("")) == "name"
    assert add(count("x" * 300)) == "name"
    assert add(count("chatbot.queue.wait")) == "instrument"
    assert add(observe("chatbot.retries", 1.0)) == "instrument"
    assert add(count("llm.usage.x", 5)) == ""
    assert add(Measurement("llm.usage.x", "gauge", 5)) == "instrument"
    assert list(room.close()) == ["llm.usage.x"]


def test_a_server_cannot_make_up_instruments_without_end(room: Room) -> None:
    refused = [room.meters.add(count(f"llm.usage.invented_{n}")) for n in range(1000)]
    assert refused.count("too_many_names") == 1000 - 256
    assert room.meters.add(count("llm.usage.invented_0")) == ""
    assert len(room.close()) == 256


def test_metrics_are_written_at_every_interval_and_the_last_line_has_it_all(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path, interval_ms=20)
    began = time.monotonic()
    room.meters.add(count("chatbot.retries", 1))
    for now_s in (0.0, 0.03, 0.04, 0.06):
        room.file.write_due(began + now_s)
    assert room.path.read_text().count("\n") == 2
    room.meters.add(count("chatbot.retries", 2))
    (point,) = room.close()["chatbot.retries"]["sum"]["dataPoints"]
    assert int(point["asInt"]) == 3


KEY = "sk-ant-api03-abcdefghijklmnop"
TRACES = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 10)]


def point_of(metric: dict[str, Any]) -> dict[str, Any]:
    (point,) = next(metric[kind] for kind in ("sum", "histogram", "gauge") if kind in metric)[
        "dataPoints"
    ]
    found: dict[str, Any] = point
    return found


def test_an_exemplar_leads_to_the_trace_of_the_last_value_in_each_bucket(
    room: Room,
) -> None:
    name = "http.client.request.duration"
    for value, traceparent in zip((3.0, 80.0, 90.5), TRACES, strict=False):
        room.meters.add(Measurement(name, "histogram", value, {}, traceparent))
    room.meters.add(Measurement(name, "histogram", 99.0, {}, TRACES[6]))
    room.meters.add(Measurement(name, "histogram", 700.0, {}, ""))
    room.meters.add(
        Measurement(name, "histogram", 5000.0, {}, f"{TRACES[4][:-2]}00")
    )  # not sampled
    room.meters.add(Measurement(name, "histogram", 8000.0, {}, "00-no-trace-01"))
    assert exemplars_of(point_of(room.close()[name])) == [
        (f"{1:032x}", f"{1:016x}", 3.0),
        (f"{7:032x}", f"{7:016x}", 99.0),
    ]


def test_the_exemplar_of_a_counter_has_the_value_of_one_measurement(room: Room) -> None:
    name = "llm.usage.input_tokens"
    for value, traceparent in zip((100, 20, 3), TRACES, strict=False):
        room.meters.add(Measurement(name, "counter", value, {}, traceparent))
    point = point_of(room.close()[name])
    assert int(point["asInt"]) == 123
    assert exemplars_of(point) == [(f"{3:032x}", f"{3:016x}", 3.0)]


@pytest.mark.parametrize(
    ("filter_", "found"), [("always_off", 0), ("always_on", 2), ("trace_based", 1)]
)
def test_the_standard_variable_chooses_the_exemplars(
    tmp_path: Path, filter_: str, found: int
) -> None:
    room = Room(tmp_path, filter_=filter_)
    room.meters.add(Measurement("chatbot.queue.wait", "histogram", 1.0, {}, TRACES[0]))
    room.meters.add(Measurement("chatbot.queue.wait", "histogram", 900.0))
    assert len(exemplars_of(point_of(room.close()["chatbot.queue.wait"]))) == found


def test_an_exemplar_is_shown_again_until_it_is_old() -> None:
    reservoir = Reservoir(choice("trace_based", 40_000))
    reservoir.offer(0, 5.0, TRACES[0], 100 * 10**9)
    reservoir.offer(1, 50.0, TRACES[1], 39 * 10**9)
    for _ in range(2):
        (exemplar,) = reservoir.collect(100 * 10**9)
        assert (exemplar.value, exemplar.trace_id, exemplar.span_id) == (5.0, 1, 1)
    assert reservoir.collect(161 * 10**9) == []


def test_waits_and_commits_are_told_apart_from_a_tenth_of_a_millisecond_to_ten_seconds(
    room: Room,
) -> None:
    for name in ("chatbot.queue.wait", "chatbot.store.commit.duration"):
        room.meters.add(Measurement(name, "histogram", 1.0))
    below_a_second = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500]
    for metric in room.close().values():
        assert point_of(metric)["explicitBounds"] == [*below_a_second, 1000, 2500, 5000, 10000]


def test_a_gauge_holds_the_last_value(room: Room) -> None:
    for value in (3, 8, 5):
        room.meters.add(
            Measurement("chatbot.queue.depth", "gauge", value, {"queue": "llm.requests"})
        )
    metric = room.close()["chatbot.queue.depth"]
    assert metric["unit"] == "{message}"
    assert int(point_of(metric)["asInt"]) == 5


def test_names_that_differ_in_case_are_one_instrument(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.meters.add(count("llm.usage.cachedTokens", 1))
    room.meters.add(count("llm.usage.cachedtokens", 2))
    metrics = room.close()
    assert list(metrics) == ["llm.usage.cachedtokens"]
    assert int(point_of(metrics["llm.usage.cachedtokens"])["asInt"]) == 3
    assert caplog.records == []


def test_a_server_that_makes_up_names_leaves_ours_their_place(room: Room) -> None:
    for number in range(1000):
        room.meters.add(count(f"llm.usage.invented_{number}"))
    assert room.meters.add(count("chatbot.telemetry.dropped")) == ""


def test_sums_keep_apart_what_differs_in_its_attributes(room: Room) -> None:
    for number in range(10):
        room.meters.add(count("chatbot.retries", 1, backend=f"b{number % 2}"))
    points = room.close()["chatbot.retries"]["sum"]["dataPoints"]
    assert {attributes_of(p)["backend"]: int(p["asInt"]) for p in points} == {"b0": 5, "b1": 5}


def test_what_was_added_up_where_it_arose_is_as_if_it_was_measured_here(tmp_path: Path) -> None:
    """The same values, one by one and by way of a recorder, make the same line of the file."""
    values = [0.05, 0.1, 0.3, 7.0, 7.5, 250.0, 20_000.0]
    lines = []
    for number, flush_after in enumerate((1, 3, 100)):
        directory = tmp_path / str(number)
        directory.mkdir()
        room = Room(directory)
        recorder = Recorder("worker", 0, feed(room.meters))
        for index, (value, traceparent) in enumerate(zip(values, TRACES, strict=False), 1):
            recorder.observe("chatbot.queue.wait", value, {"queue": "q"}, traceparent)
            recorder.count("llm.usage.x", index, {"backend": "sim"}, traceparent)
            recorder.gauge("chatbot.queue.depth", value)
            if index % flush_after == 0:
                recorder.flush()
        recorder.flush()
        lines.append(without_times(room.close()))
    assert lines[0] == lines[1] == lines[2]
    point = point_of(lines[0]["chatbot.queue.wait"])
    assert (int(point["count"]), point["sum"], point["min"], point["max"]) == (
        7,
        sum(values),
        0.05,
        20000,
    )
    assert [exemplar[2] for exemplar in exemplars_of(point)] == [0.1, 0.3, 7.5, 250.0, 20000.0]


def feed(meters: Meters) -> Callable[[Report], bool]:
    def take(report: Report) -> bool:
        for record in msgspec.msgpack.decode(report.payload, type=list[EncodedRecord]):
            assert isinstance(record, EncodedMeasurement)
            assert meters.add(record) == ""
        return True

    return take


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: without_times(v)
            for k, v in value.items()
            if "TimeUnixNano" not in k and k != "timeUnixNano"
        }
    return [without_times(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": -1},
        {"count": 3, "buckets": {0: 2}},
        {"count": 2, "buckets": {-1: 2}},
        {"count": 2, "buckets": {99: 2}},
        {"count": 2, "buckets": {0: 3, 1: -1}},
        {"count": 2, "buckets": {}},
    ],
)
def test_buckets_that_do_not_fit_are_refused(room: Room, wrong: dict[str, Any]) -> None:
    assert room.meters.add(observe("chatbot.queue.wait", 1.0)) == ""
    measurement = Measurement("chatbot.queue.wait", "histogram", 2.0, **wrong)
    assert room.meters.add(measurement) == "value"
    assert int(point_of(room.close()["chatbot.queue.wait"])["count"]) == 1


def test_secrets_are_redacted_in_the_attributes_of_a_series(room: Room) -> None:
    room.meters.add(count("chatbot.retries", 1, a=f"x {KEY} y", api_key="plain"))
    (point,) = room.close()["chatbot.retries"]["sum"]["dataPoints"]
    assert attributes_of(point) == {"a": "x [redacted] y", "api_key": "[redacted]"}


def test_attributes_that_cannot_be_read_are_refused(room: Room) -> None:
    for attributes in (b"\x01", b"\x81\xa1a\xc0"):
        measurement = EncodedMeasurement("chatbot.retries", "counter", 1, msgspec.Raw(attributes))
        assert room.meters.add(measurement) == "attributes"
    assert room.meters.collect() is None


def test_series_without_end_become_one_that_says_so(room: Room) -> None:
    for number in range(5000):
        assert room.meters.add(count("chatbot.retries", 1, backend=str(number))) == ""
    assert room.meters.add(count("chatbot.retries", 1, backend="0")) == ""
    points = room.close()["chatbot.retries"]["sum"]["dataPoints"]
    rest = [p for p in points if attributes_of(p) == {"otel.metric.overflow": True}]
    assert (len(points), [int(p["asInt"]) for p in rest]) == (2001, [3000])
    assert sum(int(point["asInt"]) for point in points) == 5001
    assert len(room.meters._known) <= 4096
