"""What a query to the store is answered with when there is no store: pure."""

from typing import assert_never

from chatbot.messages import (
    CacheRead,
    Delete,
    Found,
    Listed,
    ListSessions,
    Load,
    Loaded,
    Prune,
    Query,
    ReadCache,
    Recover,
    Recovered,
    Rename,
    Reply,
    Search,
    Undo,
    Undone,
)


def refusal(query: Query, error: str) -> Reply:
    """Return the reply that whoever sent the query waits for, with one line that says why not."""
    request_id = query.request_id
    match query:
        case Load():
            return Loaded(request_id, error=error)
        case ListSessions() | Rename() | Delete() | Prune():
            return Listed(request_id, error=error)
        case Search():
            return Found(request_id, error=error)
        case Undo():
            return Undone(request_id, error=error)
        case ReadCache():
            return CacheRead(request_id, error=error)
        case Recover():
            return Recovered(request_id, error=error)
        case _:
            assert_never(query)
