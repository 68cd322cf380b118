"""Times without a database: each is told in one line, the chat goes on, and all is saved afterwards."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes import eventually
from tests.system.program import Program

COMPLETE_TURN = [("user", "complete"), ("assistant", "complete")]


def start(directory: Path, *arguments: str) -> Program:
    return Program(directory, "--backend", "sim", "--workers", "1", *arguments)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = start(tmp_path)
    try:
        program.say("first")
        assert program.next("answered")["text"]
        yield program
    finally:
        program.end()


def turn(program: Program, text: str) -> None:
    program.say(text)
    assert program.next("answered", "failed", "interrupted", within_s=60)["event"] == "answered"


def is_told(program: Program, text: str) -> bool:
    return eventually(lambda: text in program.stderr, 30)


def turns_until_told(program: Program, text: str) -> int:
    """Go on with the conversation until the person has read this; return how many turns it took."""
    turns = 0

    def take_another() -> bool:
        nonlocal turns
        turns += 1
        turn(program, f"turn {turns} until then")
        return text in program.stderr

    assert eventually(take_another, 60), program.stderr
    return turns


def rows(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT role, status FROM messages ORDER BY id").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return found


def test_a_directory_that_is_missing_is_told_and_all_is_saved_once_it_is_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "later" / "chatbot.db"
    program = start(tmp_path, "--db", str(path))
    try:
        turn(program, "first")
        turn(program, "second")
        assert is_told(program, "not saving: cannot write")
        path.parent.mkdir()
        turns = turns_until_told(program, "saving again")
        assert program.finish() == 0
        assert rows(path) == COMPLETE_TURN * (2 + turns)
        assert program.stderr.count("not saving") == 1
    finally:
        program.end()


def test_who_leaves_when_it_can_be_saved_again_has_everything_saved(tmp_path: Path) -> None:
    path = tmp_path / "later" / "chatbot.db"
    program = start(tmp_path, "--db", str(path))
    try:
        for text in ("first", "second"):
            turn(program, text)
        path.parent.mkdir()
        assert program.finish() == 0
        assert rows(path) == COMPLETE_TURN * 2
    finally:
        program.end()


def test_who_leaves_while_nothing_can_be_saved_is_told_what_is_not(tmp_path: Path) -> None:
    program = start(tmp_path, "--db", str(tmp_path / "later" / "chatbot.db"))
    try:
        turn(program, "first")
        assert program.finish() == 0
        assert "2 messages were not saved: cannot write" in program.stderr
    finally:
        program.end()


def test_a_database_that_is_locked_at_the_start_is_told_and_all_is_saved_afterwards(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chatbot.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        program = start(tmp_path)
        try:
            turn(program, "first")
            assert is_told(program, "not saving: database is locked")
            other.execute("ROLLBACK")
            turns = turns_until_told(program, "saving again")
            assert program.finish() == 0
            assert rows(path) == COMPLETE_TURN * (1 + turns)
        finally:
            program.end()


def test_a_lock_of_some_seconds_is_waited_for_and_nothing_is_lost(program: Program) -> None:
    path = program.directory / "chatbot.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        program.say("second")
        assert is_told(program, "waiting: ")
        other.execute("ROLLBACK")
    assert program.next("answered")["text"]
    assert program.finish() == 0
    assert "not saving" not in program.stderr
    assert rows(path) == COMPLETE_TURN * 2


def test_a_database_that_stays_locked_is_told_and_all_is_saved_when_it_is_free(
    program: Program,
) -> None:
    path = program.directory / "chatbot.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        turn(program, "second")
        assert is_told(program, "not saving: database is locked")
        turn(program, "third")
        other.execute("ROLLBACK")
    turns = turns_until_told(program, "saving again")
    assert program.finish() == 0
    assert rows(path) == COMPLETE_TURN * (3 + turns)


def test_a_database_that_is_deleted_is_told_and_a_new_one_takes_what_follows(
    program: Program,
) -> None:
    path = program.directory / "chatbot.db"
    for name in os.listdir(program.directory):
        if name.startswith("chatbot.db"):
            (program.directory / name).unlink()
    turn(program, "second")
    assert is_told(program, "not saving: chatbot.db was deleted")
    turns = turns_until_told(program, "saving again")
    assert program.finish() == 0
    assert rows(path) == COMPLETE_TURN * (1 + turns)


def test_a_database_that_is_replaced_by_something_else_is_told_and_left_untouched(
    program: Program,
) -> None:
    path = program.directory / "chatbot.db"
    foreign = b"a letter to somebody\n" * 1000
    replacement = program.directory / "letter"
    replacement.write_bytes(foreign)
    os.replace(replacement, path)
    turn(program, "second")
    assert is_told(program, "not saving: chatbot.db was replaced")
    turns_until_told(program, "not saving: chatbot.db is not a chatbot database")
    assert program.finish() == 0
    assert path.read_bytes() == foreign


def test_a_damaged_database_is_told_and_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "chatbot.db"
    program = start(tmp_path)
    try:
        turn(program, "first")
        assert program.finish() == 0
    finally:
        program.end()
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = b"\xa5" * (4096 - 100)  # the schema's own page
    path.write_bytes(damaged)
    program = start(tmp_path)
    try:
        turn(program, "second")
        assert is_told(program, "not saving: chatbot.db is damaged")
        assert "sessions recover" in program.stderr
        assert not eventually(lambda: len(program.log_lines("gave_up")) > 1, 2)  # nor tried again
        assert program.finish() == 0
        assert path.read_bytes() == damaged
    finally:
        program.end()
