"""What a person is shown at the end of a run, and meanwhile where there is no terminal."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot.messages import Target
from chatbot.settings import UiSettings
from chatbot.simulate.display import Display
from chatbot.simulate.result import Process, Result
from chatbot.simulation import Simulation
from tests.results import result as some_result

USED = Process(
    role="worker", slot=0, pid=4242, cpu_s=1.5, cpu_us_per_turn=812.0, rss_mb=77.0, restarts=0
)


def display(*, json: bool = False, **more: Any) -> Display:
    simulation = Simulation(out="somewhere", **more)
    settings = UiSettings("simulate", Target("sim", "sim"), {}, json=json, simulation=simulation)
    return Display(settings, simulation)


def the_result() -> Result:
    return msgspec.structs.replace(some_result(seed=1), processes=(USED,))


@pytest.mark.parametrize("profile", [False, True])
def test_what_processes_used_is_shown_where_it_was_asked_for(
    capsys: pytest.CaptureFixture[str], *, profile: bool
) -> None:
    display(profile=profile).end(the_result(), [], "")
    assert ("812" in capsys.readouterr().out) == profile


def test_as_json_everything_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    display(json=True).end(the_result(), ["result.json", "turns.csv"], "")
    out, errors = capsys.readouterr()
    assert msgspec.json.decode(out, type=Result) == the_result()
    assert errors == f"written to {Path('somewhere')}: result.json, turns.csv\n"


def test_what_could_not_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    display().end(the_result(), [], "turns.jsonl: No space\nleft \x1b[31mon device")
    errors = capsys.readouterr().err
    assert errors.startswith("chatbot: not everything could be written: turns.jsonl: No space")
    assert len(errors.splitlines()) == 1
    assert "\x1b" not in errors


def test_without_a_terminal_a_line_is_due_now_and_then_and_none_where_none_is_wanted() -> None:
    assert not display().is_due(0.0)
    assert display().is_due(float("inf"))
    assert not display(live=False).is_due(float("inf"))
