"""What a line means: every command and alias, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.ui import command_table
from chatbot.ui.commands import (
    HELP,
    Copy,
    Delete,
    Edit,
    Export,
    Fan,
    Help,
    History,
    Line,
    NewSession,
    Pick,
    Quit,
    Refused,
    Regenerate,
    Rename,
    Resume,
    Say,
    Search,
    Sessions,
    SetModel,
    SetOption,
    Show,
    ShowModels,
    ShowStats,
    ShowTrace,
    Switch,
    System,
    Thinking,
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
    "/clear": NewSession(),
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
    "/save": Export(""),
    "/save sky.md": Export("sky.md"),
    "/help fan": Help("fan"),
    "/help /BYE": Help("quit"),
    "/copy": Copy("answer", 0),
    "/copy code": Copy("code", 0),
    "/copy 2": Copy("answer", 2),
    "/copy CODE 12": Copy("code", 12),
    "/edit": Edit(),
    "/thinking": Thinking(),
    "/fan ollama,sim": Fan(("ollama", "sim"), ""),
    "/fan ollama:llama3.2:1b , Fast, sim  Is it 1, 2 or 3?": Fan(
        ("ollama:llama3.2:1b", "Fast", "sim"), "Is it 1, 2 or 3?"
    ),
    "/pick 2": Pick(2),
    "/system": System(None),
    "/system -": System(""),
    "/system Answer in - one - sentence": System("Answer in - one - sentence"),
    "/set": SetOption("", ""),
    "/set temperature 0.2": SetOption("temperature", "0.2"),
    "/set stop two words": SetOption("stop", "two words"),
    "/set temperature -": SetOption("temperature", "-"),
    "/show": Show(),
    "/stats": ShowStats(),
    "/tokens": ShowStats(),
    "/cost": ShowStats(),
    "/top": Top(),
    "/trace": ShowTrace(0),
    "/trace 12": ShowTrace(12),
    "/switch grok": Switch("grok"),
    "/switch Fast": Switch("Fast"),
    "/switch ollama:llama3.2:1b": Switch("ollama:llama3.2:1b"),
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
    assert (
        named
        == {line.split()[0] for line in COMMANDS}
        == {f"/{name}" for name in command_table.BY_NAME}
    )


def test_the_help_fits_into_78_columns() -> None:
    assert max(map(len, HELP.splitlines())) <= 78


@pytest.mark.parametrize("command", command_table.COMMANDS, ids=lambda command: command.name)
def test_what_is_said_about_a_command_names_it_and_its_example_is_understood(
    command: command_table.Command,
) -> None:
    said = command_table.about(command)
    assert command.usage in said
    assert command.example in said
    assert all(f"/{alias}" in said for alias in command.aliases)
    assert command_table.find(command.example.split()[0]) is command
    assert not isinstance(parse(command.example), Refused | Say)


@pytest.mark.parametrize("name", command_table.BY_NAME)
def test_every_name_in_the_table_means_something(name: str) -> None:
    meaning = parse(f"/{name}")
    needs = command_table.BY_NAME[name].argument.startswith(("T", "M", "N"))
    assert isinstance(meaning, Refused) == needs


@pytest.mark.parametrize(
    "line",
    [
        "/switch",
        "/pick",
        "/pick 0",
        "/pick one",
        "/fan",
        "/fan ollama",
        "/fan ollama Why, though?",
        "/fan , What?",
        "/set temperature",
        "/copy 0",
        "/copy it all",
        "/copy cod",
        "/help exprot",
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused_with_an_example(line: str) -> None:
    refused = parse(line)
    assert isinstance(refused, Refused)
    assert refused.reason.count("/") >= 2
    assert "\n" not in refused.reason


def test_a_mistyped_argument_of_few_suggests_the_nearest() -> None:
    assert parse("/copy cdoe") == Refused(
        "/copy takes code, a number, or both: did you mean /copy code?"
    )
    assert parse("/help swich") == Refused("unknown command /swich: did you mean /switch?")


@pytest.mark.parametrize("word", ["quit", "exit", " QUIT ", "Exit\n"])
def test_to_leave_takes_no_slash(word: str) -> None:
    assert parse(word) == Quit()


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('"""\n/quit\n"""', Say("/quit")),
        ('"""quit"""', Say("quit")),
        ('"""\n/help\n/top\n""" what are these?', Say("/help\n/top\nwhat are these?")),
        ('Explain: """\n  x\n"""', Say("Explain:\n  x")),
        ('/system """\nBe short.\nBe kind.\n"""', System("Be short.\nBe kind.")),
        ('/fan ollama,sim """\nOne\n/two\n"""', Fan(("ollama", "sim"), "One\n/two")),
        ("/fan ollama,sim One\ntwo", Fan(("ollama", "sim"), "One\ntwo")),
        ("/system Be short.\nBe kind.", System("Be short.\nBe kind.")),
        ('/rename """\na\nb\n"""', Say("/rename\na\nb")),
    ],
)
def test_a_block_is_text_and_never_a_command_of_its_own(text: str, meaning: Line) -> None:
    assert parse(text) == meaning


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
        ("/exprot x", "/export"),
        ("/modle", "/model"),
        ("/reg", "/regenerate"),
    ],
)
def test_an_unknown_command_suggests_the_nearest(line: str, nearest: str) -> None:
    refused = parse(line)
    assert isinstance(refused, Refused)
    assert refused.reason.endswith(f"did you mean {nearest}?")


@pytest.mark.parametrize("line", ["/nosuch", "/context", "/temperature 1", "/write it", "/xyzzy"])
def test_what_is_near_to_no_command_suggests_none(line: str) -> None:
    refused = parse(line)
    assert isinstance(refused, Refused)
    assert "did you mean" not in refused.reason


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
        "quit smoking?",
        "say /quit",
        "¿qué? 🏴‍☠️",
    ],
)
def test_paths_and_pasted_text_are_something_to_say(text: str) -> None:
    assert parse(text) == Say(text)


@pytest.mark.parametrize("line", ["", " ", "\n", "\t\r\n", "\u3000", '"""\n \n"""'])
def test_an_empty_line_is_nothing(line: str) -> None:
    assert parse(line) is None


@given(st.text())
def test_any_line_means_one_thing(line: str) -> None:
    meaning = parse(line)
    if meaning is None:
        assert not line.strip()
    elif not line.strip().startswith(("/", '"""')):
        assert meaning == Say(line.strip())


@pytest.mark.parametrize("name", ["history", "regenerate", "sessions", "undo", "stats", "show"])
def test_a_command_that_takes_nothing_says_so_instead_of_doing_something_else(name: str) -> None:
    assert parse(f"/{name} 3") == Refused(f"/{name} takes nothing after it")


@pytest.mark.parametrize("argument", ["0", "-1", "last", "1 2", "9999999999"])
def test_a_turn_is_a_number_from_one(argument: str) -> None:
    refused = parse(f"/trace {argument}")
    assert isinstance(refused, Refused)
    assert "/trace 1" in refused.reason
