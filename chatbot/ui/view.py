"""The one place that writes to the terminal: answers to stdout, all else to stderr.

Two views of the same turn: text for a person, and one JSON object per line for a program. Whatever
goes to a terminal is sanitized; what goes into a pipe or a file is the text as it came.
"""

import errno
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

import msgspec

from chatbot.errors import ChatbotError
from chatbot.messages import (
    Answered,
    CacheStats,
    Cancelled,
    Failed,
    Interrupted,
    ModelsListed,
    SearchHit,
    Session,
    StatusRead,
    StoredMessage,
    Target,
    Terminal,
)
from chatbot.sanitize import one_line, sanitize
from chatbot.ui import listing, status
from chatbot.ui.stats import Stats

if TYPE_CHECKING:
    from chatbot.traces.trace import Trace
    from chatbot.traces.turn import Turn

_COLUMNS = 80
_encode = msgspec.json.Encoder().encode


class View(Protocol):
    """What a turn looks like while it happens, and what sessions and the cache look like.

    Raises BrokenPipeError when nobody reads any more, ChatbotError when stdout cannot be written.
    `begin_fan` stands for the `begin` of several turns; their deltas and ends come in any order, and `end_fan`
    is behind the last of them. `watch` shows a status that is read again and again, until `end_watch`.
    `memory` is by pid, in bytes; a process that is gone has none.
    """

    def begin(self, request_id: str, session_id: str, target: Target) -> None: ...
    def delta(self, request_id: str, text: str, *, reasoning: bool) -> None: ...
    def end(self, terminal: Terminal, streamed: str) -> None: ...
    def leave(self) -> None: ...
    def aside(self, text: str) -> None: ...
    def models(self, listed: ModelsListed) -> None: ...
    def sessions(self, listed: Sequence[Session]) -> None: ...
    def heading(self, session: Session) -> None: ...
    def message(self, session_id: str, stored: StoredMessage, *, unanswered: bool) -> None: ...
    def found(self, hits: Sequence[SearchHit]) -> None: ...
    def cache(self, stats: CacheStats) -> None: ...
    def status(self, read: StatusRead, memory: Mapping[int, int]) -> None: ...
    def watch(self, read: StatusRead, memory: Mapping[int, int]) -> None: ...
    def end_watch(self) -> None: ...
    def begin_fan(self, asked: Sequence[tuple[str, Target]], session_id: str) -> None: ...
    def end_fan(self) -> None: ...
    def stats(self, stats: Stats) -> None: ...
    def thoughts(self, text: str) -> None: ...
    def trace(self, trace: "Trace", turn: "Turn") -> None: ...
    def done(self, event: str, line: str, **fields: object) -> None: ...


class Notices:
    """Lines for the person, on stderr; each is one line whatever it contains."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.is_terminal = stream.isatty()

    @property
    def columns(self) -> int:
        """How wide the terminal is now; 80 where it is none."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except (OSError, ValueError):
            return _COLUMNS

    def say(self, text: str) -> None:
        """Write one line."""
        self._write(one_line(text) + "\n")

    def block(self, text: str) -> None:
        """Write several lines."""
        self._write(sanitize(text) + "\n")

    def drawn(self, lines: Iterable[str]) -> None:
        """Write lines as they are: whoever drew them has made safe what is from elsewhere."""
        self._write("".join(f"{line}\n" for line in lines))

    def prompt(self, text: str) -> None:
        """Write something that is to stay on its line."""
        self._write(sanitize(text))

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a stderr that is gone must not end a chat that is not
            self._gone = True


