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
            if series is None:
                return False
            if not series.count:
                if len(self._waiting) >= _SERIES_AT_MOST:
                    return False
                self._waiting.append(series)
            series.add(value, traceparent, keep=bool(traceparent) or self._every_exemplar)
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
    """One instrument with the same attributes, since it was last taken."""

    __slots__ = (
        "_attributes",
        "_bounds",
        "_buckets",
        "_exemplars",
        "_high",
        "_instrument",
        "_low",
        "_name",
        "_total",
        "count",
    )

    def __init__(self, name: str, instrument: InstrumentKind, attributes: bytes) -> None:
        self._name = name
        self._instrument = instrument
        self._attributes = msgspec.Raw(attributes)
        self._bounds = kind_of(name, instrument).bounds
        self._begin()

    def _begin(self) -> None:
        self.count = 0
        self._total: int | float = 0
        self._low: int | float = 0
        self._high: int | float = 0
        self._buckets: dict[int, int] = {}
        self._exemplars: dict[int, tuple[int | float, str]] = {}

    def add(self, value: float, traceparent: str, *, keep: bool) -> None:
        """Add a value. `keep`: it is an exemplar."""
        bucket = 0
        if self._instrument == "gauge":
            self._total = value
        else:
            self._total += value
            if self._instrument == "histogram":
                bucket = bisect_left(self._bounds, value)
                self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
                if not self.count or value < self._low:
                    self._low = value
                if value > self._high:
                    self._high = value
        self.count += 1
        if keep:
            self._exemplars[bucket] = value, traceparent

    def take(self) -> EncodedMeasurement:
        """Return what it has come to. A single value is told as it was measured."""
        if self.count == 1:
            ((_, traceparent),) = self._exemplars.values() or ((0, ""),)
            taken = EncodedMeasurement(
                self._name, self._instrument, self._total, self._attributes, traceparent
            )
        else:
            taken = EncodedMeasurement(
                self._name,
                self._instrument,
                self._total,
                self._attributes,
                "",
                self.count,
                self._low,
                self._high,
                self._buckets,
                self._exemplars,
            )
        self._begin()
        return taken
