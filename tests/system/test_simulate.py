"""`simulate` as a program: its files, its totals, its end under kills, interrupts and bad servers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chatbot.simulate import stages
from chatbot.simulate.past import ASKED, REPORT, TABLE, is_over
from chatbot.simulate.result import decode
from tests.fakes import eventually
from tests.system.program import ROOT, clean_environment
from tests.system.simulation import QUICK, Simulation, adds_up, answers_in, sim_server

LONG = ("--duration", "600s", *QUICK, "--first-token", "exp:30ms")  # no two sessions in step


def test_a_run_is_saved_measured_and_reported(simulate: Any) -> None:
    run = simulate("--sessions", "4", "--turns", "3", "--seed", "7", "--profile", *QUICK)
    code, out, errors = run.finish()
    assert code == 0, errors
    result = adds_up(run)
    assert result.totals.asked == result.totals.answered == result.totals.saved == 12
    assert result.totals.output_tokens == 12 * 8
    assert result.totals.sessions_completed == 4
    assert [by.asked for by in result.by_turn] == [4, 4, 4]
    assert result.verdict.name in out
    assert result.seed == 7
    answers = answers_in(run.out / "chatbot.db")
    assert len(answers) == 12
    assert {status for _, status in answers} == {"complete"}
    assert len({session_id for session_id, _ in answers}) == 4
    page = (run.out / REPORT).read_text(encoding="utf-8").replace("http://www.w3.org/", "")
    assert "://" not in page
    assert len((run.out / TABLE).read_text(encoding="utf-8").splitlines()) == 13
    roles = {process.role for process in result.processes}
    assert roles == {"supervisor", "ui", "store", "worker", "telemetry", "sim-server"}
    assert not (run.directory / "chatbot.db").exists()


def test_the_server_s_own_clock_is_in_the_report(simulate: Any) -> None:
    run = simulate("--sessions", "2", "--turns", "10", *QUICK)
    assert run.finish()[0] == 0
    (accuracy,) = run.result().accuracy
    assert accuracy.where == "run"
    assert accuracy.turns == 20
    for turn in run.turns():
        assert turn["intended_ns"] <= turn["asked_ns"] <= turn["begun_ns"] <= turn["sent_ns"]
        assert turn["sent_ns"] <= turn["true_arrived_ns"] <= turn["true_first_ns"]
        assert turn["true_first_ns"] - turn["true_arrived_ns"] >= 10_000_000
        assert turn["true_first_ns"] <= turn["first_content_ns"] <= turn["last_content_ns"]
        assert turn["last_content_ns"] <= turn["ended_ns"] <= turn["done_ns"] <= turn["saved_ns"]
        assert len(turn["gaps_us"]) == turn["chunks"] - 1 == 7


posix = pytest.mark.skipif(
    sys.platform == "win32",
    reason="signals that kill or interrupt one process or a group are POSIX's",
)


@posix
@pytest.mark.parametrize("role", ["ui", "worker", "store", "telemetry", "sim-server"])
def test_a_killed_process_costs_turns_and_no_total(simulate: Any, role: str) -> None:
    run = simulate("--sessions", "8", "--turns", "4", "--workers", "2", *LONG)
    run.await_turns(50)
    killed = run.pid(role)
    held = 0
    if role == "ui":
        held = run.hold(killed)
    else:
        assert eventually(lambda: run.under_way() > 0, 10)
    os.kill(killed, signal.SIGKILL)
    assert run.pid(role, after=killed) != killed
    run.await_turns(100)
    run.process.send_signal(signal.SIGINT)
    code, _, errors = run.finish()
    assert code == 130, errors
    result = adds_up(run)
    assert result.restarts == {role: 1}
    assert result.ended_early == "interrupted"
    saved = Counter(status for _, status in answers_in(run.out / "chatbot.db"))
    if role == "ui":
        assert result.totals.lost == result.totals.by_kind["killed"] == held
        assert set(result.totals.by_kind) <= {"killed", "cancelled"}
    else:
        assert result.totals.lost == 0
        assert saved["complete"] == result.totals.answered
    if role == "worker":
        assert result.totals.interrupted <= 8
        assert set(result.totals.by_kind) <= {"interrupted", "cancelled"}
    if role == "sim-server":
        assert result.totals.failed <= 16
        assert set(result.totals.by_kind) <= {"connection_lost", "unreachable", "cancelled"}
    if role in ("store", "telemetry"):
        assert set(result.totals.by_kind) <= {"cancelled"}


def test_a_seat_that_is_killed_again_and_again_goes_on(simulate: Any) -> None:
    run = simulate("--sessions", "4", *LONG)
    killed = 0
    for _ in range(3):
        run.await_turns(20)
        killed = run.pid("ui", after=killed)
        os.kill(killed, signal.SIGKILL)
    run.await_turns(20)
    run.process.send_signal(signal.SIGINT)
    code, _, errors = run.finish()
    assert code == 130, errors
    result = adds_up(run)
    assert result.restarts == {"ui": 3}
    assert result.totals.asked >= 80


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is stopped there")
def test_a_seat_that_hangs_is_replaced(simulate: Any) -> None:
    run = simulate("--sessions", "4", *LONG)
    run.await_turns(20)
    stopped = run.pid("ui")
    os.kill(stopped, signal.SIGSTOP)
    run.process.send_signal(signal.SIGINT)  # which the next one is told
    code, _, errors = run.finish()
    assert code == 130, errors
    result = adds_up(run)
    assert result.restarts == {"ui": 1}
    assert result.ended_early == "interrupted"


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe that is full takes nothing")
def test_a_seat_that_is_killed_while_it_shows_the_result_shows_it_again(simulate: Any) -> None:
    ours, full = os.pipe()
    os.set_blocking(full, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(full, b"." * 512)
    os.set_blocking(full, True)
    run = simulate("--sessions", "4", "--turns", "2", "--json", *QUICK, stdout=full)
    os.close(full)
    killed = run.pid("ui")
    assert eventually(lambda: is_over(run.out), 30)
    os.kill(killed, signal.SIGKILL)
    assert run.pid("ui", after=killed)
    with open(ours, encoding="utf-8") as file:
        shown = file.read().lstrip(".")
    code, _, errors = run.finish()
    assert code == 0, errors
    assert decode(shown.encode(), "stdout") == adds_up(run)
    assert adds_up(run).totals.answered == 8


def test_an_end_by_a_signal_is_an_end_with_a_report(simulate: Any) -> None:
    run = simulate("--sessions", "4", *LONG)
    run.await_turns(20)
    run.process.send_signal(signal.SIGTERM)
    code, out, _ = run.finish()
    assert code == 130
    result = adds_up(run)
    assert result.ended_early == "the program was ended"
    assert set(result.totals.by_kind) <= {"cancelled"}
    assert result.verdict.name in out


def test_an_interrupt_before_the_first_turn_is_one(simulate: Any) -> None:
    run = simulate("--sessions", "4", *LONG)
    assert eventually(lambda: bool(run.see()), 20)  # whose signals it heeds by then
    run.process.send_signal(signal.SIGINT)
    code, out, errors = run.finish()
    assert code == 130, errors
    assert out == ""


def test_what_was_measured_outlives_the_supervisor(simulate: Any) -> None:
    run = simulate("--sessions", "4", *LONG)
    run.await_turns(40)
    run.see()
    run.process.kill()
    run.finish()
    result = adds_up(run)
    assert result.totals.answered >= 40
    assert result.ended_early


@posix
def test_an_interrupt_ends_it_with_a_report(simulate: Any) -> None:
    run = simulate("--sessions", "4", *LONG)
    run.await_turns(20)
    os.killpg(run.process.pid, signal.SIGINT)
    code, out, _ = run.finish()
    assert code == 130
    result = adds_up(run)
    assert result.ended_early == "interrupted"
    assert result.verdict.name in out


def test_nothing_is_saved_where_it_is_not_asked_for(simulate: Any) -> None:
    run = simulate("--sessions", "4", "--turns", "2", "--no-save", *QUICK)
    code, _, errors = run.finish()
    assert code == 0, errors
    result = adds_up(run)
    assert result.totals.answered == 8
    assert result.totals.saved == 0
    assert not (run.out / "chatbot.db").exists()
    assert not result.not_saving


def test_a_simulated_session_goes_on_as_a_chat(simulate: Any) -> None:
    run = simulate("--sessions", "1", "--turns", "2", *QUICK)
    assert run.finish()[0] == 0
    database = run.out / "chatbot.db"
    session_id = answers_in(database)[0][0]
    chat = subprocess.run(
        [
            *(sys.executable, str(ROOT / "run.py"), "--db", str(database)),
            *("--session-id", session_id, "and what else?"),
        ],
        cwd=run.directory,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert chat.stdout.strip()
    assert len(answers_in(database)) == 3


def test_a_server_that_fails_everything_ends_in_a_valid_report(simulate: Any) -> None:
    run = simulate("--sessions", "4", "--turns", "2", "--fault", "500:1", *QUICK)
    code, out, errors = run.finish()
    assert code == 1, errors
    result = adds_up(run)
    assert result.totals.failed == result.totals.asked == 8
    assert result.metrics["ttft"].p50 == "inf"
    assert result.failures[0].kind == "server_error"
    assert result.failures[0].http_status == 500
    assert result.verdict.name == "SERVER-LIMITED"
    assert "server_error" in out


def test_a_server_that_never_answers_is_given_up(simulate: Any) -> None:
    run = simulate(
        "--sessions", "3", "--turns", "1", "--fault", "stall:1", "--timeout", "1s", *QUICK
    )
    code, _, errors = run.finish()
    assert code == 1, errors
    result = adds_up(run)
    assert result.totals.by_kind == {"timeout": 3}


def test_a_server_that_is_not_there_is_one_line(simulate: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        run = simulate("--backend", "ollama", OLLAMA_HOST=address)
        code, out, errors = run.finish()
    assert code == 2
    assert out == ""
    assert errors.startswith("chatbot: cannot reach Ollama at ")
    assert len(errors.splitlines()) == 1
    assert "ollama serve" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources are POSIX's")
def test_a_full_disk_does_not_stop_it(simulate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        run = simulate("--sessions", "8", "--turns", "1", "--requests", "2000", *QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    code, out, errors = run.finish()
    assert code == 0, errors
    assert "not everything could be written" in errors
    assert "2,000" in out


def test_another_backend_is_calibrated_before_and_after(simulate: Any, tmp_path: Path) -> None:
    with sim_server(tmp_path) as address:
        run = simulate(
            *("--backend", "ollama", "--model", "sim", "--sessions", "3", "--turns", "2"),
            OLLAMA_HOST=address,
        )
        code, _, errors = run.finish()
    assert code == 0, errors
    result = adds_up(run)
    assert result.totals.answered == 6
    told = [accuracy.where for accuracy in result.accuracy if accuracy.turns]
    assert told == ["before", "after"]
    assert result.metrics["server_total"].count == 6


def test_a_seat_that_is_killed_after_the_run_has_measured_it(simulate: Any, tmp_path: Path) -> None:
    with sim_server(tmp_path) as address:
        run = simulate(
            *("--backend", "ollama", "--model", "sim", "--sessions", "3", "--turns", "2"),
            OLLAMA_HOST=address,
        )
        assert eventually(lambda: begins(run, stages.AFTER), 30)
        os.kill(run.pid("ui"), signal.SIGKILL)
        code, _, errors = run.finish()
    assert code == 0, errors
    result = adds_up(run)
    assert result.totals.answered == 6
    assert [accuracy.where for accuracy in result.accuracy if accuracy.turns] == ["before", "after"]
    assert result.restarts == {"ui": 1}


def begins(run: Simulation, number: int) -> bool:
    """Whether a stage has begun, and turns were asked in it."""
    asked = run.out / ASKED
    return asked.exists() and f"asked\t{number}\t" in asked.read_text(encoding="utf-8")
