"""Deleting for good: what was deleted is in none of the database's files."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from chatbot.errors import StoreUnavailable
from chatbot.messages import (
    Answered,
    Ask,
    Beat,
    Checkpoint,
    Completion,
    Message,
    Notice,
    Target,
)
from chatbot.settings import StoreSettings
from chatbot.store import cache, deletion, queries, scrub
from chatbot.store.cached import CacheTable
from chatbot.store.database import Database
from chatbot.store.deletion import Deletion
from chatbot.store.patience import Insist, Patience
from chatbot.store.scrub import Scrub


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
        self.scrub = Scrub(self.database, patience)
        self.deletion = Deletion(self.database, self.table, self.memory, patience, self.scrub)

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
    assert set(place.said.messages) == {Beat()}
    assert len(place.said.messages) >= 11
    assert place.count("messages") == place.count("sessions") == place.count("cache") == 0


def test_a_deletion_that_was_broken_off_is_ended_by_the_same_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.converse([("s1", word) for word in ("firstword", "secondword")] + [("s2", "kept")])

    class Killed(Exception):
        pass

    def die(self: Scrub) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(Scrub, "finish", die)
        with pytest.raises(Killed):
            place.deletion.delete_sessions(["s1"])
    assert b"firstword" in place.bytes()
    place.deletion.delete_sessions(["s1"])  # there is no such session any more
    assert b"firstword" not in place.bytes()
    assert b"secondword" not in place.bytes()
    assert b"kept" in place.bytes()


def wanted(self: Scrub) -> None:
    """In the place of a scrub that a kill has prevented."""


def test_a_scrub_that_a_kill_prevented_is_made_up_for_by_the_next_who_opens_the_database(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.converse([("s1", "firstword")] * 40 + [("s2", "kept")])
    with monkeypatch.context() as broken:
        broken.setattr(Scrub, "finish", wanted)
        place.deletion.delete_sessions(["s1"])
        place.deletion.clear_cache()
    place.database.close()
    again = Place(place.path)
    with closing(again.database):
        assert b"firstword" in again.bytes()
        steps = 0
        while again.scrub.step(is_idle=True):
            steps += 1
        assert steps >= 2
        assert again.said.messages == [Beat()] * steps
        assert b"firstword" not in again.bytes()
        assert b"kept" in again.bytes()
        assert not again.scrub.step(is_idle=True)
        assert again.database.one("SELECT 1 FROM sqlite_master WHERE name = '_to_scrub'") is None
        assert again.database.one("PRAGMA busy_timeout") == (5000,)


def test_while_another_program_reads_the_deletion_is_told_to_have_left_traces(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "LOG_WITHIN_S", 0.01)
    place.converse([("s1", "firstword"), ("s2", "kept")])
    with closing(sqlite3.connect(place.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        place.deletion.delete_sessions(["s1"])
        (notice,) = (message for message in place.said.messages if message != Beat())
        assert isinstance(notice, Notice)
        assert "traces stay in the log until other programs have closed" in notice.text
        assert place.count("sessions") == 1
        assert not place.scrub.step(is_idle=False)
        while place.scrub.step(is_idle=True):
            pass
        assert b"firstword" in place.bytes()
    assert not place.scrub.step(is_idle=False)
    while place.scrub.step(is_idle=True):
        pass
    assert b"firstword" not in place.bytes()
    assert b"kept" in place.bytes()


def test_a_deletion_whose_scrub_is_locked_out_has_still_been_done(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.converse([("s1", "firstword"), ("s2", "kept")])
    with closing(sqlite3.connect(place.path, isolation_level=None)) as writer:

        def lock(pages: int, insist: Insist) -> bool:
            writer.execute("BEGIN IMMEDIATE")
            raise StoreUnavailable("database is locked")

        with monkeypatch.context() as broken:
            broken.setattr(place.scrub, "_merge", lock)
            place.deletion.delete_sessions(["s1"])
        (notice,) = (message for message in place.said.messages if message != Beat())
        assert isinstance(notice, Notice)
        assert notice.text.endswith("for now: database is locked")
        assert not place.scrub.step(is_idle=True)  # and waits for nobody
    while place.scrub.step(is_idle=True):
        pass
    assert b"firstword" not in place.bytes()


def test_a_database_that_a_recovery_has_put_aside_is_named(place: Place) -> None:
    place.converse([("s1", "one"), ("s2", "two")])
    place.deletion.delete_sessions(["s1"])
    assert not any(isinstance(message, Notice) for message in place.said.messages)
    Path(f"{place.path}.damaged-1").touch()
    place.deletion.delete_sessions(["s2"])
    (notice,) = (message for message in place.said.messages if isinstance(message, Notice))
    assert f"may still be in {place.path}.damaged-1, which a recovery" in notice.text


def test_what_another_instance_deleted_meanwhile_stays_marked(place: Place) -> None:
    place.converse([("s1", "firstword")] * 40 + [("s2", "kept")])
    other = Place(place.path)
    with closing(other.database):
        place.database.begin()
        place.scrub.mark("index")
        place.database.commit()
        assert place.scrub.step(is_idle=True)
        other.database.begin()
        other.scrub.mark("log")
        other.database.commit()
        while place.scrub.step(is_idle=True):
            pass
        assert place.count("_to_scrub") == 1
        while other.scrub.step(is_idle=True):
            pass
        assert not place.scrub.step(is_idle=True)
        assert place.database.one("SELECT 1 FROM sqlite_master WHERE name = '_to_scrub'") is None


def test_a_merge_that_was_cut_off_goes_on_although_more_was_said_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "PAGES_PER_STEP", 2)
    random = Random(5)
    gone, kept, later = words_of(random, 400), words_of(random, 400), words_of(random, 50)
    place.converse([*(("s1", word) for word in gone), *(("s2", word) for word in kept)])
    with monkeypatch.context() as broken:
        broken.setattr(Scrub, "finish", wanted)
        place.deletion.delete_sessions(["s1"])
    for _ in range(3):
        assert place.scrub.step(is_idle=True)
    place.database.close()
    again = Place(place.path)
    with closing(again.database):
        again.database.begin()
        for word in later:
            queries.accept(again.database, Ask(word, "s2", word, Target("sim", "m")), "", 1.0)
        again.database.commit()
        while again.scrub.step(is_idle=True):
            pass
        after = again.bytes()
        assert [word for word in gone if word.encode() in after] == []
        assert all(word.encode() in after for word in (*kept, *later))


def test_after_a_deletion_the_cache_knows_that_it_has_room_again(place: Place) -> None:
    place.table = CacheTable(place.database, StoreSettings(place.path, cache_bytes=2000))
    place.deletion._table = place.table
    question = queries.Question("s1", "sim", "m", "k", None)

    def put(key: str, at: float) -> None:
        place.database.begin()
        place.table.put(key, question, cache.Entry(b"x" * 900, at))
        place.table.trim(at)
        place.database.commit()

    ask = Ask("r1", "s1", "q", Target("sim", "m"))
    queries.begin_session(place.database, ask, 1.0)
    queries.accept(place.database, ask, "b", 1.0)
    put("a", 1.0)
    put("b", 2.0)
    place.deletion.delete_sessions(["s1"])
    put("c", 3.0)
    keys = [key for (key,) in place.database.rows("SELECT key FROM cache ORDER BY key")]
    assert keys == ["a", "c"]


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
