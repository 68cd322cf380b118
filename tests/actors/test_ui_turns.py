"""What is done with turns in the chat: several asked at once, one picked, one edited, what it is asked with."""

from typing import Any

import pytest

from chatbot.errors import ExitCode
from chatbot.messages import (
    Answered,
    Ask,
    Completion,
    Delta,
    Failed,
    Load,
    Loaded,
    Message,
    Pick,
    Picked,
)
from chatbot.settings import Price
from tests.actors.test_ui_sessions import MESSAGES, SKY, Run, run

__all__ = ["run"]


def answer(ask: Ask) -> list[Message]:
    """Answer with who was asked, in two pieces."""
    text = f"{ask.target.model} says {ask.content}"
    return [
        Delta(ask.request_id, 1, 0, text[:4]),
        Delta(ask.request_id, 1, 1, text[4:]),
        Answered(ask.request_id, 1, Completion(text, input_tokens=1000, output_tokens=10)),
    ]


@pytest.fixture
def chat(run: Run) -> Run:
    run.says[Ask] = answer
    run.says[Pick] = lambda message: [Picked(message.request_id)]
    return run


def asks(run: Run) -> list[Any]:
    """Return what was asked: content, model, and the answers it was sent with."""
    return [
        (ask.content, ask.target.model, [m.content for m in ask.history if m.role == "assistant"])
        for ask in run.store.all(Ask)
    ]


def test_several_are_asked_the_same_at_once_and_the_first_is_gone_on_with(chat: Run) -> None:
    assert chat.script("/fan sim,anthropic:opus why?", "and then?") == ExitCode.OK
    assert asks(chat) == [
        ("why?", "sim", []),
        ("why?", "opus", []),
        ("and then?", "sim", ["sim says why?"]),
    ]
    first, second, third = chat.store.all(Ask)
    assert first.fan == second.fan == first.request_id
    assert third.fan == ""
    assert not chat.store.all(Pick)
    assert chat.out.index("sim says why?") < chat.out.index("opus says why?")


def test_one_that_is_picked_is_gone_on_with_and_the_store_is_told(chat: Run) -> None:
    assert chat.script("/fan sim,anthropic:opus why?", "/pick 2", "and then?") == ExitCode.OK
    assert asks(chat)[-1] == ("and then?", "opus", ["opus says why?"])
    [pick] = chat.store.all(Pick)
    assert pick.turn == chat.store.all(Ask)[1].request_id


def test_where_the_first_has_no_answer_the_next_that_has_one_is_gone_on_with(chat: Run) -> None:
    def fails(ask: Ask) -> list[Message]:
        if ask.target.model == "sim":
            return [Failed(ask.request_id, 1, "unreachable", "it is not there")]
        return answer(ask)

    chat.says[Ask] = fails
    assert chat.script("/fan sim,anthropic:opus why?", "and then?") == ExitCode.TURN_FAILED
    assert asks(chat)[-1] == ("and then?", "opus", ["opus says why?"])
    assert len(chat.store.all(Pick)) == 1


