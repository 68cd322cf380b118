"""A database of an older version, opened by this one: nothing in it may be lost."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from chatbot.errors import StoreUnavailable
from chatbot.store import migrations
from chatbot.store.database import Database
from chatbot.store.recovery import recover

CAPTURES = Path(__file__).parents[1] / "captures"
FIRST = (CAPTURES / "chatbot_1.sql").read_text(encoding="utf-8")
SECOND = (CAPTURES / "chatbot_2.sql").read_text(encoding="utf-8")
SPAWN = get_context("spawn")
DEADLINE_S = 60.0


@pytest.fixture
def path(tmp_path: Path) -> str:
    name = str(tmp_path / "chatbot.db")
    write_first_version(name)
    return name


def write_first_version(path: str, more_rows: int = 0) -> None:
    """Write a database of version 1, as it was left: in WAL mode."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.executescript(FIRST)
        connection.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
            " INSERT INTO messages (session_id, role, content, timestamp, request_id, backend,"
            " model, status) SELECT 'session_1751360000_k3x9', 'user', 'number ' || n ||"
            " ' of very many', 1.0, 'more-' || n, 'sim', 'sim', 'complete' FROM n WHERE ? > 0",
            (more_rows, more_rows),
        )


def everything(path: str) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        found = {
            table: connection.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("sessions", "messages", "cache")
        }
        found["version"] = connection.execute("PRAGMA user_version").fetchall()
        found["schema"] = connection.execute("SELECT * FROM sqlite_master").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return found


def schema_of(path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the columns of every table, and the SQL of everything that is not a table of ours."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        columns = {
            name: connection.execute(f"PRAGMA table_info({name})").fetchall()
            for kind, name, _ in rows
            if kind in ("table", "view")
        }
        keys = {
            f"keys of {name}": connection.execute(f"PRAGMA foreign_key_list({name})").fetchall()
            for kind, name, _ in rows
            if kind == "table"
        }
        sql = {name: sql for kind, name, sql in rows if kind != "table" or "VIRTUAL" in sql}
        return columns | keys, sql


def test_every_row_of_the_first_version_is_still_there(path: str) -> None:
    before = everything(path)
    Database.open(path).close()
    after = everything(path)
    assert after["version"] == [(migrations.VERSION,)]
    assert after["sessions"] == before["sessions"]
    assert after["messages"] == [(*row, 1, None) for row in before["messages"]]  # all are active


def test_its_messages_are_found_by_their_words(path: str) -> None:
    with closing(Database.open(path)) as database:

        def found(words: str) -> list[int]:
            sql = "SELECT rowid FROM messages_fts (:words) ORDER BY rowid"
            return [rowid for (rowid,) in database.rows(sql, words=words)]

        assert found("lighthouses") == [1, 3]
        assert found("fresnel lens") == [2]
        assert found("grusse OR naive") == [6]
        database.write("DELETE FROM messages WHERE id = 2")
        assert found("fresnel") == []
        database.write("INSERT INTO messages_fts (messages_fts) VALUES ('integrity-check')")


def test_its_cache_is_empty_since_its_keys_mean_nothing_any_more(path: str) -> None:
    assert everything(path)["cache"]
    Database.open(path).close()
    assert everything(path)["cache"] == []


def test_a_migrated_database_is_like_a_new_one(path: str, tmp_path: Path) -> None:
    new = str(tmp_path / "new.db")
    Database.open(new).close()
    Database.open(path).close()
    assert schema_of(path) == schema_of(new)


