"""Spans: a `SpanRecord` of any process becomes the SDK's `ReadableSpan`.

Owns the Resource of every source process and the judgement which records are well formed. It never
exports and never raises for what a record holds: a record without valid ids is refused, a bad
parent or link is left off, and both are counted in `malformed`. It leaves no span out: what arrives
was sampled where its trace began. Called by the telemetry process.

Sources: https://opentelemetry.io/docs/specs/otel/resource/sdk/ for the variables, and the semantic
conventions (service, process, telemetry.sdk) for the attributes.
"""

import platform
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from urllib.parse import unquote

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from chatbot.messages import AttributeValue, SpanEvent, SpanRecord
from chatbot.telemetry.limits import Limits, bounded_attributes, bounded_list
from chatbot.telemetry.open import Source
from chatbot.tracing import span_id_of, trace_id_of
from chatbot.version import __version__

_is_trace_id = re.compile(r"(?!0{32})[0-9a-f]{32}").fullmatch
_is_span_id = re.compile(r"(?!0{16})[0-9a-f]{16}").fullmatch
_KINDS = tuple(SpanKind)  # in the order of their numbers, 0 to 4
_REMOTE_PARENT = (SpanKind.SERVER.value, SpanKind.CONSUMER.value)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
_SCOPE = InstrumentationScope("chatbot", __version__)
_INT64 = 2**63
_SOURCES_AT_MOST = 1024


class SourceResource(Resource):
    """A Resource that knows its hash: the exporters group every batch by it, and the SDK's own
    `__hash__` writes the whole Resource as JSON each time.
    """

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class Resources:
    """The Resource of each source: which process of this program the telemetry comes from.

    `OTEL_SERVICE_NAME`, or `service.name` in `OTEL_RESOURCE_ATTRIBUTES`, names all of them alike;
    otherwise each role is a service of its own, because Jaeger tells processes apart by that only.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._given: dict[str, AttributeValue] = dict(
            parse_resource_attributes(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
        )
        if name := environ.get("OTEL_SERVICE_NAME", "").strip():
            self._given["service.name"] = name
        self._node = platform.node()
        self._cache: dict[Source, Resource] = {}

    def of(self, source: Source) -> Resource:
        """Return the Resource of a process; the same object each time."""
        resource = self._cache.get(source)
        if resource is None:
            if len(self._cache) >= _SOURCES_AT_MOST:
                self._cache.clear()
            resource = self._cache[source] = self._make(f"chatbot-{source.role}", source)
        return resource

    def of_program(self, pid: int) -> Resource:
        """Return the Resource of the metrics: they are of the program, whoever measured them."""
        return self._make("chatbot", Source("telemetry", 0, pid))

    def _make(self, service: str, source: Source) -> Resource:
        role, slot, pid = source
        attributes: dict[str, AttributeValue] = {
            "service.namespace": "chatbot",
            "service.name": service,
            "service.version": __version__,
            **self._given,
            # What tells one process from another is not for a variable to say.
            "service.instance.id": f"{role}-{slot}-{pid}@{self._node}",
            "process.pid": pid,
            "process.title": f"chatbot {role} {slot}" if role == "worker" else f"chatbot {role}",
            "chatbot.process.role": role,
            "chatbot.process.slot": slot,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
        }
        return SourceResource(attributes)


class SpanBuilder:
    """Makes spans of records, and counts the ids it had to refuse."""

    def __init__(self, resources: Resources, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self.malformed = 0
        self._resources = resources
        self._limits = limits

    def build(self, record: SpanRecord, source: Source) -> ReadableSpan | None:
        """Return the span, or None for a record that no exporter could write."""
        number = record.kind
        times_fit = 0 <= record.start_ns < _INT64 and 0 <= record.end_ns < _INT64
        if (
            not _is_trace_id(record.trace_id)
            or not _is_span_id(record.span_id)
            or not times_fit
            or not 0 <= number < len(_KINDS)
        ):
            self.malformed += 1
            return None
        trace_id = int(record.trace_id, 16)
        parent = None
        if record.parent_id:
            if _is_span_id(record.parent_id):
                is_remote = number in _REMOTE_PARENT
                parent = SpanContext(trace_id, int(record.parent_id, 16), is_remote, _SAMPLED)
            else:
                self.malformed += 1
        limits = self._limits
        return ReadableSpan(
            name=record.name,
            context=SpanContext(trace_id, int(record.span_id, 16), False, _SAMPLED),  # noqa: FBT003 - is_remote
            parent=parent,
            resource=self._resources.of(source),
            attributes=bounded_attributes(
                record.attributes, limits.attributes, limits.value_length
            ),
            events=self._events(record.events) if record.events else (),
            links=self._links(record.links) if record.links else (),
            kind=_KINDS[number],
            status=Status(StatusCode.ERROR, record.error) if record.error else _UNSET,
            start_time=record.start_ns,
            end_time=record.end_ns,
            instrumentation_scope=_SCOPE,
        )

    def _events(self, events: tuple[SpanEvent, ...]) -> Sequence[Event]:
        limits = self._limits
        made = [
            Event(
                event.name,
                bounded_attributes(event.attributes, limits.event_attributes, limits.value_length),
                event.time_ns,
            )
            for event in events[: limits.events]
            if 0 <= event.time_ns < _INT64
        ]
        return bounded_list(events, limits.events, made)

    def _links(self, traceparents: tuple[str, ...]) -> Sequence[Link]:
        links = []
        for traceparent in traceparents[: self._limits.links]:
            trace_id, span_id = trace_id_of(traceparent), span_id_of(traceparent)
            if _is_trace_id(trace_id) and _is_span_id(span_id):
                context = SpanContext(int(trace_id, 16), int(span_id, 16), True, _SAMPLED)  # noqa: FBT003 - is_remote
                links.append(Link(context))
            else:
                self.malformed += 1
        return bounded_list(traceparents, self._limits.links, links)


def parse_resource_attributes(text: str) -> dict[str, str]:
    """Parse `key=value,key=value` with percent-encoded values; an entry without `=` is left out."""
    pairs = (entry.split("=", 1) for entry in text.split(",") if "=" in entry)
    return {key.strip(): unquote(value.strip()) for key, value in pairs if key.strip()}
