"""What is done with turns in the chat: several asked at once, one picked, one edited, what it is asked with."""

from typing import Any

import msgspec
import pytest

from chatbot.errors import ExitCode
from chatbot.mailbox import MAX_MESSAGE_BYTES
from chatbot.messages import (
    Answered,
    Ask,
    Cancel,
    Completion,
    Delta,
    Failed,
    Load,
    Loaded,
    Message,
    Pick,
    Picked,
    SpanRecord,
    StoredMessage,
    Undo,
)
from chatbot.settings import Price
from tests.actors.test_ui_sessions import MESSAGES, SKY, Run, decode, run

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
    assert [answers for _, _, answers in asks(chat)] == [[], [], []]
    first, *fan = chat.store.all(Ask)
    assert [ask.replaces for ask in fan] == ["", first.request_id]  # taken out once


def test_the_last_question_asked_of_several_takes_the_place_of_its_turn(chat: Run) -> None:
    chat.script("one", "two", "/fan sim,anthropic", "and?")
    assert asks(chat)[-1] == ("and?", "sim", ["sim says one", "sim says two"])
    for ask in chat.store.all(Ask)[2:4]:
        assert [m.content for m in ask.history] == ["one", "sim says one"]


def test_a_fan_is_gone_on_with_by_whom_its_first_answer_is_from(chat: Run) -> None:
    chat.script("/fan anthropic:opus,sim why?", "and then?")
    assert asks(chat)[-1] == ("and then?", "opus", ["opus says why?"])


def test_which_of_several_is_gone_on_with_is_said_once_it_is_so(chat: Run) -> None:
    def fails(ask: Ask) -> list[Message]:
        if ask.target.model in failing:
            return [Failed(ask.request_id, 1, "unreachable", "it is not there")]
        return answer(ask)

    chat.says[Ask] = fails
    failing = ["sim"]
    chat.chat("/fan sim,anthropic:opus why?")
    assert "goes on with another; now it is 2" in chat.err
    failing = []
    chat.chat("/fan sim,anthropic:opus why?")
    assert "goes on with another; now it is 1" in chat.err
    failing = ["sim", "opus"]
    chat.chat("/fan sim,anthropic:opus why?")
    assert "goes on with another" not in chat.err


def test_where_one_of_several_cannot_be_sent_nobody_is_asked(chat: Run) -> None:
    too_long: Any = {"anthropic": "x" * MAX_MESSAGE_BYTES}
    more: Any = {"system_of": too_long, "system_is_explicit": False}
    chat.says[Ask] = lambda ask: answer(ask) if ask.content == "one" else []
    assert chat.script("one", "/fan sim,anthropic two", **more) == ExitCode.TURN_FAILED
    assert "too long to be sent" in chat.err
    sent = chat.store.all(Ask)[-1]
    assert [cancel.request_id for cancel in chat.store.all(Cancel)] == [sent.request_id]
    assert [undo.turn for undo in chat.store.all(Undo)] == [sent.request_id]
    spans = [
        record
        for report in (*chat.reports, *chat.store.reports)
        for record in decode(report.payload)
        if isinstance(record, SpanRecord) and record.name == "chat_turn"
    ]
    assert len([span for span in spans if span.end_ns]) == 3
    chat.says[Ask] = answer
    chat.script("one", "/fan sim,anthropic", "two", **more)
    assert asks(chat)[-1] == ("two", "sim", ["sim says one"])
    assert not [ask for ask in chat.store.all(Ask) if ask.replaces]


def of_fan(role: Any, content: str, request_id: str, **more: Any) -> StoredMessage:
    return StoredMessage(
        *(role, content, more.pop("status", "complete"), 0.0),
        model=f"m-{request_id}",
        request_id=request_id,
        backend="anthropic",
        fan="r1",
        active=request_id == "r1",
    )


