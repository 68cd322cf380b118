"""The line of state, in any width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from chatbot.ui.console.toolbar import tokens, toolbar
from chatbot.ui.lines import ansi, plain
from chatbot.ui.state import State


def state() -> State:
    """A state in which there is something to be said of everything."""
    return State(
        session_id="session_1795327980_57d492",
        backend="ollama",
        model="llama3:latest",
        context_used=1229,
        context_length=8192,
        not_saving="disk full",
        restarts=1,
        activity="answering",
        queued=("a", "b"),
    )


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            200,
            " 57d492 · ollama llama3:latest · context 1.2k of 8k (15 %) · NOT SAVING: disk full"
            " · 1 restart · 2 queued · answering ",
        ),
        (100, " ollama llama3:latest · context 15 % · NOT SAVING: disk full · 1 restart · 2 queued · answering "),
        (70, " llama3:latest · 15 % · NOT SAVING: disk full · 2 queued · answering "),
        (40, " llama3:latest · NOT SAVING · answering "),
        (24, " NOT SAVING · answering "),
        (12, " NOT SAVING "),
        (6, " NOT S"),
        (0, ""),
    ],
)  # fmt: skip
def test_what_matters_least_goes_first(columns: int, line: str) -> None:
    assert plain(toolbar(state(), columns)) == line


def test_a_quiet_state_is_short() -> None:
    quiet = State(session_id="session_1_57d492", backend="sim", model="sim", context_used=0)
    assert plain(toolbar(quiet, 80)) == " 57d492 · sim sim · context 0 "


def test_what_must_not_be_missed_stands_out() -> None:
    full = State(backend="sim", context_used=7900, context_length=8192, not_saving="disk full")
    styles = {text: style for style, text in toolbar(full, 80)}
    assert styles["NOT SAVING: disk full"] == "bold ansired"
    assert styles["context 7.7k of 8k (96 %)"] == "bold ansiyellow"


@pytest.mark.parametrize(
    ("number", "length", "text"),
    [
        (0, None, "0"),
        (999, 8192, "999"),
        (1229, 8192, "1.2k"),
        (8192, 8192, "8k"),
        (131072, 131072, "128k"),
        (150_000, 200_000, "150k"),
        (200_000, 200_000, "200k"),
        (1500, None, "1.5k"),
    ],
)
def test_tokens_are_told_shortly(number: int, length: int | None, text: str) -> None:
    assert tokens(number, length) == text


NAMES = st.text(
    st.one_of(st.sampled_from("a日本👩\u200d💻\u0301 \x1b\n"), st.characters(codec="utf-8"))
)


@given(
    st.builds(
        State,
        session_id=NAMES,
        model=NAMES,
        context_used=st.none() | st.integers(0, 10**7),
        context_length=st.none() | st.integers(0, 10**7),
        not_saving=NAMES,
        restarts=st.integers(0, 1000),
        activity=st.sampled_from(["", "waiting", "answering"]),
        queued=st.tuples() | st.tuples(NAMES),
    ),
    st.integers(0, 150),
)
def test_it_is_one_line_that_fits_into_any_width(any_state: State, columns: int) -> None:
    line = toolbar(any_state, columns)
    assert len(plain(line).splitlines()) <= 1
    assert wcswidth(plain(line)) <= columns
    ansi(line, colour=True)  # every style is one of ours


@given(NAMES.filter(lambda name: bool(name.strip())), st.integers(20, 150))
def test_that_nothing_is_saved_is_seen_whatever_else_there_is(name: str, columns: int) -> None:
    busy = state()
    busy.model = busy.not_saving = name
    assert "NOT SAVING" in plain(toolbar(busy, columns))
