"""A damaged database is put aside, byte for byte, and all that can be read from it is read."""

import errno
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chatbot import host
from chatbot.errors import ExitCode, StoreUnavailable
from chatbot.messages import (
    Ask,
    CacheRead,
    Delete,
    Found,
    FromAny,
    FromStore,
    Listed,
    ListSessions,
    Load,
    Loaded,
    Pick,
    Picked,
    Prune,
    ReadCache,
    Ready,
    Recover,
    Recovered,
    Rename,
    Search,
    Stop,
    StoreInbox,
    Target,
    Undo,
    Undone,
)
from chatbot.settings import StoreSettings
from chatbot.store import recovery, workshop
from chatbot.store.database import Database
from chatbot.store.recovery import Recovery, recover, serve
from chatbot.tracing import Recorder
from tests.fakes import Peer

ROWS = 1500
SESSIONS = 50
PAGE = 4096
DEADLINE_S = 60.0
SPAWN = get_context("spawn")
FIRST = (Path(__file__).parents[1] / "captures" / "chatbot_1.sql").read_text(encoding="utf-8")
ALL = Recovery("", SESSIONS, ROWS)


def take_for_damaged() -> None:
    """The same, in a process of its own."""
    setattr(recovery, "is_sound", lambda copy: False)  # noqa: B010 - mypy knows of no such name


@pytest.fixture(autouse=True)
def taken_for_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recover whole databases, too: most of these tests are about the way, not about the damage."""
    monkeypatch.setattr(recovery, "is_sound", lambda copy: False)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chatbot.db")


def fill(path: str, rows: int = ROWS, finish: Callable[[Database], None] = Database.close) -> None:
    """Write sessions, messages and a price; texts of all sizes, some larger than a page."""
    database = Database.open(path)
    assert database.begin()
    database.write("INSERT INTO prices VALUES ('sim', 'm', 3.0, 15.0, 0.3)")
    for number in range(rows):
        if number % (ROWS // SESSIONS) == 0:
            database.write(
                "INSERT INTO sessions VALUES (:s, :s, 1.5, 'sim', 'm')", s=session(number)
            )
        database.write(
            "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,"
            " status, duration_ms) VALUES (:s, 'user', :c, 2.5, :r, 'sim', 'm', 'complete', 7)",
            s=session(number),
            c=content(number),
            r=f"r{number}",
        )
    assert database.commit()
    finish(database)


def session(number: int) -> str:
    return f"session_{number // (ROWS // SESSIONS)}"


def content(number: int) -> str:
    return f"message number{number} " * (1 + (number % 11) + 300 * (number % 97 == 0))


def contents(path: str) -> dict[int, str]:
    """Return the texts by the row's number, after a look at whether all is in order."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return dict(connection.execute("SELECT id - 1, content FROM messages"))


def all_files(path: str) -> dict[str, bytes]:
    """Return what there is; -shm is SQLite's scratch pad, which changes as somebody reads."""
    directory = Path(path).parent
    return {file.name: file.read_bytes() for file in directory.iterdir() if not file.match("*-shm")}


def spoil(path: str, *pages: int, by: bytes = b"\xaa") -> bytes:
    data = bytearray(Path(path).read_bytes())
    for page in pages:
        data[(page - 1) * PAGE : page * PAGE] = by * PAGE
    Path(path).write_bytes(data)
    return bytes(data)


