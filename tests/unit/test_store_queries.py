"""The SQL over a real database."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot.messages import (
    Answered,
    Ask,
    Cancelled,
    Checkpoint,
    Completion,
    Failed,
    Interrupted,
    Target,
    Terminal,
)
from chatbot.store import queries
from chatbot.store.database import Database

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ASK = Ask("r1", "s1", "hello", Target("ollama", "llama3:latest", "be kind", {"top_p": 1, "a": "b"}))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(str(tmp_path / "chatbot.db"))) as opened:
        yield opened


def row(database: Database, request_id: str, role: str) -> dict[str, Any]:
    names = [name for (name,) in database.rows("SELECT name FROM pragma_table_info('messages')")]
    found = database.one(
        "SELECT * FROM messages WHERE request_id = :id AND role = :role", id=request_id, role=role
    )
    return dict(zip(names, found, strict=True)) if found else {}


def count(database: Database, table: str) -> int:
    found = database.one(f"SELECT count(*) FROM {table}")
    assert found is not None
    return int(found[0])


def accept(database: Database, asked: Ask, cache_key: str, now: float) -> None:
    queries.begin_session(database, asked, now)
    queries.accept(database, asked, cache_key, now)


def finish(database: Database, terminal: Terminal, now: float = 3.0) -> dict[str, Any]:
    question = queries.question_of(database, terminal.request_id)
    assert question is not None
    queries.finish(database, question, terminal, now)
    return row(database, terminal.request_id, "assistant")


# --- accepting ---------------------------------------------------------------------------------


def test_a_question_is_saved_with_all_that_was_asked(database: Database) -> None:
    accept(database, msgspec.structs.replace(ASK, traceparent=PARENT), "key", 2.0)
    saved = row(database, "r1", "user")
    expected = {
        "session_id": "s1",
        "content": "hello",
        "timestamp": 2.0,
        "backend": "ollama",
        "model": "llama3:latest",
        "status": "complete",
        "system": "be kind",
        "cache_key": "key",
        "trace_id": TRACE,
        "cached": 0,
    }
    assert {name: saved[name] for name in expected} == expected
    assert json.loads(saved["options"]) == {"a": "b", "top_p": 1}


def test_what_was_not_asked_for_is_null(database: Database) -> None:
    accept(database, Ask("r1", "s1", "hello", Target("sim", "sim")), "", 2.0)
    saved = row(database, "r1", "user")
    assert [saved[n] for n in ("system", "options", "cache_key", "trace_id")] == [None] * 4


def test_the_first_message_makes_the_session_and_later_ones_keep_its_title(
    database: Database,
) -> None:
    accept(database, ASK, "", 2.0)
    later = Ask("r2", "s1", "and now?", Target("sim", "sim"))
    accept(database, later, "", 5.0)
    session = database.one("SELECT id, title, start_time, backend, model FROM sessions")
    assert session == ("s1", "hello", 2.0, "sim", "sim")
    assert count(database, "sessions") == 1
    assert count(database, "messages") == 2


def test_accepting_twice_inserts_nothing(database: Database) -> None:
    accept(database, ASK, "key", 2.0)
    accept(database, ASK, "key", 9.0)
    assert count(database, "messages") == 1
    assert row(database, "r1", "user")["timestamp"] == 2.0


def test_text_that_sqlite_cannot_hold_is_saved_without_its_faults(database: Database) -> None:
    accept(database, Ask("r1", "s1", "a\0b\ud800", Target("sim", "sim")), "", 2.0)
    assert row(database, "r1", "user")["content"] == "a\ufffdb\ufffd"
    assert database.one("SELECT length(content) FROM messages") == (4,)


# --- finishing ---------------------------------------------------------------------------------


def test_an_answer_is_saved_with_its_tokens_and_times(database: Database) -> None:
    accept(database, msgspec.structs.replace(ASK, traceparent=PARENT), "", 2.0)
    completion = Completion("hi", "llama3", "stop", "hm", "id1", {"b": 2, "a": 1}, 11, 22)
    saved = finish(database, Answered("r1", 1, completion, 12.5, 99.5))
    expected = {
        "session_id": "s1",
        "content": "hi",
        "timestamp": 3.0,
        "backend": "ollama",
        "model": "llama3",
        "status": "complete",
        "finish_reason": "stop",
        "reasoning": "hm",
        "response_id": "id1",
        "input_tokens": 11,
        "output_tokens": 22,
        "usage": '{"a":1,"b":2}',
        "first_token_ms": 12.5,
        "duration_ms": 99.5,
        "cached": 0,
        "error": None,
        "trace_id": TRACE,
    }
    assert {name: saved[name] for name in expected} == expected


def test_a_cached_answer_is_marked_and_used_no_tokens(database: Database) -> None:
    accept(database, ASK, "", 2.0)
    completion = Completion("hi", usage={"a": 1}, input_tokens=1, output_tokens=2)
    saved = finish(database, Answered("r1", 0, completion, cached_age_s=0.0))
    assert saved["cached"] == 1
    assert [saved[n] for n in ("input_tokens", "output_tokens", "usage")] == [None] * 3
    assert saved["model"] == "llama3:latest"


@pytest.mark.parametrize(
    ("terminal", "status", "reason", "error"),
    [
        (
            Failed("r1", 1, "rate_limited", "wait a minute", 429, "par"),
            "failed",
            "rate_limited",
            "wait a minute",
        ),
        (Cancelled("r1", 1, "par"), "interrupted", "cancelled", None),
        (Interrupted("r1", 1, "killed", "par"), "interrupted", "interrupted", "killed"),
    ],
)
def test_an_answer_that_broke_off_keeps_its_text_and_why(
    database: Database, terminal: Terminal, status: str, reason: str, error: str | None
) -> None:
    accept(database, ASK, "", 2.0)
    saved = finish(database, terminal)
    assert (saved["status"], saved["content"]) == (status, "par")
    assert (saved["finish_reason"], saved["error"]) == (reason, error)
    assert saved["http_status"] == (429 if status == "failed" else None)


def test_a_checkpoint_is_an_interrupted_answer_until_its_end_comes(database: Database) -> None:
    accept(database, ASK, "", 2.0)
    queries.checkpoint(database, Checkpoint("r1", "so"), 2.5)
    queries.checkpoint(database, Checkpoint("r1", "so far"), 2.6)
    saved = row(database, "r1", "assistant")
    assert (saved["status"], saved["content"]) == ("interrupted", "so far")
    assert saved["finish_reason"] is None
    saved = finish(database, Answered("r1", 1, Completion("so far so good")))
    assert (saved["status"], saved["content"]) == ("complete", "so far so good")
    assert count(database, "messages") == 2


@pytest.mark.parametrize(
    "late", [Cancelled("r1", 1, "late"), Answered("r1", 2, Completion("late"))]
)
def test_the_first_end_stands(database: Database, late: Terminal) -> None:
    accept(database, ASK, "", 2.0)
    finish(database, Answered("r1", 1, Completion("first")))
    queries.checkpoint(database, Checkpoint("r1", "late"), 4.0)
    saved = finish(database, late, now=5.0)
    assert (saved["status"], saved["content"], saved["timestamp"]) == ("complete", "first", 3.0)


def test_a_checkpoint_for_a_question_nobody_saved_inserts_nothing(database: Database) -> None:
    queries.checkpoint(database, Checkpoint("r9", "text"), 2.0)
    assert queries.question_of(database, "r9") is None
    assert count(database, "messages") == 0


def test_an_answer_that_was_cut_off_keeps_what_was_saved_of_it(database: Database) -> None:
    accept(database, ASK, "", 2.0)
    accept(database, msgspec.structs.replace(ASK, request_id="r2"), "", 2.0)
    queries.checkpoint(database, Checkpoint("r1", "so far"), 2.5)
    for request_id in ("r1", "r2", "nobody"):
        queries.cut_off(database, request_id, "killed", 3.0)
    for request_id, content in (("r1", "so far"), ("r2", "")):
        saved = row(database, request_id, "assistant")
        assert saved["content"] == content
        ended = [saved[n] for n in ("status", "finish_reason", "error", "timestamp")]
        assert ended == ["interrupted", "interrupted", "killed", 3.0]
    assert count(database, "messages") == 4


def test_an_answer_that_ended_cannot_be_cut_off(database: Database) -> None:
    accept(database, ASK, "", 2.0)
    before = finish(database, Answered("r1", 1, Completion("whole")))
    queries.cut_off(database, "r1", "killed", 9.0)
    assert row(database, "r1", "assistant") == before


def test_a_turn_is_taken_out_of_its_own_session_only_and_its_later_rows_with_it(
    database: Database,
) -> None:
    accept(database, ASK, "", 2.0)
    accept(database, msgspec.structs.replace(ASK, request_id="r2"), "", 2.0)
    assert queries.take_out(database, "another", "r1") == 0
    assert queries.take_out(database, "s1", "r1") == 1
    assert queries.take_out(database, "s1", "r1") == 0
    queries.checkpoint(database, Checkpoint("r1", "so far"), 2.5)
    assert row(database, "r1", "assistant")["active"] == 0
    assert finish(database, Answered("r1", 1, Completion("late")))["active"] == 0
    assert finish(database, Answered("r2", 1, Completion("a")))["active"] == 1


def test_a_session_that_changes_nothing_costs_no_row(database: Database) -> None:
    assert [queries.begin_session(database, ASK, 2.0) for _ in range(2)] == [1, 0]
    other = msgspec.structs.replace(ASK, target=Target("sim", "sim"))
    assert queries.begin_session(database, other, 3.0) == 1


def test_a_number_of_tokens_beyond_64_bits_does_no_harm(database: Database) -> None:
    accept(database, ASK, "", 2.0)
    completion = Completion("hi", usage={"n": 2**64 - 1}, input_tokens=2**64 - 1)
    saved = finish(database, Answered("r1", 1, completion))
    assert saved["input_tokens"] == 2**63 - 1
    assert json.loads(saved["usage"]) == {"n": 2**64 - 1}


def test_deleting_a_session_deletes_its_messages(database: Database) -> None:
    accept(database, ASK, "", 2.0)
    database.write("DELETE FROM sessions")
    assert count(database, "messages") == 0
