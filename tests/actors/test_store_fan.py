"""Questions that are asked at once, and the picking of one: over the store's whole room."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Checkpoint,
    Completion,
    Delete,
    Hit,
    Listed,
    Load,
    Loaded,
    Pick,
    Picked,
    Saved,
    Target,
    Undo,
    Undone,
)
from chatbot.settings import Price, StoreSettings
from tests.actors.test_store import Room

PRICES = {"sim:sim": Price(1.0, 2.0), "openai:gpt:x": Price(3.0, 15.0, 0.3)}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chatbot.db")


@pytest.fixture
def room(path: str) -> Iterator[Room]:
    room = Room(StoreSettings(path))
    room.start()
    yield room
    room.close()


def ask(number: int, model: str = "", replaces: str = "", fan: str = "r1") -> Ask:
    target = Target("sim", model or f"m{number}")
    return Ask(f"r{number}", "s", "which way?", target, fan=fan, replaces=replaces)


def answered(number: int) -> Answered:
    return Answered(f"r{number}", 1, Completion(f"answer {number}"))


def select(path: str, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def active(path: str) -> list[str]:
    sql = "SELECT DISTINCT request_id FROM messages WHERE active = 1 ORDER BY request_id"
    return [request_id for (request_id,) in select(path, sql)]


def load(room: Room) -> Loaded:
    room.send(Load("l", "s"))
    return room.receive(Loaded)


def test_a_turn_is_taken_out_by_the_last_of_those_that_take_its_place(
    room: Room, path: str
) -> None:
    room.send(ask(1, fan=""), answered(1))
    room.send(ask(2, fan="r2"), ask(3, fan="r2", replaces="r1"), answered(3), answered(2))
    room.send(Load("l", "s"), Load("all", "s", 0, everything=True))
    room.stop()
    loaded, everything = (reply for reply in room.rest() if isinstance(reply, Loaded))
    assert active(path) == ["r2"]
    assert [m.request_id for m in loaded.messages] == ["r2", "r3", "r3", "r2"]
    assert [m.request_id for m in everything.messages] == ["r1", "r1", "r2", "r3", "r3", "r2"]
    assert [m.active for m in everything.messages] == [False, False, True, False, False, True]


def test_one_of_three_is_picked_while_their_answers_still_come(room: Room, path: str) -> None:
    room.send(ask(1), ask(2), ask(3), answered(1), Checkpoint("r3", "ans"), Pick("p", "s", "r3"))
    room.send(answered(2), answered(3), Pick("again", "s", "r3"), Pick("no", "s", "r9"))
    for _ in range(3):
        room.receive(Accepted)
    room.receive(Saved)
    assert room.receive(Picked) == Picked("p")
    room.receive(Saved)
    room.receive(Saved)
    assert room.receive(Picked) == Picked("again")
    assert room.receive(Picked) == Picked(
        "no", "there is no such turn in this session; nothing was picked"
    )
    assert active(path) == ["r3"]
    loaded = load(room)
    assert loaded.session is not None
    assert (loaded.session.model, loaded.session.messages) == ("m3", 2)
    assert {(m.request_id, m.active, m.fan) for m in loaded.messages} == {
        ("r1", False, "r1"),
        ("r2", False, "r1"),
        ("r3", True, "r1"),
    }
    assert len(loaded.messages) == 6


def test_an_answer_that_comes_after_its_fan_was_undone_is_undone_too(room: Room, path: str) -> None:
    room.send(ask(1), ask(2), Pick("p", "s", "r2"), Undo("u", "s", "r1"), answered(1), answered(2))
    room.send(Pick("q", "s", "r1"))
    room.stop()
    replies = room.rest()
    assert replies[2:4] == [Picked("p"), Undone("u")]
    assert replies[-1] == Picked("q", "this turn was undone or replaced; nothing was picked")
    assert active(path) == []
    assert select(path, "SELECT count(*) FROM messages") == [(4,)]


def test_a_session_goes_on_with_what_is_asked_after_a_fan_even_if_a_sibling_was_asked_it(
    room: Room, path: str
) -> None:
    room.send(ask(1), ask(2), ask(3, "m2", fan=""))
    for _ in range(3):
        room.receive(Accepted)
    assert select(path, "SELECT model FROM sessions") == [("m2",)]


@pytest.mark.parametrize("answers", [(1, 2), (2, 1)])
@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("replaces", ["r1", "r2"])
def test_a_turn_that_takes_the_place_of_one_takes_that_of_the_whole_fan(
    room: Room, path: str, replaces: str, before: int, answers: tuple[int, ...]
) -> None:
    room.send(ask(1), ask(2), *map(answered, answers[:before]))
    room.send(ask(4, replaces=replaces, fan="r4"), ask(5, replaces=replaces, fan="r4"))
    room.send(*map(answered, (*answers[before:], 4, 5)))
    room.stop()
    assert active(path) == ["r4"]
    assert select(
        path, "SELECT request_id FROM messages WHERE role = 'assistant' AND active = 1"
    ) == [("r4",)]


def test_a_pick_in_a_batch_with_open_questions_holds_for_answers_in_the_same_batch(
    room: Room, path: str
) -> None:
    room.send(ask(1), ask(2), Pick("p", "s", "r2"), answered(2), answered(1))
    room.stop()
    rows = select(path, "SELECT request_id, active FROM messages WHERE role = 'assistant'")
    assert rows == [("r2", 1), ("r1", 0)]


def test_siblings_share_the_cache_like_other_questions(room: Room, path: str) -> None:
    room.send(ask(1, "same"), answered(1), ask(2, "same"))
    room.receive(Accepted)
    room.receive(Saved)
    accepted = room.receive(Accepted)
    assert isinstance(accepted.hit, Hit)
    assert accepted.hit.completion.text == "answer 1"
    room.receive(Saved)
    rows = select(
        path, "SELECT active, cached, fan FROM messages WHERE request_id = 'r2' ORDER BY id"
    )
    assert rows == [(0, 0, "r1"), (0, 1, "r1")]


def test_a_session_is_deleted_with_its_siblings_and_their_cached_answers(
    room: Room, path: str
) -> None:
    secret = Answered("r2", 1, Completion("the secret of a sibling"))
    room.send(ask(1), ask(2), answered(1), secret, Delete("d", ("s",)))
    for kind in (Accepted, Accepted, Saved, Saved, Listed):
        room.receive(kind)
    assert select(path, "SELECT count(*) FROM messages") == [(0,)]
    assert select(path, "SELECT count(*) FROM cache") == [(0,)]
    room.stop()
    assert b"secret" not in Path(path).read_bytes()


def test_a_store_that_is_told_all_of_it_again_changes_nothing(room: Room, path: str) -> None:
    asks = [msgspec.structs.replace(ask(number), cache="off") for number in (1, 2)]
    told = [*asks, Pick("p", "s", "r2"), answered(2), answered(1)]
    states = []
    for _ in range(2):
        room.send(*told)
        for kind in (Accepted, Accepted, Picked, Saved, Saved):
            room.receive(kind)
        states.append(
            select(path, "SELECT request_id, role, content, active, fan FROM messages ORDER BY id")
        )
    assert states[0] == states[1]
    assert active(path) == ["r2"]


def test_two_stores_on_one_database_see_the_others_pick(room: Room, path: str) -> None:
    other = Room(StoreSettings(path))
    other.start()
    try:
        room.send(ask(1), ask(2))
        room.receive(Accepted)
        room.receive(Accepted)
        other.send(Pick("p", "s", "r2"))
        assert other.receive(Picked) == Picked("p")
        room.send(answered(1), answered(2))
        room.receive(Saved)
        room.receive(Saved)
        assert active(path) == ["r2"]
        rows = select(path, "SELECT request_id, active FROM messages WHERE role = 'assistant'")
        assert rows == [("r1", 0), ("r2", 1)]
        room.send(Pick("q", "s", "r1"), Undo("u", "s", "r2"))
        room.receive(Picked)
        room.receive(Undone)
        other.send(Pick("p2", "s", "r2"))
        assert other.receive(Picked).error
    finally:
        other.close()


# --- prices --------------------------------------------------------------------------------------


def prices(path: str) -> list[Any]:
    return select(path, "SELECT * FROM prices ORDER BY backend DESC")


def begun(path: str, table: dict[str, Price]) -> Room:
    room = Room(StoreSettings(path, prices=table))
    room.start()
    room.stop()
    room.close()
    return room


def test_the_prices_of_the_settings_are_put_in_and_others_left_alone(path: str) -> None:
    begun(path, {})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("INSERT INTO prices VALUES ('mine', 'own', 9.0, 9.0, NULL)")
        other.execute("INSERT INTO prices VALUES ('sim', 'sim', 7.0, 7.0, 7.0)")
    begun(path, PRICES)
    expected = [
        ("sim", "sim", 1.0, 2.0, None),
        ("openai", "gpt:x", 3.0, 15.0, 0.3),
        ("mine", "own", 9.0, 9.0, None),
    ]
    assert prices(path) == expected
    begun(path, {})
    assert prices(path) == expected


def test_prices_that_stand_there_already_need_no_lock(path: str) -> None:
    begun(path, PRICES)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        room = begun(path, PRICES)
    assert room.logged("prices_not_saved") == []


def test_prices_that_cannot_be_put_in_are_logged_and_the_store_goes_on(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatbot.store import database as database_room

    monkeypatch.setattr(database_room, "BUSY_TIMEOUT_S", 0.05)
    begun(path, {})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        room = Room(StoreSettings(path, prices=PRICES))
        room.start()
        room.send(Load("l", "s"))
        assert room.receive(Loaded) == Loaded("l")
        other.execute("ROLLBACK")
    room.stop()
    room.close()
    assert [record.level for record in room.logged("prices_not_saved")] == ["warning"]
    assert prices(path) == []