def root_of(path: str, name: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        return int(connection.execute(sql, (name,)).fetchone()[0])


# --- what is read --------------------------------------------------------------------------------


def test_all_of_a_readable_database_is_in_the_new_one(path: str) -> None:
    fill(path)
    before = Path(path).read_bytes()
    assert recover(path) == Recovery(f"{path}.damaged-1", SESSIONS, ROWS)
    assert all_files(path).keys() == {"chatbot.db", "chatbot.db.damaged-1"}
    assert Path(f"{path}.damaged-1").read_bytes() == before
    assert contents(path) == {number: content(number) for number in range(ROWS)}
    with closing(Database.open(path)) as database:
        assert database.one("SELECT rowid FROM messages_fts ('number1234')") == (1235,)
        assert database.one("SELECT * FROM prices") == ("sim", "m", 3.0, 15.0, 0.3)
        row = database.one("SELECT title, start_time, duration_ms FROM messages, sessions")
        assert row == ("session_0", 1.5, 7.0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_nobody_else_can_read_the_new_one(path: str) -> None:
    fill(path, 1)
    os.chmod(path, 0o644)
    recover(path)
    assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("by", [b"\xaa", b"\0", b"\x0d", b"\xff"])
@pytest.mark.parametrize(
    "name",
    [
        "sqlite_master",
        "sessions",
        "messages",
        "messages_by_session",
        "messages_fts_data",
        "sqlite_sequence",
    ],
)
def test_no_single_page_that_leads_to_others_takes_them_with_it(
    path: str, name: str, by: bytes
) -> None:
    fill(path)
    damaged = spoil(path, 1 if name == "sqlite_master" else root_of(path, name), by=by)
    if name == "sqlite_master" and by == b"\x0d":  # a header must be one that can be told as ours
        assert b"SQLite format 3" not in damaged
    found = recover(path)
    assert (found.sessions, found.messages) == (SESSIONS, ROWS)
    assert Path(found.copy).read_bytes() == damaged
    assert contents(path) == {number: content(number) for number in range(ROWS)}


@pytest.mark.parametrize("seed", range(8))
def test_around_damaged_pages_every_whole_row_is_kept(path: str, seed: int) -> None:
    random = Random(seed)
    fill(path)
    pages = os.path.getsize(path) // PAGE
    data = bytearray(Path(path).read_bytes())
    spoiled = random.sample(range(2, pages + 1), 12)
    for page in spoiled:
        data[(page - 1) * PAGE : page * PAGE] = random.randbytes(PAGE)
    intact = [
        number
        for number in range(ROWS)
        if (text := content(number).encode()) in data and len(text) < PAGE // 8
    ]
    Path(path).write_bytes(data)
    found = recover(path)
    kept = contents(path)
    assert set(intact) <= kept.keys()
    assert found.messages == len(kept) > ROWS // 2
    assert all(kept[number] == content(number) for number in kept)
    assert Path(found.copy).read_bytes() == bytes(data)
    with closing(Database.open(path)) as database:
        assert database.one("SELECT count(*) FROM sessions WHERE title = ''") == (0,)
        database.write(
            "INSERT INTO messages_fts (messages_fts, rank) VALUES ('integrity-check', 1)"
        )


def test_the_newest_rows_are_read_from_the_log(path: str) -> None:
    run(crash_filling, path)
    log = Path(f"{path}-wal").read_bytes()
    assert len(log) > ROWS * 10
    found = recover(path)
    assert (found.sessions, found.messages) == (SESSIONS, ROWS)
    assert Path(f"{found.copy}-wal").read_bytes() == log
    assert not os.path.exists(f"{path}-wal")


def test_a_session_that_cannot_be_read_is_made_anew_from_its_first_message(path: str) -> None:
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM sessions WHERE id = 'session_3'")
    found = recover(path)
    assert (found.sessions, found.messages) == (SESSIONS, ROWS)
    with closing(Database.open(path)) as database:
        row = database.one("SELECT title, start_time, backend FROM sessions WHERE id = 'session_3'")
        assert row is not None
        assert row[0].startswith("message number90 message")
        assert row[1:] == (2.5, "sim")


def test_rows_that_are_not_whole_are_left_out(path: str) -> None:
    fill(path, 10)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE messages SET content = CAST(X'FF00' AS TEXT) WHERE id = 3")
        connection.execute("UPDATE messages SET timestamp = 'never' WHERE id = 4")
        connection.execute("UPDATE messages SET content = X'00' WHERE id = 5")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE messages SET role = 'nobody' WHERE id = 6")
    found = recover(path)
    assert found.messages == 6 + 1  # a text that was bytes is text all the same
    assert {3 - 1, 4 - 1, 6 - 1} & contents(path).keys() == set()


def test_a_database_of_the_first_version_is_read_too(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST)
        before = connection.execute("SELECT * FROM messages").fetchall()
    spoil(path, root_of(path, "sessions"))
    found = recover(path)
    assert (found.sessions, found.messages) == (2, 6)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM messages").fetchall() == [
            (*r, 1, None) for r in before
        ]


@pytest.mark.parametrize("version", [1, 2], ids=["as it was", "brought up to date"])
def test_without_a_description_of_its_tables_the_first_version_is_read_too(
    path: str, version: int
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(FIRST)
        connection.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)"
            " INSERT INTO messages (session_id, role, content, timestamp, request_id, backend,"
            " model, status) SELECT 'session_1751360000_k3x9', 'user', 'number ' || n ||"
            " ' of very many', 1.0, 'more-' || n, 'sim', 'sim', 'complete' FROM n"
        )
    if version == 2:
        Database.open(path).close()
    spoil(path, 1, by=b"\0")
    found = recover(path)
    assert (found.sessions, found.messages) == (2, 1006)


