"""Random kills of every process, under load: nothing accepted is lost, nothing is sent twice.

`CHATBOT_KILLS` says how many (200; any number, in two storms), `CHATBOT_SEED` which. `-s` shows the
figures.
"""

import os
import random
import signal
from pathlib import Path

import pytest

from chatbot.distribution import constant
from chatbot.settings import SimServerSettings
from tests.system.storm.judge import violations
from tests.system.storm.scenario import Scenario
from tests.system.storm.stage import Stage, figures

if not hasattr(signal, "SIGKILL"):
    pytest.skip("there is no SIGKILL here", allow_module_level=True)

KILLS = int(os.environ.get("CHATBOT_KILLS", "200"))
SEED = int(os.environ.get("CHATBOT_SEED", "1"))
PATIENCE_S = 200 + 3 * KILLS
GAP_S = 0.12
SERVER = SimServerSettings(
    first_token=constant(0.1), inter_chunk=constant(0.02), chunks=constant(16)
)

WEIGHTS = {"store": 30, "worker": 30, "ui": 16, "supervisor": 8, "telemetry": 6}


def tell(line: str) -> None:
    """Print what pytest shows with `-s`, and when the test fails."""
    print(line)  # noqa: T201 - that is what it is for


def storm(stage: Stage, kills: int, weights: dict[str, int]) -> None:
    tell(f"\nseed {SEED}, {kills} kills")
    stage.start()
    stage.storm(kills, random.Random(f"{SEED} {sorted(weights)}"), weights, GAP_S)
    stage.drain()
    evidence = stage.evidence()
    tell(figures(evidence))
    found = violations(evidence)
    assert not found, f"{len(found)} violations:\n" + "\n".join(found[:20])
    assert sum(stage.kills.values()) >= kills
    ends = [line.outcome for line in evidence.lines if line.what == "terminal"]
    assert ends.count("answered") >= kills
    if kills >= 100:
        assert set(stage.kills) == set(weights)
        assert {"answered", "cancelled", "interrupted"} <= set(ends)


@pytest.mark.timeout(PATIENCE_S)
def test_random_kills_lose_nothing_and_send_nothing_twice(tmp_path: Path) -> None:
    scenario = Scenario(
        SEED,
        sessions=24,
        questions=0,
        backends=("openai", "ollama", "anthropic"),
        varied=True,
        server=SERVER,
    )
    with Stage(tmp_path, scenario) as stage:
        stage.start_server()
        storm(stage, KILLS // 2, WEIGHTS)


@pytest.mark.timeout(PATIENCE_S)
def test_random_kills_of_the_simulated_server_too_lose_nothing(tmp_path: Path) -> None:
    scenario = Scenario(
        SEED,
        sessions=24,
        questions=0,
        varied=True,
        server=SERVER,
    )
    with Stage(tmp_path, scenario) as stage:
        storm(stage, KILLS - KILLS // 2, {**WEIGHTS, "sim-server": 18})
