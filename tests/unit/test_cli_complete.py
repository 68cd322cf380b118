"""What Tab offers: all that the parsers know, and nothing that is listed by hand."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatbot import cli
from chatbot.cli import common, complete
from chatbot.cli.complete import offer
from chatbot.cli.completion import joined
from chatbot.cli.sim_server import sim_server_parser
from chatbot.cli.simulate import simulate_parser


def words(line: str) -> list[str]:
    """Return the candidates for the last word of a line; a space at its end begins a new one."""
    return [candidate.word for candidate in offer(line.split(" ")).candidates]


def kind(line: str) -> str:
    return offer(line.split(" ")).kind


def _parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield "", cli.chat_parser()
    yield "models ", cli.chat_parser(models=True)
    yield "simulate ", simulate_parser()
    yield "sim-server ", sim_server_parser()
    for program in cli.MANAGED:
        for name in cli.MANAGED[program]:
            yield f"{program} {name} ", cli.manage_parser(program, name)
    for name in cli.TRACING:
        yield f"trace {name} ", cli.trace_parser(name)
    for name in cli.CONFIG:
        yield f"config {name} ", cli.config_parser(name)


@pytest.mark.parametrize(("line", "parser"), list(_parsers()))
def test_every_option_of_every_program_is_offered(
    line: str, parser: argparse.ArgumentParser
) -> None:
    longest = [max(each.option_strings, key=len) for each in parser._actions if each.option_strings]
    assert words(f"{line}--") == longest
    for action in parser._actions:
        for option in action.option_strings:
            if action.choices:
                assert words(f"{line}{option} ") == list(action.choices)


def test_a_new_option_is_offered_without_being_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    old = cli.chat_parser

    def newer(*, models: bool = False) -> argparse.ArgumentParser:
        parser = old(models=models)
        parser.add_argument("--brand-new", choices=("one", "two"), help="50%% more")
        parser.add_argument("--old", help=argparse.SUPPRESS)
        return parser

    monkeypatch.setattr(complete, "chat_parser", newer)
    assert "--brand-new" in words("--")
    assert "--old" not in words("--")
    assert words("--brand-new ") == ["one", "two"]
    assert {c.word: c.about for c in offer(["--"]).candidates}["--brand-new"] == "50% more"


def test_programs_and_actions_are_offered_where_they_may_stand() -> None:
    assert words("") == list(common.PROGRAMS)
    assert words("--backend sim ") == []
    for program in cli.MANAGED:
        assert words(f"{program} ") == list(cli.MANAGED[program])
    assert words("sessions --db x.db --json ") == list(cli.MANAGED["sessions"])
    assert words("trace ") == list(cli.TRACING)
    assert words("config ") == list(cli.CONFIG)
    assert words("simulate ") == ["compare", "report"]
    assert words("completion ") == ["bash", "zsh", "fish"]
    assert words("completion bash ") == []
    assert words("why sessions ") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--db ", "files"),
        ("--log-dir ", "directories"),
        ("sessions export -o ", "files"),
        ("sessions list --config ", "files"),
        ("simulate --out ", "directories"),
        ("simulate --prompts ", "files"),
        ("simulate compare ", "files"),
        ("simulate compare a ", "files"),
        ("simulate compare a b ", "words"),
        ("simulate report ", "directories"),
        ("--workers ", "words"),
        ("--session-id ", "words"),
        ("-- ", "files"),
        ("--db=", "files"),
    ],
)
def test_files_are_offered_for_what_is_a_file(line: str, expected: str) -> None:
    assert kind(line) == expected


def test_a_value_may_stand_in_the_same_word() -> None:
    offered = offer(["--backend=s"])
    assert ([c.word for c in offered.candidates], offered.prefix) == (
        list(cli.BACKENDS),
        "--backend=",
    )


def test_an_option_that_was_given_is_not_offered_again_unless_it_adds() -> None:
    offered = words("--backend sim --plain -o seed 1 --")
    assert "--backend" not in offered
    assert "--plain" not in offered
    assert "--option" in offered


def test_the_values_of_an_option_are_not_taken_for_programs() -> None:
    assert words("-o sessions ") == []
    assert words("sessions --db list ") == list(cli.MANAGED["sessions"])


def test_aliases_are_offered_for_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[aliases]\nfast = "ollama:llama3.2"\n')
    assert words(f"--config {config} -m ") == ["fast"]
    monkeypatch.setenv("CHATBOT_CONFIG", str(config))
    assert [tuple(c) for c in offer(["-m", ""]).candidates] == [("fast", "ollama:llama3.2:latest")]
    config.write_text("nonsense")
    assert words("-m ") == []


@pytest.mark.parametrize(
    ("typed", "split"),
    [
        (["--backend=si"], ["--backend", "=", "si"]),
        (["--backend="], ["--backend", "="]),
        (["-m", "ollama:llama3", ""], ["-m", "ollama", ":", "llama3", ""]),
        (["a", "b", ""], ["a", "b", ""]),
    ],
)
def test_what_bash_takes_apart_is_put_together(typed: list[str], split: list[str]) -> None:
    assert joined(split) == typed
