"""The SQL, a function per question. Each runs inside the caller's transaction.

Knows the tables of schema.sql and the messages they come from. It never begins or commits, never
replies, and never looks at the clock: `process.py` does, and is the only caller.
"""

from typing import assert_never

import msgspec

from chatbot.messages import (
    Answered,
    Ask,
    Cancelled,
    Checkpoint,
    Failed,
    Interrupted,
    MessageStatus,
    Session,
    StoredMessage,
    Terminal,
)
from chatbot.store import text
from chatbot.store.cache import Entry
from chatbot.store.database import Database
from chatbot.tracing import trace_id_of

LOADED_BYTES = 3 * 1024 * 1024  # of messages in one `Loaded`, well inside a frame

_ROW_BYTES = 64  # of a message in a frame, besides its texts
_json = msgspec.json.Encoder(order="deterministic")


class Question(msgspec.Struct, frozen=True):
    """What the user's row of a request says about its answer."""

    session_id: str
    backend: str
    model: str
    cache_key: str | None
    trace_id: str | None


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer ended: a field for each column of `messages` that depends on it."""

    content: str
    status: MessageStatus
    finish_reason: str
    model: str = ""
    reasoning: str | None = None
    response_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usage: str | None = None
    first_token_ms: float | None = None
    duration_ms: float | None = None
    cached: bool = False
    http_status: int | None = None
    error: str | None = None


_OUTCOME = _Outcome.__struct_fields__
_COLUMNS = ("session_id", "role", "timestamp", "request_id", "backend", "trace_id", *_OUTCOME)
_FINISH = f"""
    INSERT INTO messages ({", ".join(_COLUMNS)}) VALUES ({", ".join(f":{c}" for c in _COLUMNS)})
    ON CONFLICT (request_id, role) DO UPDATE SET
        timestamp = excluded.timestamp, {", ".join(f"{c} = excluded.{c}" for c in _OUTCOME)}
    WHERE finish_reason IS NULL
"""  # noqa: S608 - made of the names above, nothing else


def accept(database: Database, ask: Ask, cache_key: str, now: float) -> None:
    """Save the user's message, and its session if it is the first; does nothing the second time."""
    target = ask.target
    database.write(
        """
        INSERT INTO sessions (id, title, start_time, backend, model)
        VALUES (:id, :title, :now, :backend, :model)
        ON CONFLICT (id) DO UPDATE SET backend = excluded.backend, model = excluded.model
        WHERE backend <> excluded.backend OR model <> excluded.model
        """,
        id=ask.session_id,
        title=text.title_of(ask.content),
        now=now,
        backend=target.backend,
        model=target.model,
    )
    database.write(
        """
        INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,
                              status, system, options, cache_key, trace_id)
        VALUES (:session_id, 'user', :content, :now, :request_id, :backend, :model,
                'complete', :system, :options, :cache_key, :trace_id)
        ON CONFLICT (request_id, role) DO NOTHING
        """,
        session_id=ask.session_id,
        content=ask.content,
        now=now,
        request_id=ask.request_id,
        backend=target.backend,
        model=target.model,
        system=target.system,
        options=_json.encode(target.options).decode() if target.options else None,
        cache_key=cache_key or None,
        trace_id=trace_id_of(ask.traceparent) or None,
    )


def question_of(database: Database, request_id: str) -> Question | None:
    """Return what was asked; None when it was accepted while there was no store."""
    row = database.one(
        "SELECT session_id, backend, model, cache_key, trace_id FROM messages"
        " WHERE request_id = :request_id AND role = 'user'",
        request_id=request_id,
    )
    return Question(*row) if row else None


def checkpoint(database: Database, message: Checkpoint, now: float) -> None:
    """Save the answer so far, as interrupted until its end comes; a finished one stays as it is."""
    database.write(
        """
        INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,
                              status, trace_id)
        SELECT session_id, 'assistant', :content, :now, request_id, backend, model,
               'interrupted', trace_id
        FROM messages WHERE request_id = :request_id AND role = 'user'
        ON CONFLICT (request_id, role) DO UPDATE SET content = excluded.content
        WHERE finish_reason IS NULL
        """,
        content=message.text,
        now=now,
        request_id=message.request_id,
    )


