"""One line of OTLP-JSON becomes spans: pure.

The shape is that of https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hex, 64-bit
integers as strings. What a line has beyond it is passed over; a span that is no span is left out, and
the others of its line are kept.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

AttributeValue = str | int | float | bool | tuple[str, ...]

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(1, 6)  # the numbers of OTLP

_ERROR = 2
_IDS = re.compile(r"[0-9a-f]{32}/[0-9a-f]{16}")


class Event(msgspec.Struct, frozen=True):
    """A named moment inside a span."""

    name: str
    time_ns: int
    attributes: dict[str, AttributeValue] = {}


class Link(msgspec.Struct, frozen=True):
    """A span of another branch or trace, which had to do with this one."""

    trace_id: str
    span_id: str


class Span(msgspec.Struct, frozen=True):
    """A finished span, and which process it was in. `error` empty: its status is not an error."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, AttributeValue] = {}
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    error: str = ""
    service: str = ""
    role: str = ""
    slot: int = 0
    pid: int = 0

    @property
    def duration_ns(self) -> int:
        """How long it took; a clock that went backwards makes that nothing, not less."""
        return max(self.end_ns - self.start_ns, 0)

    @property
    def process(self) -> str:
        """The process as a person knows it: `ui`, `worker 1`."""
        if not self.role:
            return self.service or "?"
        return f"{self.role} {self.slot}" if self.role == "worker" else self.role

    def text(self, key: str) -> str:
        """Return an attribute as text; empty where there is none."""
        value = self.attributes.get(key, "")
        return ", ".join(value) if isinstance(value, tuple) else str(value)


class _Lenient(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """A part of OTLP-JSON."""


class _Array(_Lenient, frozen=True):
    values: list["_Value"] = []


class _Value(_Lenient, frozen=True):
    string_value: str | None = None
    int_value: int | None = None
    double_value: float | None = None
    bool_value: bool | None = None
    array_value: _Array | None = None


class _Attribute(_Lenient, frozen=True):
    key: str = ""
    value: _Value = _Value()


class _Event(_Lenient, frozen=True):
    name: str = ""
    time_unix_nano: int = 0
    attributes: list[_Attribute] = []


class _Link(_Lenient, frozen=True):
    trace_id: str = ""
    span_id: str = ""


class _Status(_Lenient, frozen=True):
    code: int = 0
    message: str = ""


class _Span(_Lenient, frozen=True):
    trace_id: str
    span_id: str
    start_time_unix_nano: int
    end_time_unix_nano: int
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    attributes: list[_Attribute] = []
    events: list[_Event] = []
    links: list[_Link] = []
    status: _Status = _Status()


class _ScopeSpans(_Lenient, frozen=True):
    spans: list[_Span] = []


class _Resource(_Lenient, frozen=True):
    attributes: list[_Attribute] = []


class _ResourceSpans(_Lenient, frozen=True):
    resource: _Resource = _Resource()
    scope_spans: list[_ScopeSpans] = []


class _Line(_Lenient, frozen=True):
    resource_spans: list[_ResourceSpans]


class _RawScopeSpans(_Lenient, frozen=True):
    spans: list[msgspec.Raw] = []


class _RawResourceSpans(_Lenient, frozen=True):
    resource: msgspec.Raw = msgspec.Raw(b"{}")
    scope_spans: list[_RawScopeSpans] = []


class _RawLine(_Lenient, frozen=True):
    resource_spans: list[_RawResourceSpans]


# Not strict: an integer may be a string, as the encoding has it.
_line = msgspec.json.Decoder(_Line, strict=False)
_raw_line = msgspec.json.Decoder(_RawLine, strict=False)
_raw_span = msgspec.json.Decoder(_Span, strict=False)
_raw_resource = msgspec.json.Decoder(_Resource, strict=False)


def decode(line: bytes) -> Iterator[Span]:
    """Return the spans of a line; none of one that is no OTLP-JSON."""
    try:
        resource_spans = _line.decode(line).resource_spans
    except msgspec.ValidationError:
        resource_spans = _salvage(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for group in resource_spans:
        source = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                if _IDS.fullmatch(f"{span.trace_id}/{span.span_id}"):
                    yield _built(span, source)


def _salvage(line: bytes) -> list[_ResourceSpans]:
    """Return what can be read of a line in which something is not as it should be."""
    found = []
    try:
        for group in _raw_line.decode(line).resource_spans:
            spans = [
                span
                for scope in group.scope_spans
                for raw in scope.spans
                if (span := _try(_raw_span, raw)) is not None
            ]
            resource = _try(_raw_resource, group.resource) or _Resource()
            found.append(_ResourceSpans(resource, [_ScopeSpans(spans)]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return found


def _try(decoder: "msgspec.json.Decoder[Any]", raw: msgspec.Raw) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _built(span: _Span, source: dict[str, AttributeValue]) -> Span:
    status = span.status
    return Span(
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        tuple(Event(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events),
        tuple(Link(link.trace_id, link.span_id) for link in span.links),
        (status.message or "error") if status.code == _ERROR else "",
        str(source.get("service.name", "")),
        str(source.get("chatbot.process.role", "")),
        _number(source.get("chatbot.process.slot")),
        _number(source.get("process.pid")),
    )


def _attributes(listed: list[_Attribute]) -> dict[str, AttributeValue]:
    return {each.key: _plain(each.value) for each in listed}


def _plain(value: _Value) -> AttributeValue:
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return value.int_value
    if value.double_value is not None:
        return value.double_value
    if value.bool_value is not None:
        return value.bool_value
    if value.array_value is not None:
        return tuple(str(_plain(each)) for each in value.array_value.values)
    return ""


def _number(value: AttributeValue | None) -> int:
    return value if isinstance(value, int) else 0