def test_without_a_question_the_last_one_is_asked(chat: Run) -> None:
    chat.script("hello", "/fan sim,anthropic")
    assert [content for content, _, _ in asks(chat)] == ["hello"] * 3
    assert asks(chat)[1] == ("hello", "sim", ["sim says hello"])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["/pick 2"], "there is nothing to pick from"),
        (["/fan sim,anthropic hi", "/pick 3"], "there is no answer 3: /pick takes 1 to 2"),
        (["/fan sim,nobody hi"], "'nobody' is neither BACKEND"),
        (["/fan sim,anthropic"], "there is no question yet"),
        (["/edit"], "there is no question yet"),
        (["/copy"], "there is no answer yet"),
        (["hi", "/copy 3"], "there is no answer 3: the last one is 1"),
        (["hi", "/copy code"], "there is no code in the last answer"),
        (["hi", "/thinking"], "without any thinking"),
        (["/stats"], "nothing has been said"),
        (["/switch nobody"], "'nobody' is neither BACKEND"),
        (["/undo"], "nothing yet to be undone"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(chat: Run, lines: list[str], said: str) -> None:
    assert chat.script(*lines) == ExitCode.USAGE
    assert [line for line in chat.err.splitlines() if said in line]


def test_an_edited_question_takes_the_place_of_the_last(
    chat: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited: list[str] = []

    def edit(desk: object, text: str) -> str:
        edited.append(text)
        return f"{text}, please"

    monkeypatch.setattr("chatbot.ui.desk.PlainDesk.edit", edit)
    chat.script("one", "two", "/edit", "three")
    assert edited == ["two"]
    assert "You: two, please\n" in chat.err
    second, third = chat.store.all(Ask)[1:3]
    assert (third.content, third.replaces) == ("two, please", second.request_id)
    assert asks(chat)[3] == ("three", "sim", ["sim says one", "sim says two, please"])


@pytest.mark.parametrize("edited", [None, "", " one "])
def test_a_question_that_was_not_changed_is_not_asked_again(
    chat: Run, monkeypatch: pytest.MonkeyPatch, edited: str | None
) -> None:
    monkeypatch.setattr("chatbot.ui.desk.PlainDesk.edit", lambda desk, text: edited)
    assert chat.script("one", "/edit") == ExitCode.OK
    assert len(chat.store.all(Ask)) == 1
    assert "nothing was changed" in chat.err


def test_an_editor_needs_a_terminal(chat: Run) -> None:
    assert chat.script("one", "/edit") == ExitCode.USAGE
    assert [line for line in chat.err.splitlines() if "/edit needs a terminal" in line]
    assert len(chat.store.all(Ask)) == 1


def test_what_is_copied_is_the_answer_or_its_code(
    chat: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []

    def copy(text: str, write_raw: object) -> str:
        copied.append(text)
        return "to the clipboard"

    monkeypatch.setattr("chatbot.ui.clipboard.copy", copy)
    text = "See:\n```python\nx = 1\n```\nand\n```\ny\n```\n"
    chat.says[Ask] = lambda ask: [Answered(ask.request_id, 1, Completion(text))]
    chat.script("code", "/copy", "/copy code", "/copy code 1")
    assert copied == [text, "y", "x = 1"] or copied == [text, "y\n", "x = 1\n"]
    assert "copied code block 1 of 2 to the clipboard" in chat.err


def test_the_thinking_before_the_last_answer_is_kept_and_shown(chat: Run) -> None:
    chat.says[Ask] = lambda ask: [
        Delta(ask.request_id, 1, 0, "let me see", reasoning=True),
        Answered(ask.request_id, 1, Completion("yes")),
    ]
    chat.script("why?", "/thinking", json=True)
    assert [e["text"] for e in chat.events() if e["event"] == "thinking"] == ["let me see"]


def test_system_prompt_and_options_are_set_shown_and_taken_back(chat: Run) -> None:
    assert (
        chat.script(
            "/system be kind",
            "/set temperature 0.5",
            "one",
            "/system -",
            "/set temperature -",
            "two",
            "/show",
            "/set seed 99999999999999999999",
        )
        == ExitCode.USAGE
    )
    first, second = chat.store.all(Ask)
    assert (first.target.system, first.target.options) == ("be kind", {"temperature": 0.5})
    assert (second.target.system, second.target.options) == (None, {})
    assert "Said so far: 2 turns" in chat.err
    assert "too large" in chat.err


def test_an_alias_stands_for_a_backend_and_its_model(chat: Run) -> None:
    aliases: Any = {"best": ("anthropic", "opus")}
    chat.script("/model best", "one", "/switch sim", "/fan best,sim two", aliases=aliases)
    assert [(content, model) for content, model, _ in asks(chat)] == [
        ("one", "opus"),
        ("two", "opus"),
        ("two", "sim"),
    ]


def test_what_a_session_has_used_is_summed_up_from_the_database(chat: Run) -> None:
    chat.says[Load] = lambda message: [Loaded(message.request_id, SKY, MESSAGES)]
    chat.script("one", "/stats", json=True, prices={"sim:sim": Price(1.0, 2.0)})
    assert [e["event"] for e in chat.events()][-1] == "stats"
