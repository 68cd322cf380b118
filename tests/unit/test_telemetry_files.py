"""The rotating stream: nothing lost, no torn line, three backups, and what a crash leaves behind."""

import contextlib
import gzip
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatbot import host
from chatbot.errors import ChatbotError
from chatbot.telemetry import files
from chatbot.telemetry.files import BACKUPS, MAX_BYTES, RotatingFile

Opened = Callable[..., RotatingFile]

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "some.log"


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    """Open streams on the path, and close them when the test is over."""
    streams: list[RotatingFile] = []

    def open_one(max_bytes: int = MAX_BYTES, backups: int = BACKUPS) -> RotatingFile:
        streams.append(RotatingFile(path, max_bytes, backups))
        return streams[-1]

    yield open_one
    for stream in streams:
        stream.close()


def parts_of(path: Path) -> list[str]:
    """Return the texts of the backups, the oldest first, and of the file itself."""

    def number(backup: Path) -> int:
        return int(backup.name.split(".")[-2])

    backups = sorted(path.parent.glob(f"{path.name}.*.gz"), key=number, reverse=True)
    return [gzip.decompress(b.read_bytes()).decode() for b in backups] + [path.read_text()]


def write_lines(stream: RotatingFile, lines: list[str]) -> None:
    for line in lines:
        stream.write(line)
        stream.flush()


def test_rotation_loses_no_line_and_tears_none(path: Path, opened: Opened) -> None:
    stream = opened(max_bytes=1000, backups=50)
    lines = [f"{number:04d} {'x' * (number % 37)}\n" for number in range(1000)]
    write_lines(stream, lines)
    stream.close()
    parts = parts_of(path)
    assert "".join(parts) == "".join(lines)
    assert len(parts) > 20
    assert all(part.endswith("\n") for part in parts)
    assert all(len(part) <= 1000 for part in parts)


def test_lines_that_gathered_before_one_flush_are_spread_over_several_files(
    path: Path, opened: Opened
) -> None:
    stream = opened(max_bytes=100)
    lines = [f"{number:09d}\n" for number in range(35)]
    for line in lines:
        stream.write(line)
    stream.flush()
    assert [len(part) for part in parts_of(path)] == [100, 100, 100, 50]
    assert "".join(parts_of(path)) == "".join(lines)


def test_a_line_longer_than_a_file_gets_a_file_of_its_own(path: Path, opened: Opened) -> None:
    stream = opened(max_bytes=100)
    long = "x" * 500 + "\n"
    write_lines(stream, ["first\n", long, "last\n"])
    assert parts_of(path) == ["first\n", long, "last\n"]


def test_three_backups_are_kept_and_nothing_else(path: Path, opened: Opened) -> None:
    stream = opened(max_bytes=10)
    write_lines(stream, [f"{number:08d}\n" for number in range(8)])
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["some.log", "some.log.1.gz", "some.log.2.gz", "some.log.3.gz"]
    assert parts_of(path) == [f"{number:08d}\n" for number in (4, 5, 6, 7)]


@needs_posix
def test_files_and_backups_are_for_their_owner_only(path: Path, opened: Opened) -> None:
    stream = opened(max_bytes=10)
    write_lines(stream, ["12345678\n", "12345678\n"])
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_a_restart_appends(path: Path, opened: Opened) -> None:
    for line in ("one\n", "two\n"):
        stream = opened()
        stream.write(line)
        stream.close()
    assert path.read_text() == "one\ntwo\n"


def test_a_restart_after_a_half_line_begins_a_fresh_one(path: Path, opened: Opened) -> None:
    path.parent.mkdir()
    path.write_text('whole\n{"half')
    stream = opened()
    stream.write("next\n")
    stream.close()
    assert path.read_text() == 'whole\n{"half\nnext\n'


def test_what_a_crash_left_uncompressed_becomes_a_backup_at_the_next_start(
    path: Path, opened: Opened
) -> None:
    path.parent.mkdir()
    path.with_name("some.log.1.gz").write_bytes(gzip.compress(b"oldest\n"))
    path.with_name("some.log.111.rotated").write_text("older\n")
    path.with_name("some.log.222.rotated").write_text("old\n")
    path.with_name("some.log.222.tmp").write_text("half a compressed file")
    RotatingFile(path).close()
    assert parts_of(path) == ["oldest\n", "older\n", "old\n", ""]
    assert len(list(path.parent.iterdir())) == 4


