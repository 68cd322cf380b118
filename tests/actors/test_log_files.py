"""Several programs in one log directory: every line of each is there once, whole, also after a kill."""

import gzip
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest

from chatbot.telemetry.files import RotatingFile
from tests.fakes import eventually

SPAWN = multiprocessing.get_context("spawn")
LINES = 3000
BACKUPS = 200


def write(path: str, name: str, lines: int) -> None:
    """Be a program that logs: lines of their own, files so small that they rotate all the time."""
    stream = RotatingFile(Path(path), max_bytes=20_000, backups=BACKUPS)
    for number in range(lines):
        stream.write(json.dumps({"name": name, "number": number, "text": "x" * 50}) + "\n")
        if number % 7 == 0:
            stream.flush()
    stream.close()


def all_lines(path: Path) -> list[str]:
    """Return the lines of the backups and of the file itself, the oldest first."""
    backups = sorted(path.parent.glob(f"{path.name}.*.gz"), key=lambda p: -int(p.suffixes[-2][1:]))
    data = b"".join(
        [*(gzip.decompress(backup.read_bytes()) for backup in backups), path.read_bytes()]
    )
    return data.decode().splitlines()


def test_three_programs_lose_no_line_and_double_none(tmp_path: Path) -> None:
    path = tmp_path / "some.log"
    programs = [SPAWN.Process(target=write, args=(str(path), name, LINES)) for name in "abc"]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
        assert program.exitcode == 0
    RotatingFile(path, backups=BACKUPS).close()  # compresses what was left to somebody else
    found = [(line["name"], line["number"]) for line in map(json.loads, all_lines(path))]
    assert sorted(found) == [(name, number) for name in "abc" for number in range(LINES)]
    assert not [file for file in tmp_path.iterdir() if file.suffix in (".rotated", ".tmp")]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_at_any_moment_tears_one_line_at_most_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "some.log"
    kills = 6
    for life in range(kills):
        wanted = len(list(tmp_path.glob("*.gz"))) + 4
        program = SPAWN.Process(target=write, args=(str(path), f"{life}", 10**9))
        program.start()
        assert eventually(lambda n=wanted: len(list(tmp_path.glob("*.gz"))) >= n, 30)  # type: ignore[misc]
        os.kill(program.pid or 0, signal.SIGKILL)
        program.join(30)
    RotatingFile(path, backups=BACKUPS).close()
    whole: dict[str, list[int]] = {}
    torn = 0
    for text in all_lines(path):
        try:
            line = json.loads(text)
        except ValueError:
            torn += 1
            continue
        whole.setdefault(line["name"], []).append(line["number"])
    assert torn <= kills
    for numbers in whole.values():
        assert sorted(set(numbers)) == list(range(max(numbers) + 1))
    assert len(whole) == kills
