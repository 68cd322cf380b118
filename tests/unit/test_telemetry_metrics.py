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
from chatbot.telemetry.export import Exports
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.metrics import DECLARED, Meters
from chatbot.telemetry.spans import Resources
from tests.unit.test_telemetry_spans import attributes_of


def count(name: str, value: float = 1, **attributes: AttributeValue) -> Measurement:
    return Measurement(name, "counter", value, attributes)


def observe(name: str, value: float, **attributes: AttributeValue) -> Measurement:
    return Measurement(name, "histogram", value, attributes)


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
        self.streams = [RotatingFile(directory / "spans"), RotatingFile(self.path)]
        environ = {"OTEL_METRIC_EXPORT_INTERVAL": str(interval_ms)}
        self.exports = Exports(environ, self.streams[0], self.streams[1], None)
        self.meters = Meters(Resources({}).of_program(4711), self.exports.readers, interval_ms)

    def close(self) -> dict[str, Any]:
        """Shut down, and return the metrics of the last line by name."""
        self.meters.flush()
        self.exports.shutdown_spans()
        self.exports.shutdown_metrics()
        for stream in self.streams:
            stream.close()
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
    assert add(observe("chatbot.queue.wait", float("nan"))) == "value"
    assert add(observe("chatbot.queue.wait", float("inf"))) == "value"
    assert add(count("llm.usage.grün")) == "name"
    assert add(count("")) == "name"
    assert add(count("x" * 300)) == "name"
    assert add(count("chatbot.queue.wait")) == "instrument"
    assert add(observe("chatbot.retries", 1.0)) == "instrument"
    assert add(count("llm.usage.x", 5)) == ""
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
