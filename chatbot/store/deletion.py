"""Deleting for good: sessions with all that belongs to them, and cached answers.

All of it goes in small steps with a beat between them; after it, what was deleted is in none of the
database's files: `scrub.py` removes the traces. `replies.py` calls it, and replies after it.
"""

import glob
from collections import deque

from chatbot.store import cache, text
from chatbot.store.cached import CacheTable
from chatbot.store.database import Database
from chatbot.store.patience import Patience
from chatbot.store.scrub import Scrub

ROWS_PER_STEP = 500


class Deletion:
    """All the places from which something is deleted."""

    def __init__(
        self,
        database: Database,
        table: CacheTable,
        memory: cache.Memory,
        patience: Patience,
        scrub: Scrub,
    ) -> None:
        self._database = database
        self._table = table
        self._memory = memory
        self._patience = patience
        self._scrub = scrub

    def delete_sessions(self, session_ids: list[str]) -> None:
        """Delete sessions with their messages and cached answers; nothing where there are none.

        A long session goes in several transactions. If the process is killed between two of them,
        the same again deletes the rest.
        """
        waiting = deque(session_ids)
        while waiting:
            rows, keys = 0, []
            with self._patience.transaction():
                self._scrub.mark("index")
                while waiting and rows < ROWS_PER_STEP:
                    found = self._delete_oldest_messages(waiting[0])
                    rows += 1 + len(found)
                    keys += found
                    if len(found) < ROWS_PER_STEP:
                        self._database.write("DELETE FROM sessions WHERE id = :id", id=waiting[0])
                        waiting.popleft()
            for key in keys:
                if key is not None:
                    self._memory.drop(key)
            self._table.forget()
            self._patience.beat()
        self._scrub.finish()
        self._tell_of_copies()

    def clear_cache(self) -> None:
        """Delete all cached answers, from both levels."""
        rows = ROWS_PER_STEP
        while rows == ROWS_PER_STEP:
            with self._patience.transaction():
                self._scrub.mark("log")
                rows = self._table.delete_oldest(ROWS_PER_STEP)
            self._patience.beat()
        self._memory.clear()
        self._scrub.finish()

    def _tell_of_copies(self) -> None:
        """Name the databases that a recovery has put aside: they still have what is deleted here."""
        if copies := sorted(glob.glob(f"{glob.escape(self._database.path)}.damaged-*")):
            names = ", ".join(text.shown(copy) for copy in copies)
            self._patience.tell(
                f"what was deleted may still be in {names}, which a recovery has put aside; delete it"
                " yourself once you do not need it any more"
            )

    def _delete_oldest_messages(self, session_id: str) -> list[str | None]:
        """Delete the first messages of a session, and the answers cached for them; return their keys."""
        found = list(
            self._database.rows(
                "SELECT id, cache_key FROM messages WHERE session_id = :id ORDER BY id LIMIT :rows",
                id=session_id,
                rows=ROWS_PER_STEP,
            )
        )
        for message_id, key in found:
            if key is not None:
                self._database.write("DELETE FROM cache WHERE key = :key", key=key)
            self._database.write("DELETE FROM messages WHERE id = :id", id=message_id)
        return [key for _, key in found]
