"""Everything as JSON, for a program: one object per line."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

import msgspec

from chatbot.messages import (
    Answered,
    CacheStats,
    ModelsListed,
    SearchHit,
    Session,
    StatusRead,
    StoredMessage,
    Target,
    Terminal,
)
from chatbot.ui.stats import Stats, Used
from chatbot.ui.streams import Output
from chatbot.ui.view import Notices, describe

if TYPE_CHECKING:
    from chatbot.traces.trace import Trace
    from chatbot.traces.turn import Turn

_encode = msgspec.json.Encoder().encode


class JsonView:
    """Everything as JSON, one object per line, each with its `event` and the time in Unix seconds."""

    def __init__(self, stdout: TextIO, notices: Notices) -> None:
        self._out = Output(stdout)
        self._notices = notices

    def begin(self, request_id: str, session_id: str, target: Target) -> None:
        """`asked`"""
        self._event(
            "asked",
            request_id=request_id,
            session_id=session_id,
            backend=target.backend,
            model=target.model,
        )

    def delta(self, request_id: str, text: str, *, reasoning: bool) -> None:
        """`delta` or `reasoning`"""
        self._event("reasoning" if reasoning else "delta", request_id=request_id, text=text)

    def end(self, terminal: Terminal, streamed: str) -> None:
        """`answered`, `failed`, `cancelled` or `interrupted`"""
        del streamed
        fields = msgspec.structs.asdict(terminal)
        traceparent = fields.pop("traceparent")
        fields.pop("attempt")
        fields.pop("timing", None)  # a chat's calls are not measured
        if isinstance(terminal, Answered):
            completion = msgspec.structs.asdict(fields.pop("completion"))
            fields |= completion
            fields["cached"] = terminal.cached_age_s is not None
        fields["trace_id"] = traceparent[3:35]
        self._event(type(terminal).__name__.lower(), **fields)
        if line := describe(terminal):
            self._notices.say(line)

    def leave(self) -> None:
        """An event is always whole: there is nothing to be finished."""

    def aside(self, text: str) -> None:
        """A notice that may come in the middle of a turn."""
        self._notices.say(text)

    def models(self, listed: ModelsListed) -> None:
        """`models`"""
        self._event("models", backend=listed.backend, names=listed.names, error=listed.error)
        if listed.error:
            self._notices.say(listed.error)

    def sessions(self, listed: Sequence[Session]) -> None:
        """`session`, for each"""
        for session in listed:
            self.heading(session)

    def heading(self, session: Session) -> None:
        """`session`"""
        self._event("session", **msgspec.structs.asdict(session))

    def message(
        self, session_id: str, stored: StoredMessage, *, unanswered: bool, sibling: str = ""
    ) -> None:
        """`message`"""
        del sibling  # a program has `fan` and `active`
        fields = msgspec.structs.asdict(stored)
        self._event("message", session_id=session_id, **fields, unanswered=unanswered)

    def found(self, hits: Sequence[SearchHit]) -> None:
        """`found`, for each"""
        for hit in hits:
            self._event("found", **msgspec.structs.asdict(hit))

    def cache(self, stats: CacheStats) -> None:
        """`cache`"""
        self._event("cache", **msgspec.structs.asdict(stats))

    def status(self, read: StatusRead, memory: Mapping[int, int]) -> None:
        """`top`"""
        processes = [
            msgspec.structs.asdict(each) | {"memory_bytes": memory.get(each.pid)}
            for each in read.processes
        ]
        self._event("top", processes=processes, work=_plain(read.work))

    def watch(self, read: StatusRead, memory: Mapping[int, int]) -> None:
        """`top`, each time"""
        self.status(read, memory)

    def end_watch(self) -> None:
        """An event is always whole."""

    def begin_fan(self, asked: Sequence[tuple[str, Target]], session_id: str) -> None:
        """`fan`, and then `asked`, for each"""
        request_ids = [request_id for request_id, _ in asked]
        self._event("fan", request_ids=request_ids, session_id=session_id)
        for request_id, target in asked:
            self.begin(request_id, session_id, target)

    def end_fan(self) -> None:
        """Each has told its own end."""

    def stats(self, stats: Stats) -> None:
        """`stats`"""
        self._event("stats", session_id=stats.session_id, used=[_used(each) for each in stats.used])

    def thoughts(self, text: str) -> None:
        """`thinking`"""
        self._event("thinking", text=text)

    def trace(self, trace: "Trace", turn: "Turn") -> None:
        """`trace`"""
        from chatbot.traces.event import as_event

        self._event("trace", **as_event(trace, turn))

    def done(self, event: str, line: str, **fields: object) -> None:
        """The event itself."""
        del line
        self._event(event, **fields)

    def _event(self, name: str, /, **fields: object) -> None:
        line = _encode({"event": name, "time": time.time(), **fields}).decode()
        self._out.write(line + "\n")


def _used(used: Used) -> dict[str, object]:
    fields = msgspec.structs.asdict(used)
    target = fields.pop("target")
    return {"backend": target.backend, "model": target.model, **fields}


def _plain(value: object) -> object:
    """Return structs as objects with names; between processes they are arrays."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else value
