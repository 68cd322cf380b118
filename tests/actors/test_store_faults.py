"""What can happen to a database in use: each fault is told in one line, and nothing is made worse."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chatbot.errors import StoreUnavailable
from chatbot.store import checker as checker_room
from chatbot.store import database as database_room
from chatbot.store.checker import Checker
from chatbot.store.database import Database
from chatbot.store.faults import unusable

ELSEWHERE = "choose another place with --db PATH"
PAGE = 4096
DEADLINE_S = 30.0
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody do that")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chatbot.db")


@pytest.fixture
def database(path: str) -> Iterator[Database]:
    with closing(Database.open(path)) as opened:
        yield opened


def save(database: Database, name: str, content: str = "hello") -> None:
    """Save a turn's first row in a transaction of its own."""
    assert database.begin()
    database.write("INSERT OR IGNORE INTO sessions VALUES ('s', 't', 1.0, '', '')")
    database.write(
        "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,"
        " status) VALUES ('s', 'user', :content, 1.0, :name, '', '', 'complete')",
        content=content,
        name=name,
    )
    assert database.commit()


def line_of(action: Callable[[], object]) -> str:
    """Return the one line that an action is refused with."""
    with pytest.raises(StoreUnavailable) as caught:
        action()
    line = str(caught.value)
    assert line.isprintable()
    return line


def damaged(path: str) -> str:
    return (
        f"{path} is damaged; `chatbot sessions recover --db {path}` puts it aside and saves what can be read, "
        "or choose another with --db PATH"
    )


def filled(path: str, rows: int = 500) -> None:
    with closing(Database.open(path)) as database:
        assert database.begin()
        database.write("INSERT INTO sessions VALUES ('s', 't', 1.0, '', '')")
        for number in range(rows):
            database.write(
                "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend,"
                " model, status) VALUES ('s', 'user', :c, 1.0, :name, '', '', 'complete')",
                c=f"word{number} " * 20,
                name=str(number),
            )
        assert database.commit()


def page_of(path: str, name: str) -> int:
    """Return the number of the page that a table or an index begins on."""
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        return int(connection.execute(sql, (name,)).fetchone()[0])


def spoil(path: str, page: int) -> bytes:
    """Write garbage into a page; return the bytes of the whole file."""
    data = bytearray(Path(path).read_bytes())
    start = 100 if page == 1 else (page - 1) * PAGE  # the header stays as it is
    data[start : page * PAGE] = b"\xaa" * (page * PAGE - start)
    Path(path).write_bytes(data)
    return bytes(data)


# --- deleted, replaced ---------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("ending", ["", "-wal"])
def test_a_file_that_is_deleted_in_use_is_noticed_before_the_next_group(
    database: Database, path: str, ending: str
) -> None:
    save(database, "r1")
    os.rename(path + ending, f"{path}.moved")
    assert line_of(database.begin) == f"{path}{ending} was deleted while it was in use"
    os.rename(f"{path}.moved", path + ending)
    save(database, "r2")


@POSIX
def test_a_file_that_is_replaced_in_use_is_noticed_before_the_next_group(
    database: Database, path: str
) -> None:
    save(database, "r1")
    shutil.copy(path, f"{path}.copy")
    os.replace(f"{path}.copy", path)
    before = Path(path).read_bytes()
    log = Path(f"{path}-wal").read_bytes()
    assert line_of(database.begin) == (
        f"{path} was replaced while it was in use; the log of the old one is now "
        f"{path}.replaced-1-wal"
    )
    database.close()
    assert Path(path).read_bytes() == before
    assert Path(f"{path}.replaced-1-wal").read_bytes() == log
    with closing(Database.open(path)) as new:  # with a log of its own
        save(new, "r2")


@POSIX
def test_the_log_of_a_database_that_was_deleted_stays_when_it_is_closed(
    database: Database, path: str
) -> None:
    save(database, "r1")
    log = Path(f"{path}-wal").read_bytes()
    os.unlink(path)
    line_of(database.begin)
    database.close()
    assert Path(f"{path}-wal").read_bytes() == log


def test_a_system_that_numbers_no_files_still_tells_that_one_is_gone(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def stat_without_numbers(*arguments: Any, **named: Any) -> os.stat_result:
        found = real(*arguments, **named)
        return os.stat_result((found.st_mode, 0, *found[2:]))

    with closing(Database.open(path)) as first:
        save(first, "r1")
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat_without_numbers)
        with closing(Database.open(path)) as database:
            save(database, "r2")
            os.unlink(path)
            assert "was deleted while it was in use" in line_of(database.begin)


