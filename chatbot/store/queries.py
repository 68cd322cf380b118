"""The SQL of a turn, a function per step. Each runs inside the caller's transaction.

Knows the tables of schema.sql and the messages they come from. It never begins or commits, never
replies, and never looks at the clock. `turns.py` calls it.
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
    Terminal,
)
from chatbot.store import text
from chatbot.store.database import Database
from chatbot.tracing import trace_id_of

_json = msgspec.json.Encoder(order="deterministic")


class Question(msgspec.Struct, frozen=True):
    """What the user's row of a request says about its answer."""

    session_id: str
    backend: str
    model: str
    cache_key: str | None
    trace_id: str | None
    active: int = 1
    fan: str | None = None


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer ended: a field for each column of `messages` that depends on it."""

    content: str
    status: MessageStatus
    finish_reason: str
    model: str
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
_COLUMNS = (
    "session_id",
    "role",
    "timestamp",
    "request_id",
    "backend",
    "trace_id",
    "active",
    "fan",
    *_OUTCOME,
)
_FINISH = f"""
    INSERT INTO messages ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})
    ON CONFLICT (request_id, role) DO UPDATE SET
        timestamp = excluded.timestamp, {", ".join(f"{c} = excluded.{c}" for c in _OUTCOME)}
    WHERE finish_reason IS NULL
"""  # noqa: S608 - made of the names above, nothing else

# The plus keeps SQLite from going through the whole session: the turn and its fan have indexes.
_TAKE_OUT = """
    UPDATE messages SET active = 0
    WHERE +session_id = :session_id AND active = 1 AND (request_id = :turn OR fan = (
        SELECT fan FROM messages
        WHERE request_id = :turn AND role = 'user' AND session_id = :session_id))
"""
_PICK = """
    UPDATE messages SET active = (request_id = :turn)
    WHERE fan = :fan AND +session_id = :session_id
"""


def begin_session(database: Database, ask: Ask, now: float) -> int:
    """Save the session of a question, or what it is asked with now; return how many rows that took.

    What a sibling is asked with is nothing that the session goes on with.
    """
    return database.write(
        """
        INSERT INTO sessions (id, title, start_time, backend, model)
        VALUES (:id, :title, :now, :backend, :model)
        ON CONFLICT (id) DO UPDATE SET backend = excluded.backend, model = excluded.model
        WHERE :goes_on AND (backend <> excluded.backend OR model <> excluded.model)
        """,
        id=ask.session_id,
        title=text.title_of(ask.content),
        now=now,
        backend=ask.target.backend,
        model=ask.target.model,
        goes_on=not is_sibling(ask),
    )


def is_sibling(ask: Ask) -> bool:
    """Whether another was asked the same at once, and before: the conversation goes on with that one."""
    return bool(ask.fan) and ask.fan != ask.request_id


def accept(database: Database, ask: Ask, cache_key: str, now: float) -> Question:
    """Save the user's message; does nothing the second time. Its session is there already."""
    target = ask.target
    question = Question(
        ask.session_id,
        target.backend,
        target.model,
        cache_key or None,
        trace_id_of(ask.traceparent) or None,
        0 if is_sibling(ask) else 1,
        ask.fan or None,
    )
    written = database.write_row(
        """
        INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,
                              status, system, options, cache_key, trace_id, active, fan)
        VALUES (?, 'user', ?, ?, ?, ?, ?, 'complete', ?, ?, ?, ?, ?, ?)
        ON CONFLICT (request_id, role) DO NOTHING
        """,
        (
            ask.session_id,
            ask.content,
            now,
            ask.request_id,
            target.backend,
            target.model,
            target.system,
            _json.encode(target.options).decode() if target.options else None,
            question.cache_key,
            question.trace_id,
            question.active,
            question.fan,
        ),
    )
    if not written:  # it may have been picked, or taken out, since it was saved the first time
        stands = question_of(database, ask.request_id)
        if stands is not None:
            return msgspec.structs.replace(question, active=stands.active)
    return question


def take_out(database: Database, session_id: str, turn: str) -> int:
    """Take a turn out of its conversation, whichever of its fan is active: all rows stay, and are left
    out; return how many that changed."""
    return database.write(_TAKE_OUT, turn=turn, session_id=session_id)


