"""What the chat shows, whoever looks: the contract between a turn and what draws it.

`TextView` is for a person at a plain terminal or a pipe, `JsonView` for a program, `ConsoleView` for a person
at the live console. `Notices` are the lines besides: they answer no question, and never go to stdout.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

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
from chatbot.ui import listing
from chatbot.ui.stats import Stats

if TYPE_CHECKING:
    from chatbot.traces.trace import Trace
    from chatbot.traces.turn import Turn


NO_THOUGHTS = "(no thinking came before the last answer)"


class View(Protocol):
    """What a turn looks like while it happens, and what sessions and the cache look like.

    Raises BrokenPipeError when nobody reads any more, ChatbotError when stdout cannot be written.
    `begin_fan` stands for the `begin` of several turns; their deltas and ends come in any order, and `end_fan`
    is behind the last of them. `watch` shows a status that is read again and again, until `end_watch`.
    `sibling` says which of several a message is, as `listing.Told` has it. `memory` is by pid, in bytes; a process that is gone has none.
    """

    def begin(self, request_id: str, session_id: str, target: Target) -> None: ...
    def delta(self, request_id: str, text: str, *, reasoning: bool) -> None: ...
    def end(self, terminal: Terminal, streamed: str) -> None: ...
    def leave(self) -> None: ...
    def aside(self, text: str) -> None: ...
    def models(self, listed: ModelsListed) -> None: ...
    def sessions(self, listed: Sequence[Session]) -> None: ...
    def heading(self, session: Session) -> None: ...
    def message(
        self, session_id: str, stored: StoredMessage, *, unanswered: bool, sibling: str = ""
    ) -> None: ...
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


class Notices(Protocol):
    """Lines for the person, apart from the answers."""

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees them at once."""
        ...

    @property
    def columns(self) -> int:
        """How wide the terminal is now; 80 where it is none."""
        ...

    def say(self, text: str) -> None:
        """Show one line, whatever the text contains."""
        ...

    def block(self, text: str) -> None:
        """Show several lines."""
        ...

    def drawn(self, lines: Iterable[str]) -> None:
        """Show lines as they are: whoever drew them has made safe what is from elsewhere."""
        ...

    def prompt(self, text: str) -> None:
        """Show something that is to stay on its line."""
        ...


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
            return "(cancelled; what came is kept)" if terminal.text else "(cancelled)"
        case Interrupted(reason=reason):
            return f"(interrupted: {reason})"
