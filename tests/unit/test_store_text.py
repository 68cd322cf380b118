"""The text that SQLite gets to see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.store import text

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_clean_text_can_always_be_encoded_and_holds_no_nul(raw: str) -> None:
    cleaned = text.clean(raw)
    cleaned.encode()
    assert "\0" not in cleaned


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_text_without_fault_stays_as_it_is(raw: str) -> None:
    assert text.clean(raw) == raw


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a\0b", "a\ufffdb"),
        ("lone \ud800 high", "lone \ufffd high"),
        ("lone \udc00 low", "lone \ufffd low"),
        ("a pair \ud83d\ude00", "a pair \N{GRINNING FACE}"),
        ("\0\ud800é", "\ufffd\ufffdé"),
    ],
)
def test_a_replacement_stands_where_something_was_taken_out(raw: str, cleaned: str) -> None:
    assert text.clean(raw) == cleaned


@given(ANY_TEXT)
def test_a_title_is_one_printable_line_of_at_most_60_characters(content: str) -> None:
    title = text.title_of(content)
    assert len(title) <= text.TITLE_CHARACTERS
    assert title.isprintable()
    assert title == title.strip()


def test_a_title_says_when_it_is_not_all() -> None:
    assert text.title_of("  Why is\n\tthe sky   blue? ") == "Why is the sky blue?"
    assert text.title_of("x" * 60) == "x" * 60
    assert text.title_of("x" * 61) == "x" * 59 + "…"
    assert text.title_of("\n" * 5000 + "at last") == "at last"


@given(ANY_TEXT, st.integers(1, 300))
def test_a_line_is_printable_and_not_longer_than_asked_for(content: str, at_most: int) -> None:
    line = text.line_of(content, at_most)
    assert len(line) <= at_most
    assert line.isprintable()


def test_an_unprintable_path_is_escaped() -> None:
    assert text.shown("logs/chät.db") == "logs/chät.db"
    assert text.shown("a\nb") == r"'a\nb'"
    assert text.shown("not utf-8 \udcff") == r"'not utf-8 \udcff'"
