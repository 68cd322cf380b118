"""The views and the search index, on real rows: what somebody sees who opens the file in Datasette."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatbot.store import database as room
from chatbot.store.database import Database

INSERT = """
    INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model, status,
                          finish_reason, input_tokens, output_tokens, first_token_ms, duration_ms,
                          cached, active, fan, usage)
    VALUES ('s', :role, :content, :timestamp, :request_id, :backend, :model, :status, :finish_reason,
            :input_tokens, :output_tokens, :first_token_ms, :duration_ms, :cached, :active, :fan, :usage)
    ON CONFLICT (request_id, role) DO UPDATE SET content = excluded.content WHERE status <> 'failed'
"""
DEFAULTS: dict[str, Any] = {
    "timestamp": 1.0,
    "backend": "sim",
    "model": "m",
    "status": "complete",
    "finish_reason": None,
    "input_tokens": None,
    "output_tokens": None,
    "first_token_ms": None,
    "duration_ms": None,
    "cached": 0,
    "active": 1,
    "fan": None,
    "usage": None,
    "content": "",
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chatbot.db")


@pytest.fixture
def database(path: str) -> Iterator[Database]:
    with closing(Database.open(path)) as opened:
        opened.write("INSERT INTO sessions VALUES ('s', 'A talk', 1.0, 'sim', 'm')")
        yield opened


class Turns:
    """Writes turns: a question, and an answer with what is given."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.count = 0

    def add(self, asked: str = "m", **answer: Any) -> None:
        self.count += 1
        name = f"r{self.count}"
        question: dict[str, Any] = {
            "role": "user",
            "request_id": name,
            "model": asked,
            "content": "q",
        }
        if "fan" in answer:
            question |= {key: answer[key] for key in ("fan", "active") if key in answer}
        reply = {"role": "assistant", "request_id": name, "finish_reason": "stop", "content": "a"}
        self.database.write(INSERT, **(DEFAULTS | question))
        self.database.write(INSERT, **(DEFAULTS | {"model": asked} | reply | answer))

    def usage(self, model: str = "m") -> dict[str, Any]:
        """Return the row of `model_usage` for a model."""
        names = [name for (name,) in self.database.rows(COLUMNS, view="model_usage")]
        row = self.database.one("SELECT * FROM model_usage WHERE model = :m", m=model)
        assert row is not None
        return dict(zip(names, row, strict=True))


COLUMNS = "SELECT name FROM pragma_table_info(:view)"


@pytest.fixture
def turns(database: Database) -> Turns:
    return Turns(database)


def price(
    database: Database, model: str = "m", backend: str = "sim", cached: float | None = None
) -> None:
    database.write(
        "INSERT INTO prices VALUES (:backend, :model, 3.0, 15.0, :cached)",
        backend=backend,
        model=model,
        cached=cached,
    )


# --- what the models did -------------------------------------------------------------------------


def test_tokens_become_a_cost_where_the_price_is_known(database: Database, turns: Turns) -> None:
    turns.add(input_tokens=1_000_000, output_tokens=200_000)
    turns.add(input_tokens=1_000_000, output_tokens=0)
    assert turns.usage()["cost"] is None
    price(database, backend="another")
    assert turns.usage()["cost"] is None
    price(database)
    usage = turns.usage()
    assert usage["cost"] == pytest.approx(2 * 3.0 + 0.2 * 15.0)
    assert (usage["input_tokens"], usage["output_tokens"]) == (2_000_000, 200_000)
    assert usage["tokens_unknown"] == 0


