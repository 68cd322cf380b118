"""The rules of delivery, taken out one at a time: the judge must notice, or it proves nothing."""

import re
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.system.program import ROOT
from tests.system.storm.judge import violations
from tests.system.storm.scenario import (
    ACKNOWLEDGES_EARLY,
    REQUEST_RECEIVED,
    SAVES_TWICE,
    SAYS_NOTHING,
    Scenario,
)
from tests.system.storm.stage import Stage

if not hasattr(signal, "SIGKILL"):
    pytest.skip("there is no SIGKILL here", allow_module_level=True)


def judge(directory: Path, mutation: str, point: str) -> list[str]:
    """Run three questions with a rule less and a kill at this point; return what the judge says."""
    with Stage(directory, Scenario(mutation=mutation, point=point)) as stage:
        stage.run_to_its_end()
        evidence = stage.evidence()
    assert [line.role for line in evidence.lines if line.what == "killed"] == [point.split()[0]]
    return violations(evidence)


def unconstrained(directory: Path) -> None:
    """Make the database of a run, without the constraint that a request has one row of each role."""
    schema = (ROOT / "chatbot" / "store" / "schema.sql").read_text(encoding="utf-8")
    schema, found = re.subn(r",\s*UNIQUE \(request_id, role\)", "", _without_comments(schema))
    assert found == 1
    connection = sqlite3.connect(directory / "chatbot.db")
    connection.executescript(schema)
    connection.close()


def _without_comments(schema: str) -> str:
    return re.sub(r"--[^\n]*", "", schema)


def test_a_store_that_acknowledges_questions_before_it_commits_is_noticed(tmp_path: Path) -> None:
    found = judge(tmp_path, ACKNOWLEDGES_EARLY, "store owing ask")
    assert any("was accepted, and its question is lost" in violation for violation in found)


def test_a_store_that_acknowledges_answers_before_it_commits_is_noticed(tmp_path: Path) -> None:
    found = judge(tmp_path, ACKNOWLEDGES_EARLY, "store owing answer")
    assert any("was saved, and its answer is lost" in violation for violation in found)


@pytest.mark.parametrize(("kind", "role"), [("ask", "user"), ("answer", "assistant")])
def test_a_store_that_saves_twice_what_it_gets_twice_is_noticed(
    kind: str, role: str, tmp_path: Path
) -> None:
    unconstrained(tmp_path)
    found = judge(tmp_path, SAVES_TWICE, f"store commit after {kind}")
    assert any(f"has 2 rows of the {role}" in violation for violation in found)


def test_a_worker_that_does_not_say_that_it_sends_is_noticed(tmp_path: Path) -> None:
    found = judge(tmp_path, SAYS_NOTHING, REQUEST_RECEIVED)
    assert any(re.search(r"the server received \S+ 2 times", violation) for violation in found)
