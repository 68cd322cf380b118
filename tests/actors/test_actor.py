"""The shell of a child process, around a small room in a real process."""

import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chatbot import actor
from chatbot.mailbox import Outbox, Reader
from chatbot.messages import (
    Beat,
    FromAny,
    LogRecord,
    Message,
    Notice,
    Ready,
    Record,
    Report,
    Resigned,
    Stop,
    StoreInbox,
)
from chatbot.tracing import Recorder
from tests.fakes import SPAWN, Peer

SAYS = Ready | Beat | Resigned | Report | Notice


class Child:
    """A real child process, seen from its supervisor."""

    def __init__(self, settings: str = "") -> None:
        reads, says_end = SPAWN.Pipe(duplex=False)
        inbox_end, writes = SPAWN.Pipe(duplex=False)
        child = actor.Child("worker", 0, "tests.actors.room_for_tests")
        self.process = SPAWN.Process(target=actor.run, args=(child, inbox_end, says_end))
        self.process.start()
        inbox_end.close()
        says_end.close()
        self.writes = writes
        self.outbox = Outbox(writes, preamble=msgspec.msgpack.encode(settings))
        self.heard: queue.Queue[Message] = queue.Queue()
        self.ended = threading.Event()
        Reader(reads, SAYS, self._hear, lambda _: self.ended.set())

    def _hear(self, batch: list[Message]) -> None:
        for message in batch:
            self.heard.put(message)

    def next(self, kind: Any) -> Any:
        while True:
            message = self.heard.get(timeout=20)
            if isinstance(message, kind):
                return message

    def exit_code(self) -> int | None:
        self.process.join(20)
        return self.process.exitcode


@pytest.fixture
def started() -> Iterator[list[Child]]:
    children: list[Child] = []
    yield children
    for child in children:
        child.process.kill()
        child.process.join()
        child.process.close()


@pytest.fixture
def child(started: list[Child]) -> Child:
    started.append(Child())
    assert started[0].next(Ready).pid == started[0].process.pid
    return started[0]


def test_a_stop_lets_the_room_drain_and_end_in_order(child: Child) -> None:
    child.outbox.send(Notice("one"))
    child.outbox.send(Stop())
    assert child.next(Notice) == Notice("one, heard")
    assert child.next(Notice) == Notice("drained")
    assert child.exit_code() == 0


def test_the_beat_comes_from_the_work_loop(child: Child) -> None:
    assert child.next(Beat)
    assert child.next(Beat)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_sigterm_is_a_stop(child: Child) -> None:
    child.process.terminate()
    assert child.next(Notice) == Notice("drained")
    assert child.exit_code() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_is_not_for_children(child: Child) -> None:
    assert child.process.pid
    os.kill(child.process.pid, signal.SIGINT)
    child.outbox.send(Notice("still here"))
    assert child.next(Notice) == Notice("still here, heard")


def test_the_end_of_its_pipe_is_a_stop_too(child: Child) -> None:
    assert child.outbox.close(10)
    child.writes.close()
    assert child.next(Notice) == Notice("drained")
    assert child.exit_code() == 0


def test_a_room_that_cannot_start_says_why(started: list[Child]) -> None:
    started.append(Child("refuse to start"))
    assert started[0].next(Resigned) == Resigned("cannot start: the reason")
    assert started[0].exit_code() == actor.RESIGNED


def test_a_crash_is_logged_and_told_by_the_exit_code_and_by_no_traceback(
    child: Child, capfd: pytest.CaptureFixture[str]
) -> None:
    child.outbox.send(Notice("raise"))
    report = child.next(Report)
    (record,) = msgspec.msgpack.decode(report.payload, type=list[Record])
    assert isinstance(record, LogRecord)
    assert record.event == "crashed"
    assert "a defect" in str(record.fields["traceback"])
    assert child.exit_code() == actor.CRASHED
    assert capfd.readouterr() == ("", "")


def test_a_kill_is_seen_as_the_end_of_the_stream(child: Child) -> None:
    child.process.kill()
    assert child.ended.wait(10)
    assert child.exit_code() == -signal.SIGKILL


def test_what_is_recorded_is_reported_when_nothing_waits_to_be_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actor, "BEAT_EVERY_S", 60.0)
    peer = Peer(StoreInbox, FromAny)
    reports: list[Report] = []

    def take(report: Report) -> bool:
        reports.append(report)
        return True

    recorder = Recorder("store", 0, take)
    batches = actor.batches(peer.inbox, peer.outbox, recorder, idle_s=0.01)
    peer.inbox.post(Stop())
    next(batches)
    peer.inbox.post(Stop())
    next(batches)  # the first beat is behind us
    recorder.count("c")
    peer.inbox.post(Stop())
    next(batches)
    assert reports == []
    assert next(batches) == []
    assert [report.records for report in reports] == [1]
