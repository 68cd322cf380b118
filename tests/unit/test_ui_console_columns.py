"""Lines in a given room: nothing is too wide, nothing is lost, nobody gets more than is fair."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.ui.console import columns
from chatbot.ui.lines import Line, line, plain

TEXT = st.text("ab 日é\u0301🙂\x1b", max_size=40)
LINES = st.lists(TEXT.map(columns.shown).map(line), max_size=6)


@given(TEXT.map(columns.shown), st.integers(2, 20))
def test_a_line_that_is_cut_or_padded_fits(text: str, room: int) -> None:
    styled: Line = (("bold", text[:3]), ("", text[3:]))
    cut = columns.cut(styled, room)
    assert columns.width_of(cut) <= room
    assert (plain(cut) == text) is (columns.width(text) <= room)
    assert columns.width_of(columns.padded(styled, room)) == room


def test_what_is_cut_keeps_its_styles_and_says_that_it_was() -> None:
    styled: Line = (("bold", "one "), ("dim", "two three"))
    assert columns.cut(styled, 7) == (("bold", "one "), ("dim", "tw"), ("dim", "…"))
    assert columns.cut(line("日本語"), 4) == (("", "日"), ("", "…"))


@given(TEXT, st.integers(2, 20))
def test_text_that_is_wrapped_loses_nothing_but_spaces(text: str, room: int) -> None:
    rows = columns.wrapped(text, room)
    assert all(columns.width(row) <= room for row in rows)
    assert "".join(rows).replace(" ", "") == columns.shown(text).replace(" ", "")


def test_text_is_wrapped_between_words_where_there_are_any() -> None:
    assert columns.wrapped("one two\nthree", 6) == ["one", "two", "three"]
    assert columns.wrapped("abcdefgh", 3) == ["abc", "def", "gh"]
    assert columns.wrapped("a\tb\x1b[1m", 20) == ["a    b␛[1m"]


@given(st.lists(LINES, min_size=1, max_size=4), st.integers(160, 200))
def test_texts_beside_each_other_keep_to_their_columns(parts: list[list[Line]], room: int) -> None:
    widths = columns.widths(len(parts), room)
    rows = columns.beside(parts, widths)
    assert len(rows) == max(map(len, parts))
    assert all(columns.width_of(row) <= room for row in rows)
    between = columns.BETWEEN.rstrip()
    for row in rows:
        at = 0
        for width in widths[:-1]:
            at += width
            before = plain(row)
            cells = 0
            for place, character in enumerate(before):
                if cells == at and columns.width(character):
                    assert before[place:].startswith(between)
                    break
                cells += columns.width(character)
            else:
                pytest.fail("a column has no end")
            at += columns.width(columns.BETWEEN)


@pytest.mark.parametrize(
    ("count", "room", "beside"), [(2, 75, True), (2, 74, False), (3, 114, True), (3, 113, False)]
)
def test_an_answer_needs_36_columns_to_stand_beside_another(
    count: int, room: int, beside: bool
) -> None:
    assert columns.is_side_by_side(count, room) is beside
    widths = columns.widths(count, room)
    assert widths == ([36] * count if beside else [room] * count)


@pytest.mark.parametrize(
    ("wants", "rows", "given"),
    [
        ([3, 3], 9, [3, 3]),
        ([9, 9], 8, [4, 4]),
        ([2, 99], 8, [2, 6]),
        ([99, 1, 99], 9, [4, 1, 4]),
        ([5, 5, 5], 2, [1, 1, 0]),
        ([5], 0, [0]),
    ],
)
def test_rows_are_shared_fairly(wants: list[int], rows: int, given: list[int]) -> None:
    assert columns.shares(wants, rows) == given


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 99))
def test_no_row_is_given_twice_and_none_is_left_that_is_wanted(wants: list[int], rows: int) -> None:
    shares = columns.shares(wants, rows)
    assert sum(shares) == min(rows, sum(wants))
    assert all(share <= want for share, want in zip(shares, wants, strict=True))
    hungry = [share for share, want in zip(shares, wants, strict=True) if share < want]
    assert not hungry or max(shares) - min(hungry) <= 1
