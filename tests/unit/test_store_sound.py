"""A database with which nothing is wrong is not recovered; whatever may be wrong with it is seen."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chatbot.errors import StoreUnavailable
from chatbot.store.database import Database
from chatbot.store.recovery import recover


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "chatbot.db")
    with closing(Database.open(path)) as database:
        database.write("INSERT INTO sessions VALUES ('s', 'title', 1.0, 'sim', 'sim')")
        for number in range(50):
            database.write(
                "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend,"
                " model, status) VALUES ('s', 'user', :content, 1.0, :id, 'sim', 'sim', 'complete')",
                content=f"question {number} of some length",
                id=f"r{number}",
            )
    return path


def test_a_database_that_is_not_damaged_stays_where_it_is(path: str) -> None:
    before = Path(path).read_bytes()
    with pytest.raises(StoreUnavailable, match="is not damaged; nothing was changed"):
        recover(path)
    assert Path(path).read_bytes() == before
    assert [file.name for file in Path(path).parent.iterdir()] == ["chatbot.db"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE messages SET content = CAST(x'ff41' AS TEXT) WHERE id = 7",
        "DELETE FROM messages_fts_data WHERE id > 10",
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 3 WHERE name = 'cache'",
    ],
    ids=["a text that is no text", "the index for searching", "the schema"],
)
def test_a_database_that_is_damaged_in_any_way_is_recovered(path: str, damage: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(damage)
    assert recover(path).messages >= 49
