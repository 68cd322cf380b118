"""The cache's table: bounded by age and size, a few rows at a time."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from chatbot.messages import Answered, Ask, CachePolicy, CacheStats, Completion, Failed, Target
from chatbot.settings import StoreSettings
from chatbot.store import cached, queries
from chatbot.store.cache import Entry
from chatbot.store.cached import CacheTable
from chatbot.store.database import Database
from chatbot.store.queries import Question

QUESTION = Question("s1", "sim", "m", "k", None)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(str(tmp_path / "chatbot.db"))) as opened:
        yield opened


def table_of(database: Database, limit_bytes: int = 10**6, age_s: float = 1000.0) -> CacheTable:
    settings = StoreSettings(database.path, cache_bytes=limit_bytes, cache_age_s=age_s)
    return CacheTable(database, settings)


def keys(database: Database) -> list[str]:
    return [key for (key,) in database.rows("SELECT key FROM cache ORDER BY created_at")]


def size(database: Database) -> int:
    row = database.one("SELECT total(size) FROM cache")
    return int(row[0]) if row else 0


def test_the_table_holds_the_latest_answer_of_a_key_with_its_call(database: Database) -> None:
    table = table_of(database)
    assert table.look_up("k", 2.0) is None
    table.put("k", QUESTION, Entry(b'["one"]', 1.0, "00-1"))
    table.put("k", QUESTION, Entry(b'["two"]', 2.0, "00-2"))
    assert table.look_up("k", 2.0) == Entry(b'["two"]', 2.0, "00-2")
    assert size(database) == len(b'["two"]')


def test_a_row_that_was_changed_by_hand_still_comes_back_as_bytes_or_is_a_miss(
    database: Database,
) -> None:
    table = table_of(database)
    database.write("INSERT INTO cache VALUES ('k', 7, '', '', 1.0, 1, '')")
    assert table.look_up("k", 2.0) == Entry(b"7", 1.0)
    database.write("UPDATE cache SET created_at = 'yesterday'")
    assert table.look_up("k", 2.0) is None


@pytest.mark.parametrize(
    "edit",
    [
        "size = 'large'",
        "created_at = 'yesterday'",
        "size = x'ff', created_at = x'ff'",
        "size = 9223372036854775807",
        "key = x'ff'",
        "key = NULL",
    ],
)
def test_a_row_that_was_changed_by_hand_is_counted_trimmed_and_cleared(
    database: Database, edit: str
) -> None:
    table = table_of(database, limit_bytes=100)
    for number in range(3):
        table.put(f"k{number}", QUESTION, Entry(b"x" * 10, float(number)))
    database.write(f"UPDATE cache SET {edit} WHERE key = 'k1'")
    assert table.stats(5.0, lambda: None).entries == 3
    for number in range(3, 30):
        table.put(f"k{number}", QUESTION, Entry(b"x" * 10, float(number)))
        table.trim(float(number))
    assert "k29" in keys(database)
    assert len(keys(database)) <= 12
    assert table.delete_oldest(100) == 0 or keys(database) == []


def test_an_answer_that_is_too_old_is_none_and_is_deleted(database: Database) -> None:
    table = table_of(database, age_s=100.0)
    table.put("k", QUESTION, Entry(b"x", 50.0))
    assert table.look_up("k", 150.0) is not None
    assert table.look_up("k", 0.0) is not None  # the clock was set back
    assert table.look_up("k", 150.1) is None
    assert keys(database) == []


def test_the_oldest_answers_make_room(database: Database) -> None:
    table = table_of(database, limit_bytes=1000)
    for number in range(20):
        table.put(f"k{number}", QUESTION, Entry(b"x" * 100, float(number)))
        table.trim(20.0)
        assert size(database) <= 1000
    assert keys(database) == [f"k{number}" for number in range(10, 20)]


def test_what_is_too_old_goes_when_something_is_put_in(database: Database) -> None:
    table = table_of(database, age_s=100.0)
    for number in range(5):
        table.put(f"k{number}", QUESTION, Entry(b"x", float(number)))
    table.trim(5.0)
    assert len(keys(database)) == 5
    table.put("new", QUESTION, Entry(b"x", 102.5))
    table.trim(102.5)
    assert keys(database) == ["k3", "k4", "new"]


def test_a_table_that_is_far_too_large_shrinks_a_little_with_every_group(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached, "TRIMMED_ROWS", 7)
    for number in range(50):
        table_of(database).put(f"k{number}", QUESTION, Entry(b"x" * 10, float(number)))
    table = table_of(database, limit_bytes=100)
    table.trim(60.0)
    assert len(keys(database)) == 50  # nothing was put in: nobody pays for it
    left = []
    for number in range(50, 60):
        table.put(f"k{number}", QUESTION, Entry(b"x" * 10, float(number)))
        table.trim(60.0)
        left.append(len(keys(database)))
    assert left == [44, 38, 32, 26, 20, 14, 10, 10, 10, 10]


def test_what_another_instance_has_put_in_is_counted_after_a_while(database: Database) -> None:
    one, other = table_of(database, limit_bytes=100), table_of(database, limit_bytes=10**6)
    one.put("k0", QUESTION, Entry(b"x" * 10, 0.0))
    one.trim(0.0)
    for number in range(1, 20):
        other.put(f"k{number}", QUESTION, Entry(b"x" * 10, float(number)))
    one.put("k20", QUESTION, Entry(b"x" * 10, 20.0))
    one.trim(20.0)
    assert len(keys(database)) == 21
    one.put("k21", QUESTION, Entry(b"x" * 10, 21.0))
    one.trim(cached.REREAD_AFTER_S + 1.0)
    assert keys(database) == [f"k{number}" for number in range(12, 22)]


@pytest.mark.parametrize("seed", range(5))
def test_the_size_is_never_above_the_bound_after_a_group(database: Database, seed: int) -> None:
    random = Random(seed)
    table = table_of(database, limit_bytes=5000)
    for now in range(300):
        for _ in range(random.randrange(4)):
            entry = Entry(b"x" * random.randrange(1, 900), float(now))
            table.put(f"k{random.randrange(60)}", QUESTION, entry)
        if random.random() < 0.1:
            table.delete_oldest(random.randrange(1, 5))
        table.trim(float(now))
        assert size(database) <= 5000


def test_the_total_comes_off_an_index(database: Database) -> None:
    plan = "".join(
        str(row)
        for sql in (
            "SELECT coalesce(sum(size), 0), min(created_at) FROM cache",
            "SELECT key, created_at, size FROM cache ORDER BY created_at, size LIMIT 9",
        )
        for row in database.rows("EXPLAIN QUERY PLAN " + sql)
    )
    assert plan.count("COVERING INDEX cache_by_age") == 1
    assert plan.count("USING INDEX cache_by_age") == 1
    assert "TEMP B-TREE" not in plan


def test_the_statistics_tell_what_the_cache_was_good_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached, "_COUNTED_ROWS", 2)
    table = table_of(database, limit_bytes=777)
    beats: list[None] = []
    assert table.stats(9.0, lambda: beats.append(None)) == CacheStats(0, 0, 777, None, 0, 0)
    policies: tuple[CachePolicy, ...] = ("use", "use", "use", "off", "use")
    for number, policy in enumerate(policies):
        ask = Ask(f"r{number}", "s1", "q", Target("sim", "m"), cache=policy)
        queries.begin_session(database, ask, 1.0)
        question = queries.accept(database, ask, "" if policy == "off" else "k", 1.0)
        age = 3.0 if number in (1, 2) else None
        queries.finish(
            database,
            question,
            Failed(ask.request_id, 1, "timeout", "")
            if number == 4
            else Answered(ask.request_id, 1, Completion("a"), cached_age_s=age),
            2.0,
        )
    table.put("k", QUESTION, Entry(b'["a"]', 2.0))
    stats = table.stats(9.0, lambda: beats.append(None))
    assert stats == CacheStats(1, 5, 777, 7.0, hits=2, misses=1)
    assert len(beats) == 5