@pytest.mark.parametrize(("left", "what"), [("missing", "is gone"), ("empty", "is empty")])
def test_a_log_without_its_database_is_not_thrown_away(path: str, left: str, what: str) -> None:
    if left == "empty":
        Path(path).touch()
    log = b"the last messages " * 100
    Path(f"{path}-wal").write_bytes(log)
    assert line_of(lambda: Database.open(path)) == (
        f"{path} {what}, but its last messages are still in {path}-wal; put it back, or "
        f"`chatbot sessions recover --db {path}` makes a new one of what is there"
    )
    assert Path(f"{path}-wal").read_bytes() == log
    assert os.path.exists(path) == (left == "empty")


def test_a_database_that_must_exist_is_not_created(path: str) -> None:
    assert line_of(lambda: Database.open(path, must_exist=True)) == (
        f"there is no database {path} yet; the first chat makes it, or name another with --db PATH"
    )
    assert not os.path.exists(path)
    Database.open(path).close()
    Database.open(path, must_exist=True).close()


@POSIX
@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("exists", [False, True], ids=["new", "there"])
def test_a_link_beside_the_database_is_refused(path: str, ending: str, exists: bool) -> None:
    if exists:
        filled(path, 1)
    other = Path(f"{path}.other")
    other.write_bytes(b"precious")
    os.symlink(other, path + ending)
    assert line_of(lambda: Database.open(path)) == (
        f"{path}{ending} is a symbolic link; remove it or {ELSEWHERE}"
    )
    assert other.read_bytes() == b"precious"
    assert os.path.exists(path) == exists


# --- damaged -------------------------------------------------------------------------------------


def test_garbage_in_the_schema_is_told_at_the_opening(path: str) -> None:
    filled(path)
    before = spoil(path, 1)
    assert line_of(lambda: Database.open(path)) == damaged(path)
    assert Path(path).read_bytes() == before
    assert os.listdir(os.path.dirname(path)) == ["chatbot.db"]


@pytest.mark.parametrize("table", ["messages", "sessions", "messages_by_session"])
def test_garbage_in_a_table_is_told_by_the_group_that_meets_it(path: str, table: str) -> None:
    filled(path)
    before = spoil(path, page_of(path, table))
    with closing(Database.open(path)) as database:
        assert line_of(lambda: save(database, "r1")) == damaged(path)
    assert Path(path).read_bytes() == before


def test_garbage_in_the_search_index_is_told_by_the_group_that_meets_it(path: str) -> None:
    filled(path)
    before = spoil(path, page_of(path, "messages_fts_data"))
    with closing(Database.open(path)) as database:
        assert line_of(lambda: save(database, "r1")) == damaged(path)
    assert Path(path).read_bytes() == before


def test_text_that_is_no_text_is_told_as_damage(database: Database, path: str) -> None:
    save(database, "r1")
    database.write("UPDATE messages SET request_id = CAST(X'FFFE0A' AS TEXT)")
    assert line_of(lambda: database.one("SELECT request_id FROM messages")) == damaged(path)


def test_a_header_of_ours_on_what_cannot_be_read_is_told_as_damage(path: str) -> None:
    filled(path, 1)
    data = bytearray(Path(path).read_bytes())
    data[16:24] = b"\xff" * 8  # the size of a page, and what follows from it
    Path(path).write_bytes(data)
    assert line_of(lambda: Database.open(path)) == damaged(path)
    assert Path(path).read_bytes() == bytes(data)


def crash_after(path: str, program: str) -> None:
    """Run a program on a database in another process, which ends without closing it."""
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys; from chatbot.store.database import Database\n"
            f"database = Database.open(sys.argv[1])\n{program}\nos._exit(0)",
            path,
        ],
        check=True,
        timeout=DEADLINE_S,
        cwd=Path(__file__).parents[2],
    )


WRITE_A_SESSION = "database.write(\"INSERT INTO sessions VALUES ('late', '', 1.0, '', '')\")"