def test_new_messages_go_on_after_the_highest_number_ever_given(path: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM messages WHERE id = 7")
    with closing(Database.open(path)) as database:
        database.write(
            "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,"
            " status) VALUES ('session_1751360000_k3x9', 'user', 'x', 1, 'new', '', '', 'complete')"
        )
        assert database.one("SELECT max(id) FROM messages") == (8,)


def test_a_second_opening_migrates_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Database.open(path).close()
    monkeypatch.setattr(migrations, "script", lambda name: pytest.fail(f"ran {name}"))
    Database.open(path).close()


def open_one_after_another(directory: str, count: int, together: Barrier) -> None:
    for number in range(count):
        together.wait(DEADLINE_S)
        with closing(Database.open(f"{directory}/{number}.db")) as database:
            assert database.one("SELECT count(*) FROM messages_fts ('lighthouses')") == (2,)
            database.write("INSERT INTO prices VALUES (:pid, '', 1, 1, NULL)", pid=str(os.getpid()))


def test_instances_that_migrate_one_database_at_once_all_open_it(tmp_path: Path) -> None:
    count = 20
    for number in range(count):
        write_first_version(str(tmp_path / f"{number}.db"))
    together = SPAWN.Barrier(3)
    processes = [
        SPAWN.Process(target=open_one_after_another, args=(str(tmp_path), count, together))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE_S)
    assert [process.exitcode for process in processes] == [0] * 3
    for number in range(count):
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as connection:
            assert connection.execute("SELECT count(*) FROM messages").fetchall() == [(6,)]
            assert connection.execute("SELECT count(*) FROM prices").fetchall() == [(3,)]


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE cache",
        "ALTER TABLE messages ADD COLUMN active INTEGER NOT NULL DEFAULT 1",
        "CREATE VIRTUAL TABLE messages_fts USING fts5 (content)",
        "CREATE VIRTUAL TABLE messages_fts USING fts5 (content, content=[messages]);"
        "CREATE TRIGGER [messages_ai] AFTER INSERT ON [messages] BEGIN"
        " INSERT INTO [messages_fts] (rowid, [content]) VALUES (new.rowid, new.[content]); END;"
        'CREATE TRIGGER "messages""au" AFTER UPDATE ON [messages] BEGIN'
        " INSERT INTO [messages_fts] (rowid, [content]) VALUES (new.rowid, new.[content]); END;",
    ],
    ids=["no cache", "active", "fts", "fts with triggers"],
)
def test_what_others_have_done_to_it_is_no_obstacle(path: str, change: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(change)
    with closing(Database.open(path)) as database:
        assert database.one("SELECT count(*), min(active) FROM messages") == (6, 1)
        assert database.one("SELECT count(*) FROM messages_fts ('lighthouses')") == (2,)
        assert database.begin()
        database.write("UPDATE messages SET content = 'changed' WHERE id = 1")
        assert database.commit()
        rows = list(database.rows("SELECT rowid FROM messages_fts ('lighthouses OR changed')"))
        assert rows == [(1,), (3,)]
        check = "INSERT INTO messages_fts (messages_fts, rank) VALUES ('integrity-check', 1)"
        database.write(check)
        assert database.one("SELECT count(*) FROM cache") == (0,)


def test_an_answer_that_somebody_has_taken_out_stays_out(path: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE messages ADD COLUMN active INTEGER NOT NULL DEFAULT 1")
        connection.execute("UPDATE messages SET active = 0 WHERE id = 2")
    with closing(Database.open(path)) as database:
        assert list(database.rows("SELECT id FROM messages WHERE NOT active")) == [(2,)]


def test_a_migration_that_cannot_be_done_names_the_recovery_which_can(path: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE VIEW messages_fts AS SELECT 1 AS a")
    before = everything(path)
    with pytest.raises(StoreUnavailable) as caught:
        Database.open(path)
    line = str(caught.value)
    assert line.startswith(f"cannot bring {path} up to date: ")
    assert f"; `chatbot sessions recover --db {path}` puts it aside and saves what" in line
    assert line.isprintable()
    assert everything(path) == before
    assert recover(path).messages == 6


def test_an_error_of_the_disk_in_a_migration_is_told_as_one(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(migrations, "migrate", fail)
    with pytest.raises(StoreUnavailable, match="the disk is full; make room"):
        Database.open(path)


def with_traces(path: str) -> None:
    """Replace a text by a shorter one, with an SQLite that overwrites nothing unasked."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = OFF").fetchall()
        connection.execute("UPDATE messages SET content = 'secret-' || hex(zeroblob(50000))")
        connection.execute("UPDATE messages SET content = 'short'")
    assert b"secret-" in Path(path).read_bytes()


def test_what_was_replaced_under_the_first_version_leaves_no_trace(path: str) -> None:
    with_traces(path)
    Database.open(path).close()
    assert b"secret-" not in Path(path).read_bytes()


def test_a_large_database_is_not_written_anew(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_traces(path)
    monkeypatch.setattr(migrations, "_VACUUMED_BYTES", 4096)
    Database.open(path).close()
    assert b"secret-" in Path(path).read_bytes()


# --- cut short -----------------------------------------------------------------------------------


def scripts_with(text: str, place: str) -> Callable[[str], str]:
    """Return a reader of the scripts that finds a text put into them, before a place."""
    original = migrations.script

    def script(name: str) -> str:
        return original(name).replace(place, text + place)

    return script


STATEMENTS = [
    "ALTER TABLE",
    "DROP TABLE",
    "CREATE VIRTUAL TABLE messages_fts",
    "PRAGMA user_version",
]


@pytest.mark.parametrize("place", STATEMENTS)
def test_an_error_in_a_migration_leaves_the_first_version(
    path: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(path)
    broken = scripts_with("INSERT INTO nowhere VALUES (1);\n", place)
    monkeypatch.setattr(migrations, "script", broken)
    with pytest.raises(StoreUnavailable, match="no such table: nowhere"):
        Database.open(path)
    assert everything(path) == before
    monkeypatch.undo()
    Database.open(path).close()


def die_at(path: str, place: str) -> None:
    """Open the database, and be killed by SIGKILL when the migration comes to a place."""
    connect = sqlite3.connect

    def connect_with_death(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **named)
        connection.create_function("die", 0, lambda: os.kill(os.getpid(), 9))
        return connection

    sqlite3.connect = connect_with_death  # type: ignore[assignment] # this process ends here
    migrations.script = scripts_with("SELECT die();\n", place)  # type: ignore[assignment] # so does this
    Database.open(path)


@pytest.mark.parametrize("place", STATEMENTS)
def test_a_migration_that_is_killed_leaves_the_first_version(path: str, place: str) -> None:
    before = everything(path)
    process = SPAWN.Process(target=die_at, args=(path, place))
    process.start()
    process.join(DEADLINE_S)
    assert process.exitcode not in (0, None)
    assert everything(path) == before
    Database.open(path).close()
    assert everything(path)["version"] == [(migrations.VERSION,)]


# --- from the second version ---------------------------------------------------------------------


@pytest.fixture
def second(tmp_path: Path) -> str:
    name = str(tmp_path / "second.db")
    write_second_version(name)
    return name


def write_second_version(path: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.executescript(SECOND)


def test_all_that_the_second_version_had_is_still_there(second: str) -> None:
    before = everything(second)
    assert before["version"] == [(2,)]
    Database.open(second).close()
    after = everything(second)
    assert after["version"] == [(migrations.VERSION,)]
    assert [after[name] for name in ("sessions", "cache")] == [
        before[name] for name in ("sessions", "cache")
    ]
    assert before["cache"]
    assert after["messages"] == [(*row, None) for row in before["messages"]]  # none has siblings
    with closing(Database.open(second)) as database:
        assert database.one("SELECT rowid FROM messages_fts ('tides moon OR moon')") == (2,)
        check = "INSERT INTO messages_fts (messages_fts, rank) VALUES ('integrity-check', 1)"
        database.write(check)


def test_a_database_of_the_second_version_is_then_like_a_new_one(
    second: str, tmp_path: Path
) -> None:
    new = str(tmp_path / "new.db")
    Database.open(new).close()
    Database.open(second).close()
    assert schema_of(second) == schema_of(new)


def test_its_prices_stay_and_its_costs_count_what_was_cheaper(second: str) -> None:
    with closing(Database.open(second)) as database:
        prices = "SELECT * FROM prices"
        assert database.one(prices) == ("anthropic", "claude-sonnet-4-20250514", 3.0, 15.0, None)
        cost = "SELECT cost FROM model_usage WHERE backend = 'anthropic'"
        assert database.one(cost) == (pytest.approx((14 * 3.0 + 12 * 15.0) / 1e6),)
        database.write("UPDATE prices SET cached_input = 0.3")
        assert database.one(cost) == (pytest.approx((4 * 3.0 + 10 * 0.3 + 12 * 15.0) / 1e6),)


@pytest.mark.parametrize("place", ["ALTER TABLE messages", "DROP VIEW", "PRAGMA user_version"])
def test_a_migration_that_is_killed_leaves_the_second_version(second: str, place: str) -> None:
    before = everything(second)
    process = SPAWN.Process(target=die_at, args=(second, place))
    process.start()
    process.join(DEADLINE_S)
    assert process.exitcode not in (0, None)
    assert everything(second) == before
    Database.open(second).close()
    assert everything(second)["version"] == [(migrations.VERSION,)]


def test_a_database_of_the_second_version_can_be_recovered(second: str) -> None:
    data = bytearray(Path(second).read_bytes())
    with closing(sqlite3.connect(second)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'cache'"
        (page,) = connection.execute(sql).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data[(page - 1) * size : page * size] = b"\xaa" * size
    Path(second).write_bytes(data)
    assert recover(second).messages == 6
    with closing(Database.open(second)) as database:
        assert database.one("SELECT count(*), count(fan), sum(active) FROM messages") == (6, 0, 4)
        assert database.one("SELECT output, cached_input FROM prices") == (15.0, None)


# --- the time it takes ---------------------------------------------------------------------------


def test_a_migration_beats_as_it_goes_and_tells_once_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_BEAT_EVERY_S", 0.0)
    monkeypatch.setattr(migrations, "_NOTICEABLE_S", 0.0)
    path = str(tmp_path / "chatbot.db")
    write_first_version(path, more_rows=2000)
    beats = []
    told: list[str] = []
    Database.open(path, beat=lambda: beats.append(len(told)), tell=told.append).close()
    assert len(beats) > 20
    assert told == [f"bringing {path} up to date; this happens once, with a new version of chatbot"]
    beats.clear()
    Database.open(path, beat=lambda: beats.append(0), tell=told.append).close()
    assert (beats, len(told)) == ([], 1)


def test_a_quick_migration_is_not_worth_a_word(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "_NOTICEABLE_S", DEADLINE_S)
    told: list[str] = []
    Database.open(path, tell=told.append).close()
    assert told == []


def test_a_newer_program_that_was_quicker_keeps_its_version(path: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")
        migrations.create(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)
