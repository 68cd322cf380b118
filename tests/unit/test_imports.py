"""What is loaded by which program: nothing heavy before it is needed, nothing outside its room."""

import os
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
    "markdown_it",
    "pygments",
    "wcwidth",
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


@pytest.mark.parametrize("arguments", [[], ["simulate"], ["simulate", "compare"]])
def test_help_loads_no_process_machinery_and_no_library(arguments: list[str]) -> None:
    loaded = loaded_by(
        "from chatbot import cli\nimport contextlib, io\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    cli.main([*{arguments}, '--help'])"
    )
    assert not loaded & (HEAVY | {"msgspec", "multiprocessing", "platformdirs"})


@pytest.mark.parametrize(
    "arguments", ["['trace', 'list']", "['trace', 'show']", "['trace', 'export']"]
)
def test_reading_traces_loads_no_library_and_starts_no_process(arguments: str) -> None:
    loaded = loaded_by(
        "from chatbot import cli\nimport contextlib, io\n"
        "with contextlib.redirect_stderr(io.StringIO()):\n"
        f"    assert cli.main([*{arguments}, '--log-dir', 'tests/data', '--config', '{os.devnull}']) == 1"
    )
    assert not loaded & (HEAVY | {"multiprocessing", "google"})


def test_telling_the_settings_loads_no_library_and_starts_no_process() -> None:
    loaded = loaded_by(
        "from chatbot import cli\nimport contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    assert cli.main(['config', 'show', '--config', '{os.devnull}']) == 0"
    )
    assert not loaded & (HEAVY | {"multiprocessing"})


def test_completing_a_word_loads_only_the_parsers() -> None:
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from chatbot import cli\nassert cli.main(['completion', 'candidates', '--ba']) == 0\n"
            "import sys\nprint(*sys.modules, file=sys.stderr)",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "--backend" in found.stdout
    assert not set(found.stderr.split()) & (HEAVY | {"msgspec", "multiprocessing", "platformdirs"})


def test_a_terminal_without_a_trace_does_not_load_what_draws_one() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import chatbot.ui.process, sys; print(*sys.modules)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert not [name for name in found.stdout.split() if name.startswith("chatbot.traces")]


def test_a_console_without_an_answer_loads_nothing_that_draws_one() -> None:
    loaded = loaded_by(
        "import chatbot.ui.console.view, sys\n"
        "assert not [name for name in sys.modules if name.startswith('chatbot.ui.markdown')]"
    )
    assert not loaded & {"markdown_it", "pygments", "wcwidth"}


def test_the_first_prompt_waits_for_nothing_that_only_comes_after_it() -> None:
    """It is written by the desk, before the console is run."""
    loaded = loaded_by("import chatbot.ui.process, chatbot.ui.console.desk")
    assert not loaded & (HEAVY | {"difflib", "hashlib", "rich", "ssl", "tomllib"})


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("chatbot.supervisor.process", set()),
        ("chatbot.ui.process", set()),
        ("chatbot.ui.console.view", set()),
        ("chatbot.store.process", {"sqlite3"}),
        ("chatbot.simserver.process", {"asyncio"}),
        ("chatbot.worker.process", {"asyncio", "aiohttp"}),
        ("chatbot.telemetry.process", {"opentelemetry", "asyncio"}),
    ],
)
def test_a_process_loads_only_the_libraries_of_its_room(module: str, allowed: set[str]) -> None:
    assert loaded_by(f"import {module}") & HEAVY <= allowed