def test_a_damaged_database_that_was_left_open_is_refused_with_its_log_untouched(
    path: str,
) -> None:
    filled(path)
    crash_after(path, WRITE_A_SESSION)
    spoil(path, 1)
    before = {name: Path(path + name).read_bytes() for name in ("", "-wal")}
    assert before["-wal"]
    assert line_of(lambda: Database.open(path)) == damaged(path)
    assert {name: Path(path + name).read_bytes() for name in ("", "-wal")} == before


@pytest.mark.parametrize("size", [0, 1, 4], ids=["header", "few", "all"])
@pytest.mark.parametrize("by", [b"\xaa", b"\0"], ids=["garbage", "zeros"])
def test_a_log_whose_header_is_damaged_is_refused_and_untouched(
    path: str, by: bytes, size: int
) -> None:
    if size:
        filled(path, size)
    crash_after(path, WRITE_A_SESSION)
    log = bytearray(Path(f"{path}-wal").read_bytes())
    log[:32] = by * 32
    Path(f"{path}-wal").write_bytes(log)
    before = Path(path).read_bytes()
    assert line_of(lambda: Database.open(path)) == damaged(path)
    assert (Path(path).read_bytes(), Path(f"{path}-wal").read_bytes()) == (before, bytes(log))


@pytest.mark.parametrize("log", [b"", b"short", bytes(32), bytes(9000)])
def test_a_log_that_holds_nothing_is_no_damage(path: str, log: bytes) -> None:
    filled(path, 3)
    Path(f"{path}-wal").write_bytes(log)
    with closing(Database.open(path)) as database:
        assert database.one("SELECT count(*) FROM messages") == (3,)


def test_a_log_whose_header_is_being_written_is_looked_at_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    crash_after(path, WRITE_A_SESSION)
    log = Path(f"{path}-wal").read_bytes()
    Path(f"{path}-wal").write_bytes(b"half" + log[4:])
    looks = []

    def finish(seconds: float) -> None:
        looks.append(seconds)
        Path(f"{path}-wal").write_bytes(log)

    monkeypatch.setattr(time, "sleep", finish)
    with closing(Database.open(path)) as database:
        assert database.one("SELECT count(*) FROM sessions") == (2,)
    assert len(looks) == 1


# --- the disk ------------------------------------------------------------------------------------

FILL = """
import os, sys
from chatbot.errors import StoreUnavailable
from chatbot.store.database import Database
{before}
database = Database.open(sys.argv[1])
written = 0
try:
    while True:
        assert database.begin()
        database.write("INSERT INTO sessions VALUES (:n, :t, 1.0, '', '')", n=str(written), t="x" * 3000)
        assert database.commit()
        written += 1
except StoreUnavailable as error:
    print(written, error)
database.close()
"""


def fill(path: str, before: str = "") -> tuple[int, str]:
    """Write until it is refused; return how many rows were committed, and the line."""
    result = subprocess.run(
        [sys.executable, "-c", FILL.format(before=before), path],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        cwd=Path(__file__).parents[2],
    )
    assert result.stderr == ""
    written, _, line = result.stdout.rstrip("\n").partition(" ")
    assert "\n" not in line
    return int(written), line


def titles(path: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute("SELECT count(*) FROM sessions").fetchone()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
def test_on_a_full_disk_all_that_was_committed_stays(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount one")
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "chatbot-test", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody mount one")
    try:
        path = str(tmp_path / "chatbot.db")
        written, line = fill(path)
        assert line == f"cannot write {path}: the disk is full; make room or {ELSEWHERE}"
        assert written > 10
        assert titles(path) == written
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_an_error_of_the_disk_is_told_and_all_that_was_committed_stays(path: str) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))"
    Database.open(path).close()
    written, line = fill(path, limit)
    assert line == (
        f"cannot read or write {path}: the disk reports an error (disk I/O error); "
        f"look after the disk or {ELSEWHERE}"
    )
    assert written > 10
    assert titles(path) == written


def test_an_error_of_a_disk_that_has_no_room_left_is_told_as_that(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    full = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: full)
    assert str(unusable(path, error)) == (
        f"cannot write {path}: the disk is full; make room or {ELSEWHERE}"
    )


def test_words_of_sqlite_that_quote_the_database_stay_one_line() -> None:
    error = sqlite3.OperationalError("no such column: a\nb\x1b[31m" + "x" * 1000)
    line = str(unusable("a.db", error))
    assert line.isprintable()
    assert len(line) < 300


# --- locked --------------------------------------------------------------------------------------


