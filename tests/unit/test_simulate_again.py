"""The report of a past run, made again from what it had written."""

from pathlib import Path

import msgspec
import pytest

from chatbot.errors import UsageError
from chatbot.messages import Target
from chatbot.simulate.again import report, result_of
from chatbot.simulate.journal import ASKED, REPORT, RESULT, RUN, TURNS, Asked, Journal, Run
from chatbot.simulate.schedule import Start
from chatbot.simulate.stages import RUN as RUN_STAGE
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation

MS = 1_000_000


def answered(session: int, intended_ns: int, asked_ns: int, done_ns: int) -> Turn:
    return Turn(
        session=session,
        index=0,
        phase="run",
        status="answered",
        intended_ns=intended_ns,
        asked_ns=asked_ns,
        done_ns=done_ns,
    )


def killed(directory: Path, *, asked: int, ended: int) -> None:
    """Leave the files of a run that was killed, with its last line torn."""
    simulation = Simulation(out=str(directory), sessions=8, turns=1, duration_s=60.0)
    known = {"program": "chatbot", "run_id": "r", "started": 1.0, "simulation": simulation}
    run = msgspec.convert({**known, "start_ns": 0, "target": Target("sim", "sim")}, Run)
    journal = Journal(directory)
    journal.begin(run)
    journal.begin_stage(RUN_STAGE, 0)
    for n in range(asked):
        journal.asked(Asked(RUN_STAGE, Start(n, 0, n * MS, "run"), n * MS + 1, f"req_{n}"))
    for n in range(ended):
        at = (n * MS, n * MS + 1, (n + 50) * MS)
        journal.ended(answered(n, *at))
    journal.flush()
    with open(directory / TURNS, "ab") as file:
        file.write(b'{"session":')


def test_turns_that_were_asked_and_did_not_end_are_lost(tmp_path: Path) -> None:
    killed(tmp_path, asked=8, ended=5)
    result = result_of(tmp_path)
    totals = result.totals
    assert (totals.asked, totals.answered, totals.lost) == (8, 5, 3)
    assert totals.by_kind == {"killed": 3}
    assert "killed" in result.ended_early
    assert result.wall_s == pytest.approx(0.054)


def test_it_is_written_and_is_the_same_when_asked_for_again(tmp_path: Path) -> None:
    killed(tmp_path, asked=4, ended=4)
    first = report(tmp_path, as_json=True)
    assert (tmp_path / REPORT).stat().st_size > 1000
    assert not (tmp_path / ASKED).exists()
    (tmp_path / REPORT).unlink()
    assert report(tmp_path, as_json=True) == first
    assert (tmp_path / REPORT).exists()
    assert msgspec.json.decode((tmp_path / RESULT).read_bytes()) == msgspec.json.decode(first[0])


def test_without_a_turn_there_is_nothing_to_report(tmp_path: Path) -> None:
    killed(tmp_path, asked=0, ended=0)
    with pytest.raises(UsageError, match="before its first turn"):
        result_of(tmp_path)
    (tmp_path / RUN).unlink()
    with pytest.raises(UsageError, match=RUN):
        result_of(tmp_path)
