"""The load, in the UI's seat: sessions that ask one question after another, traced like the chat's.

Before the turns that count, and after them, everything reported is written down, and the processor
time of every process is read; so what the turns cause later, in the background, is counted too.
"""

import os
from pathlib import Path

import msgspec
import psutil

from chatbot.errors import ExitCode
from chatbot.ids import new_request_id
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    Ask,
    Cancelled,
    Failed,
    Flush,
    Flushed,
    Interrupted,
    Leaving,
    ReadStatus,
    Ready,
    Saved,
    StatusRead,
    Stop,
    Target,
    UiInbox,
)
from chatbot.settings import UiSettings
from chatbot.tracing import Recorder, Span

INBOX = UiInbox
SETTINGS = UiSettings
LOAD = "CHATBOT_BENCHMARK_LOAD"

_WORDS = "why is the sky blue and the grass green when the light of the sun is white"


class Load(msgspec.Struct, frozen=True):
    """How much: `turns` that count, after `warm` ones that do not; `result` is the file for the times."""

    sessions: int
    warm: int
    turns: int
    result: str


class Times(msgspec.Struct, frozen=True):
    """Processor time in seconds of each role, over the turns that count; and how those ended."""

    cpu_s: dict[str, float]
    turns: int
    answered: int
    dropped: int


def main(
    settings: UiSettings, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Ask until all is asked, write the times down, and leave."""
    load = msgspec.json.decode(os.environ[LOAD], type=Load)
    seat = _Seat(settings.target, load, outbox, recorder)
    outbox.send(Ready(os.getpid()))
    seat.begin(load.warm)
    for batch in inbox.batches(1.0):
        for message in batch:
            if isinstance(message, Stop):
                return ExitCode.INTERRUPTED
            seat.take(message)
        recorder.flush()
        if seat.times is not None:
            Path(load.result).write_bytes(msgspec.json.encode(seat.times))
            outbox.send(Leaving(ExitCode.OK))
            break
    return ExitCode.OK


class _Seat:
    def __init__(self, target: Target, load: Load, outbox: Outbox, recorder: Recorder) -> None:
        self.times: Times | None = None
        self._target = target
        self._load = load
        self._outbox = outbox
        self._recorder = recorder
        self._to_ask = 0
        self._to_end = 0
        self._answered = 0
        self._spans: dict[str, tuple[int, Span]] = {}
        self._before: dict[str, float] | None = None

    def begin(self, turns: int) -> None:
        """Begin a series of turns."""
        self._to_ask = self._to_end = turns
        self._answered = 0
        for session in range(min(self._load.sessions, turns)):
            self._ask(session)

    def take(self, message: UiInbox) -> None:
        """Go on with the session that a message is for, or with the measurement."""
        match message:
            case Answered() | Failed() | Cancelled() | Interrupted():
                session, span = self._spans.pop(message.request_id)
                span.end()
                self._answered += isinstance(message, Answered)
                if self._to_ask:
                    self._ask(session)
            case Saved():
                self._to_end -= 1
                if not self._to_end:
                    self._outbox.send(Flush("flush"))
            case Flushed():
                self._outbox.send(ReadStatus("status"))
            case StatusRead():
                self._measure(message)
            case _:
                pass

    def _ask(self, session: int) -> None:
        self._to_ask -= 1
        request_id = new_request_id()
        session_id = f"session_{session}"
        span = self._recorder.span(
            "chat_turn",
            parent=None,
            attributes={
                "session.id": session_id,
                "backend": self._target.backend,
                "gen_ai.request.model": self._target.model,
            },
        ).announce()
        self._spans[request_id] = session, span
        with self._recorder.hop("send", "store.asks", request_id, span.traceparent) as hop:
            content = f"{request_id} {_WORDS}"  # never asked before
            ask = Ask(
                request_id,
                session_id,
                content,
                self._target,
                traceparent=hop.traceparent,
                turn_traceparent=span.traceparent,
            )
            self._outbox.send(ask)

    def _measure(self, status: StatusRead) -> None:
        cpu_s: dict[str, float] = {}
        for process in status.processes:
            times = psutil.Process(process.pid).cpu_times()
            cpu_s[process.role] = cpu_s.get(process.role, 0.0) + times.user + times.system
        if self._before is None:
            self._before = cpu_s
            self.begin(self._load.turns)
            return
        spent = {role: after - self._before[role] for role, after in cpu_s.items()}
        self.times = Times(spent, self._load.turns, self._answered, status.work.dropped)
