"""The tests and benchmarks depend on nothing that the person who runs them has set, and send nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.telemetry import cost
from chatbot.telemetry import destination
from chatbot.telemetry.destination import SIGNALS, route
from tests.system.program import clean_environment

SEARCHED = destination.SEARCHED  # as it is; in every test nobody is searched for
SET = {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def test_no_test_sees_the_variables_of_opentelemetry() -> None:
    code = "import os, tests.conftest; print([n for n in os.environ if n.startswith('OTEL_')])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, **SET},
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    "environment",
    [cost.environment(kind) for kind in cost.KINDS.values() if "OTEL_SDK_DISABLED" not in kind]
    + [clean_environment()],
)
def test_what_tests_and_benchmarks_start_sends_nothing(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "SEARCHED", SEARCHED)
    assert [route(environment, signal).endpoints for signal in SIGNALS] == [(), (), ()]


def test_what_benchmarks_start_has_no_variables_but_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    environment = cost.environment({"OTEL_TRACES_SAMPLER": "always_off"})
    assert [name for name in environment if name.startswith("OTEL_")] == ["OTEL_TRACES_SAMPLER"]
