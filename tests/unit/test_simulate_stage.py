"""A stage asks what is due, and hands on what has ended: each turn once, whatever comes between."""

import random
from pathlib import Path
from typing import Any

from chatbot.distribution import constant
from chatbot.messages import (
    Answered,
    Ask,
    Cancel,
    Cancelled,
    Completion,
    Failed,
    Interrupted,
    Load,
    Loaded,
    Message,
    Session,
    StoredMessage,
    Target,
    Timing,
)
from chatbot.otel import Tracing
from chatbot.simulate import stages
from chatbot.simulate.journal import Journal
from chatbot.simulate.measured import lost
from chatbot.simulate.past import ASKED, Asked
from chatbot.simulate.prompts import Prompts
from chatbot.simulate.schedule import Schedule, Start
from chatbot.simulate.stage import Stage
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation
from chatbot.tracing import Recorder

SECOND = 1_000_000_000


class Sink:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.number_asked = 0
        self.begun = 0
        self.over: list[bool] = []

    def asked(self, start: Start, now_ns: int) -> None:
        self.number_asked += 1

    def ended(self, turn: Turn) -> None:
        self.turns.append(turn)

    def session_begun(self, now_ns: int) -> None:
        self.begun += 1

    def session_ended(self, duration_ns: int, now_ns: int, *, completed: bool) -> None:
        self.over.append(completed)


class Outbox:
    """Remembers what was sent, and what was written of it by then."""

    def __init__(self, directory: Path) -> None:
        self.sent: list[Message] = []
        self.unknown: list[str] = []
        self._asked = directory / ASKED

    def send(self, message: Message) -> None:
        self.sent.append(message)
        if isinstance(message, Ask) and message.request_id not in self._asked.read_text():
            self.unknown.append(message.request_id)

    gather = send

    def flush(self) -> None:
        pass

    def take(self, kind: type[Any]) -> list[Any]:
        """Return what was sent of one kind since it was last asked."""
        taken = [message for message in self.sent if isinstance(message, kind)]
        self.sent = [message for message in self.sent if not isinstance(message, kind)]
        return taken


class Case:
    """A stage with everything around it."""

    def __init__(self, directory: Path, *, saves: bool = True, **more: Any) -> None:
        self.sink, self.outbox = Sink(), Outbox(directory)
        simulation = Simulation(out=str(directory), **{"sessions": 2, "turns": 2, **more})
        self.stage = Stage(
            stages.run(simulation, Target("sim", "sim")),
            Schedule(simulation, 0, random.Random(1)),
            Prompts(simulation),
            self.outbox,  # type: ignore[arg-type] # all that is used of it
            Recorder("ui", 0, lambda report: True, Tracing(sample_ratio=0.0)),
            Journal(directory),
            self.sink,
            prefix="session_1_",
            saves=saves,
        )

    def asks(self, now_ns: int = 0) -> list[Ask]:
        self.stage.ask_due(now_ns)
        return self.sent()

    def sent(self) -> list[Ask]:
        """Return what is sent; whatever is has been written down."""
        self.stage.send()
        assert not self.outbox.unknown
        return self.outbox.take(Ask)


def answered(ask: Ask, text: str = "so") -> Answered:
    timing = Timing(1, 2, chunks=2, gaps=(7).to_bytes(4, "little"))
    return Answered(ask.request_id, 1, Completion(text, output_tokens=2), timing=timing)


def test_a_turn_has_ended_when_its_end_is_saved(tmp_path: Path) -> None:
    case = Case(tmp_path)
    first, second = case.asks()
    assert (first.measured, first.stream, first.cache) == (True, False, "off")
    assert first.session_id != second.session_id
    case.stage.ended(answered(first), 10)
    assert not case.sink.turns
    case.stage.saved(first.request_id, 20)
    case.stage.saved(first.request_id, 30)
    (turn,) = case.sink.turns
    assert (turn.done_ns, turn.saved_ns, turn.gaps_us) == (10, 20, [7])
    (third,) = case.asks(11)
    assert third.session_id == first.session_id
    assert [message.content for message in third.history] == [first.content, "so"]


def test_where_nothing_is_saved_the_answer_is_the_end(tmp_path: Path) -> None:
    case = Case(tmp_path, saves=False)
    first, second = case.asks()
    case.stage.ended(answered(first), 10)
    case.stage.ended(Interrupted(second.request_id, 1, "the worker died"), 11)
    assert [turn.status for turn in case.sink.turns] == ["answered", "interrupted"]
    for ask in case.asks(12):
        assert len(ask.history) == (2 if ask.session_id == first.session_id else 0)
        case.stage.ended(answered(ask), 13)
    assert case.stage.is_over
    assert case.sink.over == [True, True]


def test_when_saving_ends_nothing_is_waited_for(tmp_path: Path) -> None:
    case = Case(tmp_path)
    first, second = case.asks()
    case.stage.ended(answered(first), 10)
    case.stage.not_saving()
    case.stage.ended(answered(second), 11)
    assert [turn.saved_ns for turn in case.sink.turns] == [0, 0]


