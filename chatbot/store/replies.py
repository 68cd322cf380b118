"""What the store replies to queries: each is asked, done and committed, then replied to.

Every query gets one reply. What cannot be done is said in its `error`, and the store goes on;
the SQL is in `sessions.py`, `search.py`, `cached.py` and `deletion.py`. `process.py` calls it, between
two groups, so that a query sees what was sent before it.
"""

from typing import assert_never

from chatbot.errors import StoreUnavailable
from chatbot.messages import (
    CacheRead,
    Delete,
    Found,
    Listed,
    ListSessions,
    Load,
    Loaded,
    Pick,
    Picked,
    Prune,
    Query,
    ReadCache,
    Recover,
    Rename,
    Reply,
    Search,
    Undo,
    Undone,
)
from chatbot.store import queries, search, sessions
from chatbot.store.cached import CacheTable
from chatbot.store.database import Database
from chatbot.store.deletion import Deletion
from chatbot.store.patience import Patience
from chatbot.store.turns import Turns

LISTED = 1000  # sessions, in one reply


class Replies:
    """The rooms that a query may need."""

    def __init__(
        self,
        database: Database,
        table: CacheTable,
        turns: Turns,
        deletion: Deletion,
        patience: Patience,
    ) -> None:
        self._database = database
        self._table = table
        self._turns = turns
        self._deletion = deletion
        self._patience = patience

    def reply_to(self, query: Query, now: float) -> Reply:
        """Do what is asked. Raises StoreUnavailable with the line for the reply's `error`."""
        match query:
            case Load():
                return self._load(query)
            case ListSessions():
                return self._list(query)
            case Rename():
                return self._rename(query)
            case Delete():
                return self._delete(query.request_id, list(dict.fromkeys(query.session_ids)))
            case Prune():
                return self._prune(query, now)
            case Search():
                return Found(query.request_id, search.search(self._database, query))
            case Undo():
                return self._undo(query)
            case Pick():
                return self._pick(query)
            case ReadCache():
                return self._read_cache(query, now)
            case Recover():
                raise StoreUnavailable("the database is not damaged; nothing was changed")
            case _:
                assert_never(query)

    def _load(self, load: Load) -> Loaded:
        session_id = sessions.find(self._database, load.session_id)
        session = sessions.read(self._database, session_id) if session_id is not None else None
        if session is None:
            return Loaded(load.request_id)
        return sessions.load(
            self._database,
            load.request_id,
            session,
            load.after,
            sessions.LOADED_BYTES,
            everything=load.everything,
        )

    def _list(self, query: ListSessions) -> Listed:
        limit = max(0, min(query.limit, LISTED))
        found = sessions.used_last(self._database, limit + 1)
        listed, truncated = sessions.page(self._database, found[:limit])
        return Listed(query.request_id, listed, truncated or len(found) > limit)

    def _rename(self, query: Rename) -> Listed:
        session_id = sessions.find(self._database, query.session_id)
        if session_id is None:
            raise StoreUnavailable(f"there is no session {query.session_id}; list them to see all")
        with self._patience.transaction():
            sessions.rename(self._database, session_id, query.title)
        listed, _ = sessions.page(self._database, [session_id])
        return Listed(query.request_id, listed)

    def _delete(self, request_id: str, session_ids: list[str]) -> Listed:
        listed, truncated = sessions.page(self._database, session_ids[:LISTED])
        self._turns.forget()
        self._deletion.delete_sessions(session_ids)
        return Listed(request_id, listed, truncated or len(session_ids) > LISTED)

    def _prune(self, query: Prune, now: float) -> Listed:
        old = sessions.not_used_since(self._database, now - query.older_than_s, query.keep_last)
        if not query.dry_run:
            return self._delete(query.request_id, old)
        listed, truncated = sessions.page(self._database, old[:LISTED])
        return Listed(query.request_id, listed, truncated or len(old) > LISTED)

    def _undo(self, query: Undo) -> Undone:
        if not sessions.has_turn(self._database, query.session_id, query.turn):
            raise StoreUnavailable("there is no such turn in this session; nothing was undone")
        self._turns.forget()
        with self._patience.transaction():
            queries.take_out(self._database, query.session_id, query.turn)
        return Undone(query.request_id)

    def _pick(self, query: Pick) -> Picked:
        self._turns.forget()
        with self._patience.transaction():
            obstacle = queries.pick(self._database, query.session_id, query.turn)
        return Picked(query.request_id, obstacle)

    def _read_cache(self, query: ReadCache, now: float) -> CacheRead:
        stats = self._table.stats(now, self._patience.beat)
        if query.clear:
            self._deletion.clear_cache()
        return CacheRead(query.request_id, stats)
