"""The store as a real process: refused at its start, killed in its work, left alone by its parent."""

import queue
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot import actor
from chatbot.errors import ExitCode
from chatbot.mailbox import Outbox, Reader
from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Checkpoint,
    Completion,
    FromAny,
    FromStore,
    Message,
    Pick,
    Picked,
    Ready,
    Resigned,
    Stop,
    Target,
)
from chatbot.settings import StoreSettings

DEADLINE_S = 30.0
SENT = 10_000  # so many that most are still to be done when the first 500 are
SIBLINGS = 500  # the picking of each is a commit of its own
STORE = actor.Child("store", 0, "chatbot.store.process", outlives_parent=True)


class StoreProcess:
    """A store in a process of its own, and the parent's ends of its two pipes."""

    def __init__(self, path: str) -> None:
        context = get_context("spawn")
        inbox_end, self._to_store = context.Pipe(duplex=False)
        from_store, outbox_end = context.Pipe(duplex=False)
        self.process = context.Process(target=actor.run, args=(STORE, inbox_end, outbox_end))
        self.process.start()
        inbox_end.close()  # only the child may hold them: then their end is the child's end
        outbox_end.close()
        settings = msgspec.msgpack.encode(StoreSettings(path))
        self.outbox = Outbox(self._to_store, preamble=settings)
        self._received: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        Reader(from_store, FromStore | FromAny, self._sort, lambda reason: self._received.put(None))

    def receive(self) -> Message | None:
        """Return the next message that is about the work; None at the end of the pipe."""
        return self._received.get(timeout=DEADLINE_S)

    def accepted_until_the_end(self) -> list[str]:
        found = []
        while message := self.receive():
            assert isinstance(message, Accepted)
            found.append(message.request_id)
        return found

    def abandon(self) -> None:
        """Write out what is queued, then close the pipe without a word, as a dead parent does."""
        assert self.outbox.close(DEADLINE_S)
        self._to_store.close()

    def exit_code(self) -> int | None:
        self.process.join(DEADLINE_S)
        return self.process.exitcode

    def close(self) -> None:
        self.process.kill()
        self.process.join(DEADLINE_S)
        self.process.close()
        self.outbox.close(DEADLINE_S)
        self._to_store.close()

    def _sort(self, batch: list[Message]) -> None:
        for message in batch:
            if isinstance(message, Accepted | Picked | Ready | Resigned):
                self._received.put(message)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chatbot.db")


@pytest.fixture
def store(path: str) -> Iterator[StoreProcess]:
    with closing(StoreProcess(path)) as process:
        yield process


def ask(number: int) -> Ask:
    return Ask(f"r{number}", f"s{number % 7}", f"question {number}", Target("sim", "sim"))


