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
    """One value for the meter: a `counter` adds it up, a `histogram` sorts it into its buckets."""

    name: str
    instrument: Literal["counter", "histogram"]
    value: int | float
    attributes: dict[str, AttributeValue] = {}
    traceparent: str = ""


Record = SpanRecord | LogRecord | Measurement


class Report(Message, frozen=True):
    """From any process → telemetry: records, still encoded, so that the supervisor only passes them on.

    `payload` is a MessagePack array of `Record`; `dropped` counts the records that were given up
    since the last report because the way was full.
    """

    role: ProcessRole
    slot: int
    pid: int
    payload: bytes
    dropped: int = 0
