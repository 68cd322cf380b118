"""Opening a database or refusing it, on real files. Nothing that is refused may be changed."""

import errno
import os
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier

import pytest

from chatbot.errors import StoreUnavailable
from chatbot.store import database as room
from chatbot.store.database import Database
from chatbot.store.faults import unusable
from chatbot.store.files import APPLICATION_ID
from chatbot.store.migrations import VERSION

RACES = 150  # one in fifteen of them meets a lock that SQLite itself does not wait for
OTHER = "choose another with --db PATH"
OTHER_PLACE = "choose another place with --db PATH"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chatbot.db")


@pytest.fixture
def database(path: str) -> Iterator[Database]:
    with closing(Database.open(path)) as opened:
        yield opened


def damaged(path: str) -> str:
    return (
        f"{path} is damaged; `chatbot sessions recover --db {path}` puts it aside and saves what can be read, "
        f"or {OTHER}"
    )


def refusal(path: str | Path) -> str:
    """Return the line that opening it is refused with."""
    with pytest.raises(StoreUnavailable) as caught:
        Database.open(str(path))
    line = str(caught.value)
    assert "\n" not in line
    return line


# --- opening -----------------------------------------------------------------------------------


def test_a_new_database_is_ours_and_safe(database: Database) -> None:
    assert database.one("PRAGMA user_version") == (VERSION,)
    assert database.one("PRAGMA application_id") == (APPLICATION_ID,)
    assert database.one("PRAGMA journal_mode") == ("wal",)
    assert database.one("PRAGMA synchronous") == (2,)
    assert database.one("PRAGMA foreign_keys") == (1,)
    assert database.one("PRAGMA fullfsync") == (1,)
    assert database.one("PRAGMA busy_timeout") == (5000,)
    tables = {name for (name,) in database.rows("SELECT name FROM sqlite_master")}
    assert {"sessions", "messages", "cache"} <= tables


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_nobody_else_can_read_the_files(database: Database, path: str) -> None:
    for name in (path, f"{path}-wal", f"{path}-shm"):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600, name


def test_what_was_saved_is_there_when_it_is_opened_again(path: str) -> None:
    with closing(Database.open(path)) as database:
        assert database.begin()
        database.write("INSERT INTO sessions VALUES ('s', 't', 1.0, 'sim', 'm')")
        assert database.commit()
    assert not os.path.exists(f"{path}-wal")  # the last one out has emptied it
    with closing(Database.open(path)) as database:
        assert database.one("SELECT id FROM sessions") == ("s",)


def test_an_empty_file_becomes_a_database(path: str) -> None:
    Path(path).touch()
    with closing(Database.open(path)) as database:
        assert database.one("PRAGMA user_version") == (VERSION,)


def test_a_relative_path_with_signs_that_mean_something_in_an_address_is_just_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("what?.db", "50%25#.db", ":memory:", "file:x"):
        Database.open(name).close()
        assert (tmp_path / name).stat().st_size > 0


def open_one_after_another(directory: str, together: Barrier) -> None:
    """Open databases that other processes open at the same moment."""
    for number in range(RACES):
        together.wait(30)
        with closing(Database.open(f"{directory}/{number}.db")) as database:
            assert database.one("SELECT count(*) FROM messages") == (0,)


def test_instances_that_create_one_database_at_once_all_open_it(tmp_path: Path) -> None:
    context = get_context("spawn")
    together = context.Barrier(4)
    processes = [
        context.Process(target=open_one_after_another, args=(str(tmp_path), together))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4


# --- refusing ----------------------------------------------------------------------------------


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is a directory; name a file with --db PATH"


@pytest.mark.parametrize("target", ["there.db", "missing.db"])
def test_a_symbolic_link_is_refused_wherever_it_leads(tmp_path: Path, target: str) -> None:
    Database.open(str(tmp_path / "there.db")).close()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / target)
    assert refusal(link) == f"{link} is a symbolic link; name the file itself with --db PATH"
    assert not (tmp_path / "missing.db").exists()


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind("s.db")
    assert refusal("s.db") == f"s.db is not a regular file; {OTHER}"


@pytest.mark.parametrize(
    "garbage",
    [
        b"x",
        b"SQLite format 3",
        b"Dear diary, " * 1000,
        b"\0" * 4096,
        b"SQLite format 3\0" + b"\xff" * 5000,
    ],
    ids=["one byte", "half a header", "text", "zeros", "a header and nothing after it"],
)
def test_a_file_that_is_no_database_is_refused_and_left_untouched(
    path: str, garbage: bytes
) -> None:
    Path(path).write_bytes(garbage)
    assert refusal(path) == (
        f"{path} is not a chatbot database; it was left untouched; {OTHER}, or if it was one, "
        f"`chatbot sessions recover --db {path}` saves what can be read"
    )
    assert Path(path).read_bytes() == garbage
    assert os.listdir(os.path.dirname(path)) == ["chatbot.db"]


