"""The trace of a turn as the terminal's process tells it: begun before the question, linked to its call."""

import io
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot.errors import ExitCode
from chatbot.messages import (
    Answered,
    Ask,
    Completion,
    Flush,
    Flushed,
    FromAny,
    FromUi,
    Leaving,
    Load,
    Loaded,
    LogRecord,
    Message,
    ProcessStatus,
    ReadStatus,
    Record,
    Report,
    SpanRecord,
    SpanStarted,
    StatusRead,
    UiInbox,
)
from chatbot.otel import Tracing
from chatbot.settings import SPAN_FILE
from chatbot.tracing import PRODUCER, Recorder, span_id_of, trace_id_of
from chatbot.ui import process
from tests.actors.test_ui import SESSION, handlers, settings  # noqa: F401 - a fixture for all
from tests.fakes import Peer

CALL = f"00-{'c' * 32}-{'d' * 16}-01"


def said(monkeypatch: pytest.MonkeyPatch, answer: Answered) -> list[Message | Record]:
    """Let one question be answered so; return what the process said, in the order of its pipe."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n/quit\n"))
    peer = Peer(UiInbox, FromUi | FromAny)
    heard: list[Message | Record] = []

    def supervise() -> None:
        while not any(isinstance(message, Leaving) for message in heard):
            message: Any = peer.next(within_s=20)
            if isinstance(message, Report):
                heard.extend(msgspec.msgpack.decode(message.payload, type=list[Record]))
                continue
            heard.append(message)
            if isinstance(message, Load):
                peer.send(Loaded(message.request_id, SESSION))
            elif isinstance(message, Ask):
                peer.send(msgspec.structs.replace(answer, request_id=message.request_id))

    supervisor = threading.Thread(target=supervise, daemon=True)
    supervisor.start()
    recorder = Recorder("ui", 0, peer.outbox.offer)
    assert process.main(settings(), peer.inbox, peer.outbox, recorder) == ExitCode.OK
    supervisor.join(20)
    return heard


ALL_RUN = (
    ProcessStatus("ui", 0, 1, "ready", 1.0),
    ProcessStatus("telemetry", 0, 0, "waiting", 0.0),
)


def asked_for_its_trace(
    monkeypatch: pytest.MonkeyPatch,
    log_dir: Path,
    tracing: Tracing = Tracing(),  # noqa: B008 - frozen
    processes: tuple[ProcessStatus, ...] = ALL_RUN,
    held: bytes = b"",
) -> int:
    """Let one question be answered and its trace be shown; return how often it was looked for. `held` is
    what the files are to have by then."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n/trace\n/quit\n"))
    peer = Peer(UiInbox, FromUi | FromAny)
    flushes: list[Flush] = []

    def supervise() -> None:
        while not isinstance(message := peer.next(within_s=20), Leaving):
            match message:
                case Load():
                    peer.send(Loaded(message.request_id, SESSION))
                case Ask():
                    (log_dir / SPAN_FILE).write_bytes(held)
                    peer.send(Answered(message.request_id, 1, Completion("hi")))
                case Flush():
                    flushes.append(message)
                    peer.send(Flushed(message.request_id))
                case ReadStatus():
                    peer.send(StatusRead(message.request_id, processes))

    supervisor = threading.Thread(target=supervise, daemon=True)
    supervisor.start()
    own = msgspec.structs.replace(settings(), log_dir=str(log_dir))
    recorder = Recorder("ui", 0, peer.outbox.offer, tracing=tracing)
    assert process.main(own, peer.inbox, peer.outbox, recorder) == ExitCode.OK
    supervisor.join(20)
    return len(flushes)


def test_without_a_telemetry_process_a_trace_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked_for_its_trace(monkeypatch, tmp_path, processes=ALL_RUN[:1]) == 1
    said = "there is no trace of this turn: the telemetry process is gone, and what happens is not traced"
    assert f"{said}\n" in capsys.readouterr().err
    assert asked_for_its_trace(monkeypatch, tmp_path) > 1


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, "none"), (1e-18, "only a part of them")])
def test_a_turn_that_was_not_sampled_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ratio: float,
    kept: str,
) -> None:
    assert asked_for_its_trace(monkeypatch, tmp_path, Tracing(sample_ratio=ratio)) == 1
    said = f"there is no trace of this turn: OTEL_TRACES_SAMPLER keeps {kept}"
    assert f"{said}\n" in capsys.readouterr().err


def test_files_that_cannot_be_read_are_told_beside_a_trace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_for_its_trace(monkeypatch, tmp_path, processes=(), held=b"\x8b\x00\n\xff\xfe")
    told = f"2 places in the trace files could not be read ({SPAN_FILE})"
    assert f"{told}\n" in capsys.readouterr().err


def turn_of(heard: list[Message | Record]) -> SpanRecord:
    (turn,) = (r for r in heard if isinstance(r, SpanRecord) and r.name == "chat_turn")
    return turn


def test_a_turn_is_announced_before_its_question_and_the_question_is_under_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = said(monkeypatch, Answered("", 1, Completion("hi")))
    (started,) = (r for r in heard if isinstance(r, SpanStarted))
    (ask,) = (m for m in heard if isinstance(m, Ask))
    assert heard.index(started) < heard.index(ask)
    turn = turn_of(heard)
    assert (started.name, started.span_id, started.parent_id) == ("chat_turn", turn.span_id, "")
    assert span_id_of(ask.turn_traceparent) == turn.span_id
    (hop,) = (r for r in heard if isinstance(r, SpanRecord) and r.name == "send store.asks")
    assert (hop.kind, hop.parent_id, hop.span_id) == (
        PRODUCER,
        turn.span_id,
        span_id_of(ask.traceparent),
    )
    assert hop.attributes["messaging.message.id"] == ask.request_id
    assert (turn.attributes["status"], turn.attributes["cached"]) == ("answered", False)


def test_a_cached_answer_is_linked_to_the_call_that_was_paid_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = Answered("", 0, Completion("hi"), cached_age_s=3.0, call_traceparent=CALL)
    turn = turn_of(said(monkeypatch, answer))
    assert turn.links == (CALL,)
    assert turn.attributes["cached"] is True


def test_the_end_of_a_turn_is_reported_before_the_next_line_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Typed(io.StringIO):
        """What is typed; notes what the person has read when the second line is asked for."""

        def readline(self, size: int = -1) -> str:  # type: ignore[override] # no keyword
            lines.append(len(reported))
            return super().readline(size)

    reported: list[str] = []
    lines: list[int] = []
    flush = Recorder.flush

    def noting(self: Recorder, **how: Any) -> None:
        reported.extend(r.name for r in self._records if isinstance(r, SpanRecord))
        flush(self, **how)

    monkeypatch.setattr(Recorder, "flush", noting)
    monkeypatch.setattr("tests.actors.test_ui_trace.io.StringIO", Typed)
    said(monkeypatch, Answered("", 1, Completion("hi")))
    assert "chat_turn" in reported[: lines[1]]


def test_the_end_of_a_turn_is_in_the_log_with_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = said(monkeypatch, Answered("", 1, Completion("hi")))
    (line,) = (r for r in heard if isinstance(r, LogRecord) and r.event == "turn_ended")
    turn = turn_of(heard)
    assert trace_id_of(line.traceparent) == turn.trace_id
    assert (line.level, line.fields["status"]) == ("info", "answered")
