"""`kill -9` of every process, one at a time: the turn ends, the next one works, nothing is left."""

import contextlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fakes import eventually
from tests.system.program import ROOT, Program

if not hasattr(signal, "SIGKILL"):
    pytest.skip("there is no SIGKILL here", allow_module_level=True)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, "--backend", "sim", "--workers", "1", "--no-cache")
    program.say("first")
    assert program.next("answered")["text"]
    yield program
    program.end()


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)


def rows(program: Program) -> list[tuple[str, str, str]]:
    connection = sqlite3.connect(program.directory / "chatbot.db")
    found = connection.execute("select role, content, status from messages order by id").fetchall()
    (verdict,) = connection.execute("pragma integrity_check").fetchone()
    connection.close()
    assert verdict == "ok"
    return found


def test_a_worker_killed_in_mid_answer_leaves_an_interrupted_answer_and_a_chat_that_goes_on(
    program: Program,
) -> None:
    worker = program.pid("worker")
    program.say("second")
    program.next("delta")
    kill(worker)
    interrupted = program.next("interrupted", "answered")
    assert interrupted["event"] == "interrupted"
    assert interrupted["text"]
    program.say("third")
    assert program.next("answered")["text"]
    assert program.pid("worker", after=worker) != worker
    assert program.finish() == 1
    assert "worker process restarted: killed by signal 9" in program.stderr
    saved = rows(program)
    assert saved[3] == ("assistant", interrupted["text"], "interrupted")
    assert [status for _, _, status in saved] == ["complete"] * 3 + ["interrupted"] + [
        "complete"
    ] * 2


@pytest.mark.parametrize("role", ["store", "telemetry", "sim-server"])
def test_the_next_turn_works_after_a_kill_of(role: str, program: Program) -> None:
    before = program.pid(role)
    kill(before)
    if role == "sim-server":  # a request that it took while it died would be lost with it
        assert program.pid(role, after=before)
    program.say("second")
    assert program.next("answered", "failed", "interrupted")["event"] == "answered"
    assert program.pid(role, after=before) != before
    program.say("third")
    assert program.next("answered", "failed", "interrupted")["event"] == "answered"
    assert program.finish() == 0
    assert [role for role, _, _ in rows(program)] == ["user", "assistant"] * 3


def test_a_store_killed_in_mid_answer_still_gets_the_answer(program: Program) -> None:
    store = program.pid("store")
    program.say("second")
    program.next("delta")
    kill(store)
    answered = program.next("answered")
    assert program.finish() == 0
    assert rows(program)[3] == ("assistant", answered["text"], "complete")


def test_a_sim_server_killed_in_mid_answer_ends_the_turn_and_the_next_one_works(
    program: Program,
) -> None:
    server = program.pid("sim-server")
    program.say("second")
    program.next("delta")
    kill(server)
    failed = program.next("failed", "answered")
    assert failed["event"] == "failed"
    assert failed["kind"] == "connection_lost"
    assert failed["text"]
    program.say("third")
    assert program.next("answered")["text"]
    assert program.finish() == 1


def test_a_process_that_is_stopped_without_being_killed_is_noticed_and_replaced(
    program: Program,
) -> None:
    worker = program.pid("worker")
    kill(worker, signal.SIGSTOP)
    program.say("second")
    assert program.next("answered")["text"]
    assert program.finish() == 0


def test_when_the_supervisor_is_killed_no_process_stays_and_what_was_accepted_is_saved(
    program: Program,
) -> None:
    program.say("second")
    program.next("delta")
    children = program.descendants()
    assert len(children) >= 5
    kill(program.process.pid)
    program.process.wait(10)
    assert program.gone(children)
    assert [(role, content) for role, content, _ in rows(program)][:3][2] == ("user", "second")


def test_when_the_supervisor_is_killed_even_a_stopped_child_goes(program: Program) -> None:
    children = program.descendants()
    kill(program.pid("worker"), signal.SIGSTOP)
    kill(program.process.pid)
    program.process.wait(10)
    assert program.gone(children)


