"""What a person sees of a run, on which kind of terminal."""

import io
import sys

import pytest

from chatbot.settings import Arguments, UiSettings, load
from chatbot.simulate.display import Display
from chatbot.simulate.live_state import Live
from chatbot.simulation import Simulation


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, settings: UiSettings) -> str:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    Display(settings, Simulation(out="")).show(Live(elapsed_s=5.0, asked=3))
    return terminal.getvalue()


def test_a_dumb_terminal_is_given_lines_and_no_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    dumb = load(Arguments(mode="simulate", backend="sim"), {"TERM": "dumb"}, "").ui
    able = load(
        Arguments(mode="simulate", backend="sim"), {"TERM": "xterm", "NO_COLOR": "1"}, ""
    ).ui
    assert "\x1b[" in shown(monkeypatch, able)
    lines = shown(monkeypatch, dumb)
    assert lines.endswith("\n")
    assert "\x1b" not in lines
