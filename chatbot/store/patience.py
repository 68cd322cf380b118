"""Transactions that wait for their turn: while another program holds the lock, still beating.

Used by everything here that writes. It knows no SQL but `BEGIN`, `COMMIT` and `ROLLBACK`, and decides
nothing about what is written.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from chatbot.errors import StoreUnavailable
from chatbot.mailbox import Outbox
from chatbot.messages import Beat, Notice
from chatbot.store import text
from chatbot.store.database import Database
from chatbot.store.faults import locked

Insist = Callable[[Callable[[], bool]], None]


class Patience:
    """A database that is shared with others, and the way to the person who waits for it."""

    def __init__(self, database: Database, outbox: Outbox, locked_for_s: float) -> None:
        self._database = database
        self._outbox = outbox
        self._locked_for_s = locked_for_s

    def insist(self, step: Callable[[], bool]) -> None:
        """Try a step again while another program holds the lock; the person is told of it once.

        Raises StoreUnavailable when it is still locked after `locked_for_s`.
        """
        deadline = time.monotonic() + self._locked_for_s
        is_told = False
        while not step():
            if time.monotonic() >= deadline:
                raise locked(self._database.path)
            if not is_told:
                is_told = True
                path = text.shown(self._database.path)
                self._outbox.send(Notice(f"waiting: another program is writing to {path}"))
            self.beat()

    @contextmanager
    def transaction(self, insist: Insist | None = None) -> Iterator[None]:
        """Write in one transaction, which is undone when something fails.

        `insist` takes the place of our own, for who would rather not wait.
        """
        insist = insist or self.insist
        insist(self._database.begin)
        try:
            yield
            insist(self._database.commit)
        except BaseException:
            # Where SQLite has undone it by itself there is nothing to undo; where it could not be
            # undone, the next BEGIN fails and says so.
            with suppress(StoreUnavailable):
                self._database.write("ROLLBACK")
            raise

    def tell(self, line: str) -> None:
        """Tell the person something besides the reply."""
        self._outbox.send(Notice(line))

    def beat(self) -> None:
        """Tell the supervisor, between two steps of something long, that it goes on."""
        self._outbox.send(Beat())
