"""Points: what the measurements of one series have come to, since this process began.

Owns the sums. It adds up what other processes have added up already, and makes of each series the data
point that the official exporters take. The SDK's own instruments take single values only, at several
µs each; here a thousand values of a report cost what one of them does. Called by `metrics`.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    NumberDataPoint,
    Sum,
)

from chatbot.instruments import InstrumentKind, Kind
from chatbot.messages import AttributeValue, EncodedMeasurement, Measurement
from chatbot.telemetry.exemplars import Choice, Reservoir

Attributes = dict[str, AttributeValue]
AnyMeasurement = Measurement | EncodedMeasurement

_CUMULATIVE = AggregationTemporality.CUMULATIVE


class Times(NamedTuple):
    """Since when a point counts, and until when, in ns."""

    start_ns: int
    now_ns: int


class CounterPoint:
    """A sum."""

    def __init__(self, attributes: Attributes, kind: Kind, choice: Choice) -> None:
        del kind
        self._attributes = attributes
        self._sum: int | float = 0
        self._exemplars = Reservoir(choice)

    def add(self, measurement: AnyMeasurement, now_ns: int) -> bool:
        """Add what was measured; False when it cannot be."""
        self._sum += measurement.value
        _offer(self._exemplars, measurement, 0, now_ns)
        return True

    def data(self, times: Times) -> NumberDataPoint:
        """Return the point as it stands."""
        exemplars = self._exemplars.collect(times.now_ns)
        return NumberDataPoint(self._attributes, *times, self._sum, exemplars)


class GaugePoint:
    """A last value."""

    def __init__(self, attributes: Attributes, kind: Kind, choice: Choice) -> None:
        del kind, choice
        self._attributes = attributes
        self._value: int | float = 0

    def add(self, measurement: AnyMeasurement, now_ns: int) -> bool:
        """Take the value."""
        del now_ns
        self._value = measurement.value
        return True

    def data(self, times: Times) -> NumberDataPoint:
        """Return the point as it stands. It has no start: it counts nothing."""
        return NumberDataPoint(self._attributes, None, times.now_ns, self._value)  # type: ignore[arg-type] # as the SDK does


class HistogramPoint:
    """The numbers in the buckets, the sum, the least and the greatest value."""

    def __init__(self, attributes: Attributes, kind: Kind, choice: Choice) -> None:
        self._attributes = attributes
        self._bounds = kind.bounds
        self._buckets = [0] * (len(kind.bounds) + 1)
        self._count = 0
        self._sum: int | float = 0
        self._low = float("inf")
        self._high = float("-inf")
        self._exemplars = Reservoir(choice)

    def add(self, measurement: AnyMeasurement, now_ns: int) -> bool:
        """Add what was measured; False where its buckets are not those of the instrument."""
        value, count = measurement.value, measurement.count
        if count == 1:
            bucket, low, high = bisect_left(self._bounds, value), value, value
            self._buckets[bucket] += 1
        else:
            buckets, low, high = measurement.buckets, measurement.low, measurement.high
            if not self._fits(buckets, count):
                return False
            for bucket, number in buckets.items():
                self._buckets[bucket] += number
            bucket = 0
        self._count += count
        self._sum += value
        if low < self._low:
            self._low = low
        if high > self._high:
            self._high = high
        _offer(self._exemplars, measurement, bucket, now_ns)
        return True

    def _fits(self, buckets: dict[int, int], count: int) -> bool:
        return (
            sum(buckets.values()) == count
            and min(buckets) >= 0
            and max(buckets) < len(self._buckets)
            and min(buckets.values()) > 0
        )

    def data(self, times: Times) -> HistogramDataPoint:
        """Return the point as it stands."""
        return HistogramDataPoint(
            self._attributes,
            *times,
            self._count,
            self._sum,
            tuple(self._buckets),
            self._bounds,
            self._low,
            self._high,
            self._exemplars.collect(times.now_ns),
        )


Point = CounterPoint | GaugePoint | HistogramPoint
_KINDS: dict[InstrumentKind, type[Point]] = {
    "counter": CounterPoint,
    "gauge": GaugePoint,
    "histogram": HistogramPoint,
}


def point(attributes: Attributes, kind: Kind, choice: Choice) -> Point:
    """Return a new point of an instrument."""
    return _KINDS[kind.instrument](attributes, kind, choice)


def data(kind: Kind, points: Sequence[Point], times: Times) -> Sum | Gauge | Histogram:
    """Return the points of an instrument as the exporters want them."""
    found = [each.data(times) for each in points]
    if kind.instrument == "counter":
        return Sum(found, _CUMULATIVE, is_monotonic=True)  # type: ignore[arg-type] # a counter's points are
    if kind.instrument == "gauge":
        return Gauge(found)  # type: ignore[arg-type] # numbers,
    return Histogram(found, _CUMULATIVE)  # type: ignore[arg-type] # a histogram's are histograms


def _offer(exemplars: Reservoir, measurement: AnyMeasurement, bucket: int, now_ns: int) -> None:
    if measurement.count == 1:
        exemplars.offer(bucket, measurement.value, measurement.traceparent, now_ns)
    for bucket, (value, traceparent) in measurement.exemplars.items():
        exemplars.offer(bucket, value, traceparent, now_ns)
