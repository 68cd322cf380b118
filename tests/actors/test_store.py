"""The store's room, with real pipes and a real database; its `main` runs in a thread."""

import json
import queue
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from chatbot.errors import DatabaseDamaged, ExitCode, StoreUnavailable
from chatbot.mailbox import Inbox, Outbox, Reader, encode, frame_of
from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Beat,
    CachePolicy,
    CacheRead,
    Cancelled,
    Checkpoint,
    Completion,
    Delete,
    Failed,
    Found,
    FromAny,
    FromStore,
    Hit,
    Interrupted,
    Listed,
    ListSessions,
    Load,
    Loaded,
    LogRecord,
    Measurement,
    Message,
    Notice,
    Pick,
    Prune,
    Query,
    ReadCache,
    Ready,
    Record,
    Recover,
    Recovered,
    Rename,
    Report,
    Saved,
    Search,
    SpanRecord,
    Stop,
    Target,
    Terminal,
    Undo,
    Undone,
)
from chatbot.settings import StoreSettings
from chatbot.store import database as database_room
from chatbot.store import process
from chatbot.store.database import Database
from chatbot.tracing import CONSUMER, Recorder, span_id_of
from tests.fakes import eventually

M = TypeVar("M", bound=Message)
DEADLINE_S = 20.0
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT_SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{PARENT_SPAN}-01"


class Room:
    """The store in a thread, and the supervisor's ends of its two pipes."""

    def __init__(self, settings: StoreSettings) -> None:
        pipe = get_context("spawn").Pipe
        inbox_end, self._to_store = pipe(duplex=False)
        from_store, outbox_end = pipe(duplex=False)
        self.records: list[Record] = []
        self.beats: queue.SimpleQueue[Beat] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self._received: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._exit_code: ExitCode | None = None
        Reader(from_store, FromStore | FromAny, self._sort, lambda reason: self._ended.set())
        inbox: Inbox[Any] = Inbox(inbox_end, process.INBOX)
        outbox = Outbox(outbox_end)
        recorder = Recorder("store", 0, outbox.offer)

        def run() -> None:
            try:
                self._exit_code = process.main(settings, inbox, outbox, recorder)
            except StoreUnavailable as error:
                self.error = error
            recorder.flush()
            outbox.close(DEADLINE_S)
            outbox_end.close()  # the test's reader sees the end of the pipe, after all that was sent

        self._thread = threading.Thread(target=run)

    def start(self) -> None:
        self._thread.start()
        self.receive(Ready)

    def send(self, *messages: Message) -> None:
        """Send the messages in one frame, which the store takes as one batch."""
        self._to_store.send_bytes(frame_of([encode(message) for message in messages]))

    def receive(self, kind: type[M]) -> M:
        """Return the next message, which must be of this kind."""
        message = self._received.get(timeout=DEADLINE_S)
        assert isinstance(message, kind), message
        return message

    def rest(self) -> list[Message]:
        """Return what is left to receive; only after the end."""
        left = []
        while not self._received.empty():
            left.append(self._received.get())
        return left

    def wait(self) -> None:
        """Wait until the store has ended and all it sent has been read."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        assert self._ended.wait(DEADLINE_S)

    def stop(self) -> None:
        """Stop the store, and see that it left in order."""
        self.send(Stop())
        self.wait()
        assert self.error is None
        assert self._exit_code is ExitCode.OK

    def close(self) -> None:
        if self._thread.is_alive():
            self.send(Stop())
            self.wait()
        self._to_store.close()

    def spans(self, name: str) -> list[SpanRecord]:
        return [r for r in self.records if isinstance(r, SpanRecord) and r.name == name]

    def logged(self, event: str) -> list[LogRecord]:
        return [r for r in self.records if isinstance(r, LogRecord) and r.event == event]

    def measured(self, name: str) -> list[Measurement]:
        return [r for r in self.records if isinstance(r, Measurement) and r.name == name]

    def _sort(self, batch: list[Message]) -> None:
        for message in batch:
            match message:
                case Beat():
                    self.beats.put(message)
                case Report():
                    self.records += msgspec.msgpack.decode(message.payload, type=list[Record])
                case _:
                    self._received.put(message)


Begin = Callable[..., Room]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chatbot.db")


@pytest.fixture
def build(path: str) -> Iterator[Begin]:
    """Build stores on one database, and end them all after the test."""
    rooms: list[Room] = []

    def build(**limits: Any) -> Room:
        rooms.append(Room(StoreSettings(path, **limits)))
        return rooms[-1]

    yield build
    for room in rooms:
        room.close()


@pytest.fixture
def begin(build: Begin) -> Begin:
    """Begin stores, as often as asked."""

    def begin(**limits: Any) -> Room:
        room = build(**limits)
        room.start()
        return room

    return begin


@pytest.fixture
def room(begin: Begin) -> Room:
    return begin()


def ask(number: int, content: str = "", cache: CachePolicy = "use", traceparent: str = "") -> Ask:
    content = content or f"question {number}"
    target = Target("sim", "sim")
    return Ask(f"r{number}", "s1", content, target, cache=cache, traceparent=traceparent)


def answered(number: int, text: str) -> Answered:
    return Answered(f"r{number}", 1, Completion(text, "sim", "stop"))


def select(path: str, sql: str) -> list[Any]:
    """Query the database with a connection of our own: it sees only what is committed."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def rows(path: str) -> list[Any]:
    return select(path, "SELECT request_id, role, content, status FROM messages ORDER BY id")