def test_sigterm_ends_everything_in_order(program: Program) -> None:
    program.say("second")
    program.next("delta")
    children = program.descendants()
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(15) == 130
    assert program.gone(children)
    assert rows(program)[3][2] == "interrupted"


def test_a_group_that_is_interrupted_ends_with_130_and_keeps_what_came(program: Program) -> None:
    program.say("second")
    program.next("delta")
    children = program.descendants()
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.next("cancelled")["text"]
    assert program.process.wait(15) == 130
    assert program.gone(children)
    assert rows(program)[3][2] == "interrupted"


def test_an_interrupt_that_reaches_only_the_supervisor_is_passed_on(program: Program) -> None:
    program.say("second")
    program.next("delta")
    program.process.send_signal(signal.SIGINT)
    assert program.next("cancelled")["text"]
    assert program.process.wait(15) == 130


def test_an_interrupt_of_the_supervisor_alone_ends_a_script_that_waits_for_a_line(
    program: Program,
) -> None:
    program.process.send_signal(signal.SIGINT)
    assert program.process.wait(15) == 130


def test_a_store_that_cannot_live_is_given_up_and_the_chat_goes_on(program: Program) -> None:
    store = program.pid("store")
    for _ in range(6):
        kill(store)
        if eventually(lambda: "not saving" in program.stderr, 0.05):
            break
        store = _next_store(program, store)
        if not store:
            break
    program.say("second")
    assert program.next("answered")["text"]
    assert program.finish() == 0
    assert "not saving: killed by signal 9; it died 6 times within 30 seconds" in program.stderr


def _next_store(program: Program, before: int) -> int:
    found = [0]

    def look() -> bool:
        ready = [
            line["fields"]["child_pid"]
            for line in program.log_lines("ready")
            if line["fields"]["role"] == "store"
        ]
        found[0] = ready[-1] if ready[-1] != before else 0
        return bool(found[0]) or bool(program.log_lines("gave_up"))

    assert eventually(look, 30)
    return found[0]


def test_a_supervisor_that_is_interrupted_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    for number in range(5):
        program = Program(tmp_path, "--backend", "sim")
        try:
            children: list[psutil.Process] = []
            assert eventually(lambda: len(program.descendants()) > number)  # noqa: B023 - called at once
            children = program.descendants()
            os.killpg(program.process.pid, signal.SIGINT)
            assert program.process.wait(20) in (130, -signal.SIGINT)
            assert program.gone(children)
            assert "Traceback" not in program.stderr
        except subprocess.TimeoutExpired:
            pytest.fail(f"hangs when interrupted with {number} children")
        finally:
            program.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("delay_s", [0.05, 0.12, 0.2, 0.3, 0.45])
