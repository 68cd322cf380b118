"""Open spans: those that were announced and have not ended yet.

Pure. Owns the table from which a span is ended when its process can no longer do it. It never looks
at a clock, and never judges whether a span is well formed: that is for `judge`. Called by the
telemetry process, and by `openfile`, which keeps the table over a kill.

A span that is left by a killed process is an error. One that is left by a process that ended in order
had an end, which was lost on its way: what it was is unknown. It is ended without an error and
without a duration, so that the spans below it have their parent, and says so
(`chatbot.end_unknown`).

The table is bounded, and its oldest entries are forgotten first: a span whose end was dropped on the
way would stay in it for ever. A forgotten span is written as usual when it ends by itself.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from chatbot.messages import ProcessEnded, ProcessRole, Report, SpanRecord, SpanStarted

PROGRAM_ENDED = "the program ended"
PROGRAM_KILLED = "the program was killed"
IN_ORDER = "exit code 0"

_AT_MOST = 16_384
_ENDED_BY_THE_END = "process_ended"


class Source(NamedTuple):
    """The process that telemetry comes from."""

    role: ProcessRole
    slot: int
    pid: int


def source_of(message: Report | ProcessEnded) -> Source:
    """Return the process that a message is of."""
    return Source(message.role, message.slot, message.pid)


class OpenSpans:
    """The table: announced spans by their source and id, in the order of their beginning."""

    def __init__(self, at_most: int = _AT_MOST) -> None:
        self.changes = 0
        self._at_most = at_most
        self._spans: dict[tuple[Source, str], SpanStarted] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def began(self, span: SpanStarted, source: Source) -> None:
        """Take a span in."""
        if len(self._spans) >= self._at_most:
            del self._spans[next(iter(self._spans))]
        self._spans[source, span.span_id] = span
        self.changes += 1

    def ended(self, span_id: str, source: Source) -> None:
        """Forget a span that has ended by itself; one that was never announced is none of ours."""
        if self._spans.pop((source, span_id), None) is not None:
            self.changes += 1

    def since_ns(self) -> int | None:
        """Return when the one began that is open for the longest; None where none is."""
        for span in self._spans.values():
            return span.start_ns
        return None

    def newest_first(self) -> Iterator[tuple[Source, SpanStarted]]:
        """Return all that is open."""
        for (source, _), span in reversed(self._spans.items()):
            yield source, span

    def end_of(self, source: Source, time_ns: int, how: str) -> list[SpanRecord]:
        """End every span of a process, as an error that says how the process ended; without one if
        it ended in order."""
        left = [key for key in self._spans if key[0] == source]
        self.changes += len(left)
        return [end(self._spans.pop(key), time_ns, how) for key in left]

    def end_all(self, time_ns: int, *, in_order: bool) -> list[tuple[Source, SpanRecord]]:
        """End every span: there will be no more word of any process. If it was told to stop
        `in_order`, the supervisor has ended its own, and of the others nobody has told."""
        spans, self._spans = self._spans, {}
        self.changes += len(spans)
        hows = {"supervisor": IN_ORDER} if in_order else {}
        return [
            (source, end(span, time_ns, hows.get(source.role, PROGRAM_ENDED)))
            for (source, _), span in spans.items()
        ]


def end(span: SpanStarted, time_ns: int, how: str) -> SpanRecord:
    """End a span that its process has not ended, by how that has ended."""
    ended = SpanRecord(
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind,
        span.start_ns,
        span.start_ns,
        {**span.attributes, "chatbot.end_unknown": True},
    )
    if how == IN_ORDER:
        return ended
    return msgspec.structs.replace(
        ended,
        end_ns=max(span.start_ns, time_ns),
        attributes={**span.attributes, "error.type": _ENDED_BY_THE_END},
        error=how or PROGRAM_ENDED,
    )
