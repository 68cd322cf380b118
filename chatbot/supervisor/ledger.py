"""What the store was told and has not acknowledged, in order: pure.

It outlives the store. A store that comes back is told it again; while there is none, questions and
answers gather here, up to a limit, so that nothing is lost when there is one again.

A message may be what the store dies of. One that was on its way in two deaths is told alone after
that, with nothing behind it until it is acknowledged; one that two more stores die of is poison.
"""

from types import UnionType
from typing import get_args

import msgspec

from chatbot.history import DIGEST_OF_NOTHING, extended
from chatbot.messages import (
    Answered,
    Ask,
    Cancelled,
    Failed,
    Interrupted,
    Message,
    Pick,
    Query,
    Terminal,
    Undo,
)

_TERMINALS = frozenset(get_args(Terminal))
ALONE_AFTER = 2
POISON_AFTER = 4
KEPT_MESSAGES = 2000
KEPT_CHARACTERS = 32 * 1024 * 1024
NOTHING_SAVED = "this program was started without saving, so there is nothing to look in"

Told = Ask | Terminal | Query
Kind = type[Message] | UnionType  # `Terminal` stands for all four: a request has one
Key = tuple[str, Kind]


class _Entry:
    __slots__ = ("deaths", "message")

    def __init__(self, message: Told) -> None:
        self.message = message
        self.deaths = 0


class Ledger:
    """Remembers each message to the store until its acknowledgement.

    The order is kept: in a session, an answer is saved before the question that follows it.
    `gone` is empty while there is a store or will be one at once; else it says why not. It stays so
    until a store has acknowledged all that waited for it: that it runs does not mean that it can
    save. `unsaved` counts what was too much to be kept until then.

    `saves` False: nothing is to be saved, ever. It is gone from the beginning, and stays empty.
    """

    def __init__(self, *, saves: bool = True) -> None:
        self._saves = saves
        self._entries: dict[Key, _Entry] = {}
        self._unsent: dict[Key, None] = {}  # in order
        self._alone: Key | None = None
        self._backlog: set[Key] = set()
        self._kept_characters = 0
        self.up = False
        self.gone = "" if saves else NOTHING_SAVED
        self.unsaved = 0

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, message: Told, *, known: bool = False) -> None:
        """Remember a message until it is acknowledged; `known`: the store has done it already."""
        if not self._saves:
            return
        kind = type(message)
        key = (message.request_id, Terminal if kind in _TERMINALS else kind)
        if self.gone:
            message = _compact(message)
            characters = self._kept_characters + _characters_of(message)
            if len(self) >= KEPT_MESSAGES or characters > KEPT_CHARACTERS:
                self.unsaved += 1
                return
            self._kept_characters = characters
        self._entries[key] = _Entry(message)
        if not known:
            self._unsent[key] = None

    @property
    def has_unsent(self) -> bool:
        """Whether something waits to be told, as soon as there is somebody to be told it."""
        return bool(self._unsent)

    def due(self) -> list[Told]:
        """Return what the store is to be told now, in order."""
        told: list[Told] = []
        while self.up and self._unsent and self._alone is None:
            key = next(iter(self._unsent))
            entry = self._entries[key]
            if entry.deaths >= ALONE_AFTER:
                if len(self._entries) > len(self._unsent):  # wait until the way is clear
                    break
                self._alone = key
            del self._unsent[key]
            told.append(entry.message)
        return told

    @property
    def to_be_saved(self) -> int:
        """How many of the messages change something: those that only ask are not counted."""
        entries = self._entries.values()
        return sum(isinstance(entry.message, Ask | Terminal | Undo | Pick) for entry in entries)

    @property
    def is_caught_up(self) -> bool:
        """Whether the store that is up has acknowledged all that was there when it came."""
        return self.up and not self._backlog

    def asked(self, request_id: str) -> bool:
        """Whether an `Ask` of this request stands unacknowledged."""
        return (request_id, Ask) in self._entries

    def acknowledge(self, request_id: str, *kinds: Kind) -> None:
        """Forget the messages of these kinds: the store has them."""
        for kind in kinds:
            key = (request_id, kind)
            self._entries.pop(key, None)
            self._backlog.discard(key)
            self._unsent.pop(key, None)  # a hit saves an answer that nobody has told the store of
            if self._alone == key:
                self._alone = None
        if self.is_caught_up:
            self.gone = ""

    def store_up(self) -> None:
        """There is a store: all that stands here is due again."""
        self.up = True
        self._alone = None
        self._unsent = dict.fromkeys(self._entries)
        self._backlog = set(self._entries)
        if self.is_caught_up:
            self.gone = ""

    def store_down(self) -> list[Told]:
        """The store died; return what it has died of too often, which is forgotten."""
        if not self.up:
            return []
        self.up = False
        poison: list[Told] = []
        for key, entry in list(self._entries.items()):
            if key in self._unsent:
                continue
            entry.deaths += 1
            if entry.deaths >= POISON_AFTER:
                poison.append(self._entries.pop(key).message)
        return poison

    def store_gone(self, reason: str) -> list[Told]:
        """There is no store for now: keep the turns, and return all there was."""
        self.up = False
        self.gone = reason
        self._kept_characters = 0
        told = [entry.message for entry in self._entries.values()]
        self._entries.clear()
        self._unsent.clear()
        for message in told:
            if isinstance(message, Ask | Terminal | Undo | Pick):
                self.enter(message)
        return told


def _compact(message: Told) -> Told:
    """Return the message as it is kept for a later store, who must not answer the question from
    its cache any more: somebody else does so now. The digest stands for the history."""
    if not isinstance(message, Ask):
        return message
    return msgspec.structs.replace(
        message,
        history=(),
        history_digest=message.history_digest or extended(DIGEST_OF_NOTHING, message.history),
        cache="refresh" if message.cache == "use" else message.cache,
    )


def _characters_of(message: Told) -> int:
    match message:
        case Ask():
            return len(message.content) + len(message.target.system or "")
        case Answered():
            return len(message.completion.text) + len(message.completion.reasoning)
        case Failed() | Cancelled() | Interrupted():
            return len(message.text)
        case _:
            return 0
