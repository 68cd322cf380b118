"""Life: who is dead is known at once by the lock it gave up, and by the age where there are no locks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatbot import host
from chatbot.telemetry.life import Life

HOLD = """
import sys
from pathlib import Path
from chatbot.telemetry.life import Life
life = Life(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The telemetry process of another program: its supervisor is this process."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def left(directory: Path, *, old: bool = False) -> Path:
    path = directory / f"metrics.{os.getpid()}.last"
    path.write_text("words")
    if old:
        os.utime(path, (1, 1))
    return path


def test_the_living_and_the_dead_are_told_apart_at_once(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    life = Life(tmp_path)
    assert not life.is_over_for(left(tmp_path, old=True))
    life.bury()
    assert len(list(tmp_path.glob("*.lock"))) == 2
    other.kill()
    other.wait()
    assert life.is_over_for(left(tmp_path))
    life.bury()
    assert [lock.name for lock in tmp_path.glob("*.lock")] == [f"telemetry.{os.getppid()}.lock"]
    life.end()
    assert not list(tmp_path.glob("*.lock"))


def test_what_the_predecessor_has_left_is_of_the_dead(tmp_path: Path) -> None:
    path = tmp_path / f"metrics.{os.getppid()}.last"
    path.write_text("words")
    life = Life(tmp_path)
    assert life.is_over_for(path)
    life.end()


def test_without_locks_the_age_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> bool:
        raise OSError("no locks available")

    monkeypatch.setattr(host, "lock_range", no_locks)
    life = Life(tmp_path)
    assert not list(tmp_path.glob("*.lock"))
    assert not life.is_over_for(left(tmp_path))
    assert life.is_over_for(left(tmp_path, old=True))
    life.bury()
    life.end()
