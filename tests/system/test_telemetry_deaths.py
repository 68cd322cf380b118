"""Telemetry dies, or cannot begin: what was reported waits for the next one, and nobody waits in vain."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from chatbot.settings import METRIC_FILE
from tests.otlp_files import spans, totals
from tests.system.conftest import Chatbot
from tests.system.program import Program

_kills = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")


@_kills
def test_an_end_within_the_pause_before_a_restart_loses_nothing(tmp_path: Path) -> None:
    program = Program(tmp_path, "--backend", "sim", "--workers", "1", "--no-cache")
    try:
        program.say("Before.")
        program.next("answered")
        telemetry = 0
        for _ in range(3):  # the next one is started at once, after half a second, after two
            telemetry = program.pid("telemetry", after=telemetry)
            os.kill(telemetry, signal.SIGKILL)
        program.say("After.")
        program.next("answered")
        assert program.finish() == 0
    finally:
        program.end()
    logs = tmp_path / "logs"
    assert not list(logs.glob("*.last*"))
    found = spans(logs)
    roots = [span for span in found if span["name"] == "chat_turn"]
    assert roots
    (last,) = {max(roots, key=lambda span: int(span["startTimeUnixNano"]))["traceId"]}
    trace = [span for span in found if span["traceId"] == last]
    assert {"chat_turn", "sim_api_call", "process store.asks"} <= {span["name"] for span in trace}
    assert len({span["spanId"] for span in trace}) == len(trace)
    assert sum(totals(logs / METRIC_FILE, "chatbot.requests").values()) >= 1


@_kills
@pytest.mark.skipif(
    not hasattr(signal, "SIGSTOP"), reason="a process cannot be made to stand still"
)
def test_what_a_telemetry_that_stood_still_was_sent_is_not_lost_with_it(tmp_path: Path) -> None:
    program = Program(tmp_path, "--backend", "sim", "--workers", "1", "--no-cache")
    try:
        program.say("First.")
        program.next("answered")
        telemetry = program.pid("telemetry")
        os.kill(telemetry, signal.SIGSTOP)
        for number in range(5):
            program.say(f"Number {number}.")
            program.next("answered")
        os.kill(telemetry, signal.SIGKILL)
        program.pid("telemetry", after=telemetry)
        assert program.finish() == 0
    finally:
        program.end()
    turns = [span["spanId"] for span in spans(tmp_path / "logs") if span["name"] == "chat_turn"]
    assert len(turns) >= 5  # the first one may have been in hand
    assert len(set(turns)) == len(turns)
    counted = sum(totals(tmp_path / "logs" / METRIC_FILE, "chatbot.requests").values())
    assert 5 <= counted <= 6


@_kills
@pytest.mark.skipif(
    not hasattr(signal, "SIGSTOP"), reason="a process cannot be made to stand still"
)
def test_a_telemetry_that_dies_while_the_program_ends_is_started_again(tmp_path: Path) -> None:
    program = Program(tmp_path, "--backend", "sim", "--workers", "1", "--no-cache")
    try:
        telemetry = program.pid("telemetry")
        store = psutil.Process(program.pid("store"))
        program.say("First.")
        program.next("answered")
        os.kill(telemetry, signal.SIGSTOP)
        program.say("Last.")
        program.next("answered")
        program.close_input()
        assert program.gone([store])  # now telemetry is the last
        os.kill(telemetry, signal.SIGKILL)
        assert program.process.wait(30) == 0
        assert program.gone(program.descendants())
    finally:
        program.end()
    turns = [span for span in spans(tmp_path / "logs") if span["name"] == "chat_turn"]
    assert len(turns) == len({span["spanId"] for span in turns}) >= 1
    assert not list((tmp_path / "logs").glob("*.last*"))
    ended = [line["fields"]["role"] for line in program.log_lines("ended")]
    assert {"store", "telemetry"} <= set(ended)


def test_without_telemetry_nobody_waits_for_it_and_top_says_so(
    chatbot: Chatbot, tmp_path: Path
) -> None:
    (tmp_path / "afile").touch()
    result = chatbot("--backend", "sim", "--log-dir", "afile", stdin="a q\n/trace\n/top\n")
    said = result.out + result.err
    assert "cannot read afile" in said
    assert "telemetry: not running (afile: cannot write the log files there" in said
    assert "nothing is recorded, 0 records" not in said
