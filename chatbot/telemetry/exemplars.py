"""Exemplars: for each bucket of a histogram, for each counter, one of the last measurements whose trace
is known.

Owns the reservoir that the SDK asks for them. The SDK's own forget what they were asked for once;
here a collection takes nothing away, because the metrics are collected more often than they are
written (`last`). An exemplar is shown until it is older than one and a half intervals: so every line
of the file has those of its time, and an idle program does not repeat the same ones for ever.
Called by the SDK, in the thread that measures and in those that collect.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar, ExemplarReservoir
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.util.types import Attributes

from chatbot.tracing import span_id_of, trace_id_of

_SHOWN_FOR = 1.5  # intervals
_CONTEXTS = 64


class _Seen(NamedTuple):
    value: int | float
    time_ns: int
    attributes: Attributes
    context: Context


class Reservoir(ExemplarReservoir):
    """The last measurement in each bucket; without bounds there is one bucket."""

    def __init__(self, shown_for_ns: int, boundaries: Sequence[float] = (), **_: Any) -> None:
        self._shown_for_ns = shown_for_ns
        self._boundaries = boundaries
        self._seen: dict[int, _Seen] = {}
        self._lock = Lock()

    def offer(
        self, value: float, time_unix_nano: int, attributes: Attributes, context: Context
    ) -> None:
        """Remember a measurement instead of the one before it."""
        seen = _Seen(value, time_unix_nano, attributes, context)
        with self._lock:
            self._seen[bisect_left(self._boundaries, value)] = seen

    def collect(self, point_attributes: Attributes) -> list[Exemplar]:
        """Return those that are young enough, in the order of their buckets."""
        oldest = time.time_ns() - self._shown_for_ns
        with self._lock:
            self._seen = {k: seen for k, seen in self._seen.items() if seen.time_ns >= oldest}
            young = [seen for _, seen in sorted(self._seen.items())]
        return [_exemplar(seen, point_attributes or {}) for seen in young]


def _exemplar(seen: _Seen, point_attributes: Mapping[str, Any]) -> Exemplar:
    attributes = seen.attributes or {}
    filtered = {key: value for key, value in attributes.items() if key not in point_attributes}
    context = get_current_span(seen.context).get_span_context()
    ids = (context.span_id, context.trace_id) if context.is_valid else (None, None)
    return Exemplar(filtered, seen.value, seen.time_ns, *ids)


def reservoirs(interval_ms: int) -> Callable[[type], Callable[..., Reservoir]]:
    """Return what a View makes its reservoirs with."""
    shown_for_ns = round(interval_ms * 1_000_000 * _SHOWN_FOR)

    def build(**more: Any) -> Reservoir:
        return Reservoir(shown_for_ns, **more)

    return lambda _: build


class Contexts:
    """Makes of a traceparent the context that the SDK wants; what one turn measures shares its own."""

    def __init__(self) -> None:
        self._made: dict[str, Context | None] = {}

    def of(self, traceparent: str) -> Context | None:
        """Return the context, or None where there is no trace, or it is not recorded."""
        if not traceparent.endswith("-01"):
            return None
        if traceparent not in self._made:
            if len(self._made) >= _CONTEXTS:
                self._made.clear()
            self._made[traceparent] = _context(traceparent)
        return self._made[traceparent]


def _context(traceparent: str) -> Context | None:
    try:
        trace_id, span_id = int(trace_id_of(traceparent), 16), int(span_id_of(traceparent), 16)
    except ValueError:
        return None
    span = SpanContext(
        trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    if not span.is_valid:
        return None
    # On an empty context, not on the current one of this thread, which has nothing to do with it.
    return set_span_in_context(NonRecordingSpan(span), Context())