def finish(database: Database, question: Question, terminal: Terminal, now: float) -> None:
    """Save the end of an answer over its checkpoint. The first end stands; another changes nothing."""
    outcome = _outcome_of(terminal)
    database.write(
        _FINISH,
        session_id=question.session_id,
        role="assistant",
        timestamp=now,
        request_id=terminal.request_id,
        backend=question.backend,
        trace_id=trace_id_of(terminal.traceparent) or question.trace_id,
        **(msgspec.structs.asdict(outcome) | {"model": outcome.model or question.model}),
    )


def _outcome_of(terminal: Terminal) -> _Outcome:
    match terminal:
        case Answered():
            completion = terminal.completion
            cached = terminal.cached_age_s is not None
            return _Outcome(
                content=completion.text,
                status="complete",
                finish_reason=completion.finish_reason,
                model=completion.model,
                reasoning=completion.reasoning or None,
                response_id=completion.response_id or None,
                # A cached answer used no tokens: sums over this table stay what was paid for.
                input_tokens=None if cached else completion.input_tokens,
                output_tokens=None if cached else completion.output_tokens,
                usage=_json.encode(completion.usage).decode()
                if completion.usage and not cached
                else None,
                first_token_ms=terminal.first_token_ms,
                duration_ms=terminal.duration_ms,
                cached=cached,
            )
        case Failed():
            return _Outcome(
                content=terminal.text,
                status="failed",
                finish_reason=terminal.kind,
                first_token_ms=terminal.first_token_ms,
                duration_ms=terminal.duration_ms,
                http_status=terminal.status,
                error=terminal.message,
            )
        case Cancelled():
            return _Outcome(
                content=terminal.text,
                status="interrupted",
                finish_reason="cancelled",
                first_token_ms=terminal.first_token_ms,
                duration_ms=terminal.duration_ms,
            )
        case Interrupted():
            return _Outcome(
                content=terminal.text,
                status="interrupted",
                finish_reason="interrupted",
                error=terminal.reason,
            )
        case _:
            assert_never(terminal)


def look_up(database: Database, key: str) -> Entry | None:
    """Return the cached answer for a key."""
    row = database.one(
        "SELECT CAST(completion AS BLOB), created_at FROM cache WHERE key = :key", key=key
    )
    return Entry(*row) if row else None


def remember(database: Database, key: str, question: Question, entry: Entry) -> None:
    """Put an answer into the cache, in place of an older one."""
    database.write(
        "INSERT INTO cache (key, completion, backend, model, created_at, size) "
        "VALUES (:key, :completion, :backend, :model, :created_at, :size)"
        " ON CONFLICT (key) DO UPDATE SET completion = excluded.completion,"
        " created_at = excluded.created_at, size = excluded.size",
        key=key,
        completion=entry.data.decode(),
        size=len(entry.data),
        backend=question.backend,
        model=question.model,
        created_at=entry.created_at,
    )


def find_session(database: Database, session_id: str | None) -> Session | None:
    """Return a session; without an id the one that was written to last."""
    row = database.one(
        "SELECT id, title, start_time, backend, model FROM sessions WHERE id ="
        " coalesce(:id, (SELECT session_id FROM messages ORDER BY id DESC LIMIT 1))",
        id=session_id,
    )
    return Session(*row) if row else None


def latest_messages(
    database: Database, session_id: str, limit_bytes: int = LOADED_BYTES
) -> tuple[tuple[StoredMessage, ...], bool]:
    """Return the session's latest messages in order, and whether older ones were left out."""
    messages: list[StoredMessage] = []
    size = 0
    truncated = False
    for row in database.rows(
        "SELECT role, content, status, timestamp, model FROM messages"
        " WHERE session_id = :session_id ORDER BY id DESC",
        session_id=session_id,
    ):
        message = StoredMessage(*row)
        size += len(message.content.encode()) + len(message.model.encode()) + _ROW_BYTES
        if size > limit_bytes:
            truncated = True
            break
        messages.append(message)
    return tuple(reversed(messages)), truncated
