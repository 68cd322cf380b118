"""Deleting for good: what was deleted is in none of the database's files."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from chatbot.messages import Answered, Ask, Beat, Checkpoint, Completion, Message, Target
from chatbot.settings import StoreSettings
from chatbot.store import cache, deletion, queries
from chatbot.store.cached import CacheTable
from chatbot.store.database import Database
from chatbot.store.deletion import Deletion
from chatbot.store.patience import Patience


class Said:
    """Takes what would go to the supervisor."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)


class Place:
    """A database with all that a deletion needs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.database = Database.open(path)
        self.table = CacheTable(self.database, StoreSettings(path))
        self.memory = cache.Memory(10**8)
        self.said = Said()
        patience = Patience(self.database, self.said, 5.0)  # type: ignore[arg-type] # an outbox
        self.deletion = Deletion(self.database, self.table, self.memory, patience)

    def converse(self, turns: list[tuple[str, str]]) -> None:
        """Save turns, (session, word) each: with a checkpoint, an answer, and an entry in the cache."""
        self.database.begin()
        for number, (session_id, word) in enumerate(turns):
            key = f"{number:064x}"
            ask = Ask(f"r{number}", session_id, f"{word}q " * (number % 40 + 1), Target("sim", "m"))
            queries.begin_session(self.database, ask, 1.0)
            question = queries.accept(self.database, ask, key, 1.0)
            text = f"{word}p " * (number % 30)
            queries.checkpoint(self.database, Checkpoint(ask.request_id, text), 1.0)
            if number % 8 == 0:
                self.database.commit()
                self.database.begin()
            completion = Completion(text + f"{word}a " * (number % 300 + 1), reasoning=f"{word}r")
            queries.finish(self.database, question, Answered(ask.request_id, 1, completion), 2.0)
            entry = cache.entry_of(completion, 2.0)
            assert entry is not None
            self.table.put(key, question, entry)
            self.memory.put(key, entry)
        self.database.commit()

    def bytes(self) -> bytes:
        """Return all bytes of all files of the database."""
        files = [Path(self.path + suffix) for suffix in ("", "-wal", "-shm")]
        return b"".join(file.read_bytes() for file in files if file.exists())

    def count(self, table: str) -> int:
        row = self.database.one(f"SELECT count(*) FROM {table}")
        assert row is not None
        return int(row[0])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(str(tmp_path / "chatbot.db"))
    with closing(place.database):
        yield place


def words_of(random: Random, count: int) -> list[str]:
    return ["".join(random.choices("bcdfghjklmnpqrstvwxz", k=12)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(2))
def test_the_words_of_a_deleted_session_are_in_no_file_any_more(place: Place, seed: int) -> None:
    random = Random(seed)
    words = words_of(random, 900)
    turns = [(f"s{random.randrange(9)}", word) for word in words]
    place.converse(turns)
    gone = {word for session_id, word in turns if session_id in ("s3", "s4")}
    before = place.bytes()
    assert all(word.encode() in before for word in words)
    place.deletion.delete_sessions(["s3", "s4", "nobody"])
    for _ in ("as it is", "after VACUUM"):
        after = place.bytes()
        assert [word for word in gone if word.encode() in after] == []
        assert all(word.encode() in after for word in words if word not in gone)
        place.database.write("VACUUM")
    assert place.count("sessions") == 7
    assert place.count("messages") == 2 * (len(words) - len(gone))
    assert place.count("cache") == len(words) - len(gone)
    with closing(sqlite3.connect(place.path)) as reader:
        reader.execute("INSERT INTO messages_fts (messages_fts) VALUES ('integrity-check')")
        vocabulary = "CREATE VIRTUAL TABLE temp.terms USING fts5vocab (main, messages_fts, row)"
        reader.execute(vocabulary)
        terms = {term for (term,) in reader.execute("SELECT term FROM terms")}
    assert not {word + suffix for word in gone for suffix in "qpa"} & terms


def test_an_answer_that_was_cached_for_a_deleted_question_is_gone_from_memory_too(
    place: Place,
) -> None:
    place.converse([("s1", "one"), ("s2", "two")])
    place.deletion.delete_sessions(["s1"])
    assert place.memory.get(f"{0:064x}") is None
    assert place.memory.get(f"{1:064x}") is not None


def test_a_long_session_goes_in_small_steps_with_a_beat_between_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "ROWS_PER_STEP", 10)
    begun: list[None] = []
    begin = Database.begin

    def watched(self: Database) -> bool:
        begun.append(None)
        return begin(self)

    place.converse([("s1", "word")] * 50 + [("s2", "word")])
    monkeypatch.setattr(Database, "begin", watched)
    place.deletion.delete_sessions(["s1", "s2"])
    assert len(begun) >= 11
    assert place.said.messages == [Beat()] * len(begun)
    assert place.count("messages") == place.count("sessions") == place.count("cache") == 0


def test_a_deletion_that_was_broken_off_is_ended_by_the_same_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.converse([("s1", word) for word in ("firstword", "secondword")] + [("s2", "kept")])

    class Killed(Exception):
        pass

    def die(self: Deletion) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(Deletion, "_scrub_index", die)
        with pytest.raises(Killed):
            place.deletion.delete_sessions(["s1"])
    assert b"firstword" in place.bytes()
    place.deletion.delete_sessions(["s1"])  # there is no such session any more
    assert b"firstword" not in place.bytes()
    assert b"secondword" not in place.bytes()
    assert b"kept" in place.bytes()


def test_a_cleared_cache_is_empty_and_its_answers_are_in_no_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "ROWS_PER_STEP", 10)
    place.converse([("s1", f"word{number}") for number in range(35)])
    row = place.database.one("SELECT completion FROM cache WHERE key = :key", key=f"{34:064x}")
    assert row is not None
    kept = row[0].encode()
    assert kept in place.bytes()
    place.deletion.clear_cache()
    assert place.count("cache") == 0
    assert place.memory.size_bytes == 0
    assert kept not in place.bytes()
    assert place.count("messages") == 70
