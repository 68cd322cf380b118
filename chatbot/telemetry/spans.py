"""Spans: a `SpanRecord` of any process becomes the SDK's `ReadableSpan`.

Owns the Resource of every source process and the judgement which records are well formed. It never
exports and never raises for what a record holds: a record without valid ids is refused, a bad
parent or link is left off, and both are counted in `malformed`. Called by the telemetry process.

Sources: https://opentelemetry.io/docs/specs/otel/resource/sdk/ for the variables, and the semantic
conventions (service, process, telemetry.sdk) for the attributes.
"""

import platform
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from urllib.parse import unquote

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from chatbot.messages import AttributeValue, Report, SpanRecord
from chatbot.tracing import span_id_of, trace_id_of
from chatbot.version import __version__

_IDS = re.compile(r"(?!0{32})[0-9a-f]{32}/(?!0{16})[0-9a-f]{16}")
_KINDS = tuple(SpanKind)  # in the order of their numbers, 0 to 4
_REMOTE_PARENT = (SpanKind.SERVER, SpanKind.CONSUMER)
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
        self._cache: dict[tuple[str, int, int], Resource] = {}

    def of(self, role: str, slot: int, pid: int) -> Resource:
        """Return the Resource of a process; the same object each time."""
        key = (role, slot, pid)
        resource = self._cache.get(key)
        if resource is None:
            if len(self._cache) >= _SOURCES_AT_MOST:
                self._cache.clear()
            resource = self._cache[key] = self._make(f"chatbot-{role}", role, slot, pid)
        return resource

    def of_program(self, pid: int) -> Resource:
        """Return the Resource of the metrics: they are of the program, whoever measured them."""
        return self._make("chatbot", "telemetry", 0, pid)

    def _make(self, service: str, role: str, slot: int, pid: int) -> Resource:
        attributes: dict[str, AttributeValue] = {
            "service.namespace": "chatbot",
            "service.name": service,
            "service.version": __version__,
            **self._given,
            # What tells one process from another is not for a variable to say.
            "service.instance.id": f"{role}-{slot}-{pid}@{self._node}",
            "process.pid": pid,
            "chatbot.process.role": role,
            "chatbot.process.slot": slot,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
        }
        return SourceResource(attributes)


class SpanBuilder:
    """Makes spans of records, and counts the ids it had to refuse."""

    def __init__(self, resources: Resources) -> None:
        self.malformed = 0
        self._resources = resources

    def build(self, record: SpanRecord, source: Report) -> ReadableSpan | None:
        """Return the span, or None for a record that no exporter could write."""
        context = self._context(record.trace_id, record.span_id, is_remote=False)
        times_fit = 0 <= record.start_ns < _INT64 and 0 <= record.end_ns < _INT64
        if context is None or not times_fit or not 0 <= record.kind < len(_KINDS):
            self.malformed += 1
            return None
        kind = _KINDS[record.kind]
        parent = None
        if record.parent_id:
            parent = self._context(
                record.trace_id, record.parent_id, is_remote=kind in _REMOTE_PARENT
            )
            self.malformed += parent is None
        return ReadableSpan(
            name=record.name,
            context=context,
            parent=parent,
            resource=self._resources.of(source.role, source.slot, source.pid),
            attributes=_exportable(record.attributes),
            events=[
                Event(event.name, _exportable(event.attributes), event.time_ns)
                for event in record.events
                if 0 <= event.time_ns < _INT64
            ],
            links=self._links(record.links) if record.links else (),
            kind=kind,
            status=Status(StatusCode.ERROR, record.error) if record.error else _UNSET,
            start_time=record.start_ns,
            end_time=record.end_ns,
            instrumentation_scope=_SCOPE,
        )

    def _links(self, traceparents: tuple[str, ...]) -> list[Link]:
        links = []
        for traceparent in traceparents:
            context = self._context(
                trace_id_of(traceparent), span_id_of(traceparent), is_remote=True
            )
            if context is None:
                self.malformed += 1
            else:
                links.append(Link(context))
        return links

    @staticmethod
    def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext | None:
        if not _IDS.fullmatch(f"{trace_id}/{span_id}"):
            return None
        return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, _SAMPLED)


def parse_resource_attributes(text: str) -> dict[str, str]:
    """Parse `key=value,key=value` with percent-encoded values; an entry without `=` is left out."""
    pairs = (entry.split("=", 1) for entry in text.split(",") if "=" in entry)
    return {key.strip(): unquote(value.strip()) for key, value in pairs if key.strip()}


def sampler(environ: Mapping[str, str]) -> Callable[[str], bool]:
    """Return which traces are kept, by `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.

    The decision is a function of the trace id, so that all processes' spans of a trace share it;
    that makes the `parentbased_` samplers the same as those they are based on. A span whose id is
    no hex number is left to `SpanBuilder` to refuse.
    """
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    if name == "always_off":
        return lambda _: False
    if name != "traceidratio":
        return lambda _: True
    try:
        bound = TraceIdRatioBased(float(environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))).bound
    except ValueError:  # the specification: an invalid argument counts as not given
        return lambda _: True
    # The rule of TraceIdRatioBased: the lower 64 bits of the trace id, compared with the bound.
    return lambda trace_id: _lower_half(trace_id) < bound


def _lower_half(trace_id: str) -> int:
    try:
        return int(trace_id[16:], 16)
    except ValueError:
        return 0


def _exportable(attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return the attributes with integers beyond 64 bits, which OTLP does not have, as text."""
    for value in attributes.values():
        if type(value) is int and not -_INT64 <= value < _INT64:
            return {
                key: str(v) if type(v) is int and not -_INT64 <= v < _INT64 else v
                for key, v in attributes.items()
            }
    return attributes
