"""The traces of what was deleted: removed from the database's files, whatever comes between.

A deleted row leaves traces: freed bytes in its page, terms in old segments of the full-text index,
pages in the write-ahead log. SQLite overwrites what it frees (`secure_delete`, which `database.py`
sets: a text that was replaced, or a cache entry that was evicted, must leave nothing either); here the
segments of the index are merged into one, and the log is emptied into the database.

A deletion is committed together with a mark, a row of a table that is there only as long as there are
marks. Whoever finds one scrubs: the deletion itself before it is replied to; after a kill, or when
another program kept the log in use, the store that is at work next, whenever nobody waits for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from chatbot.errors import DatabaseDamaged, StoreUnavailable
from chatbot.store import text
from chatbot.store.database import Database
from chatbot.store.patience import Insist, Patience

PAGES_PER_STEP = 500  # of the full-text index: 2 MB
LOG_WITHIN_S = 3.0  # how long a deletion waits for those who read

Place = Literal["index", "log"]

_CREATE = "CREATE TABLE IF NOT EXISTS _to_scrub (id INTEGER PRIMARY KEY, place TEXT NOT NULL)"


class Scrub:
    """The marks, and the work that they ask for."""

    def __init__(self, database: Database, patience: Patience) -> None:
        self._database = database
        self._patience = patience
        self._work: Iterator[None] | None = None
        self._is_due = self._has_marks()
        self._waits = False

    def mark(self, place: Place) -> None:
        """Note, in the transaction that deletes, where it leaves traces: `index` means the log too."""
        self._database.write(_CREATE)
        self._database.write(
            "INSERT INTO _to_scrub (id, place) VALUES (random(), :place)", place=place
        )
        self._is_due = True
        self._work = None

    def finish(self) -> None:
        """Remove all traces now. What stays is told, and stays marked. Raises DatabaseDamaged."""
        path = text.shown(self._database.path)
        try:
            for _ in self._steps(self._patience.insist, LOG_WITHIN_S):
                self._patience.beat()
        except DatabaseDamaged:
            raise
        except StoreUnavailable as error:
            self._patience.tell(f"deleted, but traces stay in the files of {path} for now: {error}")
        if self._is_due:
            self._waits = True

    def step(self, *, is_idle: bool) -> bool:
        """Do a little of what is due, and wait for nobody; return whether there is more to do now.

        What another program was in the way of is tried again when it `is_idle`.
        """
        if not self._is_due or (self._waits and not is_idle):
            return False
        self._waits = False
        if self._work is None:
            self._work = self._steps(self._once, 0.0)
        try:
            with self._busy_timeout(0.0):
                next(self._work)
        except StopIteration:
            self._work = None
            self._waits = True  # unless nothing is due any more
            return False
        except DatabaseDamaged:
            raise
        except StoreUnavailable:  # the lock, or the disk; whatever is saved next will tell of it
            self._work = None
            self._waits = True
            return False
        self._patience.beat()
        return True

    def _steps(self, insist: Insist, wait_s: float) -> Iterator[None]:
        """Yield between two small steps; each takes the lock by `insist`."""
        transaction = self._patience.transaction
        marks = self._marks()
        if "index" in marks.values():
            yield from self._merge_all(insist)
            with transaction(insist):
                for mark in marks if self._has_marks() else ():
                    self._database.write(
                        "UPDATE _to_scrub SET place = 'log' WHERE id = :id", id=mark
                    )
            yield
        if marks:
            if not self._log_is_emptied(wait_s):
                if wait_s:
                    path = text.shown(self._database.path)
                    self._patience.tell(
                        "deleted; traces stay in the log until other programs have closed the"
                        f" database {path}"
                    )
                return
            with transaction(insist):
                if self._has_marks():  # another instance may have done the same, or set new ones
                    for mark in marks:
                        self._database.write("DELETE FROM _to_scrub WHERE id = :id", id=mark)
                    if not self._marks():
                        self._database.write("DROP TABLE _to_scrub")
        self._is_due = self._has_marks()

    def _merge_all(self, insist: Insist) -> Iterator[None]:
        """Merge the segments of the full-text index into one, so that no deleted term is left.

        A negative number moves them all to one level and begins to merge it, a positive one goes on:
        https://www.sqlite.org/fts5.html#the_merge_command
        """
        if self._merge(-PAGES_PER_STEP, insist):
            yield
            while self._merge(PAGES_PER_STEP, insist):
                yield

    def _merge(self, pages: int, insist: Insist) -> bool:
        """Merge about so many pages; return whether there was anything to merge."""
        with self._patience.transaction(insist):
            before = self._total_changes()
            self._database.write(
                "INSERT INTO messages_fts (messages_fts, rank) VALUES ('merge', :pages)",
                pages=pages,
            )
            after = self._total_changes()
        return after - before >= 2  # the statement itself counts as one

    def _total_changes(self) -> int:
        row = self._database.one("SELECT total_changes()")
        return int(row[0]) if row else 0

    def _log_is_emptied(self, wait_s: float) -> bool:
        """Move the write-ahead log into the database, and cut it to nothing; False if it is in use."""
        with self._busy_timeout(wait_s):
            row = self._database.one("PRAGMA wal_checkpoint(TRUNCATE)")
        return row is not None and row[0] == 0

    def _has_marks(self) -> bool:
        return (
            self._database.one("SELECT 1 FROM sqlite_master WHERE name = '_to_scrub'") is not None
        )

    def _marks(self) -> dict[int, str]:
        if not self._has_marks():
            return {}
        return dict(self._database.rows("SELECT id, place FROM _to_scrub"))

    def _once(self, take: Callable[[], bool]) -> None:
        if not take():
            raise StoreUnavailable(f"{text.shown(self._database.path)} is in use")

    @contextmanager
    def _busy_timeout(self, seconds: float) -> Iterator[None]:
        row = self._database.one("PRAGMA busy_timeout")
        self._database.one(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        try:
            yield
        finally:
            self._database.one(f"PRAGMA busy_timeout = {row[0] if row else 0}")
