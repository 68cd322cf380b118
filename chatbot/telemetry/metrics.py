"""Metrics: the instruments of this program, and the way of a `Measurement` into one of them.

Owns the SDK's MeterProvider, each instrument's unit and buckets, and the bound on how many there
are. It never computes a value: the process that measured has done that. Called by the telemetry
process; the readers collect in threads of their own.

Buckets and units: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/; the request
duration is in milliseconds here, on purpose.
"""

import re
from bisect import bisect_left
from collections.abc import Callable
from typing import Literal, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from chatbot.messages import AttributeValue, Measurement
from chatbot.telemetry.exemplars import Contexts, reservoirs
from chatbot.telemetry.last import METRIC_INTERVAL_MS
from chatbot.version import __version__

_SECONDS = tuple(0.01 * 2**n for n in range(14))  # 0.01 … 81.92
_TOKENS = tuple(float(4**n) for n in range(14))  # 1 … 67,108,864
_HTTP_MS = (
    *(5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0),
    *(10000.0, 20000.0, 40000.0, 80000.0, 160000.0),
)
_PIPELINE_MS = (
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0),
    *(2500.0, 5000.0, 10000.0),
)

_NAME = re.compile(r"[A-Za-z][-_./A-Za-z0-9]{0,254}", re.ASCII)
_NAMES_AT_MOST = 256
_VALUE_AT_MOST = 2**53  # beyond, a double no longer counts by ones; no real usage comes near


InstrumentKind = Literal["counter", "histogram", "gauge"]


class Kind(NamedTuple):
    """What an instrument is declared with; a histogram also has its buckets."""

    unit: str
    description: str
    instrument: InstrumentKind = "counter"
    bounds: tuple[float, ...] = ()


def _histogram(unit: str, description: str, bounds: tuple[float, ...]) -> Kind:
    return Kind(unit, description, "histogram", bounds)


DECLARED: dict[str, Kind] = {
    "http.client.request.duration": _histogram("ms", "Duration of an HTTP request", _HTTP_MS),
    "gen_ai.client.token.usage": _histogram("{token}", "Tokens used by an operation", _TOKENS),
    "gen_ai.client.operation.duration": _histogram("s", "Duration of an LLM call", _SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": _histogram(
        "s", "Time to the first chunk", _SECONDS
    ),
    "chatbot.queue.depth": Kind("{message}", "Messages that wait, by queue", "gauge"),
    "chatbot.queue.wait": _histogram("ms", "Wait of a message in a queue", _PIPELINE_MS),
    "chatbot.store.commit.duration": _histogram("ms", "Duration of a commit", _PIPELINE_MS),
    "chatbot.cache.lookups": Kind("{lookup}", "Cache look-ups, by result"),
    "chatbot.requests": Kind("{request}", "Requests that ended, by how"),
    "chatbot.requests.in_flight": Kind("{request}", "Requests that workers have", "gauge"),
    "chatbot.retries": Kind("{retry}", "LLM calls tried again"),
    "chatbot.process.restarts": Kind("{restart}", "Processes started again after a crash"),
    "chatbot.telemetry.exported": Kind("{span}", "Spans written or sent, by exporter"),
    "chatbot.telemetry.dropped": Kind("{record}", "Telemetry given up, by reason"),
    "chatbot.telemetry.write_failures": Kind("{failure}", "Writes that the disk refused, by file"),
    "chatbot.telemetry.lost_lines": Kind("{line}", "Lines that the disk never took, by file"),
}


class Instrument(NamedTuple):
    """An instrument of the SDK: what it is, its method that takes a value, and its buckets."""

    kind: InstrumentKind
    take: Callable[[int | float, dict[str, AttributeValue], Context | None], None]
    bounds: tuple[float, ...] = ()


class _Sum:
    """What a counter is to be raised by, and the last measurement of it."""

    __slots__ = ("add", "attributes", "last", "total", "traceparent")

    def __init__(self, counter: Instrument, attributes: dict[str, AttributeValue]) -> None:
        self.add = counter.take
        self.attributes = attributes
        self.total: int | float = 0
        self.last: int | float = 0
        self.traceparent = ""


