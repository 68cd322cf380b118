"""Spans as OTLP-JSON: a judged record becomes one, and many become a line of the trace file.

Owns the form of those lines, and nothing else: pure. The official file exporter writes the same (a
test holds the two equal for any span), but by way of an SDK span and three generations of objects,
at ten times the processor time: it cost more than half of all the rest of a turn.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: field names in
lowerCamelCase, ids in hex, enums as numbers, 64-bit integers as strings, defaults left out.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from chatbot.messages import AttributeValue
from chatbot.telemetry.judge import Judged
from chatbot.tracing import CONSUMER, SERVER, span_id_of, trace_id_of
from chatbot.version import __version__

_REMOTE_KNOWN = 0x100  # the flags say whether the parent is in another process …
_REMOTE = 0x200  # … and it is
_ERROR = 2


class _Text(msgspec.Struct):
    value: str = msgspec.field(name="stringValue")


class _Integer(msgspec.Struct):
    value: str = msgspec.field(name="intValue")


class _Truth(msgspec.Struct):
    value: bool = msgspec.field(name="boolValue")


class _Number(msgspec.Struct):
    value: float | str = msgspec.field(name="doubleValue")


class _Values(msgspec.Struct, omit_defaults=True):
    values: list[_Text] = []


class _Array(msgspec.Struct):
    value: _Values = msgspec.field(name="arrayValue")


class _Attribute(msgspec.Struct):
    key: str
    value: _Text | _Integer | _Truth | _Number | _Array


class _Event(msgspec.Struct, omit_defaults=True, rename="camel"):
    time_unix_nano: str = "0"
    name: str = ""
    attributes: list[_Attribute] = []
    dropped_attributes_count: int = 0


class _Link(msgspec.Struct, rename="camel"):
    trace_id: str
    span_id: str
    flags: int = _REMOTE_KNOWN | _REMOTE


class _Status(msgspec.Struct, omit_defaults=True):
    message: str = ""
    code: int = 0


class Span(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A span as it stands in a line."""

    trace_id: str
    span_id: str
    status: _Status
    parent_span_id: str = ""
    flags: int = 0
    name: str = ""
    kind: int = 0
    start_time_unix_nano: str = "0"
    end_time_unix_nano: str = "0"
    attributes: list[_Attribute] = []
    dropped_attributes_count: int = 0
    events: list[_Event] = []
    dropped_events_count: int = 0
    links: list[_Link] = []
    dropped_links_count: int = 0


class _Scope(msgspec.Struct):
    name: str
    version: str


class _ScopeSpans(msgspec.Struct):
    scope: _Scope
    spans: list[msgspec.Raw]


class _Resource(msgspec.Struct):
    attributes: list[_Attribute]


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw
    scope_spans: tuple[_ScopeSpans]


class _Line(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans]


_UNSET = _Status()
_SCOPE = _Scope("chatbot", __version__)
_encoder = msgspec.json.Encoder()


def span(judged: Judged) -> Span:
    """Return a span that was judged fit to be written."""
    record, dropped = judged
    remote = _REMOTE if record.parent_id and record.kind in (SERVER, CONSUMER) else 0
    return Span(
        record.trace_id,
        record.span_id,
        _Status(record.error, _ERROR) if record.error else _UNSET,
        record.parent_id,
        _REMOTE_KNOWN | remote,
        record.name,
        record.kind + 1,
        str(record.start_ns),
        str(record.end_ns),
        _attributes(record.attributes),
        dropped.attributes,
        _events(judged) if record.events else [],
        dropped.events,
        [_Link(trace_id_of(link), span_id_of(link)) for link in record.links]
        if record.links
        else [],
        dropped.links,
    )


def resource(attributes: Mapping[str, AttributeValue]) -> msgspec.Raw:
    """Return a Resource, encoded once for all the lines it will stand in."""
    return msgspec.Raw(_encoder.encode(_Resource(_attributes(attributes))))


def encoded(judged: Judged) -> bytes:
    """Return a span as it will stand in a line."""
    return _encoder.encode(span(judged))


def line(spans: Iterable[tuple[msgspec.Raw, list[msgspec.Raw]]]) -> bytes:
    """Return the line, without its end, of encoded spans by the Resource of their process."""
    return _encoder.encode(
        _Line([_ResourceSpans(of, (_ScopeSpans(_SCOPE, each),)) for of, each in spans])
    )


def _events(judged: Judged) -> list[_Event]:
    record, dropped = judged
    return [
        _Event(str(event.time_ns), event.name, _attributes(event.attributes), number)
        for event, number in zip(record.events, dropped.event_attributes, strict=True)
    ]


def _attributes(attributes: Mapping[str, AttributeValue]) -> list[_Attribute]:
    return [_Attribute(key, _value(value)) for key, value in attributes.items()]


def _value(value: AttributeValue) -> _Text | _Integer | _Truth | _Number | _Array:
    if isinstance(value, str):
        return _Text(value)
    if isinstance(value, bool):  # before int, which it is as well
        return _Truth(value)
    if isinstance(value, int):
        return _Integer(str(value))
    if isinstance(value, float):
        return _Number(value if math.isfinite(value) else _not_finite(value))
    return _Array(_Values([_Text(item) for item in value]))


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