@pytest.mark.parametrize(
    "answer",
    [
        {"input_tokens": 5},
        {"output_tokens": 5},
        {},
        {"status": "interrupted", "finish_reason": "cancelled"},
        {"status": "interrupted", "finish_reason": None, "content": ""},
        {"status": "failed", "finish_reason": "connection_lost", "content": "half"},
        {"status": "failed", "finish_reason": "timeout", "content": ""},
        {"status": "failed", "finish_reason": "rate_limited", "content": "some text before it"},
    ],
)
def test_an_answer_of_unknown_tokens_is_counted_and_the_others_have_their_cost(
    database: Database, turns: Turns, answer: dict[str, Any]
) -> None:
    price(database)
    turns.add(**answer)
    usage = turns.usage()
    known = 3.0 * answer.get("input_tokens", 0) + 15.0 * answer.get("output_tokens", 0)
    assert usage["cost"] == (pytest.approx(known / 1e6) if known else None)
    turns.add(input_tokens=10, output_tokens=10)
    usage = turns.usage()
    assert usage["cost"] == pytest.approx((known + 10 * 3.0 + 10 * 15.0) / 1e6)
    assert usage["tokens_unknown"] == 1


@pytest.mark.parametrize(
    ("usage", "cached", "cost"),
    [
        ('{"prompt_tokens_details.cached_tokens":600000}', 0.5, 0.4 * 3.0 + 0.6 * 0.5),
        ('{"cache_read_input_tokens":600000}', 0.5, 0.4 * 3.0 + 0.6 * 0.5),
        ('{"cache_read_input_tokens":600000}', None, 3.0),
        ('{"cache_read_input_tokens":9000000}', 0.5, 0.5),  # it says more than there were
        ('{"other":1}', 0.5, 3.0),
        ("no JSON", 0.5, 3.0),
        (None, 0.5, 3.0),
    ],
)
def test_input_that_the_server_had_in_its_own_cache_has_a_price_of_its_own(
    database: Database, turns: Turns, usage: str | None, cached: float | None, cost: float
) -> None:
    price(database, cached=cached)
    turns.add(input_tokens=1_000_000, output_tokens=0, usage=usage)
    assert turns.usage()["cost"] == pytest.approx(cost)


def test_siblings_were_paid_for_and_are_no_part_of_the_conversation(
    database: Database, turns: Turns
) -> None:
    price(database)
    turns.add(fan="r1", input_tokens=1_000_000, output_tokens=0)
    turns.add(fan="r1", active=0, input_tokens=2_000_000, output_tokens=0, content="sibling")
    usage = turns.usage()
    assert (usage["answers"], usage["cost"]) == (2, pytest.approx(9.0))
    rows = list(database.rows("SELECT content FROM conversation"))
    assert rows == [("q",), ("a",)]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "failed", "finish_reason": "unreachable", "content": ""},
        {"status": "failed", "finish_reason": "auth", "content": ""},
        {"cached": 1},
        {"cached": 1, "input_tokens": 7, "output_tokens": 7},
    ],
)
def test_what_was_refused_or_came_from_the_cache_cost_nothing(
    database: Database, turns: Turns, answer: dict[str, Any]
) -> None:
    price(database)
    turns.add(input_tokens=1_000_000, output_tokens=0)
    turns.add(**answer)
    usage = turns.usage()
    assert usage["cost"] == pytest.approx(3.0)
    assert (usage["input_tokens"], usage["output_tokens"]) == (1_000_000, 0)


def test_a_model_that_only_answered_from_the_cache_cost_nothing_and_used_no_tokens(
    database: Database, turns: Turns
) -> None:
    price(database)
    turns.add(cached=1, duration_ms=0.0)
    usage = turns.usage()
    assert (usage["answers"], usage["from_cache"], usage["cost"]) == (1, 1, 0.0)
    for column in ("input_tokens", "duration_ms_mean", "duration_ms_median", "output_tokens_per_s"):
        assert usage[column] is None, column


def test_latency_is_that_of_whole_answers_that_were_generated(turns: Turns) -> None:
    for duration in (400.0, 100.0, 300.0):
        turns.add(duration_ms=duration, first_token_ms=duration / 10, output_tokens=10)
    turns.add(duration_ms=None)
    turns.add(duration_ms=9e9, status="failed", finish_reason="timeout")
    turns.add(duration_ms=9e9, status="interrupted", output_tokens=5)
    turns.add(duration_ms=0.0, first_token_ms=0.0, cached=1)
    usage = turns.usage()
    assert usage["duration_ms_median"] == 300.0
    assert usage["duration_ms_mean"] == pytest.approx(800 / 3)
    assert usage["first_token_ms_mean"] == pytest.approx(80 / 3)
    assert usage["output_tokens_per_s"] == pytest.approx(30 / 0.8)
    counts = ("answers", "failed", "interrupted", "from_cache")
    assert [usage[name] for name in counts] == [7, 1, 1, 1]


