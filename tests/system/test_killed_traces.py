"""What a killed process was waiting for is in the trace file all the same, ended as an error."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.system.program import Program

if not hasattr(signal, "SIGKILL"):
    pytest.skip("there is no SIGKILL here", allow_module_level=True)

_ERROR = 2


def spans_of(directory: Path) -> list[dict[str, Any]]:
    """Return every span of the trace file, with the pid of its process."""
    found: list[dict[str, Any]] = []
    path = directory / "logs" / "extrachat_traces_process.log"
    for line in path.read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            attributes = resource["resource"]["attributes"]
            (pid,) = (a["value"]["intValue"] for a in attributes if a["key"] == "process.pid")
            for scope in resource["scopeSpans"]:
                found += [{**span, "pid": int(pid)} for span in scope["spans"]]
    return found


@pytest.mark.parametrize(
    ("role", "waited_for"),
    [("worker", {"process llm.requests", "sim_api_call"}), ("ui", {"chat_turn"})],
)
def test_the_spans_of_a_process_killed_in_mid_answer_are_ended_as_errors(
    role: str, waited_for: set[str], tmp_path: Path
) -> None:
    program = Program(tmp_path, "--backend", "sim", "--workers", "1", "--no-cache")
    try:
        pid = program.pid(role)
        program.say("What is a pipeline?")
        program.next("delta")
        assert program.pid("telemetry")
        os.kill(pid, signal.SIGKILL)
        if role == "worker":
            assert program.next("interrupted", "answered")["event"] == "interrupted"
            assert program.finish() == 1
        else:
            assert program.process.wait(30) == 1
            assert program.gone(program.descendants())
    finally:
        program.end()
    spans = spans_of(tmp_path)
    cut_off = {
        span["name"]: span
        for span in spans
        if span["pid"] == pid and span.get("status", {}).get("code") == _ERROR
    }
    assert cut_off.keys() == waited_for
    (trace,) = {span["traceId"] for span in spans}
    ids = {span["spanId"] for span in spans}
    assert all(span["parentSpanId"] in ids for span in spans if span.get("parentSpanId")), trace
