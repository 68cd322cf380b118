"""What is loaded by which program: nothing heavy before it is needed, nothing outside its room."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "aiohttp",
    "asyncio",
    "httpx",
    "opentelemetry",
    "prompt_toolkit",
    "rich",
    "sqlite3",
    "uvloop",
}


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after running some code."""
    ask = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    found = subprocess.run(
        [sys.executable, "-c", ask], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(found.stdout.split())


def test_help_loads_no_process_machinery_and_no_library() -> None:
    loaded = loaded_by(
        "from chatbot import cli\nimport contextlib, io\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    cli.main(['--help'])"
    )
    assert not loaded & (HEAVY | {"msgspec", "multiprocessing", "platformdirs"})


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("chatbot.supervisor.process", set()),
        ("chatbot.ui.process", set()),
        ("chatbot.store.process", {"sqlite3"}),
        ("chatbot.simserver.process", {"asyncio"}),
        # httpx tries to load its own command line, and with it rich, where that is installed.
        ("chatbot.worker.process", {"asyncio", "aiohttp", "httpx", "rich"}),
        ("chatbot.telemetry.process", {"opentelemetry", "asyncio"}),
    ],
)
def test_a_process_loads_only_the_libraries_of_its_room(module: str, allowed: set[str]) -> None:
    assert loaded_by(f"import {module}") & HEAVY <= allowed
