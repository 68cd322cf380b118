"""The saved sessions, with the real program: terminal, supervisor and store together.

Everything here needs all three: a store that answers what is asked of it, and a supervisor that starts
no worker to ask it. What each does by itself is in the tests of its room.
"""

import json
import os
import sqlite3
import stat
from typing import Any

import pytest

from chatbot.ui.export import read_json
from tests.system.conftest import Chatbot
from tests.system.program import Program

SIM = ("--backend", "sim")


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def talk(chatbot: Chatbot, *lines: str) -> str:
    """Have a conversation; return the id of its session."""
    result = chatbot(*SIM, "--json", stdin="".join(f"{line}\n" for line in lines))
    assert result.code == 0, result.err
    return str(next(e for e in events(result.out) if e["event"] == "asked")["session_id"])


def listed(chatbot: Chatbot, *arguments: str) -> list[dict[str, Any]]:
    result = chatbot("sessions", "list", "--json", *arguments)
    assert result.code in (0, 1), result.err
    return events(result.out)


def test_what_was_said_is_listed_shown_and_found(chatbot: Chatbot) -> None:
    first = talk(chatbot, "Why is the sky blue?", "And the sea?")
    second = talk(chatbot, 'Say "hello" (twice) - 100% * AND NEAR(')
    sessions = listed(chatbot)
    assert [s["session_id"] for s in sessions] == [second, first]
    assert [s["messages"] for s in sessions] == [2, 4]
    assert sessions[1]["title"] == "Why is the sky blue?"
    assert len(listed(chatbot, "--limit", "1")) == 1
    short = first.rpartition("_")[2]
    shown = chatbot("sessions", "show", short)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.index("\nWhy is the sky blue?\n") < shown.out.index("\nAnd the sea?\n")
    found = chatbot("sessions", "search", "SKY", "blue")
    assert found.code == 0
    assert "«sky»" in found.out
    for typed in ('"hello" (twice', "100%", "AND NEAR(", "hello -"):
        hits = chatbot("sessions", "search", "--json", "--", typed)
        assert hits.code == 0, (typed, hits.err)
        assert {hit["session_id"] for hit in events(hits.out)} >= {second}
    assert chatbot("sessions", "search", "xylophone").code == 1


def test_exports_are_whole_private_and_read_back(chatbot: Chatbot) -> None:
    session_id = talk(chatbot, "one", "two")
    path = chatbot.directory / "talk.json"
    result = chatbot("sessions", "export", session_id, "-o", str(path))
    assert result.code == 0, result.err
    session, messages = read_json(path.read_bytes())
    assert session.session_id == session_id
    assert [m.content for m in messages if m.role == "user"] == ["one", "two"]
    assert all(m.status == "complete" and m.request_id and m.trace_id for m in messages)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert chatbot("sessions", "export", session_id, "-o", str(path)).code == 1
    assert path.read_bytes() == before
    markdown = chatbot("sessions", "export", session_id)
    assert markdown.out.startswith("# one\n")
    assert markdown.out.count("\n## You\n") == 2
    assert markdown.out.count("\n## Bot\n") == 2


def test_a_title_is_changed_and_sessions_are_deleted(chatbot: Chatbot) -> None:
    kept = talk(chatbot, "a question that stays")
    gone = talk(chatbot, "a secret, namely xylophone")
    assert chatbot("sessions", "rename", kept, "A", "title").code == 0
    assert chatbot("sessions", "delete", gone).code == 2  # nobody can be asked
    result = chatbot("sessions", "delete", gone, "--yes", "--json")
    assert [(e["event"], e["session_id"]) for e in events(result.out)] == [("deleted", gone)]
    assert [(s["session_id"], s["title"]) for s in listed(chatbot)] == [(kept, "A title")]
    assert chatbot("sessions", "search", "xylophone").code == 1
    assert chatbot("sessions", "show", gone).code == 2