@given(durations=st.lists(st.floats(0, 1e7), min_size=1, max_size=9))
def test_the_median_is_the_one_of_the_statistics_module(durations: list[float]) -> None:
    import statistics

    with closing(sqlite3.connect(":memory:")) as connection:
        from chatbot.store import migrations

        migrations.create(connection)
        connection.execute("INSERT INTO sessions VALUES ('s', 't', 1.0, 'sim', 'm')")
        for number, duration in enumerate(durations):
            for role in ("user", "assistant"):
                values = {"role": role, "request_id": str(number), "duration_ms": duration}
                connection.execute(INSERT, DEFAULTS | values)
        (median,) = connection.execute("SELECT duration_ms_median FROM model_usage").fetchone()
    assert median == pytest.approx(statistics.median(durations))


def test_each_model_has_a_row_by_the_name_it_was_asked_for_by(turns: Turns) -> None:
    turns.add("llama3", model="llama3:latest-q4", input_tokens=1, output_tokens=1)
    turns.add("other")
    turns.add("llama3", active=0)
    assert turns.usage("llama3")["answers"] == 2  # an undone answer was generated all the same
    assert turns.usage("other")["answers"] == 1


# --- the conversations ---------------------------------------------------------------------------


def test_a_conversation_reads_in_its_order_whatever_the_clock_said(
    database: Database, turns: Turns
) -> None:
    turns.add(timestamp=1751360000.75)
    turns.add(timestamp=5.0)  # the clock was set back
    turns.add(active=0, content="undone")
    rows = list(database.rows("SELECT title, time_utc, role, content FROM conversation"))
    assert rows[0][:2] == ("A talk", "1970-01-01 00:00:01")
    assert rows[1] == ("A talk", "2025-07-01 08:53:20", "assistant", "a")
    assert [row[2] for row in rows] == ["user", "assistant", "user", "assistant", "user"]
    assert "undone" not in [row[3] for row in rows]


# --- for Datasette and its like ------------------------------------------------------------------


def test_the_tools_that_browse_databases_find_the_search_index_and_the_keys(path: str) -> None:
    Database.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        # The queries with which Datasette and sqlite-utils look for it.
        for wanted in ('%VIRTUAL TABLE%USING FTS%content="messages"%',):
            found = connection.execute(
                "SELECT name FROM sqlite_master WHERE rootpage = 0 AND sql LIKE ?", (wanted,)
            ).fetchall()
            assert found == [("messages_fts",)]
        keys = connection.execute("PRAGMA foreign_key_list(messages)").fetchall()
        assert [key[2:5] for key in keys] == [("sessions", "session_id", "id")]
        names = {name for (name,) in connection.execute(COLUMNS, {"view": "sessions"})}
        assert "title" in names  # what Datasette shows in place of an id


# --- the search index ----------------------------------------------------------------------------

WORDS = ("alpha", "beta", "gamma", "Überall")
texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
steps = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 5), texts),
    st.tuples(st.just("sql"), st.integers(0, 5), texts),
    st.tuples(st.just("delete"), st.integers(0, 5), st.just("")),
    st.tuples(st.just("forget"), st.integers(0, 2), st.just("")),
    st.tuples(st.just("undo"), st.integers(0, 5), st.just("")),
    st.tuples(st.just("renumber"), st.integers(0, 5), st.just("")),
    st.tuples(st.just("commit"), st.just(0), st.just("")),
    st.tuples(st.just("rollback"), st.just(0), st.just("")),
)

