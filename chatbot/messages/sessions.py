"""Sessions and the cache: what can be asked of the store besides a turn, and its replies.

Each query is answered by one reply with the same `request_id`; `error` is one line, set when the store
could not do it. All of them may be done twice and change nothing the second time.
"""

from typing import assert_never

from chatbot.messages.parts import CacheStats, Message, SearchHit, Session, StoredMessage


class Load(Message, frozen=True):
    """From ui → store: bring back a session: by its id, by the only beginning or end of an id that
    fits, or the latest one when `session_id` is None.

    `after` None asks for its latest messages; a number for those with a higher id, the oldest first,
    so that all of a long session can be read piece by piece. `everything`: also what was undone or replaced.
    """

    request_id: str
    session_id: str | None = None
    after: int | None = None
    everything: bool = False


class Loaded(Message, frozen=True):
    """From store → ui: the session and its messages in order; `session` None if there is none.

    `truncated` says that there are more (older ones, or with `after`: later ones) than fit into a
    frame. `under_way` is the request of this session that is being answered just now, and `so_far`
    what has come of its answer; the dispatcher knows them.
    """

    request_id: str
    session: Session | None = None
    messages: tuple[StoredMessage, ...] = ()
    truncated: bool = False
    error: str = ""
    under_way: str = ""
    so_far: str = ""


class ListSessions(Message, frozen=True):
    """From ui → store: the sessions that were used last, at most `limit`."""

    request_id: str
    limit: int = 20


class Rename(Message, frozen=True):
    """From ui → store: give a session another title."""

    request_id: str
    session_id: str
    title: str


class Delete(Message, frozen=True):
    """From ui → store: delete sessions, their messages, and what they left in index and cache."""

    request_id: str
    session_ids: tuple[str, ...]


class Prune(Message, frozen=True):
    """From ui → store: delete the sessions that were last used longer ago than `older_than_s`, except
    the `keep_last` used last. `dry_run`: only tell which."""

    request_id: str
    older_than_s: float
    keep_last: int = 0
    dry_run: bool = False


class Listed(Message, frozen=True):
    """From store → ui: the sessions that were listed, renamed, or deleted; the one used last first.

    `truncated` says that there are more.
    """

    request_id: str
    sessions: tuple[Session, ...] = ()
    truncated: bool = False
    error: str = ""


class Search(Message, frozen=True):
    """From ui → store: the messages with all these words, whatever a person types; best first."""

    request_id: str
    text: str
    limit: int = 20


class Found(Message, frozen=True):
    """From store → ui: what a search has found."""

    request_id: str
    hits: tuple[SearchHit, ...] = ()
    error: str = ""


class Undo(Message, frozen=True):
    """From ui → store: take a turn out of its conversation; its rows stay until the session goes."""

    request_id: str
    session_id: str
    turn: str


class Undone(Message, frozen=True):
    """From store → ui: the turn is not a part of its conversation any more."""

    request_id: str
    error: str = ""


class Pick(Message, frozen=True):
    """From ui → store: of a turn and its siblings, let the conversation go on with this one."""

    request_id: str
    session_id: str
    turn: str


class Picked(Message, frozen=True):
    """From store → ui: the conversation goes on with the turn that was picked."""

    request_id: str
    error: str = ""


class ReadCache(Message, frozen=True):
    """From ui → store: what is in the answer cache; `clear`: and then empty it."""

    request_id: str
    clear: bool = False


class CacheRead(Message, frozen=True):
    """From store → ui: what the cache held when it was asked."""

    request_id: str
    stats: CacheStats | None = None
    error: str = ""


class Recover(Message, frozen=True):
    """From ui → store: the person has agreed: put the damaged database aside, whole, and begin a new
    one with all that can be read from it."""

    request_id: str


class Recovered(Message, frozen=True):
    """From store → ui: where the damaged database is now, and how much of it could be read."""

    request_id: str
    copy: str = ""
    sessions: int = 0
    messages: int = 0
    error: str = ""


Query = Load | ListSessions | Rename | Delete | Prune | Search | Undo | Pick | ReadCache | Recover
Reply = Loaded | Listed | Found | Undone | Picked | CacheRead | Recovered


def refused(query: Query, error: str) -> Reply:
    """Return the reply to a query that cannot be done, with the line that says why."""
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
        case Pick():
            return Picked(request_id, error=error)
        case ReadCache():
            return CacheRead(request_id, error=error)
        case Recover():
            return Recovered(request_id, error=error)
        case _:
            assert_never(query)
