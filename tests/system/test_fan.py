"""Several are asked at once, and one is picked: through all processes, an outage, and a store's death."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from chatbot.simserver.server import CONTEXT_TOKENS
from tests.actors.test_simserver import serving
from tests.system.fan.seat import DATABASE, RESULT, Seen
from tests.system.program import clean_environment

if not hasattr(signal, "SIGSTOP"):
    pytest.skip("a process cannot be made to stand still here", allow_module_level=True)


def test_what_is_picked_is_active_whatever_happens_to_the_store(tmp_path: Path) -> None:
    with serving() as (_, address):
        done = subprocess.run(
            [sys.executable, "-m", "tests.system.fan.run"],
            cwd=tmp_path,
            env=clean_environment(OLLAMA_HOST=address),
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert (done.returncode, done.stderr) == (0, "")
    seen = msgspec.json.decode((tmp_path / RESULT).read_bytes(), type=Seen)
    assert (seen.picked_without_a_store, seen.picked_by_the_next_store) == ("", "")
    assert seen.after_the_outage == {"a": False, "a2": True}
    assert seen.after_the_kill == {"a": True, "a2": False, "b": True, "b2": False}
    assert seen.under_way == ""  # a sibling's answer is: nobody waits for it
    assert seen.undone == {"b": True, "b2": False}
    assert seen.contexts == [CONTEXT_TOKENS, None, CONTEXT_TOKENS]
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        rows = connection.execute(
            "SELECT request_id, status, active, fan FROM messages WHERE role = 'assistant' ORDER BY 1"
        ).fetchall()
        (model,) = connection.execute("SELECT model FROM sessions").fetchone()
    assert rows == [
        ("a", "complete", 0, "a"),
        ("a2", "complete", 0, "a"),
        ("b", "complete", 1, "b"),
        ("b2", "complete", 0, "b"),
    ]
    assert model == "sim"
