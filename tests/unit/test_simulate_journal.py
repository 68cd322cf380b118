"""The files of a run: what is written is read back, torn or not."""

import csv
import os
from pathlib import Path

import msgspec
import pytest

from chatbot.errors import ChatbotError, UsageError
from chatbot.messages import Target
from chatbot.simulate.journal import Journal
from chatbot.simulate.machine import Used
from chatbot.simulate.past import (
    ASKED,
    RESULT,
    RUN,
    TABLE,
    TURNS,
    Asked,
    Over,
    Run,
    is_over,
    read_turns,
    take_up,
)
from chatbot.simulate.schedule import Start
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation


def run_in(directory: Path) -> Run:
    simulation = Simulation(out=str(directory), seed=3)
    target = Target("sim", "sim")
    return Run(program="chatbot", run_id="abc", started=1.5, simulation=simulation, target=target)


def asked(session: int, index: int = 0) -> Asked:
    return Asked(1, Start(session, index, 10 + session, "run"), 20 + session, f"req_{session}")


def turn(session: int, index: int = 0) -> Turn:
    return Turn(
        session=session,
        index=index,
        phase="run",
        status="answered",
        intended_ns=10,
        asked_ns=20,
        sent_ns=1_000_020,
        first_content_ns=3_000_020,
        ended_ns=5_000_020,
        done_ns=5_000_021,
        gaps_us=[1, 2],
        message="a line\nand another; \u20ac",
    )


def test_what_was_written_is_taken_up_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    journal.begin_stage(1, 5)
    for each in (asked(0), asked(1)):
        journal.asked(each)
    journal.ended(turn(1))
    journal.flush()
    past = take_up(tmp_path)
    assert past.run == run_in(tmp_path)
    assert past.begins == {1: 5}
    assert not past.overs
    assert past.asked == (asked(0), asked(1))
    assert past.ended == (turn(1),)


def test_all_that_a_run_knows_is_taken_up_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    used = Used("worker", 1, 77, 0.5, 1.5, 30.25, 2)
    for number, start_ns in ((0, 5), (1, 50)):
        journal.begin_stage(number, start_ns)
    journal.end_stage(0, Over(49, 2))
    journal.restarted("store")
    journal.restarted("store")
    journal.stopped("interrupted")
    journal.stopped("the program was ended")
    journal.not_saving("no space\tleft\non it")
    journal.used([used, msgspec.structs.replace(used, pid=78)], 60)
    journal.used([msgspec.structs.replace(used, cpu_s=2.5)], 70)
    journal.flush()
    past = take_up(tmp_path)
    assert past.begins == {0: 5, 1: 50}
    assert past.overs == {0: Over(49, 2)}
    assert past.restarted == ("store", "store")
    assert past.stopped == "interrupted"
    assert past.not_saving.startswith("no space left")
    assert [(each.pid, each.cpu_s) for each in past.used] == [(77, 2.5), (78, 1.5)]
    assert past.seen_ns == 70


@pytest.mark.parametrize("torn", [b"stage\t2\t1", b"asked\t1\t7\t0\t1\trun\t1\treq", b"1\t5"])
def test_what_is_left_of_a_torn_line_never_becomes_a_line(tmp_path: Path, torn: bytes) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    journal.begin_stage(1, 5)
    journal.flush()
    with open(tmp_path / ASKED, "ab") as file:
        file.write(torn)
    again = Journal(tmp_path)
    again.asked(asked(2))
    again.flush()
    past = take_up(tmp_path)
    assert past.begins == {1: 5}
    assert past.asked == (asked(2),)


def test_a_file_of_one_torn_line_is_empty_however_long_it_is(tmp_path: Path) -> None:
    (tmp_path / TURNS).write_bytes(b"x" * 200_000)
    Journal(tmp_path)
    assert (tmp_path / TURNS).read_bytes() == b""


def test_a_run_is_over_when_its_result_is_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    journal.begin_stage(1, 5)
    journal.flush()
    (tmp_path / RESULT).mkdir()
    journal.finish({RESULT: "{}"}, lambda: None)
    assert not is_over(tmp_path)
    (tmp_path / RESULT).rmdir()
    Journal(tmp_path).finish({RESULT: "{}"}, lambda: None)
    assert is_over(tmp_path)


def test_nothing_is_written_before_it_is_flushed_and_nothing_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.ended(turn(1))
    assert (tmp_path / TURNS).read_bytes() == b""
    journal.flush()
    journal.flush()
    assert len(list(read_turns(tmp_path))) == 1


def test_a_torn_line_is_none_and_the_next_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    journal.begin_stage(1, 5)
    journal.asked(asked(0))
    journal.ended(turn(0))
    journal.flush()
    for name in (TURNS, ASKED):
        with open(tmp_path / name, "ab") as file:
            file.write(b'{"session":1,"ind' if name == TURNS else b"1\t7\t0\t1")
    again = Journal(tmp_path)
    again.asked(asked(2))
    again.ended(turn(2))
    again.flush()
    past = take_up(tmp_path)
    assert past.asked == (asked(0), asked(2))
    assert past.ended == (turn(0), turn(2))


def test_who_takes_up_much_shows_that_it_lives(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    for session in range(10_001):
        journal.asked(asked(session))
    journal.flush()
    beats: list[int] = []
    take_up(tmp_path, lambda: beats.append(1))
    assert len(beats) == 2


def test_before_it_has_begun_there_is_nothing_to_take_up(tmp_path: Path) -> None:
    Journal(tmp_path)
    assert take_up(tmp_path).run is None


def test_the_end_leaves_a_table_and_no_list_of_what_was_asked(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    journal.ended(turn(0))
    assert journal.finish({"result.json": "{}"}, lambda: None) == ["result.json", TABLE]
    assert not (tmp_path / ASKED).exists()
    with open(tmp_path / TABLE, encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["message"] == "a line\nand another; \u20ac"
    assert float(row["ttft_service_ms"]) == 2.0
    assert row["tpot_ms"] == ""
    assert not list(tmp_path.glob("*.part"))


def test_a_fault_is_kept_and_the_rest_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / RUN).mkdir()
    journal.begin(run_in(tmp_path))
    assert RUN in journal.fault
    assert journal.finish({"result.json": "{}"}, lambda: None) == ["result.json"]


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ChatbotError, match="cannot be written"):
        Journal(tmp_path / "missing")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / RUN).write_bytes(msgspec.json.encode({"program": 1}))
    (tmp_path / ASKED).touch()
    (tmp_path / TURNS).touch()
    with pytest.raises(UsageError, match="cannot be read"):
        take_up(tmp_path)


def test_what_follows_upon_an_end_is_never_known_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.begin(run_in(tmp_path))
    journal.begin_stage(1, 5)
    journal.asked(asked(0))
    journal.flush()
    journal.ended(turn(0))
    journal.end_stage(1, Over(7, 0))
    journal.begin_stage(2, 8)
    written: list[bytes] = []
    really_write = os.write

    def write_once(file: int, data: bytes) -> int:
        written.append(data)
        if len(written) > 1:
            raise OSError(0, "killed")
        return really_write(file, data)

    monkeypatch.setattr("os.write", write_once)
    journal.flush()
    monkeypatch.undo()
    past = take_up(tmp_path)
    assert past.ended == (turn(0),)
    assert past.overs == {}