UPSERT = """
    INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model, status)
    VALUES (:session, 'user', :content, 1.0, :request_id, '', '', 'complete')
    ON CONFLICT (request_id, role) DO UPDATE SET content = excluded.content
    WHERE content <> excluded.content
"""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, max_size=25))
def test_the_index_is_right_after_any_history(tmp_path: Path, history: list[Any]) -> None:
    path = tmp_path / "chatbot.db"
    for file in tmp_path.iterdir():
        file.unlink()
    with closing(Database.open(str(path))) as database:
        for step, number, content in history:
            if not database._connection.in_transaction:
                assert database.begin()
            session = f"s{number % 3}"
            match step:
                case "write":
                    database.write(
                        "INSERT OR IGNORE INTO sessions VALUES (:id, '', 1.0, '', '')", id=session
                    )
                    database.write(UPSERT, session=session, content=content, request_id=str(number))
                case "sql":
                    database.write(
                        "UPDATE OR IGNORE messages SET content = :c, id = id + 100"
                        " WHERE request_id = :id",
                        c=content,
                        id=str(number),
                    )
                case "renumber":
                    database.write(
                        "UPDATE messages SET id = id + 1000 WHERE request_id = :id", id=str(number)
                    )
                case "delete":
                    database.write("DELETE FROM messages WHERE request_id = :id", id=str(number))
                case "forget":  # and with the session its messages
                    database.write("DELETE FROM sessions WHERE id = :id", id=session)
                case "undo":
                    database.write(
                        "UPDATE messages SET active = 0 WHERE request_id = :id", id=str(number)
                    )
                case "commit":
                    assert database.commit()
                case "rollback":
                    database.write("ROLLBACK")
        if database._connection.in_transaction:
            assert database.commit()
        # With rank 1 it is also compared with the texts, where SQLite is new enough to ask.
        check = "INSERT INTO messages_fts (messages_fts, rank) VALUES ('integrity-check', 1)"
        database.write(check)
        for word in WORDS:
            found = {row[0] for row in database.rows("SELECT rowid FROM messages_fts (:w)", w=word)}
            rows = database.rows("SELECT id, content FROM messages")
            assert found == {id_ for id_, text in rows if word in text.split()}
        assert database.one("SELECT count(*) FROM _unindexed") == (0,)


def test_what_is_added_and_deleted_before_a_commit_was_never_in_the_index(
    database: Database,
) -> None:
    database.write(UPSERT, session="s", content="alpha", request_id="kept")
    assert database.begin()
    database.write(UPSERT, session="s", content="alpha beta", request_id="gone")
    database.write("DELETE FROM messages WHERE request_id = 'gone'")
    assert database.commit()
    database.write("INSERT INTO messages_fts (messages_fts, rank) VALUES ('integrity-check', 1)")
    assert list(database.rows("SELECT rowid FROM messages_fts ('alpha')")) == [(1,)]
    # The index counts its rows: what is taken out of it without having been in it is missing there.
    (counted,) = database.one("SELECT block FROM messages_fts_data WHERE id = 1") or (None,)
    assert counted == bytes([1, 1])  # one row, of one word


def test_what_another_program_adds_is_indexed_with_the_next_commit(
    database: Database, path: str
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        values = {"session": "s", "content": "added by hand", "request_id": "x"}
        other.execute(UPSERT, values)
        other.execute(UPSERT, values | {"content": "changed by hand"})
    assert database.begin()
    assert database.commit()
    assert database.one("SELECT rowid FROM messages_fts ('changed')") == (1,)
    assert database.one("SELECT rowid FROM messages_fts ('added')") is None


def test_indexing_costs_the_same_however_many_messages_there_are(database: Database) -> None:
    plan = [row[3] for row in database.rows(f"EXPLAIN QUERY PLAN {room._INDEX_NEW[0]}")]
    assert [step.split()[:2] for step in plan] == [["SCAN", "_unindexed"], ["SEARCH", "messages"]]


def test_triggers_are_not_counted_as_rows_that_were_changed(database: Database) -> None:
    for content, changes in (("x", 1), ("x", 0), ("y", 1)):
        values = {"session": "s", "content": content, "request_id": "r"}
        assert database.write(UPSERT, **values) == changes
    assert database.write("DELETE FROM messages") == 1