def test_a_failure_that_costs_nothing_is_not_hammered_on(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=1, turns=5)
    (ask,) = case.asks()
    case.stage.ended(Failed(ask.request_id, 0, "unreachable", "nobody there"), 10)
    assert not case.asks(11)
    (ask,) = case.asks(SECOND + 10)
    case.stage.ended(Failed(ask.request_id, 1, "server_error", "500", 500), SECOND + 20)
    assert len(case.asks(SECOND + 20)) == 1


def test_what_is_cancelled_ends_by_itself_and_the_rest_is_lost(tmp_path: Path) -> None:
    case = Case(tmp_path)
    first, second = case.asks()
    case.stage.is_stopped = True
    case.stage.cancel(5)
    assert [cancel.request_id for cancel in case.outbox.take(Cancel)] == [
        first.request_id,
        second.request_id,
    ]
    case.stage.ended(Cancelled(first.request_id, 1), 6)
    case.stage.saved(first.request_id, 7)
    assert not case.stage.is_over
    case.stage.give_up(8)
    assert [(turn.status, turn.error) for turn in case.sink.turns] == [
        ("cancelled", "cancelled"),
        ("lost", "unfinished"),
    ]
    case.stage.ended(answered(second), 9)
    assert len(case.sink.turns) == 2


def test_what_had_not_ended_when_the_time_was_up_is_a_failure(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=3, turns=1, duration_s=1.0)
    first, second, _ = case.asks()
    assert not case.asks(2 * SECOND)
    assert not case.stage.is_late(31 * SECOND)
    assert case.stage.is_late(32 * SECOND)
    case.stage.cancel(32 * SECOND)
    for ended in (Cancelled(first.request_id, 1, timing=Timing(1, 2)), answered(second)):
        case.stage.ended(ended, 33 * SECOND)
        case.stage.saved(ended.request_id, 33 * SECOND)
    case.stage.give_up(37 * SECOND)
    by_session = sorted(case.sink.turns, key=lambda turn: turn.session)
    assert [turn.status for turn in by_session] == ["failed", "answered", "failed"]
    for turn in (by_session[0], by_session[2]):
        assert turn.error == "unfinished"
        assert turn.message == "it had not ended 30 s after the run did"
        assert turn.is_failure
    assert by_session[0].sent_ns == 2


def test_what_is_asked_is_written_before_anything_is_sent(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.stage.ask_due(0)
    assert not case.outbox.sent  # whatever else is sent meanwhile would take it along
    assert len(case.sent()) == 2
    case.stage.ask_due(0)
    assert not case.sent()


def taken_up(directory: Path, *, saves: bool = True, **more: Any) -> Case:
    """A stage of two sessions: of one the first turn was answered, of the other it was lost."""
    case = Case(directory, think=constant(1.0), saves=saves, **more)
    asked = [Asked(1, Start(n, 0, n, "run"), n, f"req_{n}") for n in (0, 1)]
    ended = Turn(
        session=0, index=0, phase="run", status="answered", intended_ns=0, asked_ns=0, done_ns=50
    )
    was_lost = lost(asked[1].start, "run", 1, 100, "killed", "it was killed")
    case.stage.resume([ended, was_lost], asked[1:], 100)
    return case


def test_a_run_is_taken_up_where_its_seat_was_killed(tmp_path: Path) -> None:
    case = taken_up(tmp_path)
    assert [cancel.request_id for cancel in case.outbox.take(Cancel)] == ["req_1"]
    assert not case.asks(SECOND)
    assert not case.asks(SECOND + 60)  # what was said is read first
    (load,) = case.outbox.take(Load)
    said = (
        StoredMessage("user", "why?", "complete", 0, request_id="req_0"),
        StoredMessage("assistant", "so", "complete", 0, request_id="req_0"),
    )
    session = Session(load.session_id, "why?", 0, "sim", "sim")
    case.stage.loaded(Loaded(load.request_id, session, said), SECOND + 61)
    (ask,) = case.sent()
    assert [message.content for message in ask.history] == ["why?", "so"]
    assert ask.session_id == load.session_id
    (other,) = case.asks(SECOND + 100)  # nothing was answered in it
    assert not other.history


def test_a_session_whose_history_is_gone_is_at_its_end(tmp_path: Path) -> None:
    case = taken_up(tmp_path)
    assert not case.asks(SECOND + 60)
    (load,) = case.outbox.take(Load)
    case.stage.loaded(Loaded(load.request_id, error="the disk is gone"), SECOND + 61)
    assert not case.sent()
    assert case.sink.over == [False]


def test_without_a_store_the_sessions_of_a_killed_seat_are_replaced(tmp_path: Path) -> None:
    case = taken_up(tmp_path, saves=False, duration_s=60.0)
    assert case.sink.over == [False, False]
    asks = case.asks(SECOND + 100)
    assert [ask.session_id[-1] for ask in asks] == ["2", "3"]
    assert not any(ask.history for ask in asks)
    assert not case.outbox.take(Load)


def test_the_time_for_the_last_turns_is_bounded(tmp_path: Path) -> None:
    case = Case(tmp_path, sessions=1, turns=1)
    (ask,) = case.asks()
    case.stage.ended(answered(ask), 10)
    assert not case.stage.is_late(20)
    assert not case.stage.is_late(20 + 30 * SECOND)
    assert case.stage.is_late(21 + 30 * SECOND)
