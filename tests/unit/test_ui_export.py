"""A session as a document: Markdown that nothing in it breaks, and JSON that reads back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.messages import Session, StoredMessage
from chatbot.ui.export import default_name, document, fence_safe, format_of, read_json

SESSION = Session(
    "session_1_aa", "Of *stars*", 0.0, "sim", "sim-1", "be `brief`", {"seed": 1}, 2, 60.0
)
QUESTION = StoredMessage("user", "What is `x`?", "complete", 0.0, "sim", 1, "r1", "sim")
ANSWER = StoredMessage(
    *("assistant", "```py\nx = 1", "interrupted", 60.0, "sim-1", 2, "r1", "sim", "interrupted"),
    *("hm", 3, 4, 5.5, 6.5, True, "it died", "ab" * 16),
)
MESSAGES = ((QUESTION, False), (ANSWER, False))
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def markdown(*messages: tuple[StoredMessage, bool], session: Session = SESSION) -> str:
    return "".join(document("md", session, messages))


def test_markdown_has_the_title_the_system_prompt_and_who_said_what_and_how() -> None:
    lines = markdown(*MESSAGES).splitlines()
    assert lines[0] == r"# Of \*stars\*"
    assert "- session: `session_1_aa`" in lines
    assert "- model: `sim-1` (sim)" in lines
    assert "- seed: `1`" in lines
    headings = [line for line in lines if line.startswith("## ")]
    assert headings == ["## System prompt", "## You", "## Bot"]
    assert "be `brief`" in lines
    about = lines[lines.index("## Bot") + 2]
    assert about.startswith("*`sim-1` · ")
    assert about.endswith(" · cached · interrupted*")
    assert lines[-3:] == ["```py", "x = 1", "```"]


def test_an_unanswered_question_is_marked() -> None:
    assert "unanswered" in markdown((QUESTION, True))
    assert "unanswered" not in markdown((QUESTION, False))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("no fence", "no fence"),
        ("```\ncode\n```", "```\ncode\n```"),
        ("```\ncode", "```\ncode\n```"),
        ("````\n```\ncode\n```", "````\n```\ncode\n```\n````"),
        ("~~~ py\n```\ncode", "~~~ py\n```\ncode\n~~~"),
        ("```\n~~~", "```\n~~~\n```"),
        ("```\n``` not its end", "```\n``` not its end\n```"),
        ("``` a `b` c", "``` a `b` c"),
        ("    ```\nindented code", "    ```\nindented code"),
        ("- a\n  ```\n  code", "- a\n  ```\n  code\n  ```"),
        ("```\r\ncode\r\n```\r\n", "```\r\ncode\r\n```"),
        ("inline ```x", "inline ```x"),
    ],
)
def test_a_fence_that_is_left_open_is_closed_as_it_was_opened(text: str, safe: str) -> None:
    assert fence_safe(text) == safe


@given(st.lists(st.sampled_from(["```", "~~~", "````", "``` x", "~~~~", " ```", "code", ""])))
def test_closing_a_fence_twice_changes_nothing(lines: list[str]) -> None:
    once = fence_safe("\n".join(lines))
    assert fence_safe(once) == once


def test_nothing_in_a_title_or_a_model_can_begin_a_heading_or_a_link() -> None:
    session = Session("s`1", "# [a](b)\n<i>", 0.0, "sim", "`m`")
    lines = markdown(session=session).splitlines()
    assert lines[0] == r"# \# \[a\](b) \<i\>"
    assert "- session: ``s`1``" in lines
    assert "- model: `` `m` `` (sim)" in lines


def test_json_reads_back_as_what_it_was() -> None:
    text = "".join(document("json", SESSION, MESSAGES))
    assert read_json(text) == (SESSION, (QUESTION, ANSWER))
    assert json.loads(text)["version"] == 1
    assert json.loads(text)["messages"][1]["content"] == ANSWER.content


@given(st.lists(st.tuples(TEXT, TEXT, st.none() | TEXT)), TEXT, st.none() | TEXT)
def test_json_reads_back_whatever_was_said(
    said: list[tuple[str, str, str | None]], title: str, system: str | None
) -> None:
    session = Session("session_1_aa", title, 0.5, "sim", "sim", system, {"a": True, "b": 1.5})
    messages = tuple(
        StoredMessage("user", content, "failed", 1.5, request_id=request_id, error=error)
        for content, request_id, error in said
    )
    text = "".join(document("json", session, ((message, True) for message in messages)))
    assert read_json(text) == (session, messages)
    json.loads(text)


@pytest.mark.parametrize(
    "text", ["{}", '{"format":"chatbot session","version":2,"session":{},"messages":[]}', "[]", "x"]
)
def test_another_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)


@pytest.mark.parametrize(
    ("session_id", "file"),
    [("session_1_aa", "session_1_aa.md"), ("../a b/c", "_a_b_c.md"), ("..", "session.md")],
)
def test_the_name_of_a_file_is_made_from_the_session(session_id: str, file: str) -> None:
    assert default_name(session_id) == file
    assert (format_of(file), format_of("A.JSON")) == ("md", "json")
