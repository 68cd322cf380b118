"""Open spans: those that were announced and have not ended yet.

Pure. Owns the table from which a span is ended when its process can no longer do it. It never looks
at a clock, and never judges whether a span is well formed: that is for `spans`. Called by the
telemetry process.

The table is bounded, and its oldest entries are forgotten first: a span whose end was dropped on the
way would stay in it for ever. A forgotten span is written as usual when it ends by itself.
"""

from typing import NamedTuple

from chatbot.messages import ProcessEnded, ProcessRole, Report, SpanRecord, SpanStarted

PROGRAM_ENDED = "the program ended"

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
        self._at_most = at_most
        self._spans: dict[tuple[Source, str], SpanStarted] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def began(self, span: SpanStarted, source: Source) -> None:
        """Take a span in."""
        if len(self._spans) >= self._at_most:
            del self._spans[next(iter(self._spans))]
        self._spans[source, span.span_id] = span

    def ended(self, span_id: str, source: Source) -> None:
        """Forget a span that has ended by itself; one that was never announced is none of ours."""
        self._spans.pop((source, span_id), None)

    def end_of(self, source: Source, time_ns: int, how: str) -> list[SpanRecord]:
        """End every span of a process, as an error that says how the process ended."""
        left = [key for key in self._spans if key[0] == source]
        return [_end(self._spans.pop(key), time_ns, how) for key in left]

    def end_all(self, time_ns: int) -> list[tuple[Source, SpanRecord]]:
        """End every span: there will be no more word of any process."""
        spans, self._spans = self._spans, {}
        return [(source, _end(span, time_ns, PROGRAM_ENDED)) for (source, _), span in spans.items()]


def _end(span: SpanStarted, time_ns: int, how: str) -> SpanRecord:
    return SpanRecord(
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind,
        span.start_ns,
        max(span.start_ns, time_ns),
        {**span.attributes, "error.type": _ENDED_BY_THE_END},
        error=how or PROGRAM_ENDED,
    )
