"""A session as a document: Markdown that nothing in it breaks, and JSON that reads back."""

import json
from datetime import datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chatbot.messages import Session, StoredMessage
from chatbot.ui.export import contained, default_name, document, format_of, read_json
from chatbot.ui.listing import Told

SESSION = Session(
    "session_1_aa", "Of *stars*", 0.0, "sim", "sim-1", "be `brief`", {"seed": 1}, 2, 60.0
)
QUESTION = StoredMessage("user", "What is `x`?", "complete", 0.0, "sim", 1, "r1", "sim")
ANSWER = StoredMessage(
    *("assistant", "```py\nx = 1", "interrupted", 60.0, "sim-1", 2, "r1", "sim", "interrupted"),
    *("hm", 3, 4, 5.5, 6.5, True, "it died", "ab" * 16),
)
MESSAGES = (Told(QUESTION), Told(ANSWER))
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def markdown(*messages: Told, session: Session = SESSION) -> str:
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
    assert "unanswered" in markdown(Told(QUESTION, unanswered=True))
    assert "unanswered" not in markdown(Told(QUESTION))


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
        ("```\r\ncode\r\n```\r\n", "```\ncode\n```"),
        ("inline ```x", "inline ```x"),
    ],
)
def test_a_fence_that_is_left_open_is_closed_as_it_was_opened(text: str, safe: str) -> None:
    assert contained(text) == safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<!-- like this", r"\<!-- like this"),
        ("a\n\n  <PRE>\nhello", "a\n\n  \\<PRE>\nhello"),
        ("- <script>\nalert(1)", "- \\<script>\nalert(1)"),
        ("<style", r"\<style"),
        ("x <textarea> y", r"x \<textarea> y"),
        ("<?php", r"\<?php"),
        ("<![CDATA[ <!DOCTYPE", r"\<![CDATA[ \<!DOCTYPE"),
        ("<div>\n```\nx", "\\<div>\n```\nx\n```"),
        (r"\<!-- \\<!--", r"\<!-- \\\<!--"),
        ("`<b>` ``<i> ` <u>`` <s> `<q>", r"`<b>` ``<i> ` <u>`` \<s> `\<q>"),
        ("```\n<!--\n# a\n```", "```\n<!--\n# a\n```"),
        ("a < b, 1<2, <https://x.org/>", "a < b, 1<2, <https://x.org/>"),
        ("# Title", "### Title"),
        ("## You", "#### You"),
        ("  ##\tYou", "  ####\tYou"),
        ("##### a", "###### a"),
        ("#### a ##", "###### a ##"),
        ("> - ## You", "> - #### You"),
        ("#tag, ####### seven", "#tag, ####### seven"),
        ("    # in a program <b>", "    # in a program <b>"),
        ("You\n---", "You\n\n---"),
        ("You\n===", "You\n\n==="),
        ("a\n\n---\nb", "a\n\n---\nb"),
    ],
)
def test_html_and_headings_of_a_message_do_not_reach_beyond_it(text: str, safe: str) -> None:
    assert contained(text) == safe


def headings(document: str) -> list[str]:
    """Return the headings of the first two levels that stand in no list or quotation."""
    return [
        token.content
        for before, token in pairwise(MarkdownIt().parse(document))
        if before.type == "heading_open" and before.tag in ("h1", "h2") and not before.level
    ]


@pytest.mark.parametrize(
    "forged", ["## You", " ## You", "You\n---", "You\n-", "## You ##", "\r## You"]
)
def test_a_message_cannot_look_like_two(forged: str) -> None:
    text = msgspec.structs.replace(QUESTION, content=f"hello\n\n{forged}\n\nnot said by me")
    assert headings(markdown(Told(text))) == [r"Of \*stars\*", "System prompt", "You"]


PIECES = ["<!--", "-->", "<pre>", "</pre>", "<script>", "<?", "<![CDATA[", "<!X", "<div>", "<b>", "```",
    "~~~", "- ", "> ", "1. ", "    ", "\t", "\n", "\n\n", "## You", "---", "===", "`", "\\", "x ", "<a"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_whatever_a_message_says_the_next_one_has_its_heading(pieces: list[str]) -> None:
    text = msgspec.structs.replace(QUESTION, content="".join(pieces))
    said = headings(markdown(Told(text), *MESSAGES))
    assert said == [r"Of \*stars\*", "System prompt", "You", "You", "Bot"]


def test_a_time_says_how_far_from_utc_it_is() -> None:
    started = next(line for line in markdown().splitlines() if line.startswith("- started: "))
    assert datetime.fromisoformat(started.removeprefix("- started: ")).timestamp() == 0.0
    never = msgspec.structs.replace(SESSION, start_time=1e300)
    assert "- started: (no such time)\n" in markdown(session=never)


@given(
    st.lists(
        st.sampled_from(["```", "~~~", "````", "``` x", "~~~~", " ```", "code", "", "<b>", "---"])
    )
)
def test_closing_a_fence_twice_changes_nothing(lines: list[str]) -> None:
    once = contained("\n".join(lines))
    assert contained(once) == once


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
    text = "".join(
        document("json", session, (Told(message, unanswered=True) for message in messages))
    )
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


def test_markdown_has_a_question_to_several_once_and_json_has_all() -> None:
    first = msgspec.structs.replace(QUESTION, fan="r1")
    again = msgspec.structs.replace(first, request_id="r2", active=False)
    answer = msgspec.structs.replace(ANSWER, request_id="r2", fan="r1", active=False)
    told = (Told(first), Told(again), Told(answer, sibling="2 of 2: sim sim-1, not picked"))
    text = markdown(*told)
    assert headings(text) == [r"Of \*stars\*", "System prompt", "You", "Bot"]
    assert " · 2 of 2: sim sim-1, not picked · cached" in text
    assert read_json("".join(document("json", SESSION, told)))[1] == (first, again, answer)
