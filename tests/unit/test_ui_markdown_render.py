"""Pieces of Markdown as lines: as wide as the window at most, safe, and to be copied."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth, wcwidth

from chatbot.ui.lines import Line, joined, plain, safe
from chatbot.ui.markdown import wrap
from chatbot.ui.markdown.inline import closed, styled
from chatbot.ui.markdown.stream import rendered
from tests.unit.markdown_texts import LINES, texts

WIDE = ("日本語", "👩‍👩‍👧‍👦", "❤️", "⚠️", "🇩🇪", "👍🏽", "e\u0301", "✅", "́", "\u200d", "ｱ", "각")


def shown(text: str, columns: int = 80, lead: Line = ()) -> list[str]:
    return [plain(line) for line in rendered(text, columns, lead)]


def styles(text: str, word: str) -> set[str]:
    """Return the styles that a word is shown in."""
    return {style for line in rendered(text, 80) for style, part in line if word in part}


@given(texts, st.integers(10, 100))
@settings(deadline=None)
def test_no_line_is_wider_than_the_window(text: str, columns: int) -> None:
    for line in rendered(text, columns, (("bold", "Bot: "),)):
        for measured in (line, safe(line)):
            text = plain(measured)
            assert max(wcswidth(text), sum(max(wcwidth(each), 0) for each in text)) <= columns


@given(st.lists(st.sampled_from((*WIDE, "a", " ", "| ", "word ", "`", "**"))), st.integers(10, 30))
@settings(deadline=None)
def test_no_line_of_wide_characters_is_wider_than_the_window(
    parts: list[str], columns: int
) -> None:
    text = "".join(parts)
    for shape in (text, f"- {text}", f"```\n{text}\n```", f"|{text}|b|\n|-|-|\n|a|{text}|"):
        for line in rendered(shape, columns):
            assert wrap.width(plain(line)) <= columns
            assert wcswidth(plain(line)) <= columns


@pytest.mark.parametrize("columns", range(12))
def test_a_narrow_window_raises_nothing(columns: int) -> None:
    rendered("\n".join(LINES), columns, (("bold", "A long name of a model: "),))


@given(texts)
@settings(deadline=None)
def test_each_line_is_safe_already_and_has_no_spaces_at_its_end(text: str) -> None:
    for line in rendered(text, 60):
        assert safe(line) == line
        assert not plain(line).endswith(" ")


@given(texts)
@settings(deadline=None)
def test_all_styles_are_words_of_ours(text: str) -> None:
    joined(rendered(text, 60), colour=True)


@given(texts, st.integers(10, 100))
@settings(deadline=None)
def test_no_letter_is_lost(text: str, columns: int) -> None:
    wide = "".join(shown(text, 10_000))
    narrow = "".join(shown(text, columns))
    assert {*filter(str.isalpha, wide)} <= {*filter(str.isalpha, narrow)}


@given(st.lists(st.sampled_from((*WIDE, "a"))).map("".join))
def test_clusters_are_the_text(text: str) -> None:
    assert "".join(cluster for cluster, _ in wrap.clusters(text)) == text


@pytest.mark.parametrize("whole", WIDE[:8])
def test_what_is_drawn_as_one_is_not_cut(whole: str) -> None:
    if whole == "日本語":
        whole = "語"
    lines = shown(f"```\n{whole * 40}\n```", 10)[1:-1]
    assert all(len(line) % len(whole) == 0 for line in lines)
    assert "".join(lines) == whole * 40


def test_code_stands_at_the_margin_and_is_cut_hard_with_nothing_lost() -> None:
    code = "".join(map(str, range(40)))
    lines = shown(f"```python\n{code}\n  x\n```", 30)
    assert lines == ["```python", code[:30], code[30:60], code[60:], "  x", "```"]


def test_tabs_in_code_are_shown_as_spaces() -> None:
    assert shown("```\n\tx\ty\n```") == ["```", "    x   y", "```"]


def test_code_is_coloured_by_its_language_and_an_unknown_one_has_none() -> None:
    assert styles("```python\ndef f(): pass\n```", "def") == {"ansimagenta"}
    assert styles("```sh\nls # why\n```", "why") == {"ansibrightblack"}
    assert styles("```nonesuch\ndef f(): pass\n```", "def") == {""}
    assert styles("```\ndef f(): pass\n```", "def") == {""}


def test_code_in_a_list_is_indented_by_two_columns_at_most() -> None:
    assert shown("10. a\n    ```\n    x\n    ```") == ["10. a", "  ```", "  x", "  ```"]


def test_emphasis_code_and_links() -> None:
    assert styles("a **b** c", "b") == {"bold"}
    assert styles("a *b* c", "b") == {"italic"}
    assert styles("a ~~b~~ c", "b") == {"strike"}
    assert styles("a `b` c", "b") == {"ansicyan"}
    assert shown("[here](http://a.b/c_d)") == ["here (http://a.b/c_d)"]
    assert shown("<http://a.b> [http://a.b](http://a.b) ![x](y.png)") == [
        "http://a.b http://a.b x (y.png)"
    ]
    assert shown("[ä](http://ä.de/ü)") == ["ä (http://ä.de/ü)"]


@pytest.mark.parametrize(
    "text", [r"\(a_1 * b_2 * c\)", r"\[a_1\]", "$a_1$ and $*b*$", "$5 and $6", "$$a_1 _b_$$"]
)
def test_formulas_are_left_as_they_are(text: str) -> None:
    assert shown(f"so {text}.") == [f"so {text}."]


def test_an_entity_cannot_stand_for_what_drives_the_terminal() -> None:
    assert shown("a&#x202E;b&#x2028;c&lt;d") == ["ab c<d"]


def test_lists_quotes_and_their_empty_lines() -> None:
    assert shown("- a\n  1. b\n\n     c\n\n> d\n>\n> - e\n>\n>   f") == [
        "• a", "  1. b", "", "     c", "", "│ d", "│", "│ • e", "│", "│   f",
    ]  # fmt: skip


def test_lines_stay_lines_except_those_of_wrapped_prose() -> None:
    assert shown("Roses are red\nviolets are blue") == ["Roses are red", "violets are blue"]
    long = "**Pro:** a line that is as long as those that were wrapped at some column"
    assert shown(f"{long}\n{long}") == [long.replace("*", "")] * 2
    assert shown(f"{long}\nand on", 200) == [f"{long.replace('*', '')} and on"]


def test_words_wrap_under_the_first_word_of_an_item() -> None:
    assert shown("- one two three four", 11) == ["• one two", "  three", "  four"]


def test_a_table_wraps_in_its_cells_and_becomes_a_list_where_there_is_no_room() -> None:
    table = "| Name | What |\n|---|--:|\n| a | one two three four five |"
    assert shown(table, 40) == [
        "Name │                    What",
        "─────┼────────────────────────",
        "a    │ one two three four five",
    ]
    assert shown(table, 20) == [
        "Name │          What",
        "─────┼──────────────",
        "a    │ one two three",
        "     │     four five",
    ]
    assert shown(table, 12)[0] == "Name: a"


def test_a_row_with_more_cells_than_the_first_loses_none() -> None:
    assert shown("| a | b |\n|---|---|\n| 1 | 2 | 3 |\n| 4 |")[2:] == ["1 │ 2 | 3", "4 │"]


def test_the_lead_stands_before_the_first_words_or_on_a_line_of_its_own() -> None:
    lead = (("bold", "Bot: "),)
    assert shown("one two three", 13, lead) == ["Bot: one two", "three"]
    assert shown("# one", 80, lead) == ["Bot: one"]
    assert shown("- one", 80, lead) == ["Bot:", "• one"]
    assert shown("```\nx\n```", 80, lead) == ["Bot:", "```", "x", "```"]
    assert shown("one\n\n# two", 80, lead) == ["Bot: one", "", "two"]
    assert shown("", 80, lead) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a **bo", "a **bo**"),
        ("a **bold*", "a **bold**"),
        ("a **", "a"),
        ("a *", "a"),
        ("a **b** c", "a **b** c"),
        ("a **b *c", "a **b *c***"),
        ("a `co", "a `co`"),
        ("a `", "a"),
        ("a `*b", "a `*b`"),
        ("a ``b`", "a ``b``"),
        ("2 * 3", "2 * 3"),
        ("snake_case", "snake_case"),
        ("[a](http://b", "[a](http://b)"),
        ("a \\*b", "a \\*b"),
    ],
)
def test_what_is_open_in_a_paragraph_ends_where_the_text_does(text: str, expected: str) -> None:
    assert closed(text).rstrip() == expected


@given(texts)
@settings(deadline=None)
def test_any_text_can_be_closed(text: str) -> None:
    styled(closed(text))