def select(path: str, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_a_store_killed_in_its_work_has_kept_all_it_acknowledged(
    store: StoreProcess, path: str
) -> None:
    assert isinstance(store.receive(), Ready)
    for number in range(SENT):
        store.outbox.post(ask(number))
    accepted = []
    for _ in range(500):
        message = store.receive()
        assert isinstance(message, Accepted)
        accepted.append(message.request_id)
    store.process.kill()
    accepted += store.accepted_until_the_end()
    assert len(accepted) < SENT
    saved = [name for (name,) in select(path, "SELECT request_id FROM messages ORDER BY id")]
    assert accepted == [f"r{n}" for n in range(len(accepted))]
    assert saved[: len(accepted)] == accepted
    assert select(path, "PRAGMA integrity_check") == [("ok",)]

    with closing(StoreProcess(path)) as successor:
        assert isinstance(successor.receive(), Ready)
        for number in range(len(accepted) - 200, SENT):  # some of them for the second time
            successor.outbox.post(ask(number))
        successor.outbox.post(Stop())
        assert len(successor.accepted_until_the_end()) == SENT - len(accepted) + 200
        assert successor.exit_code() == ExitCode.OK
    saved = [name for (name,) in select(path, "SELECT request_id FROM messages ORDER BY id")]
    assert saved == [f"r{n}" for n in range(SENT)]


def test_a_store_killed_between_a_pick_and_its_reply_has_one_of_the_fan_active(
    store: StoreProcess, path: str
) -> None:
    active = "SELECT request_id, role FROM messages WHERE active = 1"
    assert isinstance(store.receive(), Ready)
    for number in range(SIBLINGS):
        store.outbox.post(Ask(f"r{number}", "s", "?", Target("sim", f"m{number}"), fan="r0"))
    for _ in range(SIBLINGS):
        assert isinstance(store.receive(), Accepted)
    picks = [Pick(f"p{number}", "s", f"r{number}") for number in range(1, SIBLINGS)]
    for pick in picks:
        store.outbox.post(pick)
    replied: list[str] = []
    while message := store.receive():  # until the end of its pipe
        assert isinstance(message, Picked)
        replied.append(message.request_id)
        if len(replied) == 20:
            store.process.kill()
    assert replied == [pick.request_id for pick in picks[: len(replied)]]
    assert len(replied) < len(picks)
    ((turn, role),) = select(path, active)
    assert role == "user"
    assert int(turn[1:]) >= len(replied)  # what was acknowledged, or one that was just about to be

    with closing(StoreProcess(path)) as successor:
        assert isinstance(successor.receive(), Ready)
        for pick in picks[len(replied) : len(replied) + 3]:  # some perhaps for the second time
            successor.outbox.post(pick)
            assert successor.receive() == Picked(pick.request_id)
            assert select(path, active) == [(pick.turn, "user")]
    assert select(path, "SELECT model FROM sessions") == [(f"m{pick.turn[1:]}",)]


def test_a_store_whose_parent_is_gone_saves_what_it_was_sent_and_ends_it(
    store: StoreProcess, path: str
) -> None:
    for number in range(1000):
        store.outbox.post(ask(number))
    store.outbox.post(Answered("r0", 1, Completion("whole", finish_reason="stop")))
    store.outbox.post(Checkpoint("r1", "so far"))
    store.abandon()
    assert store.exit_code() == ExitCode.OK
    assert select(path, "SELECT count(*) FROM messages WHERE role = 'user'") == [(1000,)]
    ends = (
        "SELECT request_id, content, status, finish_reason, error FROM messages"
        " WHERE role = 'assistant' AND request_id IN ('r0', 'r1', 'r2') ORDER BY request_id"
    )
    assert select(path, ends) == [
        ("r0", "whole", "complete", "stop", None),
        ("r1", "so far", "interrupted", "interrupted", "the program was killed"),
        ("r2", "", "interrupted", "interrupted", "the program was killed"),
    ]
    assert select(path, "SELECT count(*) FROM messages WHERE finish_reason = 'interrupted'") == [
        (999,)
    ]


def test_a_store_that_was_told_to_stop_leaves_what_is_under_way_to_others(
    store: StoreProcess, path: str
) -> None:
    store.outbox.post(ask(1))
    store.outbox.post(Stop())
    store.abandon()
    assert store.exit_code() == ExitCode.OK
    assert select(path, "SELECT request_id, role FROM messages") == [("r1", "user")]


def test_a_store_that_cannot_open_its_database_says_why_and_ends(tmp_path: Path) -> None:
    with closing(StoreProcess(str(tmp_path))) as store:
        assert store.receive() == Resigned(f"{tmp_path} is a directory; name a file with --db PATH")
        assert store.exit_code() == actor.RESIGNED


def test_a_store_that_finds_its_database_damaged_says_that_this_will_last(tmp_path: Path) -> None:
    path = tmp_path / "chatbot.db"
    with closing(StoreProcess(str(path))) as store:
        assert isinstance(store.receive(), Ready)
        store.outbox.post(Stop())
        assert store.exit_code() == ExitCode.OK
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xa5" * (4096 - 100)  # the schema's own page
    path.write_bytes(data)
    with closing(StoreProcess(str(path))) as store:
        resigned = store.receive()
        assert isinstance(resigned, Resigned)
        assert resigned.lasting
