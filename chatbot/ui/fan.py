"""Several answers that come at once, put in the order in which they were asked for: pure.

The first that has not ended is shown as it comes. What comes of the others is kept until it is their turn, so
that no two are ever mixed on a stream which cannot go back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chatbot.messages import Target, Terminal


@dataclass
class Branch:
    """One of them. `pieces` are those not shown yet, each with whether it is reasoning."""

    number: int
    target: Target
    pieces: list[tuple[str, bool]] = field(default_factory=list)
    end: tuple[Terminal, str] | None = None
    is_shown: bool = False


class Fan:
    """The answers of one question to several."""

    def __init__(self, asked: Sequence[tuple[str, Target]]) -> None:
        self._branches = {
            request_id: Branch(number, target)
            for number, (request_id, target) in enumerate(asked, 1)
        }
        self._waiting = list(self._branches)

    @property
    def current(self) -> Branch | None:
        """The one that is being shown; None behind the last."""
        return self._branches[self._waiting[0]] if self._waiting else None

    def has(self, request_id: str) -> bool:
        """Whether this is one of them."""
        return request_id in self._branches

    def piece(self, request_id: str, text: str, *, reasoning: bool) -> bool:
        """A piece came; return whether it is to be shown now."""
        if self._waiting and self._waiting[0] == request_id:
            return True
        self._branches[request_id].pieces.append((text, reasoning))
        return False

    def ended(self, request_id: str, terminal: Terminal, streamed: str) -> Iterator[Branch]:
        """One has ended. Give each whose turn it is now, the one that is shown first: it is to be ended
        where it has an end, and the one behind it to be begun with its pieces."""
        self._branches[request_id].end = terminal, streamed
        while self._waiting:
            branch = self._branches[self._waiting[0]]
            yield branch
            if branch.end is None:
                return
            del self._waiting[0]
