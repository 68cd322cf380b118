"""In the UI's seat: several are asked at once, and one is picked, while the store is away and as it dies.

Begins without the database's directory, which it makes itself once it has picked.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    Ask,
    ContextRead,
    Leaving,
    Load,
    Loaded,
    Message,
    NotSaving,
    Pick,
    Picked,
    ReadContext,
    ReadStatus,
    Ready,
    Saving,
    StatusRead,
    Target,
    UiInbox,
    Undo,
    Undone,
)
from chatbot.settings import UiSettings
from chatbot.tracing import Recorder

M = TypeVar("M", bound=Message)
INBOX = UiInbox
SETTINGS = UiSettings
DATABASE = "later/chatbot.db"
RESULT = "fan.json"
DEADLINE_S = 60.0
SLOW = "sim?first_token=4s&chunks=3"


class Seen(msgspec.Struct, kw_only=True):
    """What the seat saw: of each loaded session the request ids by whether they are active."""

    picked_without_a_store: str
    after_the_outage: dict[str, bool]
    picked_by_the_next_store: str
    after_the_kill: dict[str, bool]
    under_way: str
    undone: dict[str, bool]
    contexts: list[int | None]


def main(
    settings: UiSettings, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Play it through, write down what was seen, and leave."""
    del settings, recorder
    outbox.send(Ready(os.getpid()))
    Path(RESULT).write_bytes(msgspec.json.encode(_Seat(inbox, outbox).play()))
    outbox.send(Leaving(ExitCode.OK))
    return ExitCode.OK


class _Seat:
    def __init__(self, inbox: Inbox[UiInbox], outbox: Outbox) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._seen: list[Any] = []

    def play(self) -> Seen:
        """Ask, pick, and look."""
        self._next(NotSaving)
        self._fan("a", Target("sim", "sim"), Target("ollama", "sim"))
        for name in ("a", "a2"):
            self._next(Answered, name)
        self._outbox.send(Pick("p1", "s", "a2"))
        picked_away = self._next(Picked, "p1").error
        os.mkdir(Path(DATABASE).parent)
        self._next(Saving)
        after_the_outage = self._loaded("l1")

        contexts = [self._context("c1", "sim"), self._context("c2", SLOW)]
        self._fan("b", Target("sim", "sim"), Target("ollama", SLOW))
        self._next(Answered, "b")
        store = next(p for p in self._status().processes if p.role == "store")
        # It cannot reply before it is dead, whatever it has done by then.
        os.kill(store.pid, signal.SIGSTOP)
        self._outbox.send(Pick("p2", "s", "a"))
        self._status()  # comes behind the pick
        os.kill(store.pid, signal.SIGKILL)
        picked_again = self._next(Picked, "p2").error
        after_the_kill = self._loaded("l2")
        under_way = self._last_loaded.under_way
        self._next(Answered, "b2")
        contexts.append(self._context("c3", SLOW))
        self._outbox.send(Undo("u", "s", "a2"))
        self._next(Undone, "u")
        return Seen(
            picked_without_a_store=picked_away,
            after_the_outage=after_the_outage,
            picked_by_the_next_store=picked_again,
            after_the_kill=after_the_kill,
            under_way=under_way,
            undone=self._loaded("l3"),
            contexts=contexts,
        )

    def _fan(self, name: str, *targets: Target) -> None:
        for number, target in enumerate(targets, 1):
            request_id = f"{name}{number}" if number > 1 else name
            self._outbox.send(Ask(request_id, "s", "which way?", target, cache="off", fan=name))

    def _loaded(self, name: str) -> dict[str, bool]:
        self._outbox.send(Load(name, "s"))
        self._last_loaded = self._next(Loaded, name)
        assert not self._last_loaded.error
        return {message.request_id: message.active for message in self._last_loaded.messages}

    def _context(self, name: str, model: str) -> int | None:
        self._outbox.send(ReadContext(name, "ollama", model))
        return self._next(ContextRead, name).tokens

    def _status(self) -> StatusRead:
        self._outbox.send(ReadStatus("s"))
        return self._next(StatusRead)

    def _next(self, kind: type[M], request_id: str = "") -> M:
        """Return the first message of this kind, about this request, that was not looked at yet."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for message in self._seen:
                if isinstance(message, kind) and (
                    not request_id or getattr(message, "request_id", "") == request_id
                ):
                    self._seen.remove(message)
                    return message
            assert time.monotonic() < deadline, (kind, request_id)
            self._seen += self._inbox.take(0.05)
