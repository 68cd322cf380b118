"""A `kill -9` at each named point of a turn's way, once: the outcome is the one that the rules say.

    before/after BEGIN, COMMIT and each reply of the store · before/after the worker's `Sending`, once
    the server has the request, in mid-answer, before/after its end · in the dispatcher, before/after
    it has dealt with what came

It strikes during the second of three questions. Then the next one works, and the judge is satisfied.
"""

import signal
from pathlib import Path

import pytest

from tests.system.storm.journal import Line
from tests.system.storm.judge import Evidence, Row, violations
from tests.system.storm.scenario import Scenario, ordinal_of
from tests.system.storm.stage import Stage

if not hasattr(signal, "SIGKILL"):
    pytest.skip("there is no SIGKILL here", allow_module_level=True)


class Outcome:
    """What became of the questions of a run."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.kills = [line.role for line in evidence.lines if line.what == "killed"]

    def rows(self, role: str) -> dict[int, Row]:
        """Return the rows of a role, by the number of their question."""
        return {ordinal_of(row.request_id): row for row in self._evidence.rows if row.role == role}

    def answers(self) -> list[str]:
        """Return how each question ended in the database, in order."""
        return [row.status for _, row in sorted(self.rows("assistant").items())]

    def times_received(self) -> list[int]:
        """Return how often the server got each of the first three questions."""
        numbers = [ordinal_of(line.text) for line in self._lines("received")]
        return [numbers.count(number) for number in (1, 2, 3)]

    def told(self) -> list[str]:
        """Return the ends that the driver was told, in the order of the questions."""
        told = [(ordinal_of(line.request_id), line.outcome) for line in self._lines("terminal")]
        return [outcome for _, outcome in sorted(told)]

    def _lines(self, what: str) -> list[Line]:
        return [line for line in self._evidence.lines if line.what == what]


def run(directory: Path, point: str, questions: int = 3) -> Outcome:
    """Run the questions with a kill at this point; the rules must have held, and it must have struck."""
    with Stage(directory, Scenario(point=point, questions=questions)) as stage:
        stage.run_to_its_end()
        evidence = stage.evidence()
    assert violations(evidence) == []
    outcome = Outcome(evidence)
    assert outcome.kills == [point.split()[0]]
    assert {1, 2, questions} <= outcome.rows("user").keys()
    assert outcome.rows("assistant")[questions].status == "complete"
    return outcome


@pytest.mark.parametrize("kind", ["ask", "answer"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["begin", "commit", "reply"])
def test_a_store_that_dies_at_any_step_costs_nothing(
    step: str, when: str, kind: str, tmp_path: Path
) -> None:
    outcome = run(tmp_path, f"store {step} {when} {kind}")
    assert outcome.answers() == ["complete"] * 3
    assert outcome.told() == ["answered"] * 3
    assert outcome.times_received() == [1, 1, 1]


def test_what_a_dead_worker_has_surely_not_sent_is_sent_by_another(tmp_path: Path) -> None:
    outcome = run(tmp_path, "worker sending before")
    assert outcome.told() == ["answered"] * 3
    assert outcome.times_received() == [1, 1, 1]


def test_what_a_dead_worker_said_it_would_send_is_not_sent_again_even_if_it_never_was(
    tmp_path: Path,
) -> None:
    outcome = run(tmp_path, "worker sending after")
    assert outcome.told() == ["answered", "interrupted", "answered"]
    assert outcome.times_received() == [1, 0, 1]


@pytest.mark.parametrize("point", ["request received", "piece sent", "answer before"])
def test_what_a_dead_worker_has_sent_is_interrupted_and_not_sent_again(
    point: str, tmp_path: Path
) -> None:
    outcome = run(tmp_path, f"worker {point}")
    assert outcome.told() == ["answered", "interrupted", "answered"]
    assert outcome.answers() == ["complete", "interrupted", "complete"]
    assert outcome.times_received() == [1, 1, 1]
    has_text = outcome.rows("assistant")[2].text != ""
    assert has_text == (point != "request received")


def test_an_answer_that_a_worker_gave_before_it_died_counts(tmp_path: Path) -> None:
    outcome = run(tmp_path, "worker answer after")
    assert outcome.told() == ["answered"] * 3
    assert outcome.times_received() == [1, 1, 1]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_supervisor_that_dies_between_the_acceptance_and_the_call_leaves_the_question(
    when: str, tmp_path: Path
) -> None:
    outcome = run(tmp_path, f"supervisor accepted {when}")
    assert outcome.told() == ["answered"] * 2
    assert outcome.times_received() == [1, 0, 1]
    assert_unfinished_at_most(outcome)


@pytest.mark.parametrize("event", ["sending", "answered"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_supervisor_that_dies_over_a_call_sends_nothing_again(
    event: str, when: str, tmp_path: Path
) -> None:
    outcome = run(tmp_path, f"supervisor {event} {when}")
    assert outcome.told() == ["answered"] * 2
    first, second, third = outcome.times_received()
    assert (first, third) == (1, 1)
    assert second == 1 or event == "sending"  # the worker dies, too, before or after it has sent
    assert_unfinished_at_most(outcome)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_supervisor_that_dies_over_what_is_saved_loses_nothing(when: str, tmp_path: Path) -> None:
    # The third question is under way when the end of the second is saved, and may be lost with it.
    outcome = run(tmp_path, f"supervisor saved {when}", questions=4)
    assert outcome.rows("assistant")[2].status == "complete"
    assert outcome.times_received()[:2] == [1, 1]


def assert_unfinished_at_most(outcome: Outcome) -> None:
    """The second answer is not there, or only what had come of it."""
    row = outcome.rows("assistant").get(2)
    assert row is None or row.status == "interrupted"
