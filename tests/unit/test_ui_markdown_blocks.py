"""Pieces of Markdown: the same however the text was cut, final, and never longer than they may be."""

import pytest
from hypothesis import given, settings

from chatbot.ui.markdown.blocks import CODE_LATEST, LIMIT, ROWS, Piece, Scanner, Step
from tests.unit.markdown_texts import LONG, cut, long_texts, texts


def pieces(*parts: str) -> list[Piece]:
    scanner = Scanner()
    return [piece for part in parts for piece in scanner.feed(part)] + scanner.end()


def shapes(text: str) -> list[tuple[str, str]]:
    """Return the kinds and texts of the pieces, with the markers they stand behind."""
    return [
        (" ".join((*(step.marker for step in piece.path), piece.kind)), piece.text)
        for piece in pieces(text)
    ]


@given(cut())
def test_any_cut_of_a_text_gives_the_same_pieces(cut: tuple[str, list[str]]) -> None:
    text, parts = cut
    assert pieces(*parts) == pieces(text)


@given(texts)
def test_one_character_at_a_time_gives_the_same_pieces(text: str) -> None:
    assert pieces(*text) == pieces(text)


@given(cut(long_texts))
@settings(max_examples=30, deadline=None)
def test_long_texts_are_cut_at_the_same_places(cut: tuple[str, list[str]]) -> None:
    text, parts = cut
    assert pieces(*parts) == pieces(text)


@pytest.mark.parametrize("text", LONG)
def test_a_long_text_is_cut_at_the_same_places_one_character_at_a_time(text: str) -> None:
    assert pieces(*text) == pieces(text)


@given(cut())
def test_what_the_rest_would_be_changes_nothing(cut: tuple[str, list[str]]) -> None:
    text, parts = cut
    scanner = Scanner()
    found: list[Piece] = []
    for part in parts:
        found += scanner.feed(part)
        scanner.rest()
    assert found + scanner.end() == pieces(text)


def test_the_ends_of_lines_of_windows_are_ends_of_lines() -> None:
    text = "a\nb\n\n```\nx\n```\n| a |\n|---|\n- c\n"
    assert pieces(text.replace("\n", "\r\n")) == pieces(text)


@pytest.mark.parametrize("text", [*LONG, "".join(LONG)])
def test_no_piece_grows_with_the_text(text: str) -> None:
    for piece in pieces(text):
        assert len(piece.text) <= 4 * LIMIT
        assert piece.text.count("\n") <= (
            ROWS + 1 if piece.kind == "table" else CODE_LATEST if piece.kind == "code" else LIMIT
        )


@given(texts)
def test_no_word_is_lost(text: str) -> None:
    # Marks of Markdown are what pieces do not have
    kept = "".join(
        character
        for piece in pieces(text)
        for character in (piece.info * piece.opens) + piece.text
        if character.isalpha()
    )
    assert kept == "".join(filter(str.isalpha, text))


@pytest.mark.parametrize("text", LONG)
def test_no_word_of_a_long_text_is_lost(text: str) -> None:
    found = pieces(text)
    body = "".join(piece.text for piece in found if piece.kind != "table")
    body += "".join(
        piece.text.split("\n", 2)[2] if number else piece.text
        for number, piece in enumerate(each for each in found if each.kind == "table")
    )
    assert sum(
        map(str.isalnum, body + "".join(piece.info for piece in found if piece.opens))
    ) == sum(map(str.isalnum, text))


def test_code_is_cut_before_a_line_at_its_margin() -> None:
    function = "def f():\n    return 1\n\n"
    found = pieces("```python\n" + function * 40 + "```\nAfter\n")
    assert [piece.text.count("\n") for piece in found] == [48, 48, 24, 0]
    assert [piece.opens for piece in found[:3]] == [True, False, False]
    assert [piece.closes for piece in found[:3]] == [False, False, True]
    assert all(piece.text.startswith("def f") for piece in found[:3])