class Meters:
    """Every instrument, created on its first measurement.

    Names that are not declared are taken as they come (`llm.usage.<path>` follows what servers
    report), but no more than 256 of them in all, because a server can make up any number.

    The counters of a batch are summed up here, and the SDK is told the sums by `flush`: it takes
    several times as long for each value that it is told.
    """

    def __init__(
        self, resource: Resource, readers: list[MetricReader], interval_ms: int = METRIC_INTERVAL_MS
    ) -> None:
        view = View(instrument_name="*", exemplar_reservoir_factory=reservoirs(interval_ms))
        provider = MeterProvider(readers, resource, shutdown_on_exit=False, views=[view])
        self.changed = False
        self._meter = provider.get_meter("chatbot", __version__)
        self._instruments: dict[str, Instrument] = {}
        self._undeclared = 0
        self._sums: dict[tuple[str, tuple[tuple[str, AttributeValue], ...]], _Sum] = {}
        self._contexts = Contexts()
        self._exemplified: set[tuple[str, int]] = set()

    def add(self, measurement: Measurement) -> str:
        """Record a measurement; return why it was refused, or an empty string."""
        value = measurement.value
        if not -_VALUE_AT_MOST <= value <= _VALUE_AT_MOST:  # NaN is not, either
            return "value"  # one infinity would spoil the sum for good
        instrument = self._instruments.get(measurement.name)
        if instrument is None:
            if reason := self._declare(measurement):
                return reason
            instrument = self._instruments[measurement.name]
        if measurement.instrument != instrument.kind:
            return "instrument"
        if instrument.kind == "gauge":
            instrument.take(value, measurement.attributes, None)
        elif value < 0:
            return "value"
        elif instrument.kind == "counter":
            self._sum(measurement, instrument)
        else:
            context = self._context(measurement, instrument.bounds)
            instrument.take(value, measurement.attributes, context)
        self.changed = True
        return ""

    def count(self, name: str, value: int, attributes: dict[str, AttributeValue]) -> None:
        """Add to one of the telemetry process's own counters, which are declared and so fit."""
        self.add(Measurement(name, "counter", value, attributes))

    def flush(self) -> None:
        """Tell the SDK what the counters have come to since the last time."""
        self._exemplified.clear()
        sums, self._sums = self._sums, {}
        for each in sums.values():
            # The last one goes by itself: an exemplar has the value of one measurement.
            context = self._contexts.of(each.traceparent)
            if context is not None and each.total != each.last:
                each.add(each.total - each.last, each.attributes, None)
                each.add(each.last, each.attributes, context)
            else:
                each.add(each.total, each.attributes, context)

    def _context(self, measurement: Measurement, bounds: tuple[float, ...]) -> Context | None:
        """Return the context for an exemplar: for one measurement in each bucket and batch, since a
        bucket shows only one."""
        place = (measurement.name, bisect_left(bounds, measurement.value))
        if place in self._exemplified:
            return None
        context = self._contexts.of(measurement.traceparent)
        if context is not None:
            self._exemplified.add(place)
        return context

    def _sum(self, measurement: Measurement, counter: Instrument) -> None:
        attributes = measurement.attributes
        key = (measurement.name, tuple(attributes.items()))
        sum_ = self._sums.get(key)
        if sum_ is None:
            sum_ = self._sums[key] = _Sum(counter, attributes)
        sum_.total += measurement.value
        sum_.last = measurement.value
        sum_.traceparent = measurement.traceparent

    def _declare(self, measurement: Measurement) -> str:
        """Make the instrument of a name that was not seen yet; return why there is none."""
        name = measurement.name
        kind = DECLARED.get(name)
        if kind is None:
            if not _NAME.fullmatch(name):
                return "name"
            if self._undeclared >= _NAMES_AT_MOST:
                return "too_many_names"
            self._undeclared += 1
            kind = _undeclared(measurement)
        self._instruments[name] = self._create(name, kind)
        return ""

    def _create(self, name: str, kind: Kind) -> Instrument:
        about = (name, kind.unit, kind.description)
        take: Callable[..., None]
        if kind.instrument == "counter":
            take = self._meter.create_counter(*about).add
        elif kind.instrument == "gauge":
            take = self._meter.create_gauge(*about).set
        else:
            bounds = kind.bounds
            take = self._meter.create_histogram(
                *about, explicit_bucket_boundaries_advisory=bounds
            ).record
        return Instrument(kind.instrument, take, kind.bounds)


def _undeclared(measurement: Measurement) -> Kind:
    if measurement.instrument == "histogram":
        return Kind("ms", "", "histogram", _PIPELINE_MS)
    unit = "{token}" if measurement.name.startswith("llm.usage.") else "1"
    return Kind(unit, "", measurement.instrument)
