"""Telemetry: spans, log lines and measurements, on their way to the one process that exports them."""

from typing import Literal

import msgspec

from chatbot.messages.parts import Level, Message, ProcessRole

AttributeValue = str | int | float | bool | tuple[str, ...]


class SpanEvent(msgspec.Struct, frozen=True, array_like=True):
    """A named moment inside a span."""

    name: str
    time_ns: int
    attributes: dict[str, AttributeValue] = {}


class SpanStarted(Message, frozen=True):
    """A span that may outlive its process has begun; its `SpanRecord` follows, unless the process is
    killed: then telemetry ends it, as an error, with what is known here."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    attributes: dict[str, AttributeValue] = {}


class SpanRecord(Message, frozen=True):
    """A finished span. Ids are lower-case hex (32 and 16 digits); `parent_id` is empty for a root.

    `kind` is OTLP's number less one, as in the SDK: 0 internal, 1 server, 2 client, 3 producer,
    4 consumer. `error` empty means status UNSET. `links` are traceparents.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, AttributeValue] = {}
    events: tuple[SpanEvent, ...] = ()
    links: tuple[str, ...] = ()
    error: str = ""


class LogRecord(Message, frozen=True):
    """One line of the log: `event` is a fixed name, the rest is in `fields`."""

    time_ns: int
    level: Level
    event: str
    traceparent: str = ""
    fields: dict[str, AttributeValue] = {}


class Measurement(Message, frozen=True):
    """Values of one series for the meter: a `counter` adds them up, a `histogram` sorts them into its
    buckets, a `gauge` holds the last one.

    Usually they were added up where they arose: `value` is the sum of so many (`count`), of a gauge the
    last one. Of a histogram's several values, `low` and `high` are the least and the greatest, and
    `buckets` says how many are in each bucket that has any. `exemplars` has one of the values with its
    traceparent, by bucket (of what has none: 0); a single value has its `traceparent` itself.
    """

    name: str
    instrument: Literal["counter", "histogram", "gauge"]
    value: int | float
    attributes: dict[str, AttributeValue] = {}
    traceparent: str = ""
    count: int = 1
    low: int | float = 0
    high: int | float = 0
    buckets: dict[int, int] = {}
    exemplars: dict[int, tuple[int | float, str]] = {}


class EncodedMeasurement(Message, frozen=True, tag="Measurement"):
    """The same, with its attributes still encoded: a series has the same ones every time, so they are
    encoded once by who measures, and decoded once by telemetry."""

    name: str
    instrument: Literal["counter", "histogram", "gauge"]
    value: int | float
    attributes: msgspec.Raw
    traceparent: str = ""
    count: int = 1
    low: int | float = 0
    high: int | float = 0
    buckets: dict[int, int] = {}
    exemplars: dict[int, tuple[int | float, str]] = {}


Record = SpanStarted | SpanRecord | LogRecord | Measurement
EncodedRecord = SpanStarted | SpanRecord | LogRecord | EncodedMeasurement


class Report(Message, frozen=True):
    """From any process → telemetry: records, still encoded, so that the supervisor only passes them on.

    `payload` is a MessagePack array of so many `records`; `dropped` counts those that were given up
    since the last report because the way was full.
    """

    role: ProcessRole
    slot: int
    pid: int
    payload: bytes
    dropped: int = 0
    records: int = 0


class ProcessEnded(Message, frozen=True):
    """From supervisor → telemetry: a process has ended, `how` for a person. All that it reported has
    been passed on before this: a span of it that is still open stays open for ever."""

    role: ProcessRole
    slot: int
    pid: int
    time_ns: int
    how: str


class Flush(Message, frozen=True):
    """From ui → telemetry: write down all that has been reported, so that it can be read."""

    request_id: str


class Flushed(Message, frozen=True):
    """From telemetry (or the supervisor, where there is none) → ui: everything is in the files."""

    request_id: str


class Taken(Message, frozen=True):
    """From telemetry → supervisor: it takes the next `reports` (and ends of processes) in hand now. What
    it was sent and has not taken is given to its successor, should it die."""

    reports: int


class TelemetryStatus(Message, frozen=True):
    """From telemetry → supervisor, at most once a second, when it has changed: how many records were
    given up so far, and where OTLP goes just now (empty: nowhere)."""

    dropped: int = 0
    collector: str = ""
