"""Spans, log lines and measurements, as small records; and the W3C trace context they carry.

Every process records here, in about 2 µs a span and without the OpenTelemetry SDK. `Recorder`
gathers the records and hands them on as encoded `Report`s; the telemetry process alone turns them
into OpenTelemetry data.

Source of the context format: https://www.w3.org/TR/trace-context/#traceparent-header
"""

import os
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import msgspec

from chatbot.errors import MessageTooLarge
from chatbot.instruments import InstrumentKind
from chatbot.messages import (
    AttributeValue,
    EncodedMeasurement,
    EncodedRecord,
    Level,
    LogRecord,
    Measurement,
    ProcessRole,
    Report,
    SpanEvent,
    SpanRecord,
    SpanStarted,
)
from chatbot.otel import Tracing
from chatbot.sums import Sums

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(5)

_SAMPLED = "-01"  # the flags at the end of a traceparent
_FLUSH_AT = 64
_KEEP_AT_MOST = 4096
_REPORT_RECORDS = 256
_REPORT_BYTES = 256 * 1024
_encoder = msgspec.msgpack.Encoder()
_random_bits = random.Random().getrandbits  # noqa: S311 - unique, not secret; a third of urandom's time


def trace_id_of(traceparent: str) -> str:
    """Return the 32 hex digits of the trace, or an empty string where there is no trace."""
    return traceparent[3:35]


def span_id_of(traceparent: str) -> str:
    """Return the 16 hex digits of the span, or an empty string where there is no trace."""
    return traceparent[36:52]


def is_sampled(traceparent: str) -> bool:
    """Whether the spans of the trace are recorded; of no trace, an empty string, they are not."""
    return traceparent.endswith(_SAMPLED)


class Span:
    """A span in the making. `end` (or leaving its `with` block) records it; an exception marks it.

    Its clock is `time_ns` at the start and `perf_counter_ns` from there on, so that a step of the
    system clock cannot make a duration negative.
    """

    __slots__ = (
        "_attributes",
        "_ended",
        "_error",
        "_events",
        "_links",
        "_recorder",
        "_start_counter",
        "kind",
        "name",
        "parent_id",
        "span_id",
        "start_ns",
        "trace_id",
    )

    is_recorded = True

    def __init__(
        self,
        recorder: "Recorder",
        name: str,
        kind: int,
        trace_id: str,
        parent_id: str,
        attributes: dict[str, AttributeValue],
        start_ns: int | None,
    ) -> None:
        self._recorder = recorder
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.span_id = f"{_random_bits(64):016x}"
        now_ns = time.time_ns()
        self.start_ns = now_ns if start_ns is None else start_ns
        # A start in the past (a wait that another process began) shifts the counter's zero with it.
        self._start_counter = time.perf_counter_ns() - (now_ns - self.start_ns)
        self._attributes = attributes
        self._events: tuple[SpanEvent, ...] = ()
        self._links: tuple[str, ...] = ()
        self._error = ""
        self._ended = False

    @property
    def traceparent(self) -> str:
        """The header that makes this span the parent of what the receiver does; empty: no trace."""
        return f"00-{self.trace_id}-{self.span_id}{_SAMPLED}"

    @property
    def exemplar(self) -> str:
        """The traceparent for a measurement of what this span is about; empty: it is not recorded."""
        return self.traceparent

    def announce(self) -> Self:
        """Tell telemetry that the span has begun, so that it is ended even if this process is killed.

        For spans that wait for something; it reaches telemetry with the next `flush`. A span that
        lasts a few milliseconds is hardly ever cut off, and would cost a third more.
        """
        self._recorder.add(
            SpanStarted(
                self.trace_id,
                self.span_id,
                self.parent_id,
                self.name,
                self.kind,
                self.start_ns,
                self._attributes,
            )
        )
        return self

    def set(self, key: str, value: AttributeValue) -> None:
        """Set an attribute."""
        self._attributes[key] = value

    def update(self, attributes: dict[str, AttributeValue]) -> None:
        """Set attributes."""
        self._attributes.update(attributes)

    def event(self, name: str, **attributes: AttributeValue) -> None:
        """Add a named moment: now."""
        self._events += (SpanEvent(name, self._now_ns(), attributes),)

    def link(self, *traceparents: str) -> None:
        """Link to spans of another branch or trace; what is not recorded is left out."""
        self._links += tuple(filter(is_sampled, traceparents))

    def fail(self, description: str) -> None:
        """Mark the span as an error; the description becomes its status message."""
        self._error = description or "error"

    def end(self, end_ns: int | None = None) -> None:
        """Record the span, once; ending it again does nothing."""
        if self._ended:
            return
        self._ended = True
        self._recorder.add(
            SpanRecord(
                self.trace_id,
                self.span_id,
                self.parent_id,
                self.name,
                self.kind,
                self.start_ns,
                self._now_ns() if end_ns is None else end_ns,
                self._attributes,
                self._events,
                self._links,
                self._error,
            )
        )

    def _now_ns(self) -> int:
        return self.start_ns + time.perf_counter_ns() - self._start_counter

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and not self._ended:
            # Not its text: nobody knows what that repeats.
            self.set("error.type", type(error).__name__)
            self.fail(type(error).__name__)
        self.end()