@pytest.mark.parametrize("left", ["missing", "empty"])
def test_a_database_of_which_only_the_log_is_left_is_made_from_it(path: str, left: str) -> None:
    run(crash_filling, path)
    log = Path(f"{path}-wal").read_bytes()
    os.unlink(path)
    if left == "empty":
        Path(path).touch()
    with pytest.raises(StoreUnavailable, match=r"`chatbot sessions recover --db .*` makes a new"):
        Database.open(path)
    assert recover(path) == Recovery(f"{path}.damaged-1", SESSIONS, ROWS)
    assert contents(path) == {number: content(number) for number in range(ROWS)}
    assert Path(f"{path}.damaged-1-wal").read_bytes() == log
    assert Path(f"{path}.damaged-1").read_bytes() == b""


@pytest.mark.parametrize("left", ["there", "missing"])
def test_a_log_without_its_header_is_read_all_the_same(path: str, left: str) -> None:
    run(crash_filling, path)
    log = bytearray(Path(f"{path}-wal").read_bytes())
    log[:32] = b"\xaa" * 32
    Path(f"{path}-wal").write_bytes(log)
    if left == "missing":
        os.unlink(path)
    assert recover(path) == Recovery(f"{path}.damaged-1", SESSIONS, ROWS)
    assert contents(path) == {number: content(number) for number in range(ROWS)}
    assert Path(f"{path}.damaged-1-wal").read_bytes() == log


def test_a_log_from_which_nothing_can_be_read_leaves_everything_as_it_was(path: str) -> None:
    Path(f"{path}-wal").write_bytes(b"somebody's " * 1000)
    before = all_files(path)
    refused(path, "is not a chatbot database; it was left untouched")
    assert all_files(path) == before


def test_what_the_disk_cannot_read_becomes_zeros_and_the_rest_is_copied(tmp_path: Path) -> None:
    data = Random(1).randbytes(5 * 1024 * 1024 + 100)
    bad = {3, 700, 1280}  # blocks; the last one is the file's end
    (tmp_path / "original").write_bytes(data)

    class Disk:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def read(self, count: int) -> bytes:
            first = self._file.tell() // PAGE
            last = (min(self._file.tell() + count, len(data)) - 1) // PAGE
            if bad & set(range(first, last + 1)):
                raise OSError(errno.EIO, "Input/output error")
            return bytes(self._file.read(count))

    with open(tmp_path / "original", "rb") as file:
        workshop.copy(Disk(file), str(tmp_path / "copy"), lambda: None)  # type: ignore[arg-type] # no IO
    expected = bytearray(data)
    for block in bad:
        part = expected[block * PAGE : (block + 1) * PAGE]
        expected[block * PAGE : (block + 1) * PAGE] = bytes(len(part))
    assert (tmp_path / "copy").read_bytes() == expected


def test_another_error_of_the_disk_ends_the_recovery(path: str) -> None:
    class Disk:
        def fileno(self) -> int:
            return number

        def tell(self) -> int:
            return 0

        def read(self, count: int) -> bytes:
            raise OSError(errno.ENXIO, "No such device")

    Path(path).write_bytes(b"x")
    with open(path, "rb") as file:
        number = file.fileno()
        with pytest.raises(OSError, match="No such device"):
            workshop.copy(Disk(), f"{path}.copy", lambda: None)  # type: ignore[arg-type] # no IO


