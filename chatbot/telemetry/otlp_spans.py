"""Spans as the SDK's exporters take them.

Owns the form: a judged record becomes a `ReadableSpan` with the Resource of its process. Imported by
`otlp` when there is a collector for spans, so that nothing is made of spans that nobody takes.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from chatbot.messages import AttributeValue
from chatbot.telemetry.gate import Exporter
from chatbot.telemetry.judge import Judged
from chatbot.telemetry.otlp import FinishedSpan
from chatbot.tracing import CONSUMER, SERVER, span_id_of, trace_id_of
from chatbot.version import __version__

_KINDS = tuple(SpanKind)  # in the order of their numbers, 0 to 4
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
_SCOPE = InstrumentationScope("chatbot", __version__)


class SpanExporter:
    """The SDK's exporter of spans, given records."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[FinishedSpan], /) -> Enum:
        """Send the spans."""
        return self._exporter.export([readable(span) for span in spans])

    def shutdown(self) -> None:
        """Have whoever waits in `export` give up."""
        self._exporter.shutdown()


def readable(span: FinishedSpan) -> ReadableSpan:
    """Return a span as the SDK's exporters take it, with the counts of what was dropped."""
    (record, dropped), resource = span
    parent = None
    if record.parent_id:
        is_remote = record.kind in (SERVER, CONSUMER)
        parent = _context(record.trace_id, record.parent_id, is_remote=is_remote)
    return ReadableSpan(
        name=record.name,
        context=_context(record.trace_id, record.span_id, is_remote=False),
        parent=parent,
        resource=resource,
        attributes=_attributes(record.attributes, dropped.attributes),
        events=_list(_events(span.judged), dropped.events),
        links=_list([_link(link) for link in record.links], dropped.links),
        kind=_KINDS[record.kind],
        status=Status(StatusCode.ERROR, record.error) if record.error else _UNSET,
        start_time=record.start_ns,
        end_time=record.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _events(span: Judged) -> list[Event]:
    record, dropped = span
    return [
        Event(event.name, _attributes(event.attributes, number), event.time_ns)
        for event, number in zip(record.events, dropped.event_attributes, strict=True)
    ]


def _link(traceparent: str) -> Link:
    return Link(_context(trace_id_of(traceparent), span_id_of(traceparent), is_remote=True))


def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, _SAMPLED)


def _attributes(
    attributes: dict[str, AttributeValue], dropped: int
) -> dict[str, AttributeValue] | BoundedAttributes:
    if not dropped:
        return attributes
    bounded = BoundedAttributes(attributes=attributes)
    bounded.dropped = dropped
    return bounded


def _list(items: list[Any], dropped: int) -> Sequence[Any]:
    if not dropped:
        return items
    bounded = BoundedList.from_seq(len(items), items)
    bounded.dropped = dropped
    return bounded
