"""Lines as cells, and where the area begins after the window has become narrower."""

import pytest
from prompt_toolkit.data_structures import Point
from prompt_toolkit.layout.screen import Screen
from prompt_toolkit.utils import get_cwidth

from chatbot import host
from chatbot.ui.console.paint import row_of, rows_above
from chatbot.ui.lines import Line


def _painted(*shown: Line) -> Screen:
    screen = Screen()
    for y, line in enumerate(shown):
        screen.data_buffer[y] = row_of(line, 100, colour=True)
    screen.height = len(shown)
    return screen


@pytest.mark.parametrize(("columns", "text"), [(10, "日本語"), (5, "日本"), (1, ""), (3, "日")])
def test_a_line_is_cut_at_the_edge_and_not_within_a_character(columns: int, text: str) -> None:
    row = row_of((("bold", "日本語"),), columns, colour=True)
    assert "".join(cell.char for cell in row.values()) == text
    assert len(row) == get_cwidth(text)


def test_a_line_has_a_cell_for_each_fragment_and_none_of_its_columns_is_left_out() -> None:
    row = row_of((("ansired bold", "ab\x1b"), ("", "c\td")), 80, colour=False)
    assert [(x, cell.char, cell.style) for x, cell in row.items() if cell.char] == [
        (0, "ab␛", "bold"),
        (3, "c    d", ""),
    ]
    assert list(row) == list(range(9))


def test_a_narrower_window_moves_the_cursor_down_from_the_first_row() -> None:
    painted = _painted((("", "x" * 95),), (("", "x" * 40),), (), (("", "日" * 21),), (("", "in"),))
    assert rows_above(painted, Point(x=2, y=4), 100) == 4
    assert rows_above(painted, Point(x=2, y=4), 40) == 3 + 1 + 1 + 2
    assert rows_above(painted, Point(x=45, y=4), 40) == 3 + 1 + 1 + 2 + 1


@pytest.mark.parametrize(
    ("variables", "reflows"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(379)"}, False),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "XTERM_VERSION": "XTerm(379)"}, True),
        ({"TERM": "linux"}, False),
        ({"TERM": "screen", "STY": "1.pts"}, False),
    ],
)
def test_which_terminals_break_lines_anew(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, reflows: bool
) -> None:
    for name in ("TERM", "XTERM_VERSION", "TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert host.terminal_reflows() is reflows
