"""How the programs around a simulation end: their exit status, and what they leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot import cli, host
from chatbot.cli import load, place
from chatbot.cli.sweep import Sweep, this_program
from chatbot.errors import ExitCode
from chatbot.simulate import again
from chatbot.simulate.past import RESULT
from tests.results import result as some_result
from tests.unit.test_simulate_again import killed


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("CHATBOT_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(host, "raise_file_limit", lambda wanted: wanted)
    return tmp_path


def write_result(directory: Path, *, failed: int = 0) -> None:
    """Leave the result of a run of which so many turns of 1,000 failed."""
    result = some_result(seed=1)
    totals = msgspec.structs.replace(
        result.totals,
        asked=1000,
        answered=1000 - failed,
        failed=failed,
        cancelled=0,
        interrupted=0,
        lost=0,
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / RESULT).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(result, totals=totals))
    )


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (10, 0), (200, 1)])
def test_the_exit_status_of_a_comparison_is_that_of_its_gates(
    here: Path, capsys: pytest.CaptureFixture[str], failed: int, code: int
) -> None:
    write_result(here / "a")
    write_result(here / "b", failed=failed)
    gates = ("--fail-on", "failures:+5%", "--fail-on", "throughput:-90%,ttft.p95:+90%")
    assert cli.main(["simulate", "compare", "a", "b", *gates]) == code
    out = capsys.readouterr().out
    assert ("failed: failures:+5%" in out) == bool(code)
    assert "passed: throughput:-90%" in out
    assert cli.main(["simulate", "compare", "a", "b"]) == 0  # without a gate it only tells


def test_a_report_that_cannot_be_written_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(here / ".", asked=2, ended=2)

    def full(*_: Any, **__: Any) -> list[str]:
        raise OSError(28, "No space left on device", "result.json")

    monkeypatch.setattr(again, "report", full)
    assert cli.main(["simulate", "report", str(here)]) == 1
    out, errors = capsys.readouterr()
    assert (out, errors) == ("", "chatbot: result.json: No space left on device\n")


def test_two_runs_that_begin_in_one_second_have_two_directories(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    names = []
    for _ in range(3):
        names.append(place.new_name("all"))
        place.make(names[-1])
    assert names == [os.path.join("all", name) for name in ("now", "now_2", "now_3")]


def test_as_many_workers_are_started_as_there_are_processors_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def workers(*argv: str) -> int:
        options = cli.simulate_parser().parse_args([*argv, "--out", "out"])
        return load.simulation_of(options, "").workers

    for cores, number in ((1, 1), (3, 3), (500, 64)):
        monkeypatch.setattr(host, "cores", lambda cores=cores: cores)
        assert workers() == number
        assert workers("--workers", "5") == 5


class Runs:
    """Makes results in the place of runs, each of which exits with a code."""

    def __init__(self, codes: list[int], *, after: Callable[[int], None] | None = None) -> None:
        self.calls: list[list[str]] = []
        self._codes = codes
        self._after = after

    def popen(self, command: list[str], **_: Any) -> "Runs":
        self.calls.append(command)
        out = command[command.index("--out") + 1]
        if self._codes[len(self.calls) - 1] != ExitCode.USAGE:
            write_result(Path(out))
        return self

    def wait(self) -> int:
        if self._after is not None:
            self._after(len(self.calls))
        return self._codes[len(self.calls) - 1]

    def send_signal(self, number: int) -> None:
        """Nobody is there to be told."""


def run_sweep(monkeypatch: pytest.MonkeyPatch, runs: Runs, *more: str) -> int:
    monkeypatch.setattr(subprocess, "Popen", runs.popen)
    argv = ["--sweep", "sessions=1,2,3", "--turns", "1", "--out", "out", *more]
    return cli.main(["simulate", *argv])


def points() -> Sweep:
    return msgspec.json.decode(Path("out/sweep.json").read_bytes(), type=Sweep)


def test_a_sweep_makes_a_run_for_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs([0, 0, 0])
    assert run_sweep(monkeypatch, runs) == 0
    for number, command in enumerate(runs.calls, 1):
        out = os.path.join("out", f"sessions={number}")
        tail = ["simulate", "--turns", "1", "--sessions", str(number), "--out", out]
        assert command[-len(tail) :] == tail
    assert [point.value for point in points().points] == [1.0, 2.0, 3.0]
    assert not points().ended_early


def test_the_worst_exit_status_of_its_runs_is_that_of_a_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_sweep(monkeypatch, Runs([0, 1, 0])) == 1
    assert [point.exit_code for point in points().points] == [0, 1, 0]


def test_after_a_usage_error_no_other_run_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs([0, ExitCode.USAGE, 0])
    assert run_sweep(monkeypatch, runs) == 1
    assert len(runs.calls) == 2
    assert [point.value for point in points().points] == [1.0]
    assert points().ended_early


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_to_stop_no_other_run_is_begun(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def stop(call: int) -> None:
        if call == 2:
            signal.raise_signal(number)

    runs, before = Runs([0, 130, 0], after=stop), signal.getsignal(number)
    assert run_sweep(monkeypatch, runs) == ExitCode.INTERRUPTED
    assert len(runs.calls) == 2
    assert points().ended_early
    assert signal.getsignal(number) is before


def test_the_program_is_found_in_a_checkout_by_path_and_elsewhere_by_name(tmp_path: Path) -> None:
    package = tmp_path / "chatbot" / "__init__.py"
    assert this_program(package) == [sys.executable, "-P", "-m", "chatbot"]
    (tmp_path / "run.py").touch()
    assert this_program(package)[1] == "-P"  # somebody else's run.py among what is installed
    (tmp_path / "pyproject.toml").touch()
    assert this_program(package) == [sys.executable, str(tmp_path / "run.py")]