# --- a turn ------------------------------------------------------------------------------------


def test_a_question_is_on_disk_when_it_is_accepted(room: Room, path: str) -> None:
    room.send(ask(1))
    accepted = room.receive(Accepted)
    assert rows(path) == [("r1", "user", "question 1", "complete")]
    assert (accepted.request_id, len(accepted.key), accepted.hit) == ("r1", 64, None)


def test_no_reply_leaves_before_the_commit(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    commit, gather = Database.commit, Outbox.gather

    def watched_commit(self: Database) -> bool:
        happened.append("commit")
        return commit(self)

    def watched_gather(self: Outbox, message: Message) -> None:
        happened.append(type(message).__name__)
        gather(self, message)

    monkeypatch.setattr(Database, "commit", watched_commit)
    monkeypatch.setattr(Outbox, "gather", watched_gather)
    room.send(ask(1), answered(1, "a"), ask(2, "question 1"))
    room.stop()
    assert happened == ["commit", "Accepted", "Saved", "Accepted", "Saved"]


def test_an_answer_is_on_disk_when_it_is_saved(room: Room, path: str) -> None:
    room.send(ask(1), Checkpoint("r1", "so"))
    room.receive(Accepted)
    room.send(answered(1, "so it is"))
    assert room.receive(Saved).request_id == "r1"
    assert rows(path)[1:] == [("r1", "assistant", "so it is", "complete")]


@pytest.mark.parametrize(
    ("terminal", "status"),
    [
        (Failed("r1", 1, "timeout", "too slow", text="par"), "failed"),
        (Cancelled("r1", 1, "par"), "interrupted"),
        (Interrupted("r1", 1, "killed", "par"), "interrupted"),
    ],
)
def test_an_answer_that_broke_off_is_saved_and_never_cached(
    room: Room, path: str, terminal: Terminal, status: str
) -> None:
    room.send(ask(1, "same"), terminal, ask(2, "same"))
    room.receive(Accepted)
    assert room.receive(Saved).request_id == "r1"
    assert room.receive(Accepted).hit is None
    assert rows(path)[1] == ("r1", "assistant", "par", status)


def test_a_checkpoint_is_saved_without_a_reply(room: Room, path: str) -> None:
    room.send(ask(1), Checkpoint("r1", "so far"))
    room.stop()
    assert [type(m) for m in room.rest()] == [Accepted]
    assert rows(path)[1] == ("r1", "assistant", "so far", "interrupted")


def test_the_same_messages_again_are_answered_again_and_change_nothing(
    begin: Begin, path: str
) -> None:
    room = begin()
    room.send(ask(1), answered(1, "a"), ask(2, "question 1"))
    room.stop()
    first, before = room.rest(), rows(path)
    assert [type(m) for m in first] == [Accepted, Saved, Accepted, Saved]
    room = begin()  # the one after a crash is sent all that was not acknowledged
    room.send(ask(2, "question 1"), answered(1, "a"))
    room.stop()
    again = room.rest()
    assert [type(m) for m in again] == [Accepted, Saved, Saved]
    assert isinstance(again[0], Accepted)
    assert again[0].hit is not None
    assert rows(path) == before


def test_an_answer_to_a_question_nobody_saved_is_let_go_with_a_warning(
    room: Room, path: str
) -> None:
    room.send(answered(9, "a"))
    assert room.receive(Saved).request_id == "r9"
    room.stop()
    assert rows(path) == []
    (warning,) = room.logged("answer_without_question")
    assert (warning.level, warning.fields) == ("warning", {"request_id": "r9"})


# --- the cache ---------------------------------------------------------------------------------


def test_an_answer_is_found_again_in_memory_and_after_a_restart_in_sqlite(
    begin: Begin, path: str
) -> None:
    completion = Completion("a", "sim", "stop", "why", "id", {"n": 3}, 1, 2)
    room = begin()
    room.send(ask(1, "same"), Answered("r1", 1, completion))
    key = room.receive(Accepted).key
    room.receive(Saved)
    for number, level in ((2, "memory"), (3, "sqlite"), (4, "memory")):
        if level == "sqlite":
            room = begin()
        room.send(ask(number, "same", traceparent=PARENT))
        accepted = room.receive(Accepted)
        assert accepted.key == key
        assert isinstance(accepted.hit, Hit)
        assert accepted.hit.completion == completion
        assert accepted.hit.age_s >= 0
        assert room.receive(Saved).request_id == f"r{number}"
        if number != 3:
            room.stop()
            found = [s.attributes["cache.level"] for s in room.spans("cache_lookup")]
            assert found[-1] == level
    assert found == ["sqlite", "memory"]
    assert select(path, "SELECT request_id, cached FROM messages WHERE role = 'assistant'") == [
        ("r1", 0),
        ("r2", 1),
        ("r3", 1),
        ("r4", 1),
    ]


def test_the_dispatchers_own_word_on_a_hit_changes_nothing(room: Room, path: str) -> None:
    room.send(ask(1, "same"), answered(1, "a"), ask(2, "same"))
    hit = Answered("r2", 0, Completion("a", "sim", "stop"), cached_age_s=1.0)
    room.send(hit)
    room.stop()
    assert [type(m) for m in room.rest()] == [Accepted, Saved, Accepted, Saved, Saved]
    assert len(rows(path)) == 4
    assert select(path, "SELECT count(*) FROM cache") == [(1,)]


def test_a_cached_answer_does_not_grow_younger_by_being_used(room: Room, path: str) -> None:
    room.send(ask(1, "same"), answered(1, "a"))
    room.receive(Accepted)
    room.receive(Saved)
    before = select(path, "SELECT created_at FROM cache")
    room.send(ask(2, "same"))
    room.stop()
    assert select(path, "SELECT created_at FROM cache") == before


def test_refresh_asks_anew_and_replaces_the_answer_even_through_a_restart(begin: Begin) -> None:
    room = begin()
    room.send(ask(1, "same"), answered(1, "old"), ask(2, "same", "refresh"))
    room.receive(Accepted)
    room.receive(Saved)
    assert room.receive(Accepted) == Accepted("r2", "", None)
    room.stop()
    room = begin()
    room.send(answered(2, "new"), ask(3, "same"))
    room.receive(Saved)
    hit = room.receive(Accepted).hit
    assert hit is not None
    assert hit.completion.text == "new"


def test_off_neither_looks_up_nor_stores(room: Room, path: str) -> None:
    room.send(ask(1, "same"), answered(1, "a"), ask(2, "same", "off"), answered(2, "b"))
    room.send(ask(3, "same"))
    room.stop()
    first, _, second, _, third, _ = room.rest()
    assert isinstance(first, Accepted)
    assert len(first.key) == 64
    assert second == Accepted("r2", "", None)
    assert isinstance(third, Accepted)
    assert third.hit is not None
    assert third.hit.completion.text == "a"


def test_an_answer_that_another_instance_replaced_is_not_given_from_memory(begin: Begin) -> None:
    one, other = begin(), begin()
    one.send(ask(1, "same"), answered(1, "old"), ask(2, "same"))
    for kind in (Accepted, Saved, Accepted, Saved):
        one.receive(kind)
    other.send(ask(3, "same", "refresh"), answered(3, "new"))
    for kind in (Accepted, Saved):
        other.receive(kind)
    one.send(ask(4, "same"))
    hit = one.receive(Accepted).hit
    assert hit is not None
    assert hit.completion.text == "new"


def test_an_answer_nearly_as_large_as_a_frame_is_saved_and_ends_nothing(
    room: Room, path: str
) -> None:
    room.send(ask(1, "same"))
    room.send(answered(1, "x" * (4 * 1024 * 1024 - 200)))
    room.send(ask(2, "same"), Load("l1", "s1"))
    room.stop()
    accepted, saved, again, loaded = room.rest()
    assert isinstance(accepted, Accepted)
    assert saved == Saved("r1")
    assert again == Accepted("r2", accepted.key, None)
    assert isinstance(loaded, Loaded)
    assert loaded.truncated
    assert [m.content for m in loaded.messages] == ["same"]


def test_a_hit_names_the_call_that_was_paid_for_and_its_look_up_links_to_it(
    begin: Begin, path: str
) -> None:
    call = f"00-{'c' * 32}-{'d' * 16}-01"
    paid = msgspec.structs.replace(answered(1, "a"), call_traceparent=call)
    room = begin()
    room.send(ask(1, "same"), paid, ask(2, "same", traceparent=PARENT))
    room.stop()
    assert select(path, "SELECT traceparent FROM cache") == [(call,)]
    other = begin()
    other.send(ask(3, "same", traceparent=PARENT), ask(4, "new", traceparent=PARENT))
    other.stop()
    for each in (room, other):
        accepted = [m for m in each.rest() if isinstance(m, Accepted)]
        (hit,) = [m.hit for m in accepted if m.hit is not None]
        assert hit.call_traceparent == call
        assert each.spans("cache_lookup")[0].links == (call,)
    assert other.spans("cache_lookup")[1].links == ()


def test_an_answer_that_is_too_old_is_asked_for_anew(begin: Begin, path: str) -> None:
    room = begin(cache_age_s=-1.0)  # everything is too old, in memory as in SQLite
    room.send(ask(1, "same"), answered(1, "a"), ask(2, "same"))
    room.stop()
    assert [m.hit for m in room.rest() if isinstance(m, Accepted)] == [None, None]
    assert select(path, "SELECT * FROM cache") == []


def test_the_cache_on_disk_keeps_within_its_bound(begin: Begin, path: str) -> None:
    room = begin(cache_bytes=1000, memory_cache_bytes=0)
    for number in range(10):
        room.send(ask(number), answered(number, "x" * 300))
        room.receive(Accepted)
        room.receive(Saved)
    room.send(ask(20, "question 9"), ask(21, "question 0"))
    room.stop()
    ((size, entries),) = select(path, "SELECT sum(size), count(*) FROM cache")
    assert 0 < size <= 1000
    assert entries == 2
    again = {m.request_id: m.hit for m in room.rest() if isinstance(m, Accepted)}
    assert again["r20"] is not None
    assert again["r21"] is None


def test_the_cache_tells_what_it_holds_and_is_cleared_on_both_levels(room: Room, path: str) -> None:
    room.send(ask(1, "same"), answered(1, "a"), ask(2, "same"), ReadCache("q1"))
    for _ in range(2):
        room.receive(Accepted)
        room.receive(Saved)
    stats = room.receive(CacheRead).stats
    assert stats is not None
    assert (stats.entries, stats.hits, stats.misses) == (1, 1, 1)
    assert stats.oldest_age_s is not None
    room.send(ReadCache("q2", clear=True), ReadCache("q3"), ask(3, "same"))
    cleared, after = room.receive(CacheRead), room.receive(CacheRead)
    assert cleared.stats is not None
    assert after.stats is not None
    assert (cleared.stats.entries, after.stats.entries) == (1, 0)
    assert room.receive(Accepted).hit is None


# --- groups, order, stop -----------------------------------------------------------------------


def test_a_batch_is_committed_in_groups_and_answered_in_order(room: Room) -> None:
    room.send(*(ask(n, traceparent=PARENT) for n in range(300)))
    room.stop()
    assert [m.request_id for m in room.rest() if isinstance(m, Accepted)] == [
        f"r{n}" for n in range(300)
    ]
    commits = room.spans("commit")
    assert [span.attributes for span in commits] == [
        {"messaging.batch.message_count": 256, "rows": 257},  # it also made the session
        {"messaging.batch.message_count": 44, "rows": 44},
    ]
    asks = {span.span_id: span for span in room.spans("process store.asks")}
    told: list[str] = []
    for commit in commits:
        group = [commit.parent_id, *map(span_id_of, commit.links)]
        assert {asks[each].end_ns for each in group} == {commit.end_ns}
        told += [str(asks[each].attributes["messaging.message.id"]) for each in group]
    assert told == [f"r{n}" for n in range(300)]
    durations = room.measured("chatbot.store.commit.duration")
    assert [span_id_of(m.traceparent) for m in durations] == [c.span_id for c in commits]


def test_a_load_sees_what_was_sent_before_it_and_a_stop_loses_nothing_after_it(
    build: Begin, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "DRAIN_SILENCE_S", 1.0)
    room = build()
    room.send(ask(1), answered(1, "a"), ask(2), Load("l1", "s1"), ask(3), Stop(), ask(4))
    room.send(ask(5))
    room.send(answered(5, "b"))
    room.start()
    room.wait()
    left = room.rest()
    assert [m.request_id for m in left if isinstance(m, Accepted | Saved | Loaded)] == [
        "r1",
        "r1",
        "r2",
        "l1",
        "r3",
        "r4",
        "r5",
        "r5",
    ]
    (loaded,) = [m for m in left if isinstance(m, Loaded)]
    assert [m.content for m in loaded.messages] == ["question 1", "a", "question 2"]
    assert len(rows(path)) == 7
    assert room.error is None


def test_the_write_ahead_log_is_emptied_at_the_end(room: Room, path: str) -> None:
    room.send(ask(1))
    room.receive(Accepted)
    assert Path(f"{path}-wal").exists()
    room.stop()
    assert not Path(f"{path}-wal").exists()


# --- sessions ----------------------------------------------------------------------------------


def test_a_session_is_loaded_by_its_id_or_as_the_latest(room: Room) -> None:
    room.send(Load("l0"), ask(1), answered(1, "a"), Load("l1"), Load("l2", "s1"))
    assert room.receive(Loaded) == Loaded("l0")
    room.receive(Accepted)
    room.receive(Saved)
    latest, named = room.receive(Loaded), room.receive(Loaded)
    assert latest.session is not None
    assert (latest.session.session_id, latest.session.title) == ("s1", "question 1")
    assert [(m.role, m.content) for m in latest.messages] == [
        ("user", "question 1"),
        ("assistant", "a"),
    ]
    assert msgspec.structs.replace(named, request_id="l1") == latest
    room.send(Load("l3", "nobody"))
    assert room.receive(Loaded) == Loaded("l3")


def test_a_name_that_fits_several_sessions_is_an_error_that_names_them(room: Room) -> None:
    for number in range(2):
        room.send(msgspec.structs.replace(ask(number), session_id=f"session_1{number}"))
        room.receive(Accepted)
    room.send(Load("l1", "session_1"), Load("l2", "0"))
    assert room.receive(Loaded) == Loaded(
        "l1", error="session_1 fits several sessions: session_10, session_11"
    )
    session = room.receive(Loaded).session
    assert session is not None
    assert session.session_id == "session_10"


def test_a_turn_that_takes_the_place_of_another_leaves_it_out_of_everything(
    room: Room, path: str
) -> None:
    instead = msgspec.structs.replace(ask(2, "banana"), replaces="r1")
    room.send(ask(1, "apple"), instead, instead, answered(1, "apple pie"), Load("l1", "s1"))
    room.send(Search("q1", "apple"), Search("q2", "banana"), ListSessions("q3"))
    for kind in (Accepted, Accepted, Accepted, Saved):
        room.receive(kind)
    loaded = room.receive(Loaded)
    assert [m.content for m in loaded.messages] == ["banana"]
    assert room.receive(Found) == Found("q1")
    assert [hit.snippet for hit in room.receive(Found).hits] == ["banana"]
    (session,) = room.receive(Listed).sessions
    assert session.messages == 1
    assert select(path, "SELECT request_id, active FROM messages ORDER BY id") == [
        ("r1", 0),
        ("r2", 1),
        ("r1", 0),
    ]


def test_a_turn_of_another_session_cannot_be_replaced(room: Room, path: str) -> None:
    other = Ask("r2", "s2", "x", Target("sim", "sim"), replaces="r1")
    itself = Ask("r3", "s1", "x", Target("sim", "sim"), replaces="r3")
    room.send(ask(1), other, itself)
    room.stop()
    assert select(path, "SELECT DISTINCT active FROM messages") == [(1,)]


def test_an_undone_turn_stays_undone_when_its_answer_comes_late(room: Room, path: str) -> None:
    room.send(ask(1), Undo("q1", "s1", "r1"), Undo("q2", "s1", "r1"), answered(1, "late"))
    room.send(Undo("q3", "s1", "r9"), Undo("q4", "s2", "r1"), Load("l1", "s1"))
    room.stop()
    _, undone, again, _, unknown, elsewhere, loaded = room.rest()
    assert (undone, again) == (Undone("q1"), Undone("q2"))
    refusal = "there is no such turn in this session; nothing was undone"
    assert (unknown, elsewhere) == (Undone("q3", refusal), Undone("q4", refusal))
    assert isinstance(loaded, Loaded)
    assert loaded.messages == ()
    assert select(path, "SELECT role, content, active FROM messages") == [
        ("user", "question 1", 0),
        ("assistant", "late", 0),
    ]


def test_what_is_saved_of_an_undone_turn_in_pieces_is_undone_too(room: Room, path: str) -> None:
    room.send(ask(1), Undo("q1", "s1", "r1"), Checkpoint("r1", "la"), answered(1, "late"))
    room.stop()
    assert select(path, "SELECT content, active FROM messages") == [
        ("question 1", 0),
        ("late", 0),
    ]


def test_sessions_are_listed_renamed_and_pruned(room: Room, path: str) -> None:
    for number in range(4):
        room.send(msgspec.structs.replace(ask(number), session_id=f"s{number}"))
        room.receive(Accepted)
    room.send(ListSessions("q1", 3), Rename("q2", "s0", "a title"), Rename("q3", "s0", " "))
    listed = room.receive(Listed)
    assert [s.session_id for s in listed.sessions] == ["s3", "s2", "s1"]
    assert listed.truncated
    assert [s.title for s in room.receive(Listed).sessions] == ["a title"]
    assert room.receive(Listed) == Listed(
        "q3", error="a title cannot be empty; give it at least one word"
    )
    room.send(Rename("q4", "nobody", "x"))
    assert room.receive(Listed).error == "there is no session nobody; list them to see all"
    room.send(Prune("q5", 3600.0), Prune("q6", -1.0, 2, dry_run=True), Prune("q7", -1.0, 2))
    assert room.receive(Listed) == Listed("q5")
    told, pruned = room.receive(Listed), room.receive(Listed)
    assert [s.session_id for s in told.sessions] == ["s1", "s0"]
    assert pruned.sessions == told.sessions
    assert select(path, "SELECT id FROM sessions ORDER BY id") == [("s2",), ("s3",)]


def test_an_answer_that_comes_for_a_deleted_session_is_neither_saved_nor_cached(
    room: Room, path: str
) -> None:
    room.send(ask(1, "same"), Delete("q1", ("s1", "s1", "nobody")), Checkpoint("r1", "secr"))
    room.send(answered(1, "secret"))
    room.receive(Accepted)
    assert [s.session_id for s in room.receive(Listed).sessions] == ["s1"]
    assert room.receive(Saved).request_id == "r1"
    for table in ("sessions", "messages", "cache"):
        assert select(path, f"SELECT * FROM {table}") == []
    room.send(ask(2, "same"), Delete("q2", ("s9",)))
    assert room.receive(Accepted).hit is None
    assert room.receive(Listed) == Listed("q2")
    assert select(path, "SELECT title FROM sessions") == [("same",)]


def test_what_another_instance_deleted_is_not_written_to(begin: Begin, path: str) -> None:
    one, other = begin(), begin()
    one.send(ask(1, "same"))
    one.receive(Accepted)
    other.send(Delete("q1", ("s1",)))
    other.receive(Listed)
    one.send(answered(1, "a"), ask(2))
    one.receive(Saved)
    one.receive(Accepted)
    assert rows(path) == [("r2", "user", "question 2", "complete")]


def test_a_database_that_is_whole_is_not_recovered(room: Room) -> None:
    room.send(Recover("q1"))
    assert room.receive(Recovered) == Recovered(
        "q1", error="the database is not damaged; nothing was changed"
    )


# --- when the database fails -------------------------------------------------------------------


def test_a_store_that_is_locked_out_beats_until_it_may_write(
    build: Begin, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_room, "BUSY_TIMEOUT_S", 0.01)
    room = build()
    room.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        room.send(ask(1))
        for _ in range(10):  # its loop stands still in the meantime: only the wait itself can beat
            room.beats.get(timeout=DEADLINE_S)
        other.execute("COMMIT")
    # The person is told why nothing happens: once, however long it takes.
    assert room.receive(Notice).text == f"waiting: another program is writing to {path}"
    assert room.receive(Accepted).request_id == "r1"


def test_a_lock_that_is_never_given_up_ends_the_store_with_the_reason(
    build: Begin, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_room, "BUSY_TIMEOUT_S", 0.01)
    monkeypatch.setattr(process, "LOCKED_FOR_S", 0.1)
    room = build()
    room.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        room.send(ask(1))
        room.wait()
    reason = (
        f"database is locked: another program is writing to {path}; "
        "close it or choose another place with --db PATH"
    )
    assert isinstance(room.error, StoreUnavailable)
    assert str(room.error) == reason
    assert [type(m) for m in room.rest()] == [Notice]
    assert room.logged("store_unavailable")[0].fields["reason"] == reason


def test_a_group_that_cannot_be_written_is_undone_and_nobody_is_told_it_was_saved(
    room: Room, path: str
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE cache")
    room.send(ask(1, cache="off"), ask(2))
    room.wait()
    assert isinstance(room.error, StoreUnavailable)
    assert str(room.error) == (
        f"cannot use {path}: no such table: cache; choose another place with --db PATH"
    )
    assert room.rest() == []
    assert rows(path) == []


def test_a_session_that_cannot_be_read_is_told_and_the_store_goes_on(room: Room, path: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("ALTER TABLE messages RENAME TO away")
    room.send(Load("l1"))
    assert "no such table: messages" in room.receive(Loaded).error
    with closing(sqlite3.connect(path)) as other:
        other.execute("ALTER TABLE away RENAME TO messages")
    room.send(ask(1))
    room.receive(Accepted)


@pytest.mark.parametrize(
    ("query", "table"),
    [
        (ListSessions("q"), "sessions"),
        (Rename("q", "s1", "x"), "sessions"),
        (Delete("q", ("s1",)), "cache"),
        (Prune("q", -1.0), "cache"),
        (Search("q", "question"), "messages"),
        (Undo("q", "s1", "r1"), "messages"),
        (Pick("q", "s1", "r1"), "messages"),
        (ReadCache("q"), "cache"),
    ],
)
def test_what_cannot_be_done_is_told_and_undone_and_the_store_goes_on(
    room: Room, path: str, query: Query, table: str
) -> None:
    room.send(ask(1))
    room.receive(Accepted)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA legacy_alter_table = ON")
        other.execute(f"ALTER TABLE {table} RENAME TO away")
    room.send(query)
    reply: Any = room.receive(Message)
    assert (reply.request_id, f"no such table: {table}" in reply.error) == ("q", True)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA legacy_alter_table = ON")
        other.execute(f"ALTER TABLE away RENAME TO {table}")
    room.send(ask(2))
    assert room.receive(Accepted).request_id == "r2"
    assert [request_id for request_id, *_ in rows(path)] == ["r1", "r2"]
    assert room.error is None


def spoiled(path: str) -> dict[str, bytes]:
    """Leave a database open, with a log, and one of its tables damaged; return what the files hold."""
    program = """
import os, sys
from chatbot.store.database import Database
database = Database.open(sys.argv[1])
for number in range(300):
    database.write("INSERT INTO prices VALUES ('b', :model, 1.0, 1.0, NULL)", model=f"{number} " + "x" * 90)
database.one("PRAGMA wal_checkpoint(TRUNCATE)")
database.write("INSERT INTO sessions VALUES ('late', '', 1.0, '', '')")
os._exit(0)
"""
    subprocess.run(
        [sys.executable, "-c", program, path],
        check=True,
        timeout=DEADLINE_S,
        cwd=Path(__file__).parents[2],
    )
    ((page,),) = select_untouched(path, "SELECT rootpage FROM sqlite_master WHERE name = 'prices'")
    with open(path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xaa" * 4096)
    return files_of(path)


def select_untouched(path: str, sql: str) -> list[Any]:
    """Query a copy of the file without its log."""
    copy = f"{path}.copy"
    shutil.copyfile(path, copy)
    return select(copy, sql)


def files_of(path: str) -> dict[str, bytes]:
    return {name: Path(path + name).read_bytes() for name in ("", "-wal")}


def test_what_the_check_finds_ends_the_saving_and_the_files_stay_as_they_are(
    build: Begin, path: str
) -> None:
    before = spoiled(path)
    assert before["-wal"]
    room = build()
    room.start()
    room.wait()  # nobody has asked for anything
    assert isinstance(room.error, DatabaseDamaged)
    assert f"{path} is damaged" in str(room.error)
    assert files_of(path) == before


def test_traces_that_a_killed_store_has_left_are_removed_while_the_next_one_works(
    begin: Begin, path: str
) -> None:
    program = """
import os, sys
from chatbot.messages import Ask, Target
from chatbot.store import queries
from chatbot.store.database import Database
from chatbot.store.patience import Patience
from chatbot.store.scrub import Scrub
database = Database.open(sys.argv[1])
database.begin()
ask = Ask("r0", "s0", "zanzibar", Target("sim", "m"))
queries.begin_session(database, ask, 1.0)
queries.accept(database, ask, "", 1.0)
database.commit()
database.begin()
Scrub(database, Patience(database, None, 1.0)).mark("index")
database.write("DELETE FROM sessions")
database.commit()
os._exit(0)
"""
    subprocess.run(
        [sys.executable, "-c", program, path],
        check=True,
        timeout=DEADLINE_S,
        cwd=Path(__file__).parents[2],
    )
    assert b"zanzibar" in b"".join(files_of(path).values())
    room = begin()
    room.send(ask(1))
    room.receive(Accepted)
    assert eventually(lambda: b"zanzibar" not in b"".join(files_of(path).values()))
    room.send(ask(2))
    room.receive(Accepted)
    assert [request_id for request_id, *_ in rows(path)] == ["r1", "r2"]
    room.stop()


# --- telemetry ---------------------------------------------------------------------------------


def test_the_spans_of_a_turn_continue_its_trace(room: Room, path: str) -> None:
    answer = msgspec.structs.replace(answered(1, "a"), traceparent=PARENT)
    room.send(ask(1, traceparent=PARENT), answer)
    room.stop()
    (asks,), (answers,) = room.spans("process store.asks"), room.spans("process store.answers")
    assert {(s.trace_id, s.parent_id, s.kind) for s in (asks, answers)} == {
        (TRACE, PARENT_SPAN, CONSUMER)
    }
    assert asks.attributes == {
        "messaging.system": "chatbot",
        "messaging.destination.name": "store.asks",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": "r1",
    }
    (lookup,) = room.spans("cache_lookup")
    assert (lookup.parent_id, lookup.attributes) == (
        asks.span_id,
        {"cache.hit": False, "cache.level": "none"},
    )
    (commit,) = room.spans("commit")
    assert (commit.parent_id, commit.attributes) == (
        asks.span_id,
        {"messaging.batch.message_count": 2, "rows": 4},
    )
    assert commit.links == (f"00-{TRACE}-{answers.span_id}-01",)
    for child, parent in ((lookup, asks), (commit, asks), (commit, answers)):
        assert parent.start_ns <= child.start_ns <= child.end_ns <= parent.end_ns
    assert select(path, "SELECT trace_id FROM messages") == [(TRACE,), (TRACE,)]


def test_of_a_trace_that_is_not_kept_the_store_records_no_span(room: Room, path: str) -> None:
    room.send(ask(1, traceparent=PARENT[:-2] + "00"))
    room.stop()
    assert not [r for r in room.records if isinstance(r, SpanRecord)]
    (lookup,) = room.measured("chatbot.cache.lookups")
    (commit,) = room.measured("chatbot.store.commit.duration")
    assert lookup.traceparent == commit.traceparent == ""
    assert select(path, "SELECT trace_id FROM messages") == [(TRACE,)]


def test_the_spans_of_messages_that_could_not_be_saved_say_so(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Database) -> bool:
        raise StoreUnavailable("no space left")

    monkeypatch.setattr(Database, "commit", fail)
    room.send(ask(1, traceparent=PARENT))
    room.wait()
    assert isinstance(room.error, StoreUnavailable)
    (asks,) = room.spans("process store.asks")
    assert asks.error == "not saved"
    assert not room.spans("commit")


def test_look_ups_and_commits_are_measured_and_nothing_else_is_traced(room: Room) -> None:
    room.send(ask(1, "same"), answered(1, "a"), ask(2, "same"), ask(3, cache="off"))
    room.stop()
    lookups = room.measured("chatbot.cache.lookups")
    assert [(m.value, m.attributes) for m in lookups] == [
        (1, {"result": "miss"}),
        (1, {"result": "hit"}),
    ]
    (commit,) = room.measured("chatbot.store.commit.duration")
    assert (commit.instrument, commit.value > 0) == ("histogram", True)
    assert not [r for r in room.records if isinstance(r, SpanRecord)]


def test_the_log_tells_where_the_database_is_and_never_what_is_in_it(room: Room, path: str) -> None:
    room.send(ask(1, "a secret"), answered(1, "another secret"), answered(9, "a third secret"))
    room.stop()
    (opened,) = room.logged("opened")
    assert opened.fields == {"path": path, "sqlite": sqlite3.sqlite_version}
    assert room.logged("closed")
    assert "secret" not in json.dumps(msgspec.to_builtins(room.records))