# --- the files -----------------------------------------------------------------------------------


def test_nothing_that_was_put_aside_before_is_written_over(path: str) -> None:
    for number in (1, 2, 3):
        fill(path, number)
        before = Path(path).read_bytes()
        if number == 3:
            Path(f"{path}.damaged-2-wal").write_bytes(b"somebody's")
            os.unlink(f"{path}.damaged-1")
        expected = f"{path}.damaged-{number}"
        assert recover(path).copy == expected
        assert Path(expected).read_bytes() == before
        os.unlink(path)
    assert Path(f"{path}.damaged-2-wal").read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    "text", [b"", b"Dear diary, " * 1000, b"\0" * 9000], ids=["empty", "diary", "0"]
)
def test_what_is_no_database_of_ours_stays_where_it_is(path: str, text: bytes) -> None:
    Path(path).write_bytes(text)
    refused(path, "is not a chatbot database; it was left untouched")
    assert all_files(path) == {"chatbot.db": text}


def test_the_database_of_another_program_stays_where_it_is(path: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript(
            "CREATE TABLE messages (id, content); INSERT INTO messages VALUES (1, 2)"
        )
    before = all_files(path)
    refused(path, "is not a chatbot database; it was left untouched")
    assert all_files(path) == before


def refused(path: str, words: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        recover(path)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_is_not_there_or_a_link_or_a_directory_is_refused(path: str, tmp_path: Path) -> None:
    refused(path, f"there is no database {path}: nothing to recover")
    refused(str(tmp_path), "is not a chatbot database")
    fill(path, 1)
    os.symlink(path, f"{path}.link")
    refused(f"{path}.link", "is a symbolic link")
    os.symlink(path, f"{path}-wal")
    refused(path, "-wal is a symbolic link")


def test_a_newer_version_is_refused_with_the_line_of_the_opening(path: str) -> None:
    fill(path, 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 4")
    before = all_files(path)
    with pytest.raises(StoreUnavailable) as caught:
        Database.open(path)
    assert "was written by a newer chatbot" in str(caught.value)
    refused(path, str(caught.value))
    assert all_files(path) == before


@pytest.mark.parametrize("name", [".recovering", ".recovery", ".recovery-lock"])
def test_what_no_recovery_has_made_is_in_the_way_and_stays(path: str, name: str) -> None:
    fill(path, 1)
    Path(path + name).write_bytes(b"precious")
    before = all_files(path)
    refused(path, f"{path}{name} is in the way, and no recovery has made it; move it elsewhere")
    assert all_files(path) == before
    Database.open(path).close()
    assert all_files(path) == before


def test_a_directory_that_no_recovery_has_made_is_in_the_way_and_stays(path: str) -> None:
    fill(path, 1)
    before = all_files(path)
    directory = Path(f"{path}.recovery")
    directory.mkdir()
    (directory / "my-backup.sql").write_bytes(b"precious")
    refused(path, f"{directory} is in the way, and no recovery has made it; move it elsewhere")
    assert (directory / "my-backup.sql").read_bytes() == b"precious"
    (directory / "my-backup.sql").unlink()
    directory.rmdir()
    assert all_files(path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_while_one_recovery_is_under_way_another_is_refused(path: str) -> None:
    fill(path, 1)
    begun, over = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=recover_slowly, args=(path, begun, over))
    process.start()
    try:
        assert begun.wait(DEADLINE_S)  # it stands between its two renames: X is missing
        refused(path, f"{path} is being recovered by another program; wait until it has ended")
        with pytest.raises(StoreUnavailable, match=r"the recovery of .* was cut short"):
            Database.open(path)
    finally:
        over.set()
        process.join(DEADLINE_S)
    assert process.exitcode == 0
    assert all_files(path).keys() == {"chatbot.db", "chatbot.db.damaged-1"}
    assert recover(path).copy == f"{path}.damaged-2"


def recover_slowly(path: str, begun: Any, over: Any) -> None:
    take_for_damaged()
    rename = os.rename

    def rename_late(before: str, after: str) -> None:
        if after == path:
            begun.set()
            assert over.wait(DEADLINE_S)
        rename(before, after)

    os.rename = rename_late  # type: ignore[assignment] # this process ends here
    recover(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes nothing that is open")
def test_a_recovery_that_comes_as_another_one_ends_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, 1)
    lock = host.lock_range

    def end_and_lock(file: Any, start: int, length: int) -> bool:
        Path(f"{path}.recovery-lock").unlink(missing_ok=True)  # as the other one does at its end
        return lock(file, start, length)

    monkeypatch.setattr(host, "lock_range", end_and_lock)
    refused(path, f"{path} is being recovered by another program; wait until it has ended")
    assert all_files(path).keys() == {"chatbot.db"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows renames nothing that is open")
def test_a_file_that_is_replaced_before_it_is_locked_stays_where_it_is(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, 1)
    lock = host.lock_range

    def replace_and_lock(file: Any, start: int, length: int) -> bool:
        if file.name == path:
            os.rename(path, f"{path}.before")
            fill(path, 2)
        return lock(file, start, length)

    monkeypatch.setattr(host, "lock_range", replace_and_lock)
    refused(path, f"{path} has just been replaced by another program")
    assert all_files(path).keys() == {"chatbot.db", "chatbot.db.before"}
    assert len(contents(path)) == 2


@contextmanager
def opened_elsewhere(path: str) -> Iterator[None]:
    """Have another process hold the database open meanwhile."""
    opened, over = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=hold_open, args=(path, opened, over))
    process.start()
    try:
        assert opened.wait(DEADLINE_S)
        yield
    finally:
        over.set()
        process.join(DEADLINE_S)


def hold_open(path: str, opened: Any, over: Any) -> None:
    with closing(Database.open(path)):
        opened.set()
        over.wait(DEADLINE_S)


def test_a_database_that_another_program_has_open_stays_where_it_is(path: str) -> None:
    fill(path, 1)
    with opened_elsewhere(path):
        before = all_files(path)
        with pytest.raises(StoreUnavailable):
            recover(path)
        assert all_files(path) == before
    recover(path)


def test_a_full_disk_leaves_everything_as_it_was(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    before = all_files(path)

    def no_room(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workshop, "copy", no_room)
    refused(path, "the disk is full; make room")
    assert all_files(path) == before


def test_a_file_that_cannot_be_renamed_leaves_everything_as_it_was(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    before = all_files(path)

    def in_use(*names: str) -> None:  # as Windows has it while another program has it open
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", in_use)
    refused(path, f"cannot write {path}: permission denied")
    assert all_files(path) == before


# --- killed --------------------------------------------------------------------------------------


def run(target: Callable[..., None], *arguments: Any) -> int | None:
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    process.join(DEADLINE_S)
    return process.exitcode


def crash_filling(path: str) -> None:
    fill(path, finish=lambda database: os._exit(0))


def recover_and_die(path: str, at: int) -> None:
    """Recover, and be killed before the step of this number that changes a name or a file."""
    take_for_damaged()
    steps = 0

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def take(*arguments: Any, **named: Any) -> Any:
            nonlocal steps
            if steps == at:
                os.kill(os.getpid(), 9)
            steps += 1
            return step(*arguments, **named)

        return take

    for owner, name in (
        (os, "rename"),
        (os, "replace"),
        (os, "mkdir"),
        (workshop, "copy"),
        (recovery, "salvage"),
        (host, "sync_directory"),
    ):
        setattr(owner, name, counted(getattr(owner, name)))
    recover(path)
    os._exit(0)


def test_killed_anywhere_the_original_is_whole_and_the_next_one_finishes(tmp_path: Path) -> None:
    step = 0
    while True:
        directory = tmp_path / str(step)
        directory.mkdir()
        path = str(directory / "chatbot.db")
        run(crash_filling, path)  # with a log that holds everything
        spoil(path, 1)
        original = {ending: Path(path + ending).read_bytes() for ending in ("", "-wal")}
        finished = run(recover_and_die, path, step) == 0

        for ending, data in original.items():
            places = [path + ending, f"{path}.damaged-1{ending}"]
            assert data in [Path(place).read_bytes() for place in places if os.path.exists(place)]
        if not os.path.exists(path):
            with pytest.raises(
                StoreUnavailable, match=r"`chatbot sessions recover --db .*` finishes it"
            ):
                Database.open(path)
        if not os.path.exists(path) or not os.path.exists(f"{path}.damaged-1"):
            assert recover(path) == Recovery(f"{path}.damaged-1", SESSIONS, ROWS)
        for ending, data in original.items():
            assert Path(f"{path}.damaged-1{ending}").read_bytes() == data
        assert len(contents(path)) == ROWS
        assert set(all_files(path)) - {"chatbot.db.recovery-lock"} == {
            "chatbot.db",
            "chatbot.db.damaged-1",
            "chatbot.db.damaged-1-wal",
        }
        if finished:
            break
        step += 1
    assert step >= 9


def test_what_a_killed_recovery_left_goes_when_the_database_opens(path: str) -> None:
    fill(path, 1)
    assert run(die_before_the_renames, path) != 0
    assert os.path.exists(f"{path}.recovering")
    Database.open(path).close()
    assert not os.path.exists(f"{path}.recovering")  # what is deleted now must not come back
    os.unlink(path)
    refused(path, f"there is no database {path}: nothing to recover")


def die_before_the_renames(path: str) -> None:
    take_for_damaged()
    os.rename = lambda *names: os._exit(9)  # this process ends here
    recover(path)


def test_what_a_killed_recovery_left_is_made_anew_by_the_next_one(path: str) -> None:
    fill(path, 1)
    assert run(die_before_the_renames, path) != 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET content = 'changed since'")
    assert recover(path).messages == 1
    assert contents(path) == {0: "changed since"}


# --- the room ------------------------------------------------------------------------------------


def test_the_room_recovers_and_refuses_all_else(path: str) -> None:
    fill(path)
    spoil(path, 1)
    peer = Peer(StoreInbox, FromStore | FromAny)
    codes: list[ExitCode] = []

    def work() -> None:
        recorder = Recorder("store", 0, peer.outbox.offer)
        codes.append(serve(StoreSettings(path, recovers=True), peer.inbox, peer.outbox, recorder))

    thread = threading.Thread(target=work)
    thread.start()
    peer.next(Ready)
    reason = f"{path} is about to be recovered: it is closed"
    peer.send(
        Load("1"), ListSessions("2"), Rename("3", "s", "t"), Delete("4", ("s",)), Prune("5", 1.0)
    )
    peer.send(Search("6", "x"), Undo("7", "s", "r"), ReadCache("8"), Pick("9", "s", "r"))
    assert peer.next(Loaded) == Loaded("1", error=reason)
    for name in ("2", "3", "4", "5"):
        assert peer.next(Listed) == Listed(name, error=reason)
    assert peer.next(Found) == Found("6", error=reason)
    assert peer.next(Undone) == Undone("7", error=reason)
    assert peer.next(CacheRead) == CacheRead("8", error=reason)
    assert peer.next(Picked) == Picked("9", error=reason)
    peer.send(Recover("9"))
    assert peer.next(Recovered, DEADLINE_S) == Recovered("9", f"{path}.damaged-1", SESSIONS, ROWS)
    os.unlink(path)
    peer.send(Recover("10"))
    error = f"there is no database {path}: nothing to recover"
    assert peer.next(Recovered) == Recovered("10", error=error)
    peer.send(Stop())
    thread.join(DEADLINE_S)
    assert codes == [ExitCode.OK]


def test_the_room_resigns_when_there_is_nothing_to_recover(path: str) -> None:
    peer = Peer(StoreInbox, FromStore | FromAny)
    with pytest.raises(StoreUnavailable, match="nothing to recover"):
        serve(StoreSettings(path), peer.inbox, peer.outbox, Recorder("store", 0, peer.outbox.offer))


def test_the_room_resigns_when_it_is_asked_to_save(path: str) -> None:
    Database.open(path).close()
    peer = Peer(StoreInbox, FromStore | FromAny)
    peer.send(Ask("r", "s", "hello", Target("sim", "m")))
    with pytest.raises(StoreUnavailable, match="is about to be recovered: nothing is saved"):
        serve(StoreSettings(path), peer.inbox, peer.outbox, Recorder("store", 0, peer.outbox.offer))
