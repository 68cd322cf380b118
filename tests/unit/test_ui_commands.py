"""What a line means: every command and alias, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.ui.commands import (
    BACKEND_NAMES,
    HELP,
    Delete,
    Export,
    Help,
    History,
    Line,
    NewSession,
    Quit,
    Refused,
    Regenerate,
    Rename,
    Resume,
    Say,
    Search,
    Sessions,
    SetModel,
    ShowModels,
    ShowTrace,
    Switch,
    Top,
    Undo,
    parse,
)

COMMANDS: dict[str, Line] = {
    "/quit": Quit(),
    "/exit": Quit(),
    "/bye": Quit(),
    "/help": Help(),
    "/?": Help(),
    "/new-session": NewSession(),
    "/new": NewSession(),
    "/sessions": Sessions(),
    "/resume": Resume(""),
    "/resume 57d492": Resume("57d492"),
    "/rename Of the sky": Rename("Of the sky"),
    "/delete": Delete(""),
    "/delete 57d492": Delete("57d492"),
    '/search "blue sky" OR *': Search('"blue sky" OR *'),
    "/history": History(),
    "/undo": Undo(),
    "/regenerate": Regenerate(),
    "/export": Export(""),
    "/export my talk.json": Export("my talk.json"),
    "/top": Top(),
    "/trace": ShowTrace(0),
    "/trace 12": ShowTrace(12),
    "/switch grok": Switch("grok"),
    "/model": SetModel(""),
    "/model gpt-5 mini": SetModel("gpt-5 mini"),
    "/models": ShowModels(),
    "/list-ollama-models": ShowModels("ollama"),
    "/set-ollama-model codellama:13b": SetModel("codellama:13b", "ollama"),
}


@pytest.mark.parametrize(("line", "meaning"), COMMANDS.items())
def test_every_command_and_alias_is_known(line: str, meaning: Line) -> None:
    assert parse(line) == meaning


@pytest.mark.parametrize(("line", "meaning"), COMMANDS.items())
def test_space_around_and_capitals_do_not_matter(line: str, meaning: Line) -> None:
    name, _, argument = line.partition(" ")
    assert parse(f" \t{name.upper()} \t {argument} \r\n") == meaning


def test_the_help_names_every_command() -> None:
    named = {word.strip(",") for word in HELP.split() if word.startswith("/")}
    assert named == {line.split()[0] for line in COMMANDS}


def test_the_help_fits_into_80_columns() -> None:
    assert max(map(len, HELP.splitlines())) < 80


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_switch_takes_every_backend(name: str) -> None:
    assert parse(f"/switch {name.upper()}") == Switch(name)  # type: ignore[arg-type] # it is one


@pytest.mark.parametrize("argument", ["", "gpt", "sim sim"])
def test_switch_refuses_anything_else_and_names_what_it_takes(argument: str) -> None:
    refused = parse(f"/switch {argument}")
    assert isinstance(refused, Refused)
    assert "ollama, anthropic, grok, openai, sim" in refused.reason


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("/hlep", "/help"),
        ("/swich sim", "/switch"),
        ("/modles", "/models"),
        ("/qiut", "/quit"),
        ("/serach x", "/search"),
        ("/regenrate", "/regenerate"),
        ("/session", "/sessions"),
    ],
)
def test_an_unknown_command_suggests_the_nearest(line: str, nearest: str) -> None:
    refused = parse(line)
    assert isinstance(refused, Refused)
    assert refused.reason.endswith(f"did you mean {nearest}?")


@pytest.mark.parametrize(
    "line", ["/", "/ hello", "/xyzzy", "/größe", "/x1", "/set-ollama-model", "/rename", "/search"]
)
def test_what_looks_like_a_command_and_is_none_is_refused_with_a_remedy(line: str) -> None:
    refused = parse(line)
    assert isinstance(refused, Refused)
    assert "/" in refused.reason


@pytest.mark.parametrize(
    "text",
    [
        "/home/me/x.png",
        "/home/me/x.png what is this?",
        "/etc/",
        "//comment",
        "/*comment*/",
        "/x.png",
        "/quit\nand more of a pasted text",
        "quit",
        "say /quit",
        "¿qué? 🏴‍☠️",
    ],
)
def test_paths_and_pasted_text_are_something_to_say(text: str) -> None:
    assert parse(text) == Say(text)


@pytest.mark.parametrize("line", ["", " ", "\n", "\t\r\n", "\u3000"])
def test_an_empty_line_is_nothing(line: str) -> None:
    assert parse(line) is None


@given(st.text())
def test_any_line_means_one_thing(line: str) -> None:
    meaning = parse(line)
    if meaning is None:
        assert not line.strip()
    elif not line.strip().startswith("/"):
        assert meaning == Say(line.strip())


@pytest.mark.parametrize("name", ["history", "regenerate", "sessions", "undo"])
def test_a_command_that_takes_nothing_says_so_instead_of_doing_something_else(name: str) -> None:
    assert parse(f"/{name} 3") == Refused(f"/{name} takes nothing after it")


@pytest.mark.parametrize("argument", ["0", "-1", "last", "1 2", "9999999999"])
def test_a_turn_is_a_number_from_one(argument: str) -> None:
    refused = parse(f"/trace {argument}")
    assert isinstance(refused, Refused)
    assert "/trace 1" in refused.reason
