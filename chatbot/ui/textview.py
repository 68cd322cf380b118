"""Answers as text: for a person, for a pipe, for a file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

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
from chatbot.sanitize import one_line
from chatbot.ui import listing, status
from chatbot.ui.fan import Branch, Fan
from chatbot.ui.stats import Stats, lines
from chatbot.ui.streams import Output
from chatbot.ui.view import NO_THOUGHTS, Notices, describe

if TYPE_CHECKING:
    from chatbot.traces.trace import Trace
    from chatbot.traces.turn import Turn


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
        self._fan: Fan | None = None
        self._watched = False

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
        if self._fan is not None and not self._fan.piece(request_id, text, reasoning=reasoning):
            return
        self._piece(text, reasoning=reasoning)

    def _piece(self, text: str, *, reasoning: bool) -> None:
        if reasoning:
            self._thinking = True
            self._waiting = False
            self._notices.prompt(text)
            return
        self._end_thinking()
        self._write(text)

    def end(self, terminal: Terminal, streamed: str) -> None:
        """The turn is over: the rest of the text, and a line about what was not as it should be."""
        if self._fan is None:
            self._end(terminal, streamed)
            return
        for branch in self._fan.ended(terminal.request_id, terminal, streamed):
            self._show(branch)
            if branch.end is not None:
                self._end(*branch.end)

    def _end(self, terminal: Terminal, streamed: str) -> None:
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
        """The turn is left before its end; of several, what was kept is left with it."""
        self._fan = None
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

    def message(
        self, session_id: str, stored: StoredMessage, *, unanswered: bool, sibling: str = ""
    ) -> None:
        """A message that was said before."""
        del session_id
        if self._listing:
            self._list(listing.message(stored, unanswered=unanswered, sibling=sibling))
        elif not listing.is_repeated(stored):
            self._list((listing.line(stored, unanswered=unanswered, sibling=sibling),))

    def found(self, hits: Sequence[SearchHit]) -> None:
        """What a search has found, best first."""
        self._list(listing.found(hits))

    def cache(self, stats: CacheStats) -> None:
        """What the answer cache holds."""
        self._list(listing.cache(stats))

    def status(self, read: StatusRead, memory: Mapping[int, int]) -> None:
        """The processes and their work."""
        self._list(status.top(read, memory))

    def watch(self, read: StatusRead, memory: Mapping[int, int]) -> None:
        """The same, and only the first time: what was printed cannot be printed over."""
        if not self._watched:
            self._watched = True
            self.status(read, memory)

    def end_watch(self) -> None:
        """Nothing is watched any more."""
        self._watched = False

    def begin_fan(self, asked: Sequence[tuple[str, Target]], session_id: str) -> None:
        """Several turns begin. Their answers come one after the other, each under its heading."""
        del session_id
        self._at_line_start = True
        self._thinking = self._waiting = False
        self._fan = Fan(asked)
        if (first := self._fan.current) is not None:
            self._show(first)

    def end_fan(self) -> None:
        """All of them are over."""
        self._fan = None

    def stats(self, stats: Stats) -> None:
        """What the session has used."""
        self._list(lines(stats))

    def thoughts(self, text: str) -> None:
        """What was thought before an answer."""
        self._list((text or NO_THOUGHTS,))

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

    def _show(self, branch: Branch) -> None:
        """Begin with one of several answers, where it has not begun: its heading, and what is kept of it."""
        if branch.is_shown:
            return
        branch.is_shown = True
        between = "\n" if branch.number > 1 else ""
        target = branch.target
        name = one_line(f"{target.backend} {target.model}")
        self._write(f"{between}[{branch.number}] {name}\n")
        for text, reasoning in branch.pieces:
            self._piece(text, reasoning=reasoning)
        branch.pieces.clear()

    def _list(self, shown: Iterable[str]) -> None:
        for line in shown:
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