@pytest.mark.parametrize("pragma", ["", "PRAGMA user_version = 1;", "PRAGMA application_id = 7;"])
def test_the_database_of_another_program_is_refused_and_left_untouched(
    path: str, pragma: str
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript(f"CREATE TABLE messages (id, content); {pragma}")
    before = Path(path).read_bytes()
    assert refusal(path) == (
        f"{path} is not a chatbot database; it was left untouched; {OTHER}, or if it was one, "
        f"`chatbot sessions recover --db {path}` saves what can be read"
    )
    assert Path(path).read_bytes() == before


def test_a_newer_version_is_refused_and_left_untouched(path: str) -> None:
    Database.open(path).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 7")
    before = Path(path).read_bytes()
    assert refusal(path) == (
        f"{path} was written by a newer chatbot (its version is 7, this one knows up to 3); "
        f"update chatbot or {OTHER}"
    )
    assert Path(path).read_bytes() == before


def test_a_damaged_database_is_refused_and_left_untouched(path: str) -> None:
    Database.open(path).close()
    data = bytearray(Path(path).read_bytes())
    data[100:4096] = b"\xaa" * (4096 - 100)  # the page that says which tables there are
    Path(path).write_bytes(data)
    assert refusal(path) == damaged(path)
    assert Path(path).read_bytes() == bytes(data)


def test_a_missing_directory_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "no" / "such" / "chat.db"
    assert refusal(path) == (
        f"cannot write {path}: there is no directory {path.parent}; create it or {OTHER_PLACE}"
    )
    assert not (tmp_path / "no").exists()


def test_a_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "chat.db"
    assert refusal(path) == f"cannot write {path}: not a directory; {OTHER_PLACE}"


def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    assert refusal("chat\0.db") == rf"'chat\x00.db' is not a path; {OTHER}"
    assert "file name too long" in refusal(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (errno.EACCES, f"cannot write a.db: permission denied; {OTHER_PLACE}"),
        (errno.EROFS, f"cannot write a.db: read-only file system; {OTHER_PLACE}"),
        (errno.ENOSPC, f"cannot write a.db: the disk is full; make room or {OTHER_PLACE}"),
    ],
)
def test_what_the_system_forbids_is_told_with_its_remedy(code: int, line: str) -> None:
    assert str(unusable("a.db", OSError(code, "x"))) == line


@pytest.mark.skipif(sys.platform == "win32", reason="needs to become another user")
@pytest.mark.parametrize("what", ["directory", "file"])
def test_a_place_we_may_not_write_is_refused(tmp_path: Path, what: str) -> None:
    # As root nothing is forbidden, so a child tries it that has given up being root.
    place = tmp_path / "place"
    place.mkdir()
    path = place / "chat.db"
    if what == "file":
        Database.open(str(path)).close()
        path.chmod(0o444)
    place.chmod(0o555 if what == "directory" else 0o777)
    program = (
        "import os, sys; from chatbot.store.database import Database\n"
        "os.chdir(sys.argv[1])\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: Database.open('place/chat.db')\n"
        "except Exception as error: print(error)"
    )
    tmp_path.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout == f"cannot write place/chat.db: permission denied; {OTHER_PLACE}\n"


# --- transactions ------------------------------------------------------------------------------


def test_a_lock_held_elsewhere_is_told_and_can_be_waited_for(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BUSY_TIMEOUT_S", 0.01)
    with (
        closing(Database.open(path)) as database,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert not database.begin()
        other.execute("COMMIT")
        assert database.begin()
        assert database.commit()


def test_a_full_disk_is_told_and_what_was_committed_stays(path: str) -> None:
    with closing(Database.open(path)) as database:
        assert database.begin()
        database.write("INSERT INTO sessions VALUES ('s', 't', 1.0, 'sim', 'm')")
        assert database.commit()
        database.write("PRAGMA max_page_count = 1")  # SQLite makes it as many as there are
        assert database.begin()
        database.write("INSERT INTO sessions VALUES ('t', 't', 1.0, 'sim', 'm')")
        with pytest.raises(StoreUnavailable, match="the disk is full; make room or") as caught:
            database.write("INSERT INTO sessions VALUES ('u', :t, 1.0, '', '')", t="x" * 99999)
        assert str(caught.value).startswith(f"cannot write {path}: ")
    with closing(Database.open(path)) as database:
        assert list(database.rows("SELECT id FROM sessions")) == [("s",)]


def test_a_write_by_another_process_is_noticed_once_and_our_own_is_not(
    database: Database, path: str
) -> None:
    database.changed_elsewhere()
    assert database.begin()
    database.write("INSERT INTO sessions VALUES ('s', 't', 1.0, 'sim', 'm')")
    assert database.commit()
    assert not database.changed_elsewhere()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM sessions")
        assert database.changed_elsewhere()
        assert not database.changed_elsewhere()


def test_values_that_sqlite_cannot_hold_are_made_to_fit(database: Database) -> None:
    row = database.one("SELECT :a, :b, :c, :d", a="\0\ud800", b=2**64 - 1, c=-(2**70), d=None)
    assert row == ("\ufffd\ufffd", 2**63 - 1, -(2**63), None)
