"""Which requests go wrong, how, and where in the answer. Pure.

It follows from the seed, the conversation and how often that was asked before: a run can be repeated,
and who asks again may succeed.
"""

import msgspec

from chatbot.settings import FaultKind, SimServerSettings
from chatbot.simserver.model import conversation_key, draw
from chatbot.wire.format import ChatRequest

_MOST_REMEMBERED = 65_536


class Fault(msgspec.Struct, frozen=True):
    """What goes wrong. `where` says after which part of an answer, from 0 to 1."""

    kind: FaultKind
    where: float

    @property
    def status(self) -> int:
        """The status that refuses the request; 0: the answer is begun, and goes wrong under way."""
        return int(self.kind) if self.kind.isdigit() else 0

    def after(self, pieces: int) -> int:
        """Return how many pieces of an answer come before it: some, and where possible not all."""
        return min(pieces, max(1, int(self.where * pieces)))


class Faults:
    """Decides for one request after the other. What it remembers is bounded: the longest known goes first."""

    def __init__(self, settings: SimServerSettings) -> None:
        self._seed = settings.seed
        self._rates = [(kind, rate) for kind, rate in settings.faults.items() if rate > 0]
        self._asked: dict[bytes, int] = {}
        self.any = bool(self._rates)

    def next(self, request: ChatRequest) -> Fault | None:
        """Return what goes wrong with this request; None: nothing does."""
        key = conversation_key(self._seed, request)
        before = self._asked.pop(key, 0)
        if len(self._asked) >= _MOST_REMEMBERED:
            # In one go: taking the first of a dict one by one is ever slower.
            for known in list(self._asked)[: _MOST_REMEMBERED // 2]:
                del self._asked[known]
        self._asked[key] = before + 1
        u, where = draw(key, b"fault %d" % before, 2)
        for kind, rate in self._rates:
            if u < rate:
                return Fault(kind, where)
            u -= rate
        return None
