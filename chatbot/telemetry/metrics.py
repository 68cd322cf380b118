"""Metrics: the series of all processes, added up, as the exporters want them.

Owns which measurements are refused, and the bounds on how many instruments and series there are. What
an instrument is called and measured in stands in `instruments`; the values were added up where they
arose (`sums`), and `points` adds those sums up. Called by the telemetry process, in its one thread.

The SDK's MeterProvider has no way in for what is added up already: so the data model is filled here,
and everything behind it is the official exporters'.
"""

import re
import time

import msgspec
from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from chatbot.instruments import DECLARED, VALUE_AT_MOST, Kind, kind_of
from chatbot.messages import AttributeValue, EncodedMeasurement, Measurement
from chatbot.telemetry import points, redact
from chatbot.telemetry.exemplars import Choice
from chatbot.telemetry.points import AnyMeasurement, Attributes, Point, Times
from chatbot.version import __version__

_NAME = re.compile(r"[A-Za-z][-_./A-Za-z0-9]{0,254}", re.ASCII)
_NAMES_AT_MOST = 256
_SERIES_AT_MOST = 2000  # of an instrument, as in the SDK; the rest is one more
_KNOWN_AT_MOST = 4096
_OVERFLOW: Attributes = {"otel.metric.overflow": True}
_SCOPE = InstrumentationScope("chatbot", __version__)

_encoder = msgspec.msgpack.Encoder()
_attributes = msgspec.msgpack.Decoder(dict[str, AttributeValue])

_Identity = frozenset[tuple[str, type, AttributeValue]]


class _Instrument:
    """An instrument, and its series by their attributes."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.points: dict[_Identity, Point] = {}

    def point(self, attributes: Attributes, choice: Choice) -> Point:
        """Return the point with these attributes, in whatever order they are."""
        identity = _identity(attributes)
        if identity not in self.points and len(self.points) >= _SERIES_AT_MOST:
            attributes, identity = _OVERFLOW, _identity(_OVERFLOW)
        if identity not in self.points:
            self.points[identity] = points.point(attributes, self.kind, choice)
        return self.points[identity]


class Meters:
    """Every instrument, made by its first measurement.

    Names that are not declared are taken as they come (`llm.usage.<path>` follows what servers
    report), but no more than 256 of them in all, because a server can make up any number.
    """

    def __init__(self, resource: Resource, choice: Choice = Choice()) -> None:  # noqa: B008 - immutable
        self.changed = False
        self._resource = resource
        self._choice = choice
        self._start_ns = time.time_ns()
        self._instruments: dict[str, _Instrument] = {}
        self._undeclared = 0
        # A series is known by its encoded attributes: decoding and hashing them takes ten times as long.
        self._known: dict[tuple[str, str, bytes], Point] = {}

    def add(self, measurement: AnyMeasurement) -> str:
        """Take what was measured; return why it was refused, or an empty string."""
        value, count = measurement.value, measurement.count
        if count < 1 or not -VALUE_AT_MOST * count <= value <= VALUE_AT_MOST * count:
            return "value"  # NaN is not, either; and one infinity would spoil the sum for good
        if value < 0 and measurement.instrument != "gauge":
            return "value"
        encoded = (
            bytes(measurement.attributes)
            if type(measurement) is EncodedMeasurement
            else _encoder.encode(measurement.attributes)
        )
        key = (measurement.name, measurement.instrument, encoded)
        point = self._known.get(key)
        if point is None:
            found = self._find(measurement, encoded)
            if isinstance(found, str):
                return found
            if len(self._known) >= _KNOWN_AT_MOST:
                self._known.clear()
            point = self._known[key] = found
        if not point.add(measurement, time.time_ns()):
            return "value"
        self.changed = True
        return ""

    def count(self, name: str, value: int, attributes: dict[str, AttributeValue]) -> None:
        """Add to one of the telemetry process's own counters, which are declared and so fit."""
        self.add(Measurement(name, "counter", value, attributes))

    def collect(self) -> MetricsData | None:
        """Return all that there is, as it stands; None where nothing was measured."""
        times = Times(self._start_ns, time.time_ns())
        metrics = [
            Metric(
                name,
                each.kind.description,
                each.kind.unit,
                points.data(each.kind, list(each.points.values()), times),
            )
            for name, each in self._instruments.items()
        ]
        if not metrics:
            return None
        return MetricsData(
            [ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, metrics, "")], "")]
        )

    def _find(self, measurement: AnyMeasurement, encoded: bytes) -> Point | str:
        """Return the point of a series that was not seen yet, or why there is none."""
        name = (
            measurement.name.lower()
        )  # as the specification has it, names differ in more than case
        instrument = self._instruments.get(name)
        is_new = instrument is None
        if instrument is None:
            if name not in DECLARED:
                if not _NAME.fullmatch(name):
                    return "name"
                if self._undeclared >= _NAMES_AT_MOST:
                    return "too_many_names"
            instrument = _Instrument(kind_of(name, measurement.instrument))
        if measurement.instrument != instrument.kind.instrument:
            return "instrument"
        try:
            point = instrument.point(redact.attributes(_attributes.decode(encoded)), self._choice)
        except msgspec.DecodeError:
            return "attributes"
        if is_new:
            self._undeclared += name not in DECLARED
            self._instruments[name] = instrument
        return point


def _identity(attributes: Attributes) -> _Identity:
    return frozenset((name, type(value), value) for name, value in attributes.items())