class Unrecorded(Span):
    """What takes the place of a span where nothing is recorded: the trace is not sampled, or there is
    none. What follows it has the same traceparent, so that a log line still tells the trace."""

    __slots__ = ("_traceparent",)

    is_recorded = False

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent
        self.trace_id = trace_id_of(traceparent)
        self.span_id = span_id_of(traceparent)
        self.start_ns = time.time_ns()

    @property
    def traceparent(self) -> str:
        """The traceparent of what it was to be a part of."""
        return self._traceparent

    @property
    def exemplar(self) -> str:
        """Nothing."""
        return ""

    def announce(self) -> Self:
        """Do nothing."""
        return self

    def set(self, key: str, value: AttributeValue) -> None:
        """Do nothing."""

    def update(self, attributes: dict[str, AttributeValue]) -> None:
        """Do nothing."""

    def event(self, name: str, **attributes: AttributeValue) -> None:
        """Do nothing."""

    def link(self, *traceparents: str) -> None:
        """Do nothing."""

    def fail(self, description: str) -> None:
        """Do nothing."""

    def end(self, end_ns: int | None = None) -> None:
        """Do nothing."""


class Recorder:
    """A process's telemetry. `offer` takes a `Report` or refuses it at once; it never waits.

    Records gather until `flush`, or until there are 64 of them. When the way is full they are kept,
    up to 4,096; what comes after that is dropped and counted. Measurements are added up until then,
    and go on adding up while the way is full.

    The attributes that are handed in are kept as they are until then: a span's dictionary becomes the
    span's own, a measurement's may be shared by many and must never change.
    """

    def __init__(
        self,
        role: ProcessRole,
        slot: int,
        offer: Callable[[Report], bool],
        tracing: Tracing = Tracing(),  # noqa: B008 - frozen
    ) -> None:
        self.tracing = tracing
        self._role: ProcessRole = role
        self._slot = slot
        self._pid = os.getpid()
        self._offer = offer
        self._records: list[EncodedRecord | Measurement] = []
        self._sums = Sums(every_exemplar=tracing.every_exemplar)
        self._is_refused = False
        self._dropped = 0
        self._sample_below = round(tracing.sample_ratio * 2**64)

    def span(
        self,
        name: str,
        *,
        kind: int = INTERNAL,
        parent: str | None,
        start_ns: int | None = None,
        attributes: dict[str, AttributeValue] | None = None,
    ) -> Span:
        """Start a span under `parent`, a traceparent; None roots a new trace.

        Under an empty one ("no trace"), and in a trace that is not sampled, the span is not recorded,
        and neither are its children.
        """
        parent_id = ""
        if parent is None:
            trace_id = f"{_random_bits(128):032x}"
            if not self._keeps(trace_id):
                return Unrecorded(f"00-{trace_id}-{_random_bits(64):016x}-00")
        elif not parent.endswith(_SAMPLED):
            return Unrecorded(parent)
        else:
            trace_id, parent_id = trace_id_of(parent), span_id_of(parent)
        return Span(self, name, kind, trace_id, parent_id, attributes or {}, start_ns)

    def _keeps(self, trace_id: str) -> bool:
        """The rule of TraceIdRatioBased: the lower half of the id, compared with a bound."""
        return self.tracing.enabled and int(trace_id[16:], 16) < self._sample_below

    def hop(
        self,
        operation: Literal["send", "process"],
        destination: str,
        message_id: str,
        parent: str,
        start_ns: int | None = None,
    ) -> Span:
        """Start the span of a message's way through a queue, at its sender or at its receiver.

        Named as in https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/.
        """
        if not parent.endswith(_SAMPLED):
            return Unrecorded(parent)
        attributes: dict[str, AttributeValue] = {
            "messaging.system": "chatbot",
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "messaging.destination.name": destination,
            "messaging.message.id": message_id,
        }
        kind = PRODUCER if operation == "send" else CONSUMER
        trace_id, parent_id = trace_id_of(parent), span_id_of(parent)
        name = f"{operation} {destination}"
        return Span(self, name, kind, trace_id, parent_id, attributes, start_ns)

    def log(
        self, level: Level, event: str, /, traceparent: str = "", **fields: AttributeValue
    ) -> None:
        """Log one event. Never pass a key or the content of a message."""
        if level == "debug" and not self.tracing.debug:
            return
        self.add(LogRecord(time.time_ns(), level, event, traceparent, fields))

    def count(
        self,
        name: str,
        value: int = 1,
        /,
        attributes: dict[str, AttributeValue] | None = None,
        traceparent: str = "",
    ) -> None:
        """Add to a counter."""
        if self.tracing.enabled and not self._sums.add(
            name, "counter", value, attributes, traceparent
        ):
            self._add_alone(name, "counter", value, attributes, traceparent)

    def observe(
        self,
        name: str,
        value: float,
        /,
        attributes: dict[str, AttributeValue] | None = None,
        traceparent: str = "",
    ) -> None:
        """Record a value in a histogram, in the unit that the instrument is declared with."""
        if self.tracing.enabled and not self._sums.add(
            name, "histogram", value, attributes, traceparent
        ):
            self._add_alone(name, "histogram", value, attributes, traceparent)

    def gauge(
        self, name: str, value: float, /, attributes: dict[str, AttributeValue] | None = None
    ) -> None:
        """Tell what a gauge stands at."""
        if self.tracing.enabled and not self._sums.add(name, "gauge", value, attributes):
            self._add_alone(name, "gauge", value, attributes, "")

    def _add_alone(
        self,
        name: str,
        instrument: InstrumentKind,
        value: float,
        attributes: dict[str, AttributeValue] | None,
        traceparent: str,
    ) -> None:
        """Take what cannot be added up: whoever refuses it counts it."""
        self.add(Measurement(name, instrument, value, attributes or {}, traceparent))

    def add(self, record: EncodedRecord | Measurement) -> None:
        """Take a finished record."""
        if len(self._records) >= _KEEP_AT_MOST:
            self._dropped += 1
            return
        self._records.append(record)
        if len(self._records) % _FLUSH_AT == 0:
            self.flush()

    @property
    def waiting(self) -> int:
        """How many records have gathered, or would be made now."""
        return len(self._records) + self._sums.waiting

    def flush(self, *, sums: bool = True, through: Callable[[Report], bool] | None = None) -> None:
        """Offer what has gathered; keep it where the way is full. Without the `sums`: only spans and
        lines of the log. `through` is another door to the same way."""
        offer = through or self._offer
        if self._is_refused:  # what was measured adds up until the way is free
            self._is_refused = not self._offer_records([], offer)
            if self._is_refused:
                return
        measured = self._sums.take() if sums and self._sums.waiting else []
        if measured or self._records:
            self._is_refused = not self._offer_records(measured, offer)

    def _offer_records(
        self, measured: list[EncodedMeasurement], offer: Callable[[Report], bool]
    ) -> bool:
        """Offer the records and what was measured; return whether all of it was taken."""
        records, self._records = self._records, []  # at once: another thread may be adding
        records += measured
        if not records:
            return True
        parts = [records]  # the first one last
        while parts:
            part = parts.pop()
            payload = _encoded(part)
            if len(part) > 1 and (payload is None or len(payload) > _REPORT_BYTES):
                half = len(part) // 2
                parts += (part[half:], part[:half])
                continue
            if payload is None:  # what no other process could read is not worth the way
                self._dropped += 1
                continue
            report = Report(
                self._role, self._slot, self._pid, payload, self._dropped, records=len(part)
            )
            try:
                taken = offer(report)
            except MessageTooLarge:  # of content that somebody put into attributes
                self._dropped += len(part)
                continue
            if not taken:
                rest = [record for waiting in (part, *reversed(parts)) for record in waiting]
                self._records = rest + self._records
                return False
            self._dropped = 0
        return True


def _encoded(records: list[EncodedRecord | Measurement]) -> bytes | None:
    """Return the payload of a report; None where they are too many for one, or one of them holds what
    cannot be encoded (an integer beyond 64 bits, half a surrogate pair)."""
    if len(records) > _REPORT_RECORDS:
        return None
    try:
        return _encoder.encode(records)
    except (OverflowError, TypeError, ValueError):
        return None
