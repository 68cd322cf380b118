"""What a trace was about: whom it asked, how long it took, how it ended. Pure.

`Gathering` takes the spans as the files have them, in any order and some of them twice, and keeps of a trace
no more than is listed.
"""

from typing import Any

import msgspec

from chatbot.traces.spans import Span

_FIRST_TOKEN = "first_token"  # noqa: S105 - an event's name
_UNKNOWN = "incomplete"


class Turn(msgspec.Struct, frozen=True):
    """A trace in a few words. `status` is `answered`, `cached`, `failed`, `cancelled` or `interrupted`,
    or `incomplete` where the span of the whole is not in the files. Durations are in nanoseconds."""

    trace_id: str
    name: str
    start_ns: int
    duration_ns: int
    status: str
    error: str
    backend: str
    model: str
    first_token_ns: int | None
    spans: int
    session_id: str = ""

    @property
    def target(self) -> str:
        """Whom it asked, for a person."""
        if self.model and self.model != self.backend:
            return f"{self.backend}/{self.model}" if self.backend else self.model
        return self.backend

    def as_event(self) -> dict[str, Any]:
        """Return it as an object for a program: durations in milliseconds, the time in Unix seconds."""
        first = self.first_token_ns
        return {
            "trace_id": self.trace_id,
            "name": self.name,
            "start": self.start_ns / 1e9,
            "duration_ms": self.duration_ns / 1e6,
            "status": self.status,
            "error": self.error,
            "backend": self.backend,
            "model": self.model,
            "first_token_ms": None if first is None else first / 1e6,
            "spans": self.spans,
            "session_id": self.session_id,
        }


class Gathering:
    """A trace, while its spans come."""

    def __init__(self) -> None:
        self._root: Span | None = None
        self._ids: set[str] = set()
        self._start_ns = 0
        self._end_ns = 0
        self._first_token_ns: int | None = None
        self._is_hit = False

    def add(self, span: Span) -> None:
        """Take a span; a second time it changes nothing."""
        self._start_ns = min(span.start_ns, self._start_ns) if self._ids else span.start_ns
        self._end_ns = max(span.end_ns, self._end_ns)
        self._ids.add(span.span_id)
        if not span.parent_id and self._root is None:
            self._root = span
        if span.attributes.get("cache.hit") is True:
            self._is_hit = True
        for event in span.events:
            if event.name == _FIRST_TOKEN:
                earlier = self._first_token_ns
                self._first_token_ns = (
                    event.time_ns if earlier is None else min(event.time_ns, earlier)
                )

    def turn(self, trace_id: str) -> Turn:
        """Return what it was about, as far as is known."""
        root = self._root
        start_ns = self._start_ns if root is None else root.start_ns
        first = self._first_token_ns
        return Turn(
            trace_id,
            root.name if root else "",
            start_ns,
            max(self._end_ns - start_ns, 0) if root is None else root.duration_ns,
            _status(root, is_hit=self._is_hit),
            root.error if root else "",
            root.text("backend") if root else "",
            root.text("gen_ai.request.model") if root else "",
            None if first is None else max(first - start_ns, 0),
            len(self._ids),
            root.text("session.id") if root else "",
        )


def _status(root: Span | None, *, is_hit: bool) -> str:
    if root is None:
        return _UNKNOWN
    status = root.text("status") or ("failed" if root.error else "")
    return "cached" if is_hit and status == "answered" else status
