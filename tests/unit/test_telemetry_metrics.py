"""Measurements on their way into the metrics file: the sums are what was fed, in declared buckets."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chatbot.messages import AttributeValue, Measurement
from chatbot.telemetry.exemplars import Contexts, Reservoir
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.last import MetricFile
from chatbot.telemetry.metrics import DECLARED, Meters
from chatbot.telemetry.resources import Resources
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


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Look until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.005)


class Room:
    """Meters whose reader writes to a file, as in the telemetry process."""

    def __init__(self, directory: Path, interval_ms: int = 3_600_000) -> None:
        self.path = directory / "metrics"
        self.stream = RotatingFile(self.path)
        self.file = MetricFile(self.stream, interval_ms, lambda _: None)
        self.meters = Meters(Resources({}).of_program(4711), [self.file], interval_ms)

    def close(self) -> dict[str, Any]:
        """Shut down, and return the metrics of the last line by name."""
        self.meters.flush()
        self.file.shutdown()
        self.stream.close()
        return last_metrics(self.path)


def last_metrics(path: Path) -> dict[str, Any]:
    (resource,) = json.loads(path.read_text().splitlines()[-1])["resourceMetrics"]
    (scope,) = resource["scopeMetrics"]
    return {metric["name"]: metric for metric in scope["metrics"]}


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


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
    room.meters.add(count("chatbot.retries", 1))
    room.meters.flush()
    wait_for(lambda: room.path.read_text().count("\n") >= 2)
    room.meters.add(count("chatbot.retries", 2))
    (point,) = room.close()["chatbot.retries"]["sum"]["dataPoints"]
    assert int(point["asInt"]) == 3


TRACES = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 10)]


def point_of(metric: dict[str, Any]) -> dict[str, Any]:
    (point,) = next(metric[kind] for kind in ("sum", "histogram", "gauge") if kind in metric)[
        "dataPoints"
    ]
    found: dict[str, Any] = point
    return found


def test_an_exemplar_leads_to_the_trace_of_a_value_of_the_last_batch_in_each_bucket(
    room: Room,
) -> None:
    name = "http.client.request.duration"
    for value, traceparent in zip((3.0, 80.0, 90.5), TRACES, strict=False):
        room.meters.add(Measurement(name, "histogram", value, {}, traceparent))
        room.meters.flush()
    room.meters.add(Measurement(name, "histogram", 99.0, {}, TRACES[6]))  # of the same batch
    room.meters.add(Measurement(name, "histogram", 98.0, {}, TRACES[7]))
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filter_: str, found: int
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", filter_)
    room = Room(tmp_path)
    room.meters.add(Measurement("chatbot.queue.wait", "histogram", 1.0, {}, TRACES[0]))
    room.meters.add(Measurement("chatbot.queue.wait", "histogram", 900.0))
    assert len(exemplars_of(point_of(room.close()["chatbot.queue.wait"]))) == found


def test_an_exemplar_is_shown_again_until_it_is_old() -> None:
    reservoir = Reservoir(60 * 10**9, (10.0,))
    context = Contexts().of(TRACES[0])
    assert context is not None
    reservoir.offer(5.0, time.time_ns(), {"kept": 1, "left": 2}, context)
    reservoir.offer(50.0, time.time_ns() - 61 * 10**9, {}, context)
    for _ in range(2):
        (exemplar,) = reservoir.collect({"kept": 1})
        assert (exemplar.value, exemplar.trace_id, exemplar.span_id) == (5.0, 1, 1)
        assert exemplar.filtered_attributes == {"left": 2}


def test_the_contexts_of_traces_without_end_are_kept_in_bounds() -> None:
    contexts = Contexts()
    for number in range(1, 1001):
        assert contexts.of(f"00-{number:032x}-{number:016x}-01") is not None
    assert len(contexts._made) <= 64


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
        if number == 5:
            room.meters.flush()
    points = room.close()["chatbot.retries"]["sum"]["dataPoints"]
    assert {attributes_of(p)["backend"]: int(p["asInt"]) for p in points} == {"b0": 5, "b1": 5}
