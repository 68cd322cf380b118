"""What a journal does when a file takes only a part of what it is given, or nothing more at all."""

import errno
import os
from pathlib import Path

import pytest

from chatbot.simulate.journal import Journal
from chatbot.simulate.past import RESULT, TABLE, TURNS, read_turns, take_up
from tests.unit.test_simulate_journal import asked, run_in, turn

REAL = os.write


class Writes:
    """Takes a few bytes at a time; after so many calls there is no space left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, most: int, calls: int = 1 << 30) -> None:
        self.calls = 0
        self._most, self._calls = most, calls
        monkeypatch.setattr(os, "write", self._write)

    def _write(self, file: int, data: bytes) -> int:
        self.calls += 1
        if self.calls > self._calls:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return REAL(file, data[: self._most])


def test_a_write_that_was_taken_in_part_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    journal.begin_stage(1, 5)
    turns = [turn(number) for number in range(20)]
    for each in turns:
        journal.asked(asked(each.session))
        journal.ended(each)
    writes = Writes(monkeypatch, most=7)
    journal.flush()
    assert writes.calls > 100
    assert journal.fault == ""
    assert list(read_turns(tmp_path)) == turns
    past = take_up(tmp_path)
    assert past.asked == tuple(asked(each.session) for each in turns)


def test_after_a_fault_nothing_more_is_written_and_the_first_reason_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    journal.ended(turn(0))
    journal.flush()
    whole = (tmp_path / TURNS).read_bytes()
    writes = Writes(monkeypatch, most=7, calls=2)
    journal.ended(turn(1))
    journal.flush()
    assert journal.fault == f"{tmp_path / TURNS}: {os.strerror(errno.ENOSPC)}"
    torn = (tmp_path / TURNS).read_bytes()
    assert torn[:-14] == whole
    calls = writes.calls
    monkeypatch.setattr(os, "write", REAL)
    journal.ended(turn(2))
    journal.flush()
    assert (writes.calls, (tmp_path / TURNS).read_bytes()) == (calls, torn)
    assert [each.session for each in read_turns(tmp_path)] == [0]
    assert journal.finish({RESULT: "{}"}, lambda: None) == [
        RESULT
    ]  # a table of a part would look like the whole
    assert not (tmp_path / TABLE).exists()