def test_pruning_keeps_the_last_and_says_first_what_it_would_do(chatbot: Chatbot) -> None:
    old, new = talk(chatbot, "old"), talk(chatbot, "new")
    dry = chatbot("sessions", "prune", "--keep-last", "1", "--dry-run", "--json")
    assert [e["session_id"] for e in events(dry.out)] == [old]
    assert len(listed(chatbot)) == 2
    assert chatbot("sessions", "prune", "--older-than", "30d", "--yes").code == 0
    assert len(listed(chatbot)) == 2
    assert chatbot("sessions", "prune", "--keep-last", "1", "--yes").code == 0
    assert [s["session_id"] for s in listed(chatbot)] == [new]


def test_the_cache_is_counted_and_emptied(chatbot: Chatbot) -> None:
    talk(chatbot, "same")
    talk(chatbot, "same")
    (stats,) = events(chatbot("cache", "stats", "--json").out)
    assert (stats["entries"], stats["hits"], stats["misses"]) == (1, 1, 1)
    assert chatbot("cache", "clear").code == 2
    assert chatbot("cache", "clear", "--yes").code == 0
    (stats,) = events(chatbot("cache", "stats", "--json").out)
    assert stats["entries"] == 0


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("show", "x"), ("search", "x"), ("delete", "x", "--yes"), ("recover", "--yes")],
    ids=" ".join,
)
def test_a_database_that_is_missing_is_not_made(
    chatbot: Chatbot, arguments: tuple[str, ...]
) -> None:
    result = chatbot("sessions", *arguments)
    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err
    assert not list(chatbot.directory.glob("chatbot.db*"))


def test_a_program_that_only_reads_starts_no_worker(chatbot: Chatbot) -> None:
    talk(chatbot, "hello")
    assert chatbot("sessions", "list", "--log-dir", "other").code == 0
    log = chatbot.directory / "other" / "chatbot.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    roles = {line["fields"].get("role") for line in map(json.loads, lines)}
    assert not roles & {"worker", "sim-server"}


def test_turns_are_undone_and_asked_again_in_a_script(chatbot: Chatbot) -> None:
    script = ("one", "two", "/undo", "three", "/regenerate", "/history")
    result = chatbot(*SIM, "--json", stdin="".join(f"{line}\n" for line in script))
    assert result.code == 0, result.err
    said = [e["content"] for e in events(result.out) if e["event"] == "message"]
    assert said[::2] == ["one", "three"]
    asked = [e for e in events(result.out) if e["event"] == "asked"]
    with sqlite3.connect(chatbot.directory / "chatbot.db") as database:
        rows = dict(
            database.execute(
                "SELECT request_id, active FROM messages WHERE role = 'user'"
            ).fetchall()
        )
    database.close()
    assert [rows[e["request_id"]] for e in asked] == [1, 0, 0, 1]


def test_a_session_goes_on_with_its_own_system_prompt_and_options(chatbot: Chatbot) -> None:
    with_both = chatbot(*SIM, "-s", "be brief", "-o", "seed", "7", "--json", "hello")
    assert with_both.code == 0
    assert chatbot("--continue", "and on").code == 0
    assert chatbot("--continue", "-s", "be long", "and on and on").code == 0
    with sqlite3.connect(chatbot.directory / "chatbot.db") as database:
        rows = database.execute(
            "SELECT system, json_extract(options, '$.seed') FROM messages WHERE role = 'user'"
        ).fetchall()
    database.close()
    assert rows == [("be brief", 7), ("be brief", 7), ("be long", 7)]


def test_what_came_before_the_whole_program_was_killed_is_marked(chatbot: Chatbot) -> None:
    program = Program(chatbot.directory, *SIM)
    try:
        program.say("hello")
        asked = program.next("asked")
        program.next("delta")
        children = program.descendants()
        program.process.kill()
        assert program.gone(children)
    finally:
        program.end()
    result = chatbot("sessions", "show", asked["session_id"], "--json")
    assert result.code == 0, result.err
    _, question, *answers = events(result.out)
    assert question["content"] == "hello"
    assert [answer["status"] for answer in answers] in ([], ["interrupted"])
    assert question["unanswered"] == (not answers)
