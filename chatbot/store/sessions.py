"""The SQL about sessions: find one, read it, list them, rename it, take a turn out.

Only what is active is read: undone and replaced turns are left out everywhere, except where everything is
asked for, and that a session with such turns has still been used. The siblings of a turn that is active come along with it, marked, when
a session is loaded; they count nowhere else. The session used last is the one with the newest message, by the
messages' own order: a clock may have been set back. `replies.py` is the caller.
"""

import msgspec

from chatbot.errors import StoreUnavailable
from chatbot.mailbox import MAX_MESSAGE_BYTES
from chatbot.messages import Loaded, Options, Session, StoredMessage
from chatbot.store import text
from chatbot.store.database import Database
from chatbot.store.rows import converted, reading

LOADED_BYTES = 3 * 1024 * 1024  # of messages in one reply, well inside a frame
TITLE_CHARACTERS = 200

_NAMED = 5  # of the sessions that an ambiguous name may mean
_WALKED = 5_000  # of the newest messages, before every session is asked for its newest
_SPARE_BYTES = 16  # the header of a longer array

_encoder = msgspec.msgpack.Encoder()
_options = msgspec.json.Decoder(Options)

# The count of the messages comes off an index; those that were taken out are few.
_SESSION = """
    SELECT s.id, s.title, s.start_time, s.backend, s.model, q.system, q.options,
        (SELECT count(*) FROM messages WHERE session_id = s.id)
        - (SELECT count(*) FROM messages WHERE session_id = s.id AND active = 0),
        coalesce((SELECT timestamp FROM messages WHERE session_id = s.id
                  ORDER BY id DESC LIMIT 1), s.start_time)
    FROM sessions AS s LEFT JOIN messages AS q ON q.id = (
        SELECT id FROM messages WHERE session_id = s.id AND role = 'user' AND active = 1
        ORDER BY id DESC LIMIT 1)
    WHERE s.id = :id
"""
_MESSAGES = """
    SELECT role, content, status, timestamp, model, id, request_id, backend, finish_reason,
        reasoning, input_tokens, output_tokens, first_token_ms, duration_ms, cached, error, trace_id,
        coalesce(fan, ''), active
    FROM messages AS m WHERE session_id = :session_id
"""
_OF_CONVERSATION = """
    AND (active = 1 OR fan IS NOT NULL AND EXISTS (
        SELECT 1 FROM messages AS f
        WHERE f.fan = m.fan AND f.session_id = m.session_id AND f.active = 1))
"""


def find(database: Database, name: str | None) -> str | None:
    """Return the id of a session: the latest one without a name; else the one with this id, or the
    only one whose id begins or ends with it, with or without `session_`.

    Raises StoreUnavailable, naming them, when several fit.
    """
    if name is None:
        latest = used_last(database, 1)
        return latest[0] if latest else None
    if not name:
        return None
    for exact in (name, f"session_{name}"):
        if database.one("SELECT 1 FROM sessions WHERE id = :id", id=exact):
            return text.clean(exact)
    found = [
        session_id
        for (session_id,) in database.rows(
            "SELECT id FROM sessions WHERE substr(id, 1, length(:name)) = :name"
            " OR substr(id, -length(:name)) = :name"
            " OR substr(id, 1, length(:name) + 8) = 'session_' || :name ORDER BY id LIMIT :limit",
            name=name,
            limit=_NAMED + 1,
        )
        if isinstance(session_id, str)
    ]
    if len(found) > 1:
        more = ", …" if len(found) > _NAMED else ""
        raise StoreUnavailable(
            f"{text.line_of(name, 60)} fits several sessions: {', '.join(found[:_NAMED])}{more}"
        )
    return found[0] if found else None


def read(database: Database, session_id: str) -> Session | None:
    """Return a session by its id."""
    row = database.one(_SESSION, id=session_id)
    if row is None:
        return None
    try:
        options = _options.decode(row[6]) if row[6] else {}
    except (
        msgspec.DecodeError,
        TypeError,
    ):  # changed by hand: without options it still can be read
        options = {}
    return converted((*row[:6], options, *row[7:]), Session)


