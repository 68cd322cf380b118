"""What the README shows is true: its commands, options, tables and examples."""

import re
import tomllib
from pathlib import Path

import pytest

from chatbot import cli
from chatbot.backends import BACKENDS
from chatbot.settings import load, parse_config
from chatbot.ui import commands

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_first_two_blocks_start_a_chat_and_run_the_tests_from_nothing() -> None:
    (_, chat), (_, tests) = BLOCKS[:2]
    for command in (chat, tests):
        assert command.startswith("python3 -m venv .venv && ")
        assert command.count("\n") == 1
    assert chat.rstrip().endswith("run.py --backend sim")
    assert tests.rstrip().endswith("-m pytest")


def test_they_are_on_the_first_screen() -> None:
    assert len(README[: README.index(BLOCKS[1][1])].splitlines()) < 24


def test_every_option_it_names_exists() -> None:
    sim_options = {"--port", "--first-token", "--inter-chunk", "--chunks", "--seed"}
    known = {name for action in cli.chat_parser()._actions for name in action.option_strings}
    pip_options = {"--quiet", "--no-deps"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert named <= known | sim_options | pip_options


def test_the_table_of_commands_has_every_command() -> None:
    named = set(re.findall(r"/[a-z?-]+", README[README.index("| in the chat") :].split("\n\n")[0]))
    assert named == set(re.findall(r"(?<!\w)/[a-z?-]+", commands.HELP))


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_the_table_of_backends_is_what_the_settings_say(backend: object) -> None:
    from chatbot.backends import Backend

    assert isinstance(backend, Backend)
    (row,) = re.findall(rf"^\| `{backend.name}`.*$", README, re.MULTILINE)
    for value in (backend.base_url, backend.url_variable, backend.model, *backend.key_variables):
        assert f"`{value}`" in row or not value


def test_its_configuration_file_is_accepted() -> None:
    (toml,) = [text for language, text in BLOCKS if language == "toml"]
    assert tomllib.loads(toml)
    parse_config(toml)
    from chatbot.settings import Arguments

    settings = load(Arguments(mode="chat"), {}, toml)
    assert settings.ui.target.model == "codellama:13b"