def test_a_crash_after_compressing_leaves_nothing_to_compress_again(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{number:08d}\n" for number in range(4)]
    stream = opened(max_bytes=10)
    write_lines(stream, lines[:3])
    unlink = Path.unlink

    def crash(file: Path, *arguments: Any, **more: Any) -> None:
        raise OSError(5, "the power is out")

    monkeypatch.setattr(Path, "unlink", crash)
    write_lines(stream, lines[3:])
    stream.close()
    assert len(list(path.parent.glob("*.rotated"))) == 1
    monkeypatch.setattr(Path, "unlink", unlink)
    RotatingFile(path).close()
    assert parts_of(path) == lines
    assert len(list(path.parent.iterdir())) == 4


def test_a_crash_between_the_backups_pushes_none_out(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("some.log.2.gz").write_bytes(gzip.compress(b"old\n"))  # it has been .1.gz
    path.with_name("some.log.3.gz").write_bytes(gzip.compress(b"oldest\n"))
    path.with_name("some.log.111.rotated").write_text("new\n")
    RotatingFile(path).close()
    assert parts_of(path) == ["oldest\n", "old\n", "new\n", ""]


def test_a_program_that_was_stopped_with_the_lock_is_waited_for_once(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = opened()
    tries: list[bool] = []
    held = True

    def lock_range(*arguments: object) -> bool:
        tries.append(not held)
        return not held

    def tries_for(line: str) -> int:
        tries.clear()
        write_lines(stream, [line])
        return len(tries)

    monkeypatch.setattr(host, "lock_range", lock_range)
    monkeypatch.setattr(files, "time", Hours())
    assert tries_for("one\n") > 2
    assert tries_for("two\n") == 1
    held = False
    assert tries_for("three\n") == 1
    held = True
    assert tries_for("four\n") > 2
    assert path.read_text() == "one\ntwo\nthree\nfour\n"


class Hours:
    """Time that passes only while one waits."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


def test_two_streams_on_one_file_lose_nothing_when_either_rotates(
    path: Path, opened: Opened
) -> None:
    streams = [opened(max_bytes=100, backups=1000) for _ in range(2)]
    lines = [f"{number:09d}\n" for number in range(200)]
    for number, line in enumerate(lines):
        write_lines(streams[number % 2], [line])
    assert "".join(parts_of(path)) == "".join(lines)


def test_a_line_never_goes_behind_the_half_line_of_a_program_that_was_killed(
    path: Path, opened: Opened
) -> None:
    stream = opened()
    write_lines(stream, ["one\n"])
    with path.open("a") as other:
        other.write("ha")
    write_lines(stream, ["two\n", "three\n"])
    assert path.read_text() == "one\nha\ntwo\nthree\n"


def test_many_lines_reach_the_file_before_any_flush_and_none_is_given_up(
    path: Path, opened: Opened
) -> None:
    stream = opened(max_bytes=2**30)
    line = "x" * 999 + "\n"
    for _ in range(20_000):  # more than may wait
        stream.write(line)
    stream.close()
    assert (stream.dropped_lines, path.stat().st_size) == (0, 20_000_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_not_asked_for_every_line(path: Path, opened: Opened) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    stream = opened()
    for _ in range(30):
        stream.write("x" * 99_999 + "\n")
    assert stream.failures == 1
    stream.flush()
    assert stream.failures == 2


def test_threads_may_share_a_stream(path: Path, opened: Opened) -> None:
    stream = opened(max_bytes=5000, backups=1000)

    def write(name: str) -> None:
        write_lines(stream, [f"{name} {number}\n" for number in range(300)])

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    written = "".join(parts_of(path)).splitlines()
    assert sorted(written) == sorted(f"{name} {n}" for name in "abc" for n in range(300))


def test_a_removed_file_is_made_again(path: Path, opened: Opened) -> None:
    stream = opened()
    write_lines(stream, ["one\n"])
    path.unlink()
    write_lines(stream, ["two\n"])
    assert path.read_text() == "two\n"


def test_a_directory_that_cannot_be_written_is_one_line_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file is in the way")
    with pytest.raises(ChatbotError, match=r"\A.*logs: cannot write .*--log-dir\Z"):
        RotatingFile(tmp_path / "logs" / "some.log")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_counted_and_what_it_refused_is_written_later(
    path: Path, opened: Opened
) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    stream = opened()
    write_lines(stream, ["one\n", "two\n"])
    assert (stream.failures, stream.dropped_lines) == (2, 0)
    assert "No space left" in stream.error
    path.unlink()
    write_lines(stream, ["three\n"])
    assert path.read_text() == "one\ntwo\nthree\n"


@contextlib.contextmanager
def disk_with_room_for(file_bytes: int) -> Iterator[None]:
    """Let no file grow beyond that size: the write that reaches it is cut short, the next fails."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@needs_posix
def test_a_line_the_disk_took_half_of_is_completed_later(path: Path, opened: Opened) -> None:
    stream = opened(max_bytes=30)
    write_lines(stream, ["0123456789\n"])
    with disk_with_room_for(15):
        write_lines(stream, ["abcdefghij\n", "klmnopqrst\n"])
        text_then = path.read_text()
    assert (text_then, stream.failures) == ("0123456789\nabcd", 2)
    stream.flush()
    assert parts_of(path) == ["0123456789\nabcdefghij\n", "klmnopqrst\n"]


@needs_posix
def test_no_rotation_tears_a_line_the_disk_took_half_of(path: Path, opened: Opened) -> None:
    stream = opened(max_bytes=30)
    long = "x" * 50 + "\n"
    with disk_with_room_for(15):
        write_lines(stream, [long])
    write_lines(stream, ["next\n"])
    assert parts_of(path) == [long, "next\n"]


@needs_posix
def test_the_rest_of_a_line_is_given_up_when_another_program_wrote_behind_its_beginning(
    path: Path, opened: Opened
) -> None:
    stream = opened()
    with disk_with_room_for(15):
        write_lines(stream, ["x" * 50 + "\n"])
    with path.open("a") as other:
        other.write("\nother\n")
    write_lines(stream, ["next\n"])
    assert path.read_text() == "x" * 15 + "\nother\nnext\n"
    assert stream.dropped_lines == 1


@needs_posix
def test_the_rest_of_a_line_is_given_up_when_its_beginning_is_gone(
    path: Path, opened: Opened
) -> None:
    stream = opened()
    with disk_with_room_for(15):
        write_lines(stream, ["x" * 50 + "\n"])
    path.unlink()
    write_lines(stream, ["next\n"])
    assert (path.read_text(), stream.dropped_lines) == ("next\n", 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_what_waits_for_a_full_disk_is_bounded_and_the_rest_counted(
    path: Path, opened: Opened
) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    stream = opened()
    megabyte = "x" * (2**20 - 1) + "\n"
    write_lines(stream, [megabyte] * 10)
    assert stream.dropped_lines == 2
    stream.close()
    assert stream.dropped_lines == 10


@needs_posix
def test_a_rotation_that_fails_keeps_writing(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = opened(max_bytes=10)

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "someone else has it open")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        write_lines(stream, ["12345678\n", "23456789\n"])
    assert path.read_text() == "12345678\n23456789\n"
    assert stream.failures == 1
    write_lines(stream, ["34567890\n"])
    assert parts_of(path) == ["12345678\n23456789\n", "34567890\n"]


@needs_posix
def test_who_waits_for_a_program_that_rotates_writes_to_the_new_file(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = opened()
    write_lines(stream, ["one\n"])
    rotated = path.with_name("rotated")
    answers = iter([False, False, True, True])

    def lock_range(*arguments: object) -> bool:
        answer = next(answers)
        if answer and not rotated.exists():
            path.rename(rotated)  # the other one did that while it held the lock
        return answer

    monkeypatch.setattr(host, "lock_range", lock_range)
    write_lines(stream, ["two\n"])
    assert (rotated.read_text(), path.read_text()) == ("one\n", "two\n")
    assert list(answers) == []


def test_a_file_system_without_locks_is_written_to_all_the_same(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> bool:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(host, "lock_range", refuse)
    monkeypatch.setattr(host, "unlock_range", refuse)
    stream = opened(max_bytes=10)
    write_lines(stream, ["12345678\n", "23456789\n"])
    assert (parts_of(path), stream.failures) == (["12345678\n", "23456789\n"], 0)


def test_a_closed_stream_counts_what_comes_too_late(path: Path, opened: Opened) -> None:
    stream = opened()
    stream.close()
    stream.write("late\n")
    stream.flush()
    assert (stream.closed, stream.dropped_lines, path.read_text()) == (True, 1, "")


def test_the_descriptor_is_not_left_open(path: Path, opened: Opened) -> None:
    stream = opened(max_bytes=10)
    write_lines(stream, [f"{number:08d}\n" for number in range(5)])
    stream.close()
    if Path("/proc/self/fd").exists():
        links = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        assert not [link for link in links if re.search(r"some\.log", link)]
