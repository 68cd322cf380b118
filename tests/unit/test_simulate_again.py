"""The report of a past run, made again from what it had written."""

from pathlib import Path

import msgspec
import pytest

from chatbot.errors import UsageError
from chatbot.messages import Target
from chatbot.simulate.again import report
from chatbot.simulate.journal import Journal
from chatbot.simulate.past import (
    ASKED,
    REPORT,
    RESULT,
    RUN,
    TABLE,
    TURNS,
    Asked,
    Over,
    Run,
    read_turns,
)
from chatbot.simulate.result import Result, decode
from chatbot.simulate.schedule import Start
from chatbot.simulate.stages import RUN as RUN_STAGE
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation

MS = 1_000_000


def result_of(directory: Path) -> Result:
    """Make the report again; return its result."""
    (line,) = report(directory, as_json=True)
    return decode(line.encode(), RESULT)


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


def killed(directory: Path, *, asked: int, ended: int, start_ns: int = 0) -> None:
    """Leave the files of a run that was killed, with its last line torn."""
    simulation = Simulation(out=str(directory), sessions=8, turns=1, duration_s=60.0)
    known = {"program": "chatbot", "run_id": "r", "started": 1.0, "simulation": simulation}
    run = msgspec.convert({**known, "start_ns": 0, "target": Target("sim", "sim")}, Run)
    journal = Journal(directory)
    journal.begin(run)
    journal.begin_stage(RUN_STAGE, start_ns)
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


def test_the_lost_turns_stand_in_every_file(tmp_path: Path) -> None:
    killed(tmp_path, asked=8, ended=5)
    report(tmp_path, as_json=True)
    assert sum(turn.status == "lost" for turn in read_turns(tmp_path)) == 3
    assert len((tmp_path / TABLE).read_text(encoding="utf-8").splitlines()) == 9


def test_a_stage_begins_when_it_began_and_not_with_its_first_turn(tmp_path: Path) -> None:
    killed(tmp_path, asked=8, ended=8, start_ns=-500 * MS)
    assert result_of(tmp_path).wall_s == pytest.approx(0.557)


def test_what_else_was_known_is_in_it(tmp_path: Path) -> None:
    killed(tmp_path, asked=4, ended=4)
    journal = Journal(tmp_path)
    journal.restarted("worker")
    journal.not_saving("the disk is full")
    journal.end_stage(RUN_STAGE, Over(900 * MS, 3))
    journal.flush()
    result = result_of(tmp_path)
    assert result.restarts == {"worker": 1}
    assert result.not_saving == "the disk is full"
    assert result.wall_s == pytest.approx(0.9)
    assert result.totals.dropped == 3


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
