"""What is counted in a run, and what of it stands in the result."""

import random
from typing import Any

import pytest

from chatbot.messages import ProcessStatus, StatusRead, Target, WorkStatus
from chatbot.simulate import machine, stages
from chatbot.simulate.accounts import Accounts
from chatbot.simulate.past import Run
from chatbot.simulate.schedule import Schedule, Start
from chatbot.simulation import Simulation
from tests.unit.simulated import MS, S, turn

START = 10 * S


class Case:
    """The accounts of a run that has begun."""

    def __init__(self, *, kind: str = "run", **given: Any) -> None:
        self.simulation = Simulation(out="out", **{"sessions": 2, "turns": 1000, **given})
        target = Target("sim", "sim")
        run = Run(program="p", run_id="r", started=1.0, simulation=self.simulation, target=target)
        self.accounts = Accounts(run)
        self.schedule = Schedule(self.simulation, START, random.Random(1))
        kinds = {
            "run": stages.run(self.simulation, target),
            "before": stages.before(self.simulation),
        }
        self.accounts.begin(kinds[kind], START)

    def end_turns(self, number: int, status: Any = "failed", *, phase: Any = "run") -> None:
        for n in range(number):
            at_ns = START + n * MS
            self.accounts.asked(Start(0, n, at_ns, phase), at_ns)
            self.accounts.ended(turn(at_ns, index=n, status=status, phase=phase))


@pytest.mark.parametrize(
    ("sessions", "turns", "after_s", "gives_up"),
    [
        (2, 100, 5.0, True),
        (2, 99, 5.0, False),  # too few to be sure
        (2, 100, 4.999, False),  # too soon
        (400, 399, 60.0, False),  # every session has a try
        (400, 400, 60.0, True),
    ],
)
def test_a_server_that_answers_nothing_is_given_up(
    sessions: int, turns: int, after_s: float, *, gives_up: bool
) -> None:
    case = Case(sessions=sessions)
    case.end_turns(turns)
    reason = case.accounts.hopeless(START + int(after_s * S))
    assert reason == (f"none of the first {turns} turns was answered" if gives_up else "")


def test_with_one_answer_there_is_hope() -> None:
    case = Case()
    case.end_turns(1, "answered")
    case.end_turns(500)
    assert case.accounts.hopeless(START + 60 * S) == ""


def test_a_calibration_is_not_given_up() -> None:
    case = Case(kind="before")
    case.end_turns(200, phase="before")
    assert case.accounts.hopeless(START + 60 * S) == ""


def test_what_fell_due_and_was_never_asked_is_in_the_totals() -> None:
    case = Case(arrival="constant", rate=100.0, duration_s=1.0, max_concurrency=1, turns=1)
    [first] = case.schedule.due(START + S // 2)
    case.accounts.asked(first, START + S // 2)
    case.schedule.due(START + 2 * S)  # the time is up, and the first is under way all along
    assert case.schedule.dropped > 90
    case.accounts.end(START + 2 * S, case.schedule.dropped)
    totals = case.accounts.result().totals
    assert totals.dropped == case.schedule.dropped


def test_processor_time_is_shared_by_the_turns_of_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu_s = 0.0
    monkeypatch.setattr(machine.Usage.__init__, "__defaults__", (lambda pid: (cpu_s, 50.0),))
    case = Case()
    process = (ProcessStatus("worker", 0, 7, "ready", 1.0),)
    cpu_s = 1.0
    case.accounts.look(StatusRead("0", process))
    cpu_s = 2.0
    case.accounts.look(StatusRead("a", process), begin=True)
    case.end_turns(10, "answered")
    cpu_s = 2.5
    case.accounts.look(StatusRead("b", process, WorkStatus(dropped=3)))
    case.accounts.end(START + S, 0)
    result = case.accounts.result()
    [found] = result.processes
    assert (found.cpu_s, found.cpu_us_per_turn) == (0.5, 50_000.0)
    assert result.telemetry_dropped == 3


def test_prompts_are_told_by_their_number_and_the_pipeline_by_its_settings() -> None:
    pipeline: dict[str, object] = {"retries": 2, "server": {"chunks": 5}}
    case = Case(prompts=("a secret", "another"), pipeline=pipeline)
    case.end_turns(1, "answered")
    case.accounts.end(START + S, 0)
    settings = case.accounts.result().settings
    assert "secret" not in repr(settings)
    simulation = settings["simulation"]
    assert isinstance(simulation, dict)
    assert (simulation["prompts"], simulation["sessions"]) == (2, 2)
    assert settings["pipeline"] == pipeline


def test_turns_of_a_calibration_are_in_no_total() -> None:
    case = Case(kind="before")
    case.end_turns(3, "answered", phase="before")
    case.accounts.end(START + S, 0)
    case.accounts.begin(stages.run(case.simulation, Target("sim", "sim")), START)
    case.end_turns(2, "answered")
    case.accounts.end(START + S, 0)
    result = case.accounts.result()
    assert (result.totals.asked, result.totals.answered) == (2, 2)


def test_what_was_answered_is_what_the_calibration_after_it_is_like() -> None:
    case = Case()
    nothing = case.accounts.served
    assert nothing is None
    case.end_turns(3, "answered")  # 20 ms to the first, five chunks with gaps of 2 ms
    case.accounts.end(START + S, 0)
    served = case.accounts.served
    assert served is not None
    assert served.first_s == pytest.approx(0.02, rel=0.01)
    assert served.gap_s == pytest.approx(0.002, rel=0.01)
    assert served.chunks == 5