def test_a_lock_held_by_another_program_is_told_at_the_opening(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_room, "BUSY_TIMEOUT_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert line_of(lambda: Database.open(path)) == (
            f"database is locked: another program is writing to {path}; close it or {ELSEWHERE}"
        )
    Database.open(path).close()


# --- texts ---------------------------------------------------------------------------------------


def test_texts_of_any_size_and_content_are_saved_and_found(database: Database) -> None:
    large = "lighthouse " * 280_000  # 3 MB
    save(database, "r1", large + "needle")
    save(database, "r2", "before\0after \ud800 broken")
    assert database.one("SELECT length(content) FROM messages WHERE id = 1") == (len(large) + 6,)
    assert database.one("SELECT rowid FROM messages_fts ('needle')") == (1,)
    assert database.one("SELECT rowid FROM messages_fts ('after')") == (2,)


# --- the check of what was not closed in order -------------------------------------------------


class Results:
    """What a check has told; its thread is waited for."""

    def __init__(self, path: str, **limits: int) -> None:
        self.lines: list[str | None] = []
        self._told = threading.Event()
        self.checker = Checker(path, self._tell, **limits)

    def result(self) -> str | None:
        self.checker.start()
        assert self._told.wait(DEADLINE_S)
        assert self.checker.stop(DEADLINE_S)
        (line,) = self.lines
        return line

    def _tell(self, line: str | None) -> None:
        self.lines.append(line)
        self._told.set()


def test_only_what_was_not_closed_in_order_was_left_open(path: str) -> None:
    filled(path, 1)
    with closing(Database.open(path)) as database:
        assert not database.was_left_open
    crash_after(path, WRITE_A_SESSION)
    with closing(Database.open(path)) as database:
        assert database.was_left_open
        assert database.one("SELECT count(*) FROM sessions") == (2,)


def test_a_check_finds_what_is_damaged_and_nothing_where_all_is_well(path: str) -> None:
    filled(path)
    with closing(Database.open(path)):
        assert Results(path).result() is None
    spoil(path, page_of(path, "messages_by_session"))
    with closing(Database.open(path)):
        assert Results(path).result() == damaged(path)
        assert Results(path, limit_bytes=PAGE).result() is None  # so large a one is not checked


@pytest.mark.parametrize("table", ["messages", "sessions", "cache", "prices", "sessions_by_time"])
def test_a_check_finds_damage_in_every_table(path: str, table: str) -> None:
    filled(path)
    spoil(path, page_of(path, table))
    assert Results(path).result() == damaged(path)


def test_a_check_takes_the_search_index_alone_for_no_damage(path: str) -> None:
    filled(path)
    spoil(path, page_of(path, "messages_fts_data"))
    assert Results(path).result() is None


def test_a_check_does_not_ask_about_the_search_index(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    asked: list[str] = []
    connect = sqlite3.connect

    def connect_and_listen(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **named)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_and_listen)
    assert Results(path).result() is None
    # Without a table SQLite 3.44.0 takes a whole index for damaged, which the reader cannot write to.
    assert {sql for sql in asked if "quick_check" in sql} == {
        f"PRAGMA quick_check({table})" for table in ("messages", "sessions", "cache", "prices")
    }


def test_a_check_of_what_cannot_even_be_opened_tells_it(path: str) -> None:
    filled(path)
    spoil(path, 1)
    assert Results(path).result() == damaged(path)
    os.unlink(path)
    assert Results(path).result() is None


def test_a_check_that_is_stopped_ends_without_a_word_and_leaves_the_database_free(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    spoil(path, page_of(path, "messages_by_session"))
    begun, go_on = threading.Event(), threading.Event()
    connect = sqlite3.connect

    def connect_and_wait(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **named)
        begun.set()
        assert go_on.wait(DEADLINE_S)
        return connection

    with closing(Database.open(path)) as database:
        monkeypatch.setattr(checker_room, "_STEPS", 1)
        monkeypatch.setattr(sqlite3, "connect", connect_and_wait)
        results = Results(path)
        results.checker.start()
        assert begun.wait(DEADLINE_S)
        assert not results.checker.stop(0.0)
        go_on.set()
        assert results.checker.stop(DEADLINE_S)
        assert results.lines == [None]
        assert database.one("PRAGMA wal_checkpoint(TRUNCATE)") == (0, 0, 0)
