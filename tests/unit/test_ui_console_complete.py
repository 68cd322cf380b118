"""What Tab offers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.sanitize import one_line
from chatbot.ui.command_table import COMMANDS
from chatbot.ui.commands import BACKEND_NAMES, Refused, Say, parse
from chatbot.ui.console.complete import Candidate, Known, candidates

KNOWN = Known(
    backend="openai",
    backends=BACKEND_NAMES,
    models={"ollama": ("llama3.2:1b", "codellama:13b"), "openai": ("gpt-5", "gpt-5-mini", "o3")},
    sessions=(("57d492", "Why is the sky blue?"), ("9f01ce", "Write a commit message for this")),
    options=("temperature", "top_p", "seed"),
    aliases={"fast": "ollama:llama3.2:1b"},
    answers=3,
)


def offered(before_cursor: str) -> list[str]:
    """Return the input lines that the candidates would make."""
    return [
        before_cursor[: len(before_cursor) + each.start] + each.text
        for each in candidates(before_cursor, KNOWN)
    ]


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("/reg", ["/regenerate"]),
        ("/RES", ["/resume "]),
        ("/mod", ["/model ", "/models", "/list-ollama-models", "/set-ollama-model "]),
        ("/e", None),
        ("/by", ["/bye"]),
        ("/regenerate", []),
        ("/xyzzy", []),
        ("/switch ol", ["/switch ollama", "/switch ollama:llama3.2:1b", "/switch ollama:codellama:13b"]),
        ("/switch ollama:c", ["/switch ollama:codellama:13b"]),
        ("/switch fa", ["/switch fast"]),
        ("/switch codel", ["/switch ollama:codellama:13b"]),
        ("/fan sim, openai:g", ["/fan sim, openai:gpt-5", "/fan sim, openai:gpt-5-mini"]),
        ("/fan sim,fas", ["/fan sim,fast"]),
        ("/fan sim,fast Why si", []),
        ("/model mini", ["/model gpt-5-mini"]),
        ("/set-ollama-model ", ["/set-ollama-model llama3.2:1b", "/set-ollama-model codellama:13b"]),
        ("/resume 5", ["/resume 57d492"]),
        ("/resume SKY", ["/resume 57d492"]),
        ("/delete a commit m", ["/delete 9f01ce"]),
        ("/set te", ["/set temperature"]),
        ("/set p", ["/set temperature", "/set top_p"]),
        ("/set temperature 0", []),
        ("/pick ", ["/pick 1", "/pick 2", "/pick 3"]),
        ("/copy ", ["/copy code"]),
        ("/help fa", ["/help fan"]),
        ("/export s", []),
        ("/rename W", []),
    ],
)  # fmt: skip
def test_tab_offers(typed: str, lines: list[str] | None) -> None:
    if lines is None:
        assert offered(typed)[:3] == ["/edit", "/export ", "/exit"]
    else:
        assert offered(typed) == lines


def test_a_slash_alone_offers_every_command_once_with_what_it_does() -> None:
    found = candidates("/", KNOWN)
    assert [each.display for each in found] == [f"/{each.name}" for each in COMMANDS]
    assert [each.meta for each in found] == [each.line for each in COMMANDS]


def test_a_session_is_shown_with_its_title() -> None:
    assert candidates("/resume 57", KNOWN) == [
        Candidate("57d492", -2, "57d492", "Why is the sky blue?")
    ]


@pytest.mark.parametrize("text", ["", "sw", "say /sw", "a\n/sw", "/sw\nitch", "/home/sw", "//"])
def test_ordinary_text_is_not_completed(text: str) -> None:
    assert candidates(text, KNOWN) == []


def test_what_would_drive_a_terminal_is_neither_offered_nor_shown() -> None:
    evil = "\x1b]0;owned\x07"
    known = Known(backend="sim", models={"sim": (evil, "fine")}, sessions=(("57d492", evil),))
    assert [each.text for each in candidates("/model ", known)] == ["fine"]
    (session,) = candidates("/resume ", known)
    assert session.meta == one_line(evil) != evil


@given(st.sampled_from([f"/{command.name} " for command in COMMANDS] + ["/"]), st.text(max_size=12))
def test_whatever_is_typed_the_cursor_stays_behind_what_is_replaced(start: str, more: str) -> None:
    for each in candidates(start + more, KNOWN):
        assert -len(start + more) <= each.start <= 0
        assert one_line(each.display) == each.display


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_is_offered_is_understood(command: object) -> None:
    name = getattr(command, "name", "")
    for line in offered(f"/{name} "):
        whole = f"{line} 1" if name == "set" else f"{line},sim" if name == "fan" else line
        assert not isinstance(parse(whole), Refused | Say)
