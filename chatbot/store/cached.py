"""The SQLite level of the answer cache: the table `cache`, bounded by age and by size.

Runs inside the caller's transactions. It never looks at the clock (`now` is handed in) and holds
nothing in memory but a running total: that is read once, when the first answer is put in, and again
now and then, since another instance may write to the same table. `turns.py` looks up and puts in;
`deletion.py` and `replies.py` empty and describe it.
"""

from collections.abc import Callable

from chatbot.messages import CacheStats
from chatbot.settings import StoreSettings
from chatbot.store.cache import Entry
from chatbot.store.database import Database
from chatbot.store.queries import Question

TRIMMED_ROWS = 256  # at most, by one group: more than a group can put in, and soon done
REREAD_AFTER_S = 60.0

_COUNTED_ROWS = 20_000  # of messages, by one step of a count that may go over millions


class CacheTable:
    """The table, and how much is in it as far as is known."""

    def __init__(self, database: Database, settings: StoreSettings) -> None:
        self._database = database
        self._limit_bytes = settings.cache_bytes
        self._age_s = settings.cache_age_s
        self._size: int | None = None  # not known yet
        self._oldest_at = 0.0
        self._read_at = 0.0
        self._has_grown = False

    def look_up(self, key: str, now: float) -> Entry | None:
        """Return the answer for a key. One that is too old is deleted, and is none."""
        row = self._database.one(
            "SELECT CAST(completion AS BLOB), created_at, traceparent FROM cache WHERE key = :key",
            key=key,
        )
        if row is None:
            return None
        if not isinstance(row[1], float) or not isinstance(row[2], str):
            return None  # changed by hand: the answer about to be generated replaces it
        entry = Entry(*row)
        if self.is_too_old(entry, now):
            self._delete(key, len(entry.data))
            return None
        return entry

    def is_too_old(self, entry: Entry, now: float) -> bool:
        """Whether the entry, of whichever level, must not be used any more."""
        return now - entry.created_at > self._age_s

    def put(self, key: str, question: Question, entry: Entry) -> None:
        """Put an answer in, in place of an older one."""
        size = len(entry.data)
        if self._size is not None:
            self._size += size  # what it replaces is found to be gone when the total is read again
        self._has_grown = True
        self._database.write(
            """
            INSERT INTO cache (key, completion, backend, model, created_at, size, traceparent)
            VALUES (:key, :completion, :backend, :model, :created_at, :size, :traceparent)
            ON CONFLICT (key) DO UPDATE SET
                completion = excluded.completion, created_at = excluded.created_at,
                size = excluded.size, traceparent = excluded.traceparent
            """,
            key=key,
            completion=entry.data.decode(),
            backend=question.backend,
            model=question.model,
            created_at=entry.created_at,
            size=size,
            traceparent=entry.traceparent,
        )

    def trim(self, now: float) -> None:
        """Delete what is too old, and the oldest of what is too much.

        In the transaction that has put something in, and only so much that nobody waits for it: the
        next one goes on.
        """
        if not self._has_grown:
            return
        self._has_grown = False
        if self._size is None or abs(now - self._read_at) > REREAD_AFTER_S:
            self._read_total(now)
        size = self._size or 0
        if size <= self._limit_bytes and now - self._oldest_at <= self._age_s:
            return
        surplus: list[int] = []
        # Numbers even where another program has written something else.
        for row_id, created_at, row_size in list(
            self._database.rows(
                "SELECT rowid, CAST(created_at AS REAL), CAST(size AS INTEGER)"
                " FROM cache ORDER BY created_at, size LIMIT :rows",
                rows=TRIMMED_ROWS + 1,
            )
        ):
            self._oldest_at = created_at
            is_wanted = size <= self._limit_bytes and now - created_at <= self._age_s
            if is_wanted or len(surplus) == TRIMMED_ROWS:
                break
            surplus.append(row_id)
            size -= row_size
        for row_id in surplus:
            self._database.write("DELETE FROM cache WHERE rowid = :row_id", row_id=row_id)
        self._size = size

    def delete_oldest(self, rows: int) -> int:
        """Delete so many entries, the oldest first; return how many there were."""
        found = list(
            self._database.rows(
                "SELECT rowid FROM cache ORDER BY created_at, size LIMIT :rows", rows=rows
            )
        )
        for (row_id,) in found:
            self._database.write("DELETE FROM cache WHERE rowid = :row_id", row_id=row_id)
        self.forget()
        return len(found)

    def forget(self) -> None:
        """Hear that entries were deleted: the total must be read again."""
        self._size = None

    def stats(self, now: float, between: Callable[[], None]) -> CacheStats:
        """Count what is in the table, and what it was good for; `between` is called between steps."""
        row = self._database.one(
            "SELECT count(*), total(size), min(CAST(created_at AS REAL)) FROM cache"
        )
        entries, size, oldest_at = row or (0, 0, None)
        hits, misses = self._count_uses(between)
        return CacheStats(
            entries=entries,
            size_bytes=int(size),
            limit_bytes=self._limit_bytes,
            oldest_age_s=None if oldest_at is None else max(0.0, now - oldest_at),
            hits=hits,
            misses=misses,
        )

    def _count_uses(self, between: Callable[[], None]) -> tuple[int, int]:
        """Return how many saved answers came from the cache, and how many could have."""
        newest = self._database.one("SELECT coalesce(max(id), 0) FROM messages")
        hits = misses = 0
        for start in range(0, int(newest[0]) if newest else 0, _COUNTED_ROWS):
            row = self._database.one(
                """
                SELECT total(a.cached), total(NOT a.cached AND a.status = 'complete')
                FROM messages AS q JOIN messages AS a
                ON a.request_id = q.request_id AND a.role = 'assistant'
                WHERE q.id > :start AND q.id <= :end
                AND q.role = 'user' AND q.cache_key IS NOT NULL
                """,
                start=start,
                end=start + _COUNTED_ROWS,
            )
            if row is not None:
                hits, misses = hits + int(row[0]), misses + int(row[1])
            between()
        return hits, misses

    def _delete(self, key: str, size: int) -> None:
        self._database.write("DELETE FROM cache WHERE key = :key", key=key)
        if self._size is not None:
            self._size -= size

    def _read_total(self, now: float) -> None:
        """Read the total off the index `cache_by_age`, which covers it: 25 ms for 250,000 entries."""
        row = self._database.one("SELECT total(size), CAST(min(created_at) AS REAL) FROM cache")
        size, oldest_at = row or (0, None)
        self._size = int(size)
        self._oldest_at = now if oldest_at is None else oldest_at
        self._read_at = now