def test_the_next_piece_of_a_long_table_has_the_first_row_again() -> None:
    found = pieces("| a |\n|---|\n" + "| 1 |\n" * (ROWS + 1))
    assert [piece.text.count("\n") for piece in found] == [ROWS + 1, 2]
    assert found[1].text == "| a |\n|---|\n| 1 |"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A #\ntext", [("heading", "A"), ("paragraph", "text")]),
        ("A\n===\nB\n---\n", [("heading", "A"), ("heading", "B")]),
        (f"{'long ' * 20}\n---\n", [("paragraph", ("long " * 20).strip()), ("rule", "")]),
        ("a\nb\n\nc", [("paragraph", "a\nb"), ("paragraph", "c")]),
        ("- a\n- b", [("- paragraph", "a"), ("- paragraph", "b")]),
        ("1. a\n1. b\n5. c", [("1. paragraph", "a"), ("2. paragraph", "b"), ("5. paragraph", "c")]),
        ("1. a\n  - b\n2. c", [("1. paragraph", "a"), ("1. - paragraph", "b"), ("2. paragraph", "c")]),
        ("- a\n      - b\n    - c", [("- paragraph", "a"), ("- - paragraph", "b"), ("- - paragraph", "c")]),
        ("- a\nb", [("- paragraph", "a\nb")]),
        ("- a\n\n  b\n\nc", [("- paragraph", "a"), ("- paragraph", "b"), ("paragraph", "c")]),
        ("-\n- a", [("- paragraph", ""), ("- paragraph", "a")]),
        ("1. a\n   ```sh\n   ls\n   ```\n2. b", [("1. paragraph", "a"), ("1. code", "ls\n"), ("2. paragraph", "b")]),
        ("- a\n  ```\nls\n```\nb", [("- paragraph", "a"), ("- code", "ls\n"), ("paragraph", "b")]),
        ("~~~~\n```\n~~~\n~~~~\nx", [("code", "```\n~~~\n"), ("paragraph", "x")]),
        ("````md\n```py\n1\n```\n````", [("code", "```py\n1\n```\n")]),
        ("```py\n1\n\n2", [("code", "1\n\n2\n")]),
        ("a\n```\n1\n```", [("paragraph", "a"), ("code", "1\n")]),
        ("    a\n\n      b\n\nc", [("code", "a\n\n  b\n"), ("paragraph", "c")]),
        ("a | b\n- | -\n", [("paragraph", "a | b"), ("- paragraph", "| -")]),
        ("a | b\n--|--\n1 | 2\nend", [("table", "a | b\n--|--\n1 | 2"), ("paragraph", "end")]),
        ("> a\nb\n> c\n\nd", [("> paragraph", "a\nb\nc"), ("paragraph", "d")]),
        ("> ```\n> x\ny", [("> code", "x\n"), ("paragraph", "y")]),
        ("> - a\n>   - b", [("> - paragraph", "a"), ("> - - paragraph", "b")]),
        ("\\[\n+ x\n\\]\ny", [("verbatim", "\\["), ("verbatim", "+ x"), ("verbatim", "\\]"), ("paragraph", "y")]),
        ("<div>\n```\nx\n```", [("verbatim", "<div>"), ("code", "x\n")]),
        ("text\n2. no list", [("paragraph", "text\n2. no list")]),
        ("* * *\n", [("rule", "")]),
        ("#no heading", [("paragraph", "#no heading")]),
    ],
)  # fmt: skip
def test_a_text_has_these_pieces(text: str, expected: list[tuple[str, str]]) -> None:
    assert shapes(text) == expected


def test_an_empty_line_stands_before_a_piece_where_one_was_written_and_before_headings() -> None:
    text = "a\n# b\nc\n\n\nd\n- e\n- f\n\n- g\n```\nx\n```\nh\n"
    assert [(piece.text, piece.gap) for piece in pieces(text)] == [
        ("a", False), ("b", True), ("c", False), ("d", True), ("e", False), ("f", False), ("g", True),
        ("x\n", False), ("h", False),
    ]  # fmt: skip


def test_only_the_first_piece_of_an_item_is_new_in_it() -> None:
    found = pieces("- a\n\n  b\n  - c\n")
    assert [piece.path for piece in found] == [
        (Step("-", new=True),),
        (Step("-", new=False),),
        (Step("-", new=False), Step("-", new=True)),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n``", ["a"]),
        ("a\n#", ["a"]),
        ("a\n- ", ["a"]),
        ("```\na\n``", ["a\n"]),
        ("| a | b |", ["| a | b |\n|-|-|"]),
        ("| a | b |\n|--", ["| a | b |\n|-|-|"]),
        ("| a | b |\n|-|-|\n| 1 | 2", ["| a | b |\n|-|-|\n| 1 | 2"]),
    ],
)
def test_what_may_become_another_thing_with_the_next_character_waits(
    text: str, shown: list[str]
) -> None:
    scanner = Scanner()
    assert [piece.text for piece in (*scanner.feed(text), *scanner.rest())] == shown