def test_siblings_of_a_session_that_was_loaded_are_picked_as_they_are_by_now(chat: Run) -> None:
    asked = (of_fan("user", "why?", "r1"), of_fan("user", "why?", "r2"))
    first, half = (
        of_fan("assistant", "one", "r1"),
        of_fan("assistant", "tw", "r2", status="interrupted"),
    )
    stands = iter(
        [(*asked, first), (*asked, first, half), (*asked, first, of_fan("assistant", "two", "r2"))]
    )
    chat.says[Load] = lambda load: [Loaded(load.request_id, SKY, next(stands))]
    assert chat.script("/resume 1", "/pick 2", "/pick 2", "and then?") == ExitCode.USAGE
    assert "answer 2 is not finished yet" in chat.err
    assert asks(chat) == [("and then?", "m-r2", ["two"])]
    assert len(chat.store.all(Pick)) == 1


def test_what_cannot_be_loaded_is_not_picked(chat: Run) -> None:
    asked = (of_fan("user", "why?", "r1"), of_fan("user", "why?", "r2"))
    says = iter([Loaded("", SKY, asked), Loaded("", error="no database")])
    chat.says[Load] = lambda load: [msgspec.structs.replace(next(says), request_id=load.request_id)]
    assert chat.script("/resume 1", "/pick 2") == ExitCode.TURN_FAILED
    assert "cannot load the answers: no database" in chat.err
    assert not chat.store.all(Pick)


def test_siblings_can_be_picked_from_again_once_what_came_later_was_undone(chat: Run) -> None:
    def load(query: Load) -> list[Message]:
        first, second = chat.store.all(Ask)[:2]
        question = of_fan("user", "why?", "")
        rows = [
            msgspec.structs.replace(
                question,
                role=role,
                request_id=ask.request_id,
                fan=first.request_id,
                content=content,
            )
            for ask, text in ((first, "one"), (second, "two"))
            for role, content in (("user", "why?"), ("assistant", text))
        ]
        return [Loaded(query.request_id, SKY, tuple(rows))]

    chat.says[Load] = load
    lines = ("/fan sim,anthropic:opus why?", "more", "/undo", "/pick 2", "and then?")
    assert chat.script(*lines) == ExitCode.OK
    assert asks(chat)[-1][2] == ["two"]


def test_the_answer_of_an_earlier_turn_is_copied_by_its_number(
    chat: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    monkeypatch.setattr("chatbot.ui.clipboard.copy", lambda text, write_raw: copied.append(text))
    chat.script("one", "two", "/copy 1", "/copy 2", "/copy")
    assert copied == ["sim says one", "sim says two", "sim says two"]


def test_only_the_last_turn_is_picked_from(chat: Run) -> None:
    assert chat.script("/fan sim,anthropic hi", "more", "/pick 2") == ExitCode.USAGE
    assert "only the last turn can be picked from" in chat.err


def test_a_trace_of_what_was_undone_is_not_said_never_to_have_been_asked(chat: Run) -> None:
    assert chat.script("hi", "/undo", "/trace") == ExitCode.USAGE
    assert "there is no turn left in this session" in chat.err
    chat.script("/trace")
    assert "nothing has been asked in this session yet" in chat.err


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
        return "with xclip"

    monkeypatch.setattr("chatbot.ui.clipboard.copy", copy)
    text = "See:\n```python\nx = 1\n```\nand\n```\ny\n```\n"
    chat.says[Ask] = lambda ask: [Answered(ask.request_id, 1, Completion(text))]
    chat.script("code", "/copy", "/copy 1", "/copy code", "/copy code 1", "/copy code 2")
    assert copied == [text, text, "y", "x = 1", "y"]
    assert [line for line in chat.err.splitlines() if line.startswith("copied")] == [
        "copied the answer with xclip",
        "copied answer 1 with xclip",
        "copied code block 2 of 2 with xclip",
        "copied code block 1 of 2 with xclip",
        "copied code block 2 of 2 with xclip",
    ]
    assert chat.script("code", "/copy code 3", "/copy 2") == ExitCode.USAGE
    assert "there is no code block 3: the last one is 2" in chat.err
    assert "there is no answer 2: the last one is 1" in chat.err
    assert len(copied) == 5


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
    chat.says[Load] = lambda message: [
        Loaded(message.request_id, SKY, MESSAGES, truncated=not message.after)
    ]
    chat.script("one", "/stats", json=True, prices={"sim:sim": Price(1.0, 2.0)})
    assert [e["event"] for e in chat.events()][-1] == "stats"
    assert [load.everything for load in chat.store.all(Load)] == [True, True]
