"""An answer as it comes: what is handed over in the end is what a rendering of the whole shows."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.ui.lines import Line, plain
from chatbot.ui.markdown.stream import MarkdownStream, rendered
from tests.unit.markdown_texts import LONG, cut, long_texts, texts

ROOT = Path(__file__).resolve().parents[2]
LEAD: Line = (("bold", "Bot: "),)


def streamed(parts: list[str], columns: int, every: int) -> tuple[Line, ...]:
    """Return all finished lines of an answer, with a frame after every so many parts; 0: with none."""
    stream = MarkdownStream(lead=LEAD)
    found: list[Line] = []
    for number, part in enumerate(parts, 1):
        stream.feed(part)
        if every and number % every == 0:
            found += stream.frame(columns).finished
    return (*found, *stream.end(columns))


@given(cut(), st.integers(0, 3), st.integers(10, 90))
@settings(deadline=None)
def test_any_cut_and_any_frames_give_the_lines_of_the_whole(
    cut: tuple[str, list[str]], every: int, columns: int
) -> None:
    text, parts = cut
    assert streamed(parts, columns, every) == rendered(text, columns, LEAD)


@given(texts, st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_one_character_at_a_time_gives_the_lines_of_the_whole(text: str, every: int) -> None:
    assert streamed(list(text), 40, every) == rendered(text, 40, LEAD)


@given(cut(long_texts), st.integers(0, 3))
@settings(deadline=None, max_examples=20)
def test_a_long_answer_gives_the_lines_of_the_whole(cut: tuple[str, list[str]], every: int) -> None:
    text, parts = cut
    assert streamed(parts, 60, every) == rendered(text, 60, LEAD)


@given(cut(), st.integers(10, 90))
@settings(deadline=None)
def test_a_tail_shows_what_an_answer_that_ended_there_would_for_code(
    cut: tuple[str, list[str]], columns: int
) -> None:
    text, _ = cut
    code = "```python\n" + text.replace("`", "'") + "\n"
    stream = MarkdownStream()
    stream.feed(code)
    frame = stream.frame(columns)
    assert (*frame.finished, *frame.tail) == rendered(code, columns)


def test_the_tail_stays_short_however_long_the_answer_is() -> None:
    stream = MarkdownStream()
    for text in LONG * 3:
        stream.feed(text)
        assert len(stream.frame(80).tail) < 250


def test_a_frame_with_nothing_new_is_the_same_tail_and_a_new_width_draws_it_anew() -> None:
    stream = MarkdownStream()
    stream.feed("one two three")
    first = stream.frame(80)
    assert stream.frame(80).tail is first.tail
    assert [plain(line) for line in stream.frame(10).tail] == ["one two", "three"]


def test_the_tail_shows_a_word_bold_from_its_first_character_on() -> None:
    stream = MarkdownStream()
    seen = []
    for character in "a **bold** word":
        stream.feed(character)
        seen.append("".join(plain(line) for line in stream.frame(80).tail))
    assert not [text for text in seen if "*" in text]
    assert seen[-1] == "a bold word"


def test_the_lead_is_shown_once() -> None:
    stream = MarkdownStream(lead=LEAD)
    assert stream.frame(80).tail == ()
    stream.feed("one\n\ntwo\n\n")
    assert [plain(line) for line in stream.frame(80).finished] == ["Bot: one", "", "two"]
    stream.feed("three")
    assert [plain(line) for line in stream.end(80)] == ["", "three"]


def test_text_may_come_while_frames_are_drawn() -> None:
    parts = [f"{number} words\n\n" for number in range(2000)]
    stream = MarkdownStream()

    def feed() -> None:
        for part in parts:
            stream.feed(part)

    feeding = threading.Thread(target=feed)
    feeding.start()
    found: list[Line] = []
    while feeding.is_alive():
        found += stream.frame(80).finished
    feeding.join()
    found += stream.end(80)
    assert tuple(found) == rendered("".join(parts), 80)


@pytest.mark.parametrize("library", ["markdown_it", "pygments", "wcwidth"])
def test_nothing_that_lays_out_is_loaded_before_there_is_something(library: str) -> None:
    code = (
        "import sys; from chatbot.ui.markdown.stream import MarkdownStream; "
        "stream = MarkdownStream(); stream.frame(80); stream.feed('x'); "
        f"print({library!r} in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "False"
