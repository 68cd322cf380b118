"""A turn as a person at the console sees it, and all else that the chat shows there.

What is finished goes into the terminal's scrollback, what still changes is drawn above the input line. All
methods are called by the chat's thread, and none of them draws: they keep, and say that there is something new.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from chatbot.messages import (
    Answered,
    CacheStats,
    Failed,
    ModelsListed,
    SearchHit,
    Session,
    StatusRead,
    StoredMessage,
    Target,
    Terminal,
)
from chatbot.sanitize import one_line
from chatbot.settings import Price
from chatbot.ui import cost, listing, status
from chatbot.ui.console.answer import LEAD, Answer
from chatbot.ui.console.columns import reflowed, shown
from chatbot.ui.console.notices import Screen
from chatbot.ui.console.rendering import MarkdownRendering, Rendering
from chatbot.ui.console.several import Several
from chatbot.ui.console.unfailing import Unfailing
from chatbot.ui.console.watch import Watch
from chatbot.ui.footer import footer
from chatbot.ui.lines import Line, line, styled
from chatbot.ui.stats import Stats, lines
from chatbot.ui.view import NO_THOUGHTS, describe

if TYPE_CHECKING:
    from chatbot.traces.trace import Trace
    from chatbot.traces.turn import Turn

_AGAIN = "/regenerate"
_NOTICE = "ansiyellow"
_WRONG = "ansired"
_EMPTY = "(the answer is empty)"
_ANOTHER = "(what is kept of the answer is not what came of it; it is:)"


class ConsoleView:
    """`View` for the console. `colour`: what others draw for it may have colours."""

    def __init__(
        self,
        screen: Screen,
        *,
        colour: bool = False,
        prices: Mapping[str, Price] | None = None,
        rendering: Rendering | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen = screen
        self._colour = colour
        self._prices = prices or {}
        self._rendering = Unfailing(rendering or MarkdownRendering())
        self._clock = clock
        self._target: Target | None = None
        self._answer: Answer | None = None
        self._several: Several | None = None
        self._watch: Watch | None = None

    # --- a turn ----------------------------------------------------------------------------------

    def begin(self, request_id: str, session_id: str, target: Target) -> None:
        """A turn begins: it is waited for."""
        del request_id, session_id
        self._target = target
        self._answer = Answer(self._rendering, self._clock)
        self._screen.show(self._answer)
        self._answer.load()

    def delta(self, request_id: str, text: str, *, reasoning: bool) -> None:
        """A piece of the answer, or of the thinking before it."""
        if self._several is not None:
            self._several.feed(request_id, text, reasoning=reasoning)
        elif self._answer is not None:
            self._answer.feed(text, reasoning=reasoning)
        self._screen.changed()

    def end(self, terminal: Terminal, streamed: str) -> None:
        """The turn is over: the rest of the text, and the line below it."""
        text = terminal.completion.text if isinstance(terminal, Answered) else terminal.text
        if self._several is not None:
            target = self._several.target(terminal.request_id)
            self._several.ended(terminal, text, self._ending(terminal, target))
            self._screen.changed()
            return
        answer, self._answer = self._answer, None
        if answer is None or self._target is None:
            return
        is_another = bool(text) and not text.startswith(streamed)
        if not is_another:
            answer.feed(text[len(streamed) :], reasoning=False)
        finished = [*answer.end(self._screen.columns)]
        if is_another:
            finished += (*self._fitting(line(_ANOTHER, "dim")), *self._whole(text))
        for each in self._ending(terminal, self._target):
            finished += self._fitting(each)
        self._screen.show(None, (*finished, ()))

    def leave(self) -> None:
        """The turn is left before its end; what came of it stays to be read."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self._screen.show(None, answer.end(self._screen.columns))
        several, self._several = self._several, None
        if several is not None:
            self._screen.show(None, several.end(self._screen.columns))
        self.end_watch()

    def begin_fan(self, asked: Sequence[tuple[str, Target]], session_id: str) -> None:
        """Several turns begin at once."""
        del session_id
        self._several = Several(asked, self._rendering, self._clock)
        self._screen.show(self._several)
        self._several.load()

    def end_fan(self) -> None:
        """All of them are over: they are written down, whole."""
        several, self._several = self._several, None
        if several is not None:
            self._screen.show(None, (*several.end(self._screen.columns), ()))

    def thoughts(self, text: str) -> None:
        """What was thought before an answer."""
        self._screen.write(styled(shown(text or NO_THOUGHTS).split("\n"), "dim"))

    def aside(self, text: str) -> None:
        """A notice that may come in the middle of a turn: above what is being drawn."""
        self._screen.write(self._fitting(line(one_line(text), _NOTICE)))

    # --- the processes ---------------------------------------------------------------------------

    def status(self, read: StatusRead, memory: Mapping[int, int]) -> None:
        """The processes and their work."""
        self._screen.write(_table(status.top(read, memory)))

    def watch(self, read: StatusRead, memory: Mapping[int, int]) -> None:
        """The same, painted over the one before."""
        table = _table(status.top(read, memory))
        if self._watch is None:
            self._watch = Watch()
            self._watch.put(table)
            self._screen.show(self._watch)
        else:
            self._watch.put(table)
            self._screen.changed()

    def end_watch(self) -> None:
        """The last one stays to be read."""
        watch, self._watch = self._watch, None
        if watch is not None:
            self._screen.show(None, watch.lines)

    def trace(self, trace: "Trace", turn: "Turn") -> None:
        """Where the time of a turn went."""
        # Here: a chat without /trace is not to load what it takes.
        from chatbot.traces.style import Style
        from chatbot.traces.waterfall import waterfall

        self._screen.write_drawn(waterfall(trace, turn, Style(self._screen.columns, self._colour)))

    # --- lists -----------------------------------------------------------------------------------

    def models(self, listed: ModelsListed) -> None:
        """The models of a backend, one per line."""
        if listed.error:
            self.aside(listed.error)
        elif not listed.names:
            self.aside(f"{listed.backend} has no models")
        self._screen.write([line(one_line(name)) for name in listed.names])

    def sessions(self, listed: Sequence[Session]) -> None:
        """Sessions, one per line."""
        self._screen.write(styled(tuple(listing.sessions(listed))))

    def heading(self, session: Session) -> None:
        """What a session is, above its conversation."""
        said = f"Session: {session.session_id} ({listing.title(session)})"
        self._screen.write(self._fitting(line(one_line(said), "bold")))

    def message(
        self, session_id: str, stored: StoredMessage, *, unanswered: bool, sibling: str = ""
    ) -> None:
        """A message that was said before, as it was shown then."""
        del session_id
        if listing.is_repeated(stored):
            return
        if stored.role == "assistant":
            text = self._whole(stored.content) if stored.content else (LEAD,)
        else:
            first, *rest = shown(stored.content).split("\n")
            lead = ("bold", f"{listing.who(stored.role)}: ")
            text = ((lead, ("", first)), *styled(rest))
        marks = [f"[{mark}]" for mark in listing.marks_of(stored, unanswered, sibling)]
        below = (line(" ".join(marks), "dim"),) if marks else ()
        end = ((),) if stored.role == "assistant" else ()
        self._screen.write((*text, *below, *end))

    def found(self, hits: Sequence[SearchHit]) -> None:
        """What a search has found, best first, the words in bold."""
        self._screen.write(_found(hits))

    def cache(self, stats: CacheStats) -> None:
        """What the answer cache holds."""
        self._screen.write(styled(tuple(listing.cache(stats))))

    def stats(self, stats: Stats) -> None:
        """What the session has used."""
        self._screen.write(_table(lines(stats)))

    def done(self, event: str, line: str, **fields: object) -> None:
        """Something was done, as a line for the person."""
        del event, fields
        self._screen.write(self._fitting((("", one_line(line)),)))

    def _whole(self, text: str) -> tuple[Line, ...]:
        return self._rendering.whole(text, self._screen.columns, LEAD)

    def _fitting(self, said: Line) -> list[Line]:
        """Return a line in rows that fit now: a terminal would break it within a word."""
        return reflowed(said, self._screen.columns)

    def _ending(self, terminal: Terminal, target: Target) -> tuple[Line, ...]:
        """Return what stands below an answer."""
        if isinstance(terminal, Answered):
            below = footer(terminal, target, cost.price_of(target, self._prices))
            is_empty = not terminal.completion.text.strip()
            return (line(_EMPTY, "dim"), below) if is_empty else (below,)
        style = _WRONG if isinstance(terminal, Failed) else _NOTICE
        return (line(one_line(describe(terminal, _AGAIN)), style),)


def _table(rows: Iterable[str]) -> tuple[Line, ...]:
    """Return a table with its heads in bold."""
    head, *others = rows
    return (line(head, "bold"), *styled(others))


def _found(hits: Sequence[SearchHit]) -> list[Line]:
    names = listing.handles(hit.session_id for hit in hits)
    found: list[Line] = []
    for hit in hits:
        name = names[hit.session_id]
        about = f"  {listing.moment(hit.timestamp)}  {one_line(hit.title)}"
        found.append((("bold", name), ("dim", about)))
        found.append((("", f"{' ' * len(name)}  {listing.who(hit.role)}: "), *_matches(hit)))
    return found


def _matches(hit: SearchHit) -> Iterable[tuple[str, str]]:
    """Return the snippet, its matches in bold."""
    at = 0
    for start, end in sorted(hit.matches):
        if at <= start < end <= len(hit.snippet):
            yield "", hit.snippet[at:start]
            yield "bold", hit.snippet[start:end]
            at = end
    yield "", hit.snippet[at:]
