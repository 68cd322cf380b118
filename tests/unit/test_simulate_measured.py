"""A turn is what its terminal message says of it, field by field; and the loads that measure the client itself."""

from typing import Any

import pytest

from chatbot.distribution import constant
from chatbot.messages import (
    Answered,
    Cancelled,
    Completion,
    Durations,
    Failed,
    Interrupted,
    Target,
    Terminal,
    Timing,
    Truth,
)
from chatbot.simulate import stages
from chatbot.simulate.measured import lost, turn_of
from chatbot.simulate.schedule import Start
from chatbot.simulate.stages import AFTER, BEFORE, RUN, Served
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation

START = Start(3, 2, 100, "warmup", ready_ns=99)


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


TRUTH = Truth(31, 32, 33, numbers(34, 2**32 - 1))
TIMING = Timing(
    begun_ns=11,
    sent_ns=12,
    connected_ns=13,
    headers_ns=14,
    first_byte_ns=15,
    first_reasoning_ns=16,
    first_content_ns=17,
    last_content_ns=18,
    ended_ns=19,
    attempts=2,
    chunks=21,
    gaps=numbers(0, 22, 256),
    lag_us=23,
    truth=TRUTH,
    served=Durations(41, 42, 43, 44),
)
TIMED: dict[str, Any] = {
    "begun_ns": 11,
    "sent_ns": 12,
    "connected_ns": 13,
    "headers_ns": 14,
    "first_byte_ns": 15,
    "first_reasoning_ns": 16,
    "first_content_ns": 17,
    "last_content_ns": 18,
    "ended_ns": 19,
    "attempts": 2,
    "chunks": 21,
    "gaps_us": [0, 22, 256],
    "lag_us": 23,
    "true_arrived_ns": 31,
    "true_first_ns": 32,
    "true_last_ns": 33,
    "true_lags_us": [34, 2**32 - 1],
    "server_total_ns": 41,
    "server_load_ns": 42,
    "server_prompt_ns": 43,
    "server_generate_ns": 44,
}
TOLD = {"input_tokens": 5, "output_tokens": 6}
COMPLETION = Completion("so", input_tokens=5, output_tokens=6)


@pytest.mark.parametrize(
    ("terminal", "fields"),
    [
        (
            Answered("req", 1, COMPLETION, timing=TIMING),
            {"status": "answered", **TIMED, **TOLD},
        ),
        (
            Failed("req", 1, "rate_limited", "wait a little", 429, timing=TIMING),
            {
                "status": "failed",
                "error": "rate_limited",
                "message": "wait a little",
                "http_status": 429,
                **TIMED,
            },
        ),
        (
            Cancelled("req", 1, timing=TIMING),
            {"status": "cancelled", "error": "cancelled", **TIMED},
        ),
        (
            Interrupted("req", 1, "the worker died"),
            {"status": "interrupted", "error": "interrupted", "message": "the worker died"},
        ),
        (Answered("req", 1, Completion("so")), {"status": "answered"}),
        (Answered("req", 1, Completion("so"), timing=Timing(9)), {"begun_ns": 9}),
    ],
)
def test_a_turn_is_what_its_terminal_message_says(
    terminal: Terminal, fields: dict[str, Any]
) -> None:
    expected = {
        "status": "answered",
        "session": 3,
        "index": 2,
        "phase": "run",
        "intended_ns": 100,
        "asked_ns": 101,
        "ready_ns": 99,
        "done_ns": 102,
        "saved_ns": 103,
        **fields,
    }
    assert turn_of(START, "run", 101, terminal, 102, 103) == Turn(**expected)


def test_the_table_has_every_field_of_a_turn() -> None:
    by_hand = {
        "session",
        "index",
        "phase",
        "intended_ns",
        "asked_ns",
        "ready_ns",
        "done_ns",
        "saved_ns",
    }
    by_end = {"status", "error", "message", "http_status"}
    assert {*TIMED, *TOLD, *by_hand, *by_end} == set(Turn.__struct_fields__)


def test_of_one_that_is_lost_only_its_asking_is_known() -> None:
    assert lost(START, "run", 101, 102, "killed", "by somebody") == Turn(
        session=3,
        index=2,
        phase="run",
        status="lost",
        intended_ns=100,
        asked_ns=101,
        ready_ns=99,
        done_ns=102,
        error="killed",
        message="by somebody",
    )


SIMULATION = Simulation(
    out="out",
    sessions=7,
    think=constant(2.0),
    ramp_s=10.0,
    warmup_s=5.0,
    duration_s=60.0,
    calibration_s=3.0,
    max_concurrency=5,
)


def test_a_run_is_its_load_on_its_server() -> None:
    target = Target("ollama", "m")
    kind = stages.run(SIMULATION, target)
    assert (kind.number, kind.target, kind.simulation, kind.phase) == (
        RUN,
        target,
        SIMULATION,
        None,
    )


def test_a_calibration_is_the_same_load_for_a_short_time_on_the_simulated_server() -> None:
    before = stages.before(SIMULATION)
    assert (before.number, before.phase, before.target.backend) == (BEFORE, "before", "sim")
    short = before.simulation
    assert (short.sessions, short.max_concurrency, short.think) == (7, 5, constant(2.0))
    assert (short.ramp_s, short.warmup_s, short.duration_s) == (0.75, 0.0, 3.0)
    brief = stages.before(Simulation(out="", ramp_s=0.1, requests=500))
    assert (brief.simulation.ramp_s, brief.simulation.requests) == (0.1, 0)


def test_after_the_run_the_simulated_server_is_like_the_one_that_was_measured() -> None:
    after = stages.after(SIMULATION, Served(first_s=0.1234, gap_s=0.005, chunks=40))
    assert (after.number, after.phase) == (AFTER, "after")
    assert after.target.model == "sim?first_token=123400us&inter_chunk=5000us&chunks=40"
    assert stages.after(SIMULATION, Served(0.0, 0.0, 0)).target.model.endswith("chunks=1")
    assert stages.after(SIMULATION, None).target == stages.before(SIMULATION).target


@pytest.mark.parametrize(
    ("phase", "number"), [("before", BEFORE), ("warmup", RUN), ("run", RUN), ("after", AFTER)]
)
def test_a_turn_is_of_one_stage(phase: Any, number: int) -> None:
    turn = lost(START, phase, 1, 2, "", "")
    kinds = (
        stages.before(SIMULATION),
        stages.run(SIMULATION, Target("sim", "sim")),
        stages.after(SIMULATION, None),
    )
    assert [kind.number for kind in kinds if stages.is_of(turn, kind)] == [number]