class Output:
    """stdout: made safe where it is a terminal, as it came where it is not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()

    def write(self, text: str) -> None:
        """Write and flush. Raises BrokenPipeError when nobody reads, ChatbotError for the rest."""
        try:
            self._stream.write(sanitize(text) if self.is_terminal else text)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno == errno.EINVAL:  # what a broken pipe is on Windows
                raise BrokenPipeError from error
            raise ChatbotError(f"cannot write to stdout: {error.strerror or error}") from error


class TextView:
    """Answers as text. `chatting` puts `Bot: ` before each, for a person who sees both sides;
    `listing` makes lists what goes to stdout, rather than notices beside the answers. `colour`: a
    terminal may be given colours."""

    def __init__(
        self,
        stdout: TextIO,
        notices: Notices,
        *,
        chatting: bool = False,
        listing: bool = False,
        colour: bool = False,
    ) -> None:
        self._colour = colour
        self._out = Output(stdout)
        self._notices = notices
        self._chatting = chatting
        self._listing = listing
        self._at_line_start = True
        self._thinking = False
        self._waiting = False  # behind `Bot: `, for the first piece

    def begin(self, request_id: str, session_id: str, target: Target) -> None:
        """A turn begins."""
        del request_id, session_id, target
        self._at_line_start = True
        self._thinking = False
        self._waiting = self._chatting
        if self._chatting:
            self._notices.prompt("Bot: ")

    def delta(self, request_id: str, text: str, *, reasoning: bool) -> None:
        """A piece of the answer, or of the thinking before it, which goes to stderr."""
        del request_id
        if reasoning:
            self._thinking = True
            self._waiting = False
            self._notices.prompt(text)
            return
        self._end_thinking()
        self._write(text)

    def end(self, terminal: Terminal, streamed: str) -> None:
        """The turn is over: the rest of the text, and a line about what was not as it should be."""
        text = terminal.completion.text if isinstance(terminal, Answered) else terminal.text
        thought = self._thinking
        self._end_thinking()
        if text.startswith(streamed):
            self._write(text[len(streamed) :])
        if not self._at_line_start:
            self._write("\n")
        elif self._chatting and not text and not thought:
            self._notices.prompt("\n")
        self._waiting = False
        again = "/regenerate" if self._chatting else "--refresh"
        if line := describe(terminal, again):
            self._notices.say(line)

    def leave(self) -> None:
        """The turn is left before its end."""
        self._end_thinking()
        if self._waiting:
            self._waiting = False
            self._notices.prompt("\n")
        if not self._at_line_start:
            self._write("\n")

    def aside(self, text: str) -> None:
        """A notice that may come in the middle of a turn: on a line of its own."""
        if self._waiting or (self._out.is_terminal and not self._at_line_start):
            self._notices.prompt("\n")
        self._notices.say(text)
        if self._waiting:
            self._notices.prompt("Bot: ")

    def models(self, listed: ModelsListed) -> None:
        """The models of a backend, one per line."""
        if listed.error:
            self._notices.say(listed.error)
        elif not listed.names:
            self._notices.say(f"{listed.backend} has no models")
        for name in listed.names:
            if self._listing:
                self._write(f"{listed.backend}\t{one_line(name)}\n")
            else:
                self._notices.say(name)

    def sessions(self, listed: Sequence[Session]) -> None:
        """Sessions, one per line."""
        self._list(listing.sessions(listed))

    def heading(self, session: Session) -> None:
        """What a session is, above its conversation; in a chat, the lines of its banner."""
        if self._listing:
            self._list((*listing.heading(session), ""))
            return
        self._notices.say(f"Session: {session.session_id} ({listing.title(session)})")

    def message(self, session_id: str, stored: StoredMessage, *, unanswered: bool) -> None:
        """A message that was said before."""
        del session_id
        if self._listing:
            self._list(listing.message(stored, unanswered=unanswered))
        else:
            self._list((listing.line(stored, unanswered=unanswered),))

    def found(self, hits: Sequence[SearchHit]) -> None:
        """What a search has found, best first."""
        self._list(listing.found(hits))

    def cache(self, stats: CacheStats) -> None:
        """What the answer cache holds."""
        self._list(listing.cache(stats))

    def status(self, read: StatusRead) -> None:
        """The processes and their work."""
        self._list(status.top(read))

    def trace(self, trace: "Trace", turn: "Turn") -> None:
        """Where the time of a turn went."""
        # Here, as below: a chat without /trace is not to load what it takes.
        from chatbot.traces.style import Style
        from chatbot.traces.waterfall import waterfall

        style = Style(self._notices.columns, self._colour and self._notices.is_terminal)
        self._notices.drawn(waterfall(trace, turn, style))

    def done(self, event: str, line: str, **fields: object) -> None:
        """Something was done, as a line for the person."""
        del event, fields
        self._notices.say(line)

    def _list(self, lines: Iterable[str]) -> None:
        for line in lines:
            if self._listing:
                self._write(line + "\n")
            else:
                self._notices.block(line)

    def _end_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            self._notices.prompt("\n")

    def _write(self, text: str) -> None:
        if text:
            self._waiting = False
            self._out.write(text)
            self._at_line_start = text.endswith("\n")


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

    def message(self, session_id: str, stored: StoredMessage, *, unanswered: bool) -> None:
        """`message`"""
        fields = msgspec.structs.asdict(stored)
        self._event("message", session_id=session_id, **fields, unanswered=unanswered)

    def found(self, hits: Sequence[SearchHit]) -> None:
        """`found`, for each"""
        for hit in hits:
            self._event("found", **msgspec.structs.asdict(hit))

    def cache(self, stats: CacheStats) -> None:
        """`cache`"""
        self._event("cache", **msgspec.structs.asdict(stats))

    def status(self, read: StatusRead) -> None:
        """`top`"""
        self._event("top", processes=_plain(read.processes), work=_plain(read.work))

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


def _plain(value: object) -> object:
    """Return structs as objects with names; between processes they are arrays."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else value


def describe(terminal: Terminal, again: str = "--refresh") -> str:
    """Return the line to show about a turn's end; empty where the answer says it all. `again` is what
    asks anew instead of taking what was cached."""
    match terminal:
        case Answered(cached_age_s=None):
            return ""
        case Answered(cached_age_s=age_s):
            return f"(cached {listing.age(age_s or 0.0)}; {again} asks anew)"
        case Failed(message=message):
            return message
        case Cancelled():
            return "(stopped; what came is kept)" if terminal.text else "(stopped)"
        case Interrupted(reason=reason):
            return f"(interrupted: {reason})"
