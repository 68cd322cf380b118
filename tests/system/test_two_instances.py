"""Two programs on one database at once: both chat, both save, and nobody hears of a lock."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.system.program import Program

TURNS = 12


def test_two_programs_chat_on_one_database_and_nobody_sees_it_locked(tmp_path: Path) -> None:
    names = ("one", "other")
    for name in names:
        (tmp_path / name).mkdir()
    database = str(tmp_path / "chatbot.db")
    programs = [
        Program(tmp_path / name, "--backend", "sim", "--workers", "1", "--db", database)
        for name in names
    ]
    try:
        for turn in range(TURNS):
            for program, name in zip(programs, names, strict=True):
                program.say(f"{name} asks question {turn}")
            for program in programs:
                assert program.next("answered", "failed", "interrupted")["event"] == "answered"
        for program in programs:  # what one has asked, the other has in its cache
            program.say("/new-session")
            program.say("one asks question 0")
            assert program.next("answered")["cached"]
        for program in programs:
            assert program.finish() == 0
            assert "lock" not in program.stderr
            assert "not saving" not in program.stderr
        with closing(sqlite3.connect(database)) as connection:
            count, complete = connection.execute(
                "SELECT count(*), sum(status = 'complete') FROM messages"
            ).fetchone()
            assert (count, complete) == (4 * (TURNS + 1), 4 * (TURNS + 1))
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = connection.execute(
                "SELECT session_id, role FROM messages ORDER BY id"
            ).fetchall()
        by_session: dict[str, list[str]] = {}
        for session_id, role in rows:
            by_session.setdefault(session_id, []).append(role)
        assert sorted(map(len, by_session.values())) == [2, 2, 2 * TURNS, 2 * TURNS]
        for roles in by_session.values():
            assert roles == ["user", "assistant"] * (len(roles) // 2)
    finally:
        for program in programs:
            program.end()
