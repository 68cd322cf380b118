"""Judging spans: which records are well formed, and what of them is beyond a limit.

Pure. A record without valid ids is refused; a bad parent, link or event is left off; both are counted
in `malformed`. It never raises for what a record holds. It leaves no span out for another reason: what
arrives was sampled where its trace began. Called by the telemetry process.
"""

import re
from typing import Any, NamedTuple

import msgspec

from chatbot.messages import SpanEvent, SpanRecord
from chatbot.telemetry.limits import Limits, bounded
from chatbot.tracing import span_id_of, trace_id_of

_is_trace_id = re.compile(r"(?!0{32})[0-9a-f]{32}").fullmatch
_is_span_id = re.compile(r"(?!0{16})[0-9a-f]{16}").fullmatch
_KINDS = 5
_INT64 = 2**63


def is_valid(traceparent: str) -> bool:
    """Whether a traceparent names a trace and a span of it."""
    return bool(_is_trace_id(trace_id_of(traceparent)) and _is_span_id(span_id_of(traceparent)))


class Dropped(NamedTuple):
    """How much was beyond the limits; `event_attributes` of each event that was kept."""

    attributes: int = 0
    events: int = 0
    links: int = 0
    event_attributes: tuple[int, ...] = ()


NOTHING = Dropped()


class Judged(NamedTuple):
    """A record that every exporter can write as it is, and what was cut off to make it so."""

    record: SpanRecord
    dropped: Dropped = NOTHING


class Judge:
    """Applies the limits, and counts what it had to refuse or to leave off."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self.malformed = 0
        self._limits = limits

    def judge(self, record: SpanRecord) -> Judged | None:
        """Return what can be written of a record; None where that is nothing."""
        if not (
            _is_trace_id(record.trace_id)
            and _is_span_id(record.span_id)
            and 0 <= record.start_ns < _INT64
            and 0 <= record.end_ns < _INT64
            and 0 <= record.kind < _KINDS
        ):
            self.malformed += 1
            return None
        limits = self._limits
        changes: dict[str, Any] = {}
        if record.parent_id and not _is_span_id(record.parent_id):
            self.malformed += 1
            changes["parent_id"] = ""
        attributes, dropped = bounded(record.attributes, limits.attributes, limits.value_length)
        if attributes is not record.attributes:
            changes["attributes"] = attributes
        event_attributes: tuple[int, ...] = ()
        if record.events:
            changes["events"], event_attributes = self._events(record.events)
        if record.links:
            changes["links"] = self._links(record.links)
        if not changes:
            return Judged(record)
        counts = Dropped(
            dropped,
            max(len(record.events) - limits.events, 0),
            max(len(record.links) - limits.links, 0),
            event_attributes,
        )
        return Judged(msgspec.structs.replace(record, **changes), counts)

    def _events(
        self, events: tuple[SpanEvent, ...]
    ) -> tuple[tuple[SpanEvent, ...], tuple[int, ...]]:
        limits = self._limits
        kept: list[SpanEvent] = []
        counts: list[int] = []
        for event in events[: limits.events]:
            if not 0 <= event.time_ns < _INT64:
                self.malformed += 1
                continue
            attributes, dropped = bounded(
                event.attributes, limits.event_attributes, limits.value_length
            )
            if attributes is not event.attributes:
                event = msgspec.structs.replace(event, attributes=attributes)
            kept.append(event)
            counts.append(dropped)
        return tuple(kept), tuple(counts)

    def _links(self, links: tuple[str, ...]) -> tuple[str, ...]:
        within = links[: self._limits.links]
        kept = tuple(filter(is_valid, within))
        self.malformed += len(within) - len(kept)
        return kept
