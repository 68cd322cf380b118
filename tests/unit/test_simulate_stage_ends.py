"""How a stage ends: when it is over, when it is late, and what becomes of what is under way."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot.messages import (
    Answered,
    Ask,
    Cancelled,
    Completion,
    EncodedRecord,
    Failed,
    Interrupted,
    Load,
    Report,
    SpanRecord,
    Target,
    Terminal,
)
from chatbot.otel import Tracing
from chatbot.simulate import stages
from chatbot.simulate.journal import Journal
from chatbot.simulate.past import TURNS, read_turns
from chatbot.simulate.prompts import Prompts
from chatbot.simulate.schedule import Schedule
from chatbot.simulate.stage import Stage
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation
from chatbot.tracing import Recorder
from tests.unit.test_simulate_stage import SECOND, Case, Outbox, Sink, answered


def test_it_is_over_when_the_last_end_is_saved(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=1, turns=1)
    assert not case.stage.is_over
    (ask,) = case.asks()
    assert not case.stage.is_over
    case.stage.ended(answered(ask), 10)
    assert not case.stage.is_over
    case.stage.saved(ask.request_id, 20)
    assert case.stage.is_over


def test_one_that_was_stopped_is_late_at_once(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=1, turns=1)
    case.asks()
    assert not case.stage.is_late(10)
    case.stage.is_stopped = True
    assert case.stage.is_late(10)


def test_when_its_time_is_up_the_last_turns_have_half_a_minute(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=1, turns=1, duration_s=5.0)
    case.asks()
    assert not case.asks(6 * SECOND)
    assert not case.stage.is_over
    assert not case.stage.is_late(35 * SECOND)
    assert case.stage.is_late(35 * SECOND + 1)


def test_without_a_duration_a_slow_turn_has_its_time(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=2, turns=1)
    first, _ = case.asks()
    case.stage.ended(answered(first), 10)  # there will be no other session
    assert not case.stage.is_late(3600 * SECOND)


def test_sessions_are_begun_once_and_completed_with_all_of_their_turns(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=2, turns=2, saves=False)
    first, second = case.asks()
    assert case.sink.begun == 2
    case.stage.ended(answered(first), 10)
    case.stage.ended(answered(second), 10)
    third, fourth = case.asks(11)
    assert case.sink.begun == 2
    case.stage.ended(answered(third), 12)
    case.stage.cancel(13)
    case.stage.ended(Failed(fourth.request_id, 1, "server_error", "500", 500), 14)
    assert case.sink.over == [True, True]


def test_a_session_that_the_end_of_the_time_cut_off_is_not_completed(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=1, turns=3, duration_s=1.0, saves=False)
    (ask,) = case.asks()
    case.stage.ended(answered(ask), 2 * SECOND)
    case.asks(2 * SECOND)
    assert case.sink.over == [False]
    assert case.stage.is_over


def test_turns_of_a_calibration_are_of_its_phase(tmp_path: Path) -> None:
    simulation = Simulation(out="", sessions=2, turns=1, calibration_s=1.0)
    journal = Journal(tmp_path)
    sink, outbox = Sink(), Outbox(tmp_path)
    kind = stages.before(simulation)
    stage = Stage(
        kind,
        Schedule(kind.simulation, 0, random.Random(1)),
        Prompts(simulation),
        outbox,  # type: ignore[arg-type] # all that is used of it
        Recorder("ui", 0, lambda report: True, Tracing(sample_ratio=0.0)),
        journal,
        sink,
        prefix="s",
        saves=False,
    )
    stage.ask_due(0)
    stage.send()
    first, _ = outbox.take(Ask)
    assert first.target == kind.target
    stage.ended(answered(first), 5)
    stage.give_up(6)
    assert [(turn.status, turn.phase) for turn in sink.turns] == [
        ("answered", "before"),
        ("lost", "before"),
    ]
    journal.flush()
    assert [turn.phase for turn in read_turns(tmp_path)] == ["before", "before"]
    assert (tmp_path / TURNS).exists()


def test_what_was_to_be_read_first_is_not_asked_after_a_cancel(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=1, turns=3)
    ended = Turn(
        session=0, index=0, phase="run", status="answered", intended_ns=0, asked_ns=0, done_ns=5
    )
    case.stage.resume([ended], [], 10)
    assert not case.asks(20)
    (load,) = case.outbox.take(Load)
    over = [case.stage.is_over]
    case.stage.cancel(30)
    assert [*over, case.stage.is_over] == [False, True]
    assert case.stage.schedule.in_flight == 0
    assert not case.sink.turns  # it was never asked
    assert load.session_id.startswith("session_1_")


ENDS: list[tuple[Any, str, str]] = [
    (lambda request_id: Answered(request_id, 1, Completion("so")), "answered", ""),
    (
        lambda request_id: Failed(request_id, 1, "server_error", "500", 500),
        "failed",
        "server_error",
    ),
    (lambda request_id: Cancelled(request_id, 1), "cancelled", ""),
    (lambda request_id: Interrupted(request_id, 1, "it died"), "interrupted", "interrupted"),
]


@pytest.mark.parametrize(("end", "status", "error"), ENDS)
def test_the_span_of_a_turn_ends_as_the_turn_did(
    tmp_path: Path, end: Any, status: str, error: str
) -> None:
    reports: list[Report] = []

    def offer(report: Report) -> bool:
        reports.append(report)
        return True

    simulation = Simulation(out="", sessions=1, turns=1)
    outbox, recorder = Outbox(tmp_path), Recorder("ui", 0, offer, Tracing())
    stage = Stage(
        stages.run(simulation, Target("sim", "a-model")),
        Schedule(simulation, 0, random.Random(1)),
        Prompts(simulation),
        outbox,  # type: ignore[arg-type] # all that is used of it
        recorder,
        Journal(tmp_path),
        Sink(),
        prefix="session_1_",
        saves=False,
    )
    stage.ask_due(0)
    stage.send()
    (ask,) = outbox.take(Ask)
    terminal: Terminal = end(ask.request_id)
    stage.ended(terminal, 10)
    recorder.flush()
    decode = msgspec.msgpack.Decoder(list[EncodedRecord]).decode
    records = [record for report in reports for record in decode(report.payload)]
    [span] = [
        record
        for record in records
        if isinstance(record, SpanRecord) and record.name == "chat_turn"
    ]
    assert span.error == error
    assert span.attributes["status"] == status
    assert span.attributes.get("error.type", "") == (error if status == "failed" else "")
    assert span.attributes["gen_ai.request.model"] == "a-model"
    assert ask.turn_traceparent.split("-")[2] == span.span_id