def pick(database: Database, session_id: str, turn: str) -> str:
    """Let the conversation go on with this turn of its fan, and with what it was asked with.

    Return why that cannot be; empty when it is so now, or was before. A fan whose turns were all
    taken out stays out, unless the first of them, which would be active, was never saved.
    """
    row = database.one(
        """
        SELECT q.fan, q.active, EXISTS (
            SELECT 1 FROM messages AS f WHERE f.fan = q.fan AND f.session_id = q.session_id
            AND f.active = 1
        ) OR NOT EXISTS (
            SELECT 1 FROM messages AS f WHERE f.request_id = q.fan AND f.session_id = q.session_id
        )
        FROM messages AS q
        WHERE q.request_id = :turn AND q.role = 'user' AND q.session_id = :session_id
        """,
        turn=turn,
        session_id=session_id,
    )
    if row is None:
        return "there is no such turn in this session; nothing was picked"
    fan, active, can_be_picked = row
    if active == 1:
        return ""
    if fan is None or not can_be_picked:
        return "this turn was undone or replaced; nothing was picked"
    database.write(_PICK, turn=turn, fan=fan, session_id=session_id)
    database.write(
        """
        UPDATE sessions SET (backend, model) = (
            SELECT backend, model FROM messages
            WHERE session_id = :session_id AND role = 'user' AND active = 1 ORDER BY id DESC LIMIT 1)
        WHERE id = :session_id
        """,
        session_id=session_id,
    )
    return ""


def question_of(database: Database, request_id: str) -> Question | None:
    """Return what was asked; None when it was accepted while there was no store."""
    row = database.one(
        "SELECT session_id, backend, model, cache_key, trace_id, active, fan FROM messages"
        " WHERE request_id = :request_id AND role = 'user'",
        request_id=request_id,
    )
    return Question(*row) if row else None


def checkpoint(database: Database, message: Checkpoint, now: float) -> None:
    """Save the answer so far, as interrupted until its end comes; a finished one stays as it is."""
    database.write(
        """
        INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,
                              status, trace_id, active, fan)
        SELECT session_id, 'assistant', :content, :now, request_id, backend, model,
               'interrupted', trace_id, active, fan
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
    database.write_row(
        _FINISH,
        (
            question.session_id,
            "assistant",
            now,
            terminal.request_id,
            question.backend,
            trace_id_of(terminal.traceparent) or question.trace_id,
            question.active,
            question.fan,
            *msgspec.structs.astuple(_outcome_of(terminal, question.model)),
        ),
    )


def cut_off(database: Database, request_id: str, reason: str, now: float) -> None:
    """Save that an answer will not come to its end, after as much of it as was saved before."""
    database.write(
        """
        INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,
                              status, finish_reason, error, trace_id, active, fan)
        SELECT session_id, 'assistant', '', :now, request_id, backend, model,
               'interrupted', 'interrupted', :reason, trace_id, active, fan
        FROM messages WHERE request_id = :request_id AND role = 'user'
        ON CONFLICT (request_id, role) DO UPDATE SET
            timestamp = excluded.timestamp, finish_reason = excluded.finish_reason,
            error = excluded.error
        WHERE finish_reason IS NULL
        """,
        request_id=request_id,
        reason=reason,
        now=now,
    )


def _outcome_of(terminal: Terminal, model: str) -> _Outcome:
    """Return the columns of an answer; `model` is the one that was asked, where none has said its name."""
    match terminal:
        case Answered():
            completion = terminal.completion
            cached = terminal.cached_age_s is not None
            return _Outcome(
                content=completion.text,
                status="complete",
                finish_reason=completion.finish_reason,
                model=completion.model or model,
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
                model=model,
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
                model=model,
                first_token_ms=terminal.first_token_ms,
                duration_ms=terminal.duration_ms,
            )
        case Interrupted():
            return _Outcome(
                content=terminal.text,
                status="interrupted",
                finish_reason="interrupted",
                model=model,
                error=terminal.reason,
            )
        case _:
            assert_never(terminal)
