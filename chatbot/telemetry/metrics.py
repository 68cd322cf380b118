"""Metrics: the instruments of this program, and the way of a `Measurement` into one of them.

Owns the SDK's MeterProvider, each instrument's unit and buckets, and the bound on how many there
are. It never computes a value: the process that measured has done that. Called by the telemetry
process; the readers collect in threads of their own.

Buckets and units: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/; the request
duration is in milliseconds here, on purpose.
"""

import math
import re
from typing import NamedTuple

from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from chatbot.messages import AttributeValue, Measurement
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


class Kind(NamedTuple):
    """What an instrument is declared with; `bounds` None makes it a counter."""

    unit: str
    description: str
    bounds: tuple[float, ...] | None = None


DECLARED: dict[str, Kind] = {
    "http.client.request.duration": Kind("ms", "Duration of an HTTP request", _HTTP_MS),
    "gen_ai.client.token.usage": Kind("{token}", "Tokens used by an operation", _TOKENS),
    "gen_ai.client.operation.duration": Kind("s", "Duration of an LLM call", _SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": Kind("s", "Time to the first chunk", _SECONDS),
    "gen_ai.client.operation.time_per_output_chunk": Kind("s", "Time between chunks", _SECONDS),
    "chatbot.queue.wait": Kind("ms", "Wait of a request for a worker", _PIPELINE_MS),
    "chatbot.store.commit.duration": Kind("ms", "Duration of a commit", _PIPELINE_MS),
    "chatbot.cache.lookups": Kind("{lookup}", "Cache look-ups, by result"),
    "chatbot.requests": Kind("{request}", "Requests that ended, by how"),
    "chatbot.retries": Kind("{retry}", "LLM calls tried again"),
    "chatbot.process.restarts": Kind("{restart}", "Processes started again after a crash"),
    "chatbot.telemetry.dropped": Kind("{record}", "Telemetry given up, by reason"),
    "chatbot.telemetry.write_failures": Kind("{failure}", "Writes that the disk refused, by file"),
}


class Meters:
    """Every instrument, created on its first measurement.

    Names that are not declared are taken as they come (`llm.usage.<path>` follows what servers
    report), but no more than 256 of them in all, because a server can make up any number.
    """

    def __init__(self, resource: Resource, readers: list[MetricReader]) -> None:
        provider = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._meter = provider.get_meter("chatbot", __version__)
        self._instruments: dict[str, Counter | Histogram] = {}

    def add(self, measurement: Measurement) -> str:
        """Record a measurement; return why it was refused, or an empty string."""
        value = measurement.value
        if not math.isfinite(value) or abs(value) > _VALUE_AT_MOST:
            return "value"  # one infinity would spoil the sum for good
        instrument = self._instruments.get(measurement.name)
        if instrument is None:
            if not _NAME.fullmatch(measurement.name):
                return "name"
            if len(self._instruments) >= _NAMES_AT_MOST:
                return "too_many_names"
            instrument = self._create(measurement)
        if isinstance(instrument, Counter):
            if measurement.instrument != "counter":
                return "instrument"
            if value < 0:
                return "value"
            instrument.add(value, measurement.attributes)
        else:
            if measurement.instrument != "histogram":
                return "instrument"
            instrument.record(value, measurement.attributes)
        return ""

    def count(self, name: str, value: int, attributes: dict[str, AttributeValue]) -> None:
        """Add to one of the telemetry process's own counters, which are declared and so fit."""
        self.add(Measurement(name, "counter", value, attributes))

    def _create(self, measurement: Measurement) -> Counter | Histogram:
        name = measurement.name
        kind = DECLARED.get(name)
        if kind is None:
            if measurement.instrument == "counter":
                kind = Kind("{token}" if name.startswith("llm.usage.") else "1", "")
            else:
                kind = Kind("ms", "", _PIPELINE_MS)
        instrument: Counter | Histogram
        if kind.bounds is None:
            instrument = self._meter.create_counter(name, kind.unit, kind.description)
        else:
            instrument = self._meter.create_histogram(
                name,
                kind.unit,
                kind.description,
                explicit_bucket_boundaries_advisory=kind.bounds,
            )
        self._instruments[name] = instrument
        return instrument