def load(
    database: Database,
    request_id: str,
    session: Session,
    after: int | None,
    at_most: int,
    *,
    everything: bool = False,
) -> Loaded:
    """Return the session's latest messages, or with `after` its next ones, in about `at_most` bytes.

    There is at least one, if it can be passed on at all. Raises StoreUnavailable if it cannot. Siblings
    are messages like others: they come in the order of their ids, and a fan may go over several pieces.
    `everything`: so are undone and replaced ones.
    """
    empty = Loaded(request_id, session, truncated=True)
    room = MAX_MESSAGE_BYTES - len(_encoder.encode(empty)) - _SPARE_BYTES
    at_most = min(at_most, room)
    order = "ORDER BY id DESC" if after is None else "AND id > :after ORDER BY id"
    messages: list[StoredMessage] = []
    size = 0
    truncated = False
    query = _MESSAGES + ("" if everything else _OF_CONVERSATION) + order
    with reading(database, query, session_id=session.session_id, after=after) as rows:
        for row in rows:
            message = converted(row, StoredMessage)
            own_size = len(_encoder.encode(message))
            size += own_size
            if size > (at_most if messages else room):
                truncated = True
                break
            messages.append(message)
    if truncated and not messages:
        raise StoreUnavailable(
            f"a message of {session.session_id} is too large to be shown "
            f"({own_size / 2**20:.1f} MiB); it is still in {text.shown(database.path)}"
        )
    if after is None:
        messages.reverse()
    return Loaded(request_id, session, tuple(messages), truncated)


def used_last(database: Database, limit: int) -> list[str]:
    """Return the ids of the sessions that were used last, at most `limit`; the latest first.

    They are usually among the newest messages; where a few sessions have all of these, every
    session is asked for its newest message, which the index `messages_by_session` knows.
    """
    found: dict[str, None] = {}
    newest = "SELECT session_id FROM messages ORDER BY id DESC LIMIT :walked"
    with reading(database, newest, walked=_WALKED) as rows:
        for (session_id,) in rows:
            if isinstance(session_id, str):
                found[session_id] = None
            if len(found) == limit:
                return list(found)
    return [
        session_id
        for session_id, _ in database.rows(
            """
            SELECT id, (SELECT max(id) FROM messages WHERE session_id = sessions.id) AS newest
            FROM sessions ORDER BY newest DESC, start_time DESC LIMIT :limit
            """,
            limit=limit,
        )
        if isinstance(session_id, str)
    ]


def not_used_since(database: Database, since: float, keep_last: int) -> list[str]:
    """Return the ids of the sessions whose last message is older, except the `keep_last` used last.

    The latest comes first; one whose time is not a number is never old. It asks every session: half
    a second for 100,000 of them.
    """
    rows = database.rows(
        """
        SELECT s.id, coalesce(m.timestamp, s.start_time)
        FROM sessions AS s LEFT JOIN messages AS m
        ON m.id = (SELECT max(id) FROM messages WHERE session_id = s.id)
        ORDER BY m.id DESC, s.start_time DESC LIMIT -1 OFFSET :kept
        """,
        kept=max(0, keep_last),
    )
    return [
        session_id
        for session_id, last_time in rows
        if isinstance(session_id, str) and isinstance(last_time, float) and last_time < since
    ]


def page(database: Database, session_ids: list[str]) -> tuple[tuple[Session, ...], bool]:
    """Return sessions, as many as can be passed on, and whether some were left out."""
    sessions: list[Session] = []
    size = 0
    for session_id in session_ids:
        session = read(database, session_id)
        if session is None:
            continue
        size += len(_encoder.encode(session))
        if sessions and size > LOADED_BYTES:
            return tuple(sessions), True
        sessions.append(session)
    return tuple(sessions), False


def rename(database: Database, session_id: str, title: str) -> None:
    """Give a session another title, in one line. Raises StoreUnavailable for an empty one."""
    line = text.line_of(title, TITLE_CHARACTERS)
    if not line:
        raise StoreUnavailable("a title cannot be empty; give it at least one word")
    database.write("UPDATE sessions SET title = :title WHERE id = :id", title=line, id=session_id)


def has_turn(database: Database, session_id: str, turn: str) -> bool:
    """Whether there is such a turn in the session, undone or not."""
    row = database.one(
        "SELECT 1 FROM messages WHERE request_id = :turn AND session_id = :session_id",
        turn=turn,
        session_id=session_id,
    )
    return row is not None
