"""Deleting for good: after it, what was deleted is in none of the database's files.

A deleted row leaves traces: freed bytes in its page, terms in old segments of the full-text index,
pages in the write-ahead log. So SQLite overwrites what it frees (`secure_delete`, which
`database.py` sets: a text that was replaced, or a cache entry that was evicted, must leave nothing
either), the segments of the index are merged into one, and the log is emptied into the database.
All of it goes in small steps with a beat between them. `replies.py` calls it, and replies after it.
"""

from collections import deque

from chatbot.store import cache
from chatbot.store.cached import CacheTable
from chatbot.store.database import Database
from chatbot.store.patience import Patience

ROWS_PER_STEP = 500
PAGES_PER_STEP = 500  # of the full-text index: 2 MB

_ROUNDS = (
    3  # one ends a merge that was under way, one merges all; another instance may add a segment
)


class Deletion:
    """All the places from which something is deleted."""

    def __init__(
        self, database: Database, table: CacheTable, memory: cache.Memory, patience: Patience
    ) -> None:
        self._database = database
        self._table = table
        self._memory = memory
        self._patience = patience

    def delete_sessions(self, session_ids: list[str]) -> None:
        """Delete sessions with their messages and cached answers; nothing where there are none.

        A long session goes in several transactions. If the process is killed between two of them,
        the same again deletes the rest.
        """
        waiting = deque(session_ids)
        while waiting:
            rows, keys = 0, []
            with self._patience.transaction():
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
        self._scrub_index()
        self._empty_log()

    def clear_cache(self) -> None:
        """Delete all cached answers, from both levels."""
        rows = ROWS_PER_STEP
        while rows == ROWS_PER_STEP:
            with self._patience.transaction():
                rows = self._table.delete_oldest(ROWS_PER_STEP)
            self._patience.beat()
        self._memory.clear()
        self._empty_log()

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

    def _scrub_index(self) -> None:
        """Merge the segments of the full-text index into one, so that no deleted term is left.

        A negative number moves them all to one level and begins to merge it, a positive one goes on:
        https://www.sqlite.org/fts5.html#the_merge_command
        """
        for _ in range(_ROUNDS):
            if not self._merge(-PAGES_PER_STEP):
                return
            while self._merge(PAGES_PER_STEP):
                pass

    def _merge(self, pages: int) -> bool:
        """Merge about so many pages; return whether there was anything to merge."""
        with self._patience.transaction():
            before = self._total_changes()
            self._database.write(
                "INSERT INTO messages_fts (messages_fts, rank) VALUES ('merge', :pages)",
                pages=pages,
            )
            after = self._total_changes()
        self._patience.beat()
        return after - before >= 2  # the statement itself counts as one

    def _total_changes(self) -> int:
        row = self._database.one("SELECT total_changes()")
        return int(row[0]) if row else 0

    def _empty_log(self) -> None:
        """Move the write-ahead log into the database, and cut it to nothing."""
        self._patience.insist(self._log_is_emptied)

    def _log_is_emptied(self) -> bool:
        row = self._database.one("PRAGMA wal_checkpoint(TRUNCATE)")
        return row is not None and row[0] == 0
