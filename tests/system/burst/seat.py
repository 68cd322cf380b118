"""The burst, in the UI's seat: telemetry is stopped by a signal, 100,000 spans are made, it goes on.

None is dropped here: the seat waits for its own pipe. What the supervisor and telemetry occupy is looked
at all the while.
"""

import contextlib
import os
import signal
from pathlib import Path

import msgspec
import psutil

from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import Flush, Flushed, Leaving, ReadStatus, Ready, StatusRead, UiInbox
from chatbot.settings import UiSettings
from chatbot.tracing import Recorder

INBOX = UiInbox
SETTINGS = UiSettings
SPANS = 100_000
RESULT = "burst.json"

_LOOK_EVERY = 1000  # spans
_KEEP_BELOW = 1024  # a recorder drops at 4096
_TEXT = "x" * 1000


class Burst(msgspec.Struct, frozen=True):
    """What became of it: records dropped as `/top` has them while telemetry stood still, and at the
    end; by how many bytes the two processes grew at most."""

    dropped_meanwhile: int
    dropped: int
    supervisor_grew: int
    telemetry_grew: int


def main(
    settings: UiSettings, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Make the burst, write down what became of it, and leave."""
    del settings
    outbox.send(Ready(os.getpid()))
    seat = _Seat(inbox, outbox, recorder)
    Path(RESULT).write_bytes(msgspec.json.encode(seat.burst()))
    outbox.send(Leaving(ExitCode.OK))
    return ExitCode.OK


class _Seat:
    def __init__(self, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._recorder = recorder
        self._watched: dict[str, psutil.Process] = {}
        self._before: dict[str, int] = {}
        self._most: dict[str, int] = {}

    def burst(self) -> Burst:
        """Do it all."""
        while not self._watch(self._status()):
            self._inbox.take(0.05)
        stopped = self._watched["telemetry"].pid
        os.kill(stopped, signal.SIGSTOP)
        try:
            self._make_spans()
            meanwhile = self._status().work.dropped  # comes behind all the spans
        finally:
            os.kill(stopped, signal.SIGCONT)
        self._outbox.send(Flush("f"))
        while not any(isinstance(message, Flushed) for message in self._inbox.take(0.05)):
            self._look()
        dropped = self._status().work.dropped
        grew = {role: most - self._before[role] for role, most in self._most.items()}
        return Burst(meanwhile, dropped, grew["supervisor"], grew["telemetry"])

    def _make_spans(self) -> None:
        for number in range(SPANS):
            with self._recorder.span("burst", parent=None, attributes={"text": _TEXT}):
                pass
            if number % _LOOK_EVERY == 0:
                self._look()
            while self._recorder.waiting >= _KEEP_BELOW:
                self._drain()
        while self._recorder.waiting:
            self._drain()

    def _drain(self) -> None:
        self._recorder.flush()
        if self._recorder.waiting:
            self._inbox.take(0.005)

    def _status(self) -> StatusRead:
        self._outbox.send(ReadStatus("s"))
        while True:
            for message in self._inbox.take(0.05):
                if isinstance(message, StatusRead):
                    return message

    def _watch(self, status: StatusRead) -> bool:
        """Begin to look at the two; False while telemetry is not ready."""
        pids = {each.role: each.pid for each in status.processes if each.state == "ready"}
        if "telemetry" not in pids:
            return False
        for role in ("supervisor", "telemetry"):
            self._watched[role] = psutil.Process(pids[role])
            self._before[role] = self._watched[role].memory_info().rss
        return True

    def _look(self) -> None:
        for role, process in self._watched.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                rss = process.memory_info().rss
                self._most[role] = max(self._most.get(role, 0), rss)
