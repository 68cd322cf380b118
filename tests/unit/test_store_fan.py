"""Turns that were asked at once: which of them is active, and what comes along with it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot.errors import StoreUnavailable
from chatbot.mailbox import MAX_MESSAGE_BYTES
from chatbot.messages import (
    Answered,
    Ask,
    Checkpoint,
    Completion,
    Loaded,
    Search,
    Session,
    StoredMessage,
    Target,
)
from chatbot.store import queries, search, sessions
from chatbot.store.database import Database
from chatbot.store.recovery import recover

NAMES = ("a", "b", "c")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chatbot.db")


@pytest.fixture
def database(path: str) -> Iterator[Database]:
    with closing(Database.open(path)) as opened:
        yield opened


def say(
    database: Database, request_id: str, content: str, fan: str = "", session: str = "s"
) -> Ask:
    ask = Ask(request_id, session, content, Target("sim", f"model-{request_id}"), fan=fan)
    queries.begin_session(database, ask, 1.0)
    queries.accept(database, ask, "", 1.0)
    return ask


def end(database: Database, request_id: str, text: str) -> None:
    question = queries.question_of(database, request_id)
    assert question is not None
    queries.finish(database, question, Answered(request_id, 1, Completion(text)), 2.0)


def fan_out(database: Database, session: str = "s") -> None:
    """Ask one question before, one of three at once, and answer them in another order."""
    say(database, "before", "hello", session=session)
    end(database, "before", "hello you")
    for name in NAMES:
        say(database, name, "which way?", "a", session)
    for name in reversed(NAMES):
        end(database, name, f"the way of {name}")


def session_of(database: Database, session_id: str = "s") -> Session:
    session = sessions.read(database, session_id)
    assert session is not None
    return session


def load(database: Database, after: int | None = None, at_most: int = 10**6) -> Loaded:
    return sessions.load(database, "l", session_of(database), after, at_most)


def active_of(messages: tuple[StoredMessage, ...]) -> list[tuple[str, bool]]:
    return [(message.request_id, message.active) for message in messages]


def rows(database: Database) -> list[tuple[Any, ...]]:
    return list(database.rows("SELECT request_id, role, active, fan FROM messages ORDER BY id"))


# --- as they are asked ---------------------------------------------------------------------------


def test_of_those_asked_at_once_the_first_is_active_and_all_know_their_fan(
    database: Database,
) -> None:
    fan_out(database)
    assert rows(database) == [
        ("before", "user", 1, None),
        ("before", "assistant", 1, None),
        ("a", "user", 1, "a"),
        ("b", "user", 0, "a"),
        ("c", "user", 0, "a"),
        ("c", "assistant", 0, "a"),
        ("b", "assistant", 0, "a"),
        ("a", "assistant", 1, "a"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_in_pieces_or_cut_off_is_as_active_as_its_question(
    database: Database, name: str
) -> None:
    for each in NAMES:
        say(database, each, "which way?", "a")
    queries.checkpoint(database, Checkpoint(name, "half"), 1.0)
    for each in NAMES:
        queries.cut_off(database, each, "killed", 1.0)
    assert rows(database)[3:] == [
        (each, "assistant", int(each == "a"), "a")
        for each in dict.fromkeys((name, *NAMES))  # the one with a checkpoint has its row already
    ]


def test_a_question_that_is_told_again_stays_what_it_has_become(database: Database) -> None:
    asks = [say(database, name, "which way?", "a") for name in NAMES]
    assert queries.pick(database, "s", "b") == ""
    for ask, active in zip(asks, (0, 1, 0), strict=True):
        question = queries.accept(database, ask, "", 3.0)
        assert (question.active, question.fan) == (active, "a")
    assert [row[2] for row in rows(database)] == [0, 1, 0]


def test_a_session_goes_on_with_what_the_first_was_asked_with(database: Database) -> None:
    fan_out(database)
    session = session_of(database)
    assert (session.model, session.title, session.messages) == ("model-a", "hello", 4)
    say(database, "x", "alone", "gone", "another")  # its first one was never saved
    assert session_of(database, "another").model == "model-x"


# --- picked --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_picked_one_is_active_and_the_others_of_its_fan_are_not(
    database: Database, name: str
) -> None:
    fan_out(database)
    fan_out_elsewhere(database)
    for _ in range(2):
        assert queries.pick(database, "s", name) == ""
        assert {row[0] for row in rows(database) if row[2] == 1} == {"before", name, "elsewhere"}
        session = session_of(database)
        assert (session.model, session.messages) == (f"model-{name}", 4)
    assert [message.content for message in load(database).messages if message.active] == [
        "hello",
        "hello you",
        "which way?",
        f"the way of {name}",
    ]


def fan_out_elsewhere(database: Database) -> None:
    say(database, "elsewhere", "x", "elsewhere", "s2")
    say(database, "sibling elsewhere", "x", "elsewhere", "s2")


def test_picking_again_what_is_picked_changes_no_row(database: Database) -> None:
    fan_out(database)
    queries.pick(database, "s", "b")
    before = database.one("SELECT total_changes()")
    assert queries.pick(database, "s", "b") == ""
    assert database.one("SELECT total_changes()") == before


def test_what_was_asked_with_after_a_fan_stays_when_one_of_it_is_picked(
    database: Database,
) -> None:
    fan_out(database)
    say(database, "later", "and then?")
    assert queries.pick(database, "s", "c") == ""
    assert session_of(database).model == "model-later"


def test_a_turn_without_siblings_is_picked_as_long_as_it_is_active(database: Database) -> None:
    fan_out(database)
    assert queries.pick(database, "s", "before") == ""
    queries.take_out(database, "s", "before")
    gone = "this turn was undone or replaced; nothing was picked"
    assert queries.pick(database, "s", "before") == gone
    assert [row[2] for row in rows(database)] == [0, 0, 1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(("session", "turn"), [("s", "nobody"), ("other", "b"), ("nowhere", "b")])
def test_a_turn_that_is_not_in_the_session_cannot_be_picked(
    database: Database, session: str, turn: str
) -> None:
    fan_out(database)
    say(database, "r", "x", session="other")
    before = rows(database)
    said = "there is no such turn in this session; nothing was picked"
    assert queries.pick(database, session, turn) == said
    assert rows(database) == before


def test_a_sibling_whose_first_was_never_saved_can_be_picked(database: Database) -> None:
    say(database, "b", "which way?", "a")
    assert load(database).messages == ()
    assert queries.pick(database, "s", "b") == ""
    assert active_of(load(database).messages) == [("b", True)]


# --- undone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("picked", NAMES)
@pytest.mark.parametrize("undone", NAMES)
def test_who_takes_one_out_takes_out_the_whole_fan(
    database: Database, picked: str, undone: str
) -> None:
    fan_out(database)
    fan_out_elsewhere(database)
    queries.pick(database, "s", picked)
    assert queries.take_out(database, "s", undone) == 2  # a question and its answer were active
    assert queries.take_out(database, "s", undone) == 0
    assert {row[0] for row in rows(database) if row[2] == 1} == {"before", "elsewhere"}
    assert active_of(load(database).messages) == [("before", True), ("before", True)]
    assert queries.pick(database, "s", "b").startswith("this turn was undone")
    say(database, "d", "which way?", "a")  # one more of them, which comes late
    end(database, "d", "the way of d")
    assert len(load(database).messages) == 2


def test_the_rows_of_a_fan_are_found_by_its_index(database: Database) -> None:
    fan_out(database)
    loading = sessions._MESSAGES + sessions._OF_CONVERSATION
    for sql in (queries._TAKE_OUT, queries._PICK, loading):
        for name in ("session_id", "turn", "fan"):
            sql = sql.replace(f":{name}", "'a'")
        plan = [row[3] for row in database.rows(f"EXPLAIN QUERY PLAN {sql}")]
        assert any("messages_by_fan" in step for step in plan), plan
        assert not any(step.startswith("SCAN") for step in plan), plan
        if "UPDATE" in sql:  # however long its session is
            assert not any("messages_by_session" in step for step in plan), plan


# --- loaded --------------------------------------------------------------------------------------


def test_siblings_come_along_in_the_order_of_their_ids_and_are_marked(database: Database) -> None:
    fan_out(database)
    say(database, "later", "and then?")
    loaded = load(database)
    assert active_of(loaded.messages) == [
        ("before", True),
        ("before", True),
        ("a", True),
        ("b", False),
        ("c", False),
        ("c", False),
        ("b", False),
        ("a", True),
        ("later", True),
    ]
    assert [m.fan for m in loaded.messages] == ["", "", *["a"] * 6, ""]
    assert [m.id for m in loaded.messages] == sorted(m.id for m in loaded.messages)
    assert load(database, after=0).messages == loaded.messages


@pytest.mark.parametrize("at_most", [1, 150, 400, 10**6])
def test_a_fan_may_go_over_several_pieces_and_nothing_of_it_is_left_out(
    database: Database, at_most: int
) -> None:
    fan_out(database)
    whole = load(database).messages
    pieces: list[StoredMessage] = []
    truncated = True
    while truncated:
        loaded = load(database, pieces[-1].id if pieces else 0, at_most)
        assert loaded.messages
        pieces += loaded.messages
        truncated = loaded.truncated
    assert tuple(pieces) == whole
    latest = load(database, at_most=at_most)
    assert latest.messages == whole[-len(latest.messages) :]


def test_a_sibling_that_is_too_large_is_told_like_any_message(database: Database) -> None:
    say(database, "a", "x", "a")
    say(database, "b", "x" * MAX_MESSAGE_BYTES, "a")
    with pytest.raises(StoreUnavailable, match="too large to be shown"):
        load(database)
    assert active_of(load(database, after=0).messages) == [("a", True)]


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE messages SET fan = 7",
        "UPDATE messages SET fan = x'ff'",
        "UPDATE messages SET fan = ''",
    ],
)
def test_a_fan_that_was_changed_by_hand_takes_nothing_away(
    database: Database, path: str, edit: str
) -> None:
    fan_out(database)
    with closing(sqlite3.connect(path)) as other:
        other.executescript(edit)
    contents = {message.content for message in load(database).messages if message.active}
    assert contents == {"hello", "hello you", "which way?", "the way of a"}


def test_every_field_of_a_loaded_message_is_there(database: Database) -> None:
    fan_out(database)
    sibling = load(database).messages[3]
    fields = msgspec.structs.asdict(sibling)
    assert (fields["fan"], fields["active"], fields["request_id"]) == ("a", False, "b")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sibling), type=StoredMessage) == sibling


# --- elsewhere -----------------------------------------------------------------------------------


def test_only_the_conversation_is_searched(database: Database) -> None:
    fan_out(database)
    hits = search.search(database, Search("q", "which way"))
    assert [hit.message_id for hit in hits] == [3]  # the question, once
    assert [hit.message_id for hit in search.search(database, Search("q", "way of b"))] == []
    queries.pick(database, "s", "b")
    assert [hit.message_id for hit in search.search(database, Search("q", "way of b"))] == [7]


def test_a_session_whose_newest_message_is_a_siblings_was_used_by_it(database: Database) -> None:
    say(database, "a", "x", "a", "s1")
    say(database, "r", "x", session="s2")
    say(database, "b", "x", "a", "s1")
    assert sessions.used_last(database, 2) == ["s1", "s2"]


def test_a_recovered_database_has_its_siblings(database: Database, path: str) -> None:
    fan_out(database)
    queries.pick(database, "s", "c")
    before = rows(database)
    (page,) = database.one("SELECT rootpage FROM sqlite_master WHERE name = 'cache'") or (0,)
    database.close()
    data = bytearray(Path(path).read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xaa" * 4096
    Path(path).write_bytes(data)
    recover(path)
    with closing(Database.open(path)) as recovered:
        assert rows(recovered) == before
        assert len(load(recovered).messages) == 8
