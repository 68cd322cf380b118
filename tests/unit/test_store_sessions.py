"""Sessions: found, read, listed, renamed; over a real database."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from chatbot.errors import StoreUnavailable
from chatbot.mailbox import MAX_MESSAGE_BYTES, encode
from chatbot.messages import (
    Answered,
    Ask,
    Completion,
    Failed,
    Found,
    Loaded,
    Search,
    Session,
    Target,
    Terminal,
)
from chatbot.store import queries, search, sessions
from chatbot.store.database import Database

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(str(tmp_path / "chatbot.db"))) as opened:
        yield opened


def say(
    database: Database,
    request_id: str,
    session_id: str,
    content: str = "hello",
    now: float = 1.0,
    target: Target = Target("sim", "sim"),  # noqa: B008 - frozen
) -> None:
    ask = Ask(request_id, session_id, content, target, traceparent=PARENT)
    queries.begin_session(database, ask, now)
    queries.accept(database, ask, "", now)


def end(database: Database, terminal: Terminal, now: float = 1.0) -> None:
    question = queries.question_of(database, terminal.request_id)
    assert question is not None
    queries.finish(database, question, terminal, now)


def session_of(database: Database, session_id: str) -> Session:
    session = sessions.read(database, session_id)
    assert session is not None
    return session


def load(
    database: Database, session_id: str, after: int | None = None, at_most: int = 10**6
) -> Loaded:
    return sessions.load(database, "l1", session_of(database, session_id), after, at_most)


# --- which session ------------------------------------------------------------------------------


def test_the_latest_session_is_the_one_written_to_last_whatever_the_clock_says(
    database: Database,
) -> None:
    assert sessions.find(database, None) is None
    say(database, "r1", "s1", now=2.0)
    say(database, "r2", "s2", now=1.0)
    say(database, "r3", "s1", now=0.0)
    assert sessions.find(database, None) == "s1"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("session_1700000001_ab", "session_1700000001_ab"),
        ("session_1700000001", "session_1700000001_ab"),
        ("1700000001", "session_1700000001_ab"),
        ("ab", "session_1700000001_ab"),
        ("my", "my_notes"),
        ("7", "session_7"),  # exact with its beginning, although others begin with it too
        ("session_7", "session_7"),
        ("1700000001_ab", "session_1700000001_ab"),
        ("nobody", None),
        ("", None),
        ("%", None),
        ("_", None),
        ("a\0b\ud800", None),
    ],
)
def test_a_session_is_found_by_its_id_or_the_only_beginning_or_end_of_one(
    database: Database, name: str, found: str | None
) -> None:
    ids = ("session_1700000001_ab", "session_1700000002_cd", "my_notes", "session_7", "session_77")
    for number, session_id in enumerate(ids):
        say(database, f"r{number}", session_id)
    assert sessions.find(database, name) == found


def test_a_name_that_fits_several_sessions_names_them(database: Database) -> None:
    for number in range(3):
        say(database, f"r{number}", f"session_17{number}")
    with pytest.raises(StoreUnavailable) as error:
        sessions.find(database, "17")
    assert str(error.value) == ("17 fits several sessions: session_170, session_171, session_172")
    for number in range(3, 9):
        say(database, f"r{number}", f"session_17{number}")
    with pytest.raises(StoreUnavailable, match=r"session_174, …$"):
        sessions.find(database, "session_17")


# --- reading one --------------------------------------------------------------------------------


def test_a_session_knows_what_it_was_asked_with_last(database: Database) -> None:
    say(database, "r1", "s1", "why?", 1.0, Target("ollama", "llama3", "be kind", {"top_p": 0.5}))
    say(database, "r2", "s1", "and?", 5.0, Target("sim", "m2", "be brief", {"seed": 7}))
    end(database, Answered("r2", 1, Completion("so")), 9.0)
    assert session_of(database, "s1") == Session(
        "s1", "why?", 1.0, "sim", "m2", "be brief", {"seed": 7}, messages=3, last_time=9.0
    )
    queries.take_out(database, "s1", "r2")
    session = session_of(database, "s1")
    assert (session.system, session.options, session.messages) == ("be kind", {"top_p": 0.5}, 1)
    assert sessions.read(database, "nobody") is None


@pytest.mark.parametrize("options", ["{", "[1]", '{"a": [1]}', b"\xff", "null"])
def test_options_that_were_changed_by_hand_are_left_out(
    database: Database, options: str | bytes
) -> None:
    say(database, "r1", "s1")
    database.write("UPDATE messages SET options = :options", options=options)
    assert session_of(database, "s1").options == {}


def test_messages_come_back_whole_and_in_order(database: Database) -> None:
    say(database, "r1", "s1", "q", 2.0)
    completion = Completion("a", "llama3", "stop", "hm", "id1", {"n": 1}, 11, 22)
    end(database, Answered("r1", 1, completion, 12.5, 99.5), 3.0)
    say(database, "r2", "s1", "q2", 1.0)
    end(database, Failed("r2", 1, "timeout", "too slow", text="par"), 1.0)
    loaded = load(database, "s1")
    assert not loaded.truncated
    assert [(m.role, m.content, m.request_id) for m in loaded.messages] == [
        ("user", "q", "r1"),
        ("assistant", "a", "r1"),
        ("user", "q2", "r2"),
        ("assistant", "par", "r2"),
    ]
    answer, failure = loaded.messages[1], loaded.messages[3]
    assert msgspec.structs.asdict(answer) == {
        "role": "assistant",
        "content": "a",
        "status": "complete",
        "timestamp": 3.0,
        "model": "llama3",
        "id": 2,
        "request_id": "r1",
        "backend": "sim",
        "finish_reason": "stop",
        "reasoning": "hm",
        "input_tokens": 11,
        "output_tokens": 22,
        "first_token_ms": 12.5,
        "duration_ms": 99.5,
        "cached": False,
        "error": None,
        "trace_id": TRACE,
        "fan": "",
        "active": True,
    }
    assert (failure.status, failure.error) == ("failed", "too slow")


def test_a_turn_that_was_taken_out_is_not_read(database: Database) -> None:
    for number in range(3):
        say(database, f"r{number}", "s1", f"q{number}")
    queries.take_out(database, "s1", "r1")
    assert [m.content for m in load(database, "s1").messages] == ["q0", "q2"]
    assert [m.content for m in load(database, "s1", after=0).messages] == ["q0", "q2"]
    session = session_of(database, "s1")
    whole = sessions.load(database, "l1", session, 0, 10**6, everything=True)
    assert [(m.content, m.active) for m in whole.messages] == [
        ("q0", True),
        ("q1", False),
        ("q2", True),
    ]


def test_the_latest_messages_are_those_that_fit_encoded(database: Database) -> None:
    for number in range(10):
        say(database, f"r{number}", "s", "é" * 500, float(number))
    loaded = load(database, "s", at_most=5000)
    assert loaded.truncated
    assert [m.timestamp for m in loaded.messages] == [6.0, 7.0, 8.0, 9.0]
    assert len(msgspec.msgpack.encode(loaded.messages)) <= 5000


def test_a_long_session_is_read_piece_by_piece_and_nothing_is_left_out(database: Database) -> None:
    for number in range(25):
        say(database, f"r{number}", "s", "x" * (number * 97 % 700))
    seen: list[str] = []
    after = 0
    while True:
        loaded = load(database, "s", after, at_most=1000)
        assert loaded.messages
        seen += [m.request_id for m in loaded.messages]
        after = loaded.messages[-1].id
        if not loaded.truncated:
            break
    assert seen == [f"r{number}" for number in range(25)]
    assert load(database, "s", after).messages == ()


@pytest.mark.parametrize("after", [None, 0])
def test_a_message_larger_than_a_piece_comes_whole_and_alone(
    database: Database, after: int | None
) -> None:
    for number in range(3):
        say(database, f"r{number}", "s", "x" * 3000)
    loaded = load(database, "s", after, at_most=100)
    assert [len(m.content) for m in loaded.messages] == [3000]
    assert loaded.truncated


@pytest.mark.parametrize("left", [0, 200, 2000])
def test_a_reply_always_fits_into_a_frame_or_says_that_it_cannot(
    database: Database, left: int
) -> None:
    say(database, "r1", "s1", "x" * (MAX_MESSAGE_BYTES - left))
    if left < 1000:
        with pytest.raises(StoreUnavailable, match=r"too large to be shown \(4\.0 MiB\)"):
            load(database, "s1")
    else:
        assert len(load(database, "s1").messages) == 1
    for number in range(3):
        say(database, f"s{number}", "s2", "y" * 2**20, target=Target("sim", "m", "z" * 2**21))
    loaded = load(database, "s2")
    assert loaded.messages
    assert loaded.truncated
    encode(loaded)


# --- lists --------------------------------------------------------------------------------------


@pytest.mark.parametrize("walked", [5_000, 2])
def test_sessions_are_listed_by_their_last_use(
    database: Database, walked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_WALKED", walked)
    for number, session_id in enumerate(("a", "b", "c", "d", "a")):
        say(database, f"r{number}", session_id, now=9.0 - number)
    assert sessions.used_last(database, 3) == ["a", "d", "c"]
    assert sessions.used_last(database, 9) == ["a", "d", "c", "b"]


def test_a_list_that_does_not_fit_ends_earlier_and_says_so(database: Database) -> None:
    for number in range(5):
        say(database, f"r{number}", f"s{number}", target=Target("sim", "m", "z" * 2**20))
    listed, truncated = sessions.page(database, ["s4", "s3", "nobody", "s2", "s1", "s0"])
    assert [s.session_id for s in listed] == ["s4", "s3"]
    assert truncated
    listed, truncated = sessions.page(database, ["s4"])
    assert (len(listed), truncated) == (1, False)


def test_a_title_becomes_one_line_and_is_never_empty(database: Database) -> None:
    say(database, "r1", "s1")
    sessions.rename(database, "s1", "  A better\n\x1b[2Jtitle " + "x" * 300)
    title = session_of(database, "s1").title
    assert title.startswith("A better [2Jtitle xxx")
    assert len(title) == 200
    for empty in ("", " \n\t", "\0"):
        with pytest.raises(StoreUnavailable, match="a title cannot be empty"):
            sessions.rename(database, "s1", empty)
    assert session_of(database, "s1").title == title


def test_old_sessions_are_those_that_were_not_used_since(database: Database) -> None:
    for number, session_id in enumerate(("old", "used again", "older", "new")):
        say(database, f"r{number}", session_id, now=float(10 * (number != 2)))
    say(database, "r9", "used again", now=90.0)
    assert sessions.not_used_since(database, 50.0, 0) == ["new", "older", "old"]
    assert sessions.not_used_since(database, 50.0, 2) == ["older", "old"]  # and not "used again"
    assert sessions.not_used_since(database, 5.0, 0) == ["older"]
    assert sessions.not_used_since(database, 50.0, 99) == []


# --- edited by hand -----------------------------------------------------------------------------

EDITED = [
    "UPDATE messages SET timestamp = '2024-01-01 10:00:00' WHERE session_id = 'odd'",
    "UPDATE messages SET timestamp = x'ff' WHERE session_id = 'odd'",
    "UPDATE messages SET content = x'68656c6c6fff' WHERE session_id = 'odd'",
    "UPDATE messages SET model = x'00', duration_ms = 'long', cache_key = x'01', trace_id = x'ff',"
    " input_tokens = 'many', usage = 7 WHERE session_id = 'odd'",
    "UPDATE sessions SET start_time = 'yesterday', title = x'ff', model = x'00' WHERE id = 'odd'",
    "DELETE FROM messages WHERE session_id = 'odd'; UPDATE sessions SET start_time = '' WHERE id = 'odd'",
    "INSERT INTO sessions VALUES (NULL, '', 1.0, '', ''), (x'ff', '', 1.0, '', '')",
    "INSERT INTO sessions VALUES (x'ff', '', 1.0, '', '');"
    " UPDATE messages SET session_id = x'ff' WHERE session_id = 'odd'",
]


@pytest.mark.parametrize("edit", EDITED)
def test_a_value_that_was_changed_by_hand_takes_nothing_else_away(
    database: Database, edit: str
) -> None:
    for number, session_id in enumerate(("good", "odd")):
        say(database, f"r{number}", session_id)
        end(database, Answered(f"r{number}", 1, Completion("hello you")))
    with closing(sqlite3.connect(database.path)) as other:
        other.executescript(edit)
    listed, _ = sessions.page(database, sessions.used_last(database, 9))
    assert "good" in {session.session_id for session in listed}
    for limit in (1, 9):
        assert sessions.find(database, sessions.used_last(database, limit)[0]) is not None
    old, _ = sessions.page(database, sessions.not_used_since(database, 5.0, 0))
    assert "good" in {session.session_id for session in old}
    found = search.search(database, Search("q", "hello"))
    assert "good" in {hit.session_id for hit in found}
    encode(Found("q", found))
    sessions.rename(database, "odd", "renamed")
    assert session_of(database, "odd").title == "renamed"
    encode(load(database, "odd"))
    encode(load(database, "odd", after=0))


def test_a_time_that_is_no_number_becomes_nothing_and_is_never_old(database: Database) -> None:
    say(database, "r1", "s1")
    database.write("UPDATE messages SET timestamp = '2024-01-01 10:00:00'")
    database.write("UPDATE sessions SET start_time = 'yesterday'")
    session = session_of(database, "s1")
    assert (session.start_time, session.last_time, session.title) == (0.0, 0.0, "hello")
    (message,) = load(database, "s1").messages
    assert (message.timestamp, message.content, message.request_id) == (0.0, "hello", "r1")
    assert sessions.not_used_since(database, 1e12, 0) == []


def test_a_session_that_was_used_at_that_very_moment_is_not_older_than_it(
    database: Database,
) -> None:
    say(database, "r1", "s1", now=50.0)
    assert sessions.not_used_since(database, 50.0, 0) == []
    assert sessions.not_used_since(database, 50.5, 0) == ["s1"]


def test_a_list_that_ends_early_leaves_no_statement_open(tmp_path: Path) -> None:
    program = """
import sys
from chatbot.store import sessions
from chatbot.store.database import Database
database = Database.open(sys.argv[1])
for n in range(5):
    database.write("INSERT INTO sessions VALUES (:s, 't', 1.0, '', '')", s=f"s{n}")
    database.write(
        "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,"
        " status) VALUES (:s, 'user', 'x', 1.0, :s, '', '', 'complete')", s=f"s{n}")
session = sessions.read(database, "s1")
database.rows, frames, rows = None, [], database.rows
def kept(sql, **values):
    frames.append(rows(sql, **values))  # as the traceback of an error does
    return frames[-1]
database.rows = kept
sessions.used_last(database, 2)
sessions.load(database, "q", session, None, 1)
database.close()
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "chatbot.db")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert (result.returncode, result.stderr) == (0, "")
