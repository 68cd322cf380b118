"""Measurements, added up where they arise: of each series one record, however many values it had.

Owns what has been measured since it was last taken. A counter is its sum, a gauge its last value, a
histogram the numbers in the buckets that telemetry shows, with sum, least and greatest value; a value
whose trace is known is kept as the exemplar of its bucket, in the place of the one before it. So
nothing is lost by waiting, and what waits does not grow. Pure but for a lock. Called by `tracing`.
"""

from bisect import bisect_left
from threading import Lock

import msgspec

from chatbot.instruments import VALUE_AT_MOST, InstrumentKind, kind_of
from chatbot.messages import AttributeValue, EncodedMeasurement

_SERIES_AT_MOST = 1024

_encoder = msgspec.msgpack.Encoder()

Attributes = dict[str, AttributeValue]


class Sums:
    """The series that have values. `every_exemplar`: also one without a trace is an exemplar."""

    def __init__(self, *, every_exemplar: bool = False) -> None:
        self._every_exemplar = every_exemplar
        self._lock = Lock()  # another thread may be adding
        self._waiting: list[_Series] = []
        # Whoever measures hands in the same few dictionaries again and again: their identity is found
        # in a tenth of the time that their content takes. They are kept, so that it stays theirs.
        self._by_identity: dict[
            tuple[str, InstrumentKind, int], tuple[Attributes | None, _Series]
        ] = {}
        self._by_content: dict[tuple[str, InstrumentKind, bytes], _Series] = {}

    @property
    def waiting(self) -> int:
        """How many series have values."""
        return len(self._waiting)

    def add(
        self,
        name: str,
        instrument: InstrumentKind,
        value: float,
        attributes: Attributes | None,
        traceparent: str = "",
    ) -> bool:
        """Add a value; False where it cannot be added to others: what would spoil their sum, and what
        cannot be encoded, or there are too many series."""
        if not 0 <= value <= VALUE_AT_MOST:
            return False
        with self._lock:
            known = self._by_identity.get((name, instrument, id(attributes)))
            series = known[1] if known is not None else self._find(name, instrument, attributes)
            if series is None or (not series.count and not self._begin(series)):
                return False
            series.count += 1
            bucket = 0
            if instrument == "counter":
                series.total += value
            elif instrument == "gauge":
                series.total = value
            else:
                series.total += value
                bucket = bisect_left(series.bounds, value)
                series.buckets[bucket] = series.buckets.get(bucket, 0) + 1
                if value < series.low:
                    series.low = value
                if value > series.high:
                    series.high = value
            if traceparent or self._every_exemplar:
                series.exemplars[bucket] = value, traceparent
        return True

    def _begin(self, series: "_Series") -> bool:
        if len(self._waiting) >= _SERIES_AT_MOST:
            return False
        self._waiting.append(series)
        series.begin()
        return True

    def take(self) -> list[EncodedMeasurement]:
        """Return what has been added up, and begin anew."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return [series.take() for series in waiting]

    def _find(
        self, name: str, instrument: InstrumentKind, attributes: Attributes | None
    ) -> "_Series | None":
        try:
            encoded = _encoder.encode(attributes or {})
        except (OverflowError, TypeError, ValueError):
            return None
        if len(self._by_identity) >= _SERIES_AT_MOST:
            self._by_identity.clear()
            self._by_content.clear()
        series = self._by_content.get((name, instrument, encoded))
        if series is None:
            series = _Series(name, instrument, encoded)
            self._by_content[name, instrument, encoded] = series
        self._by_identity[name, instrument, id(attributes)] = attributes, series
        return series


class _Series:
    """One instrument with the same attributes: what it has come to since it was last taken."""

    __slots__ = (
        "_attributes",
        "_instrument",
        "_name",
        "bounds",
        "buckets",
        "count",
        "exemplars",
        "high",
        "low",
        "total",
    )

    def __init__(self, name: str, instrument: InstrumentKind, attributes: bytes) -> None:
        self._name = name
        self._instrument = instrument
        self._attributes = msgspec.Raw(attributes)
        self.bounds = kind_of(name, instrument).bounds
        self.begin()

    def begin(self) -> None:
        """Begin anew, at nothing."""
        self.count = 0
        self.total: int | float = 0
        self.low: int | float = VALUE_AT_MOST
        self.high: int | float = 0
        self.buckets: dict[int, int] = {}
        self.exemplars: dict[int, tuple[int | float, str]] = {}

    def take(self) -> EncodedMeasurement:
        """Return what it has come to. A single value is told as it was measured."""
        count, self.count = self.count, 0
        name, instrument, of = self._name, self._instrument, self._attributes
        if count > 1:
            low, high = (self.low, self.high) if self.buckets else (0, 0)
            return EncodedMeasurement(
                name, instrument, self.total, of, "", count, low, high, self.buckets, self.exemplars
            )
        for _, traceparent in self.exemplars.values():
            return EncodedMeasurement(name, instrument, self.total, of, traceparent)
        return EncodedMeasurement(name, instrument, self.total, of)