def test_a_question_that_is_asked_while_the_program_ends_ends_too(
    delay_s: float, number: int, tmp_path: Path
) -> None:
    program = Program(tmp_path, "--backend", "sim", "--no-cache", "hello")
    try:
        program.close_input()
        assert not eventually(lambda: False, delay_s)  # a moment in the middle of the start
        os.killpg(program.process.pid, number)
        code = program.process.wait(20)
        if code == 1 and number == signal.SIGINT:  # Python itself was still starting, not we
            assert eventually(lambda: "KeyboardInterrupt" in program.stderr, 5)
            assert str(ROOT / "chatbot") not in program.stderr
        else:
            assert code in (0, 130, -number)
        assert program.gone(program.descendants())
        if (tmp_path / "chatbot.db").exists():
            roles = [role for role, _, _ in rows(program)]
            assert roles == ["user", "assistant"] * (len(roles) // 2)
    finally:
        program.end()


def test_a_terminal_that_is_told_to_stop_while_it_starts_leaves_without_a_word(
    tmp_path: Path,
) -> None:
    program = Program(tmp_path, "--backend", "sim", "hello")
    try:
        assert eventually(lambda: len(_running(program)) >= 1)
        kill(_running(program)[0].pid, signal.SIGTERM)
        assert program.finish() == 130
        assert program.stderr == ""
    finally:
        program.end()


def test_a_child_is_born_deaf_to_a_terminal_that_closes(tmp_path: Path) -> None:
    program = Program(tmp_path, "--backend", "sim", "hello")
    try:
        assert eventually(lambda: len(_running(program)) >= 1)
        kill(_running(program)[0].pid, signal.SIGHUP)
        program.close_input()
        assert program.next("answered")["text"]
        assert program.process.wait(20) == 0
    finally:
        program.end()


def test_a_question_that_waits_for_a_worker_when_the_program_ends_ends_too(tmp_path: Path) -> None:
    program = Program(tmp_path, "--backend", "sim", "--workers", "1", "hello")
    try:
        program.close_input()
        assert eventually(lambda: len(_running(program)) >= 2)
        _running(program)[1].suspend()  # the worker: it never comes to be ready
        program.next("asked")
        assert eventually(lambda: len(_accepted(tmp_path)) == 1)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(20) == 130
        assert [(role, status) for role, _, status in rows(program)] == [
            ("user", "complete"),
            ("assistant", "interrupted"),
        ]
    finally:
        program.end()


def _has_ended(program: Program, role: str) -> bool:
    return any(line["fields"]["role"] == role for line in program.log_lines("ended"))


def _accepted(directory: Path) -> list[str]:
    """Return the questions that are committed by now."""
    path = directory / "chatbot.db"
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            return [row[0] for row in connection.execute("select content from messages")]
        except sqlite3.OperationalError:  # the tables are not there yet
            return []


def test_a_store_that_dies_while_the_program_ends_still_gets_the_last_answer(
    program: Program,
) -> None:
    store = program.pid("store")
    program.say("second")
    program.next("delta")
    kill(store, signal.SIGSTOP)  # so that it cannot save the answer
    answered = program.next("answered")
    program.close_input()
    assert eventually(lambda: _has_ended(program, "worker"))
    kill(store)
    assert program.process.wait(15) == 0
    assert rows(program)[3] == ("assistant", answered["text"], "complete")


def test_a_process_that_is_stuck_in_its_start_is_replaced(tmp_path: Path) -> None:
    program = Program(tmp_path, "--backend", "sim", "--workers", "1")
    try:
        # The UI is the first; after it comes what the first answer needs.
        assert eventually(lambda: len(_running(program)) >= 3)
        for process in _running(program)[1:3]:
            process.suspend()
        program.say("first")
        assert program.next("answered", within_s=60)["text"]
        assert program.finish() == 0
    finally:
        program.end()


def _running(program: Program) -> list[psutil.Process]:
    """Return the children that have begun to run Python, in the order of their start."""
    found = []
    for process in sorted(program.descendants(), key=lambda process: process.pid):
        with contextlib.suppress(psutil.Error):
            if "--multiprocessing-fork" in process.cmdline():
                found.append(process)
    return found


def test_a_killed_tracker_of_multiprocessing_tells_the_user_nothing(program: Program) -> None:
    (tracker,) = [p for p in program.descendants() if "resource_tracker" in " ".join(p.cmdline())]
    tracker.kill()
    kill(program.pid("telemetry"))
    kill(program.pid("worker"))
    program.say("second")
    assert program.next("answered")["text"]
    assert program.finish() == 0
    assert "Warning" not in program.stderr


def test_a_large_question_does_not_hang_the_start_when_the_terminal_dies(tmp_path: Path) -> None:
    program = Program(tmp_path, "--backend", "sim", "x" * 120_000)
    try:
        program.close_input()
        assert eventually(lambda: len(program.descendants()) >= 2)
        for child in program.descendants():
            child.kill()
        assert program.process.wait(10) in (0, 1)
    finally:
        program.end()
