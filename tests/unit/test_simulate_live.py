"""What is shown while a run goes on: the lines, and how they are painted."""

import io
import re
from unicodedata import category

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.simulate.live import LINES, lines, plain, sparkline
from chatbot.simulate.live_state import Live
from chatbot.simulate.painter import Painter
from chatbot.simulate.text import (
    clipped,
    clock,
    duration,
    number,
    share,
    signed,
    simpler,
    tick,
    wrapped,
)
from chatbot.traces.style import columns_of
from tests.results import structs

COLOURS = re.compile(r"\x1b\[[0-9]*m")
RUN = Live(
    elapsed_s=32.0,
    progress=0.5,
    asked=98_100,
    answered=98_000,
    failed=20,
    in_flight=61,
    sessions=64,
    sessions_completed=1204,
    asked_per_s=3012.0,
    answered_per_s=3001.2,
    failed_per_s=2.0,
    output_tokens_per_s=96_032.0,
    ttft_p50=5.731,
    ttft_p95=12.4,
    latency_p50=70.1,
    latency_p95="inf",
    failures={"timeout": 17, "server_error": 3},
    rates=(0.0, 1000.0, 2000.0, 3000.0),
    ttfts=(5.0, None, "inf", 10.0),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("inf", "∞"),
        (0.0, "0.00"),
        (0.0012, "0.001"),
        (5.731, "5.73"),
        (9.996, "10.0"),
        (99.96, "100"),
        (12345.6, "12,346"),
        (3e12, "3e+12"),
        (-0.314, "-0.31"),
    ],
)
def test_a_number_has_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_durations_are_in_the_unit_that_a_person_would_use() -> None:
    said = [duration(ms) for ms in (0.25, 5.731, 12.44, 999.0, 1240.0, "inf", None)]
    assert said == ["250 µs", "5.73 ms", "12.4 ms", "999 ms", "1.24 s", "∞", "–"]
    assert [tick(ms) for ms in (0, 0.5, 10, 250, 2000)] == ["0", "500 µs", "10 ms", "250 ms", "2 s"]
    assert [clock(s) for s in (0, 61, 3601, -1)] == ["0:00", "1:01", "1:00:01", "–"]
    assert [signed(ms) for ms in (0.3, -0.3, None)] == ["+0.30", "-0.30", "–"]


def test_nothing_less_than_all_is_100_percent_and_nothing_more_than_none_is_0() -> None:
    assert [share(*of) for of in ((0, 5), (5, 5), (1, 0))] == ["0 %", "100 %", "–"]
    assert share(99_999, 100_000) == "99.999 %"
    assert share(1, 100_000) == "0.001 %"
    assert share(999_999_999, 1_000_000_000) == "99.9999 %"


def test_the_lines_say_what_goes_on() -> None:
    shown = lines(RUN, 100, colour=False)
    assert len(shown) == LINES
    for words in ("50%", "0:32 elapsed, 0:32 left"):
        assert words in shown[0]
    assert re.findall(r"[\d,.]+ (?:asked|answered|failed|tokens/s)", shown[1]) == [
        "3,012 asked",
        "3,001 answered",
        "2.00 failed",
        "96,032 tokens/s",
    ]
    assert "64 active" in shown[2]
    assert "61 in flight" in shown[2]
    told = "TTFT 5.73 ms p50 12.4 ms p95 latency 70.1 ms p50 ∞ p95"
    assert " ".join(shown[3].split()) == told
    assert "▁▃▆█" in shown[4]
    assert "▅ ██" in shown[5]
    assert shown[6] == "errors    17 timeout · 3 server_error"


def test_colour_changes_nothing_but_the_colour() -> None:
    coloured = lines(RUN, 90, colour=True)
    assert coloured != lines(RUN, 90, colour=False)
    assert [COLOURS.sub("", line) for line in coloured] == lines(RUN, 90, colour=False)


def test_a_run_without_an_end_has_no_bar() -> None:
    shown = lines(Live(elapsed_s=5.0, stage="warm-up"), 80, colour=False)
    assert shown[0].split() == ["warm-up", "0:05", "elapsed"]
    assert shown[6].split() == ["errors", "none"]


def test_one_line_tells_it_where_there_is_no_terminal() -> None:
    assert plain(RUN) == (
        "run 50% 0:32 · 3,001 turns/s · 98,000 answered · 20 failed · 61 in flight"
        " · TTFT p50 5.73 ms p95 12.4 ms · latency p50 70.1 ms p95 ∞ · 17 timeout, 3 server_error"
    )


def test_a_sparkline_starts_at_zero_and_shows_the_newest() -> None:
    assert sparkline((9.0, 0.0, 4.0, 8.0), 3) == "▁▅█"
    assert sparkline((), 8) == ""
    assert sparkline((0.0, None), 8) == "▁ "


@given(structs(Live), st.integers(0, 130), st.booleans())
def test_no_line_is_wider_than_it_may_be(live: Live, width: int, colour: bool) -> None:
    shown = [COLOURS.sub("", line) for line in lines(live, width, colour=colour)]
    assert len(shown) == LINES
    assert all(columns_of(line) <= width for line in shown)
    assert not any(category(each) == "Cc" for line in (*shown, plain(live)) for each in line)


@given(st.text(), st.integers(0, 20))
def test_what_is_clipped_or_wrapped_fits(text: str, width: int) -> None:
    assert columns_of(clipped(text, width)) <= width
    words = wrapped(text, width, lead=" - ", most=3)
    assert len(words) <= 3
    assert all(columns_of(line) <= width for line in words)


def test_wrapping_loses_no_word_that_has_room() -> None:
    text = "one two three four five six"
    assert wrapped(text, 14, lead="- ", most=9) == ["- one two", "  three four", "  five six"]
    assert wrapped(text, 14, lead="- ") == ["- one two", "  three four …"]


class Terminal:
    """A terminal in memory, with a stream that writes to it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)
        self.writes: list[str] = []
        self.encoding = "utf-8"

    def write(self, text: str) -> int:
        """Show what was written, as a terminal does that makes a line's end of a newline."""
        self.writes.append(text)
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: all was shown."""

    @property
    def shown(self) -> list[str]:
        """The lines on the screen, without those at its end that are empty."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")


def painter(terminal: Terminal) -> Painter:
    return Painter(terminal, lambda: terminal.size)  # type: ignore[arg-type] # as much of a stream as is needed


def test_a_frame_takes_the_place_of_the_one_before_in_one_write() -> None:
    terminal = Terminal(40, 12)
    terminal.write("before\n")
    with painter(terminal) as paint:
        paint.paint(["first", "a longer second", "third"])
        paint.paint(["1", "2", "3"])
        assert terminal.shown == ["before", "1", "2", "3"]
        paint.paint(["fewer"])
        assert terminal.shown == ["before", "fewer"]
        assert len(terminal.writes) == 4
    terminal.write("after\n")
    assert terminal.shown == ["before", "fewer", "after"]


def test_frames_at_the_foot_of_the_terminal_do_not_scroll_it() -> None:
    terminal = Terminal(40, 5)
    terminal.write("x\n" * 10)
    paint = painter(terminal)
    for count in range(9):
        paint.paint([f"a{count}", f"b{count}"])
    assert terminal.shown == ["x", "x", "a8", "b8"]


def test_lines_that_do_not_fit_into_the_height_are_left_out() -> None:
    terminal = Terminal(40, 4)
    paint = painter(terminal)
    for _ in range(3):
        paint.paint([f"line {number}" for number in range(9)])
    assert terminal.shown == ["line 0", "line 1", "line 2"]


def test_what_is_said_meanwhile_stays_above_the_frame() -> None:
    terminal = Terminal(40, 12)
    paint = painter(terminal)
    paint.paint(["one", "two"])
    paint.say("a warning")
    paint.paint(["one", "two"])
    assert terminal.shown == ["a warning", "one", "two"]


def test_a_terminal_that_was_made_narrower_keeps_no_rest_of_a_frame() -> None:
    terminal = Terminal(20, 12)
    paint = painter(terminal)
    terminal.write("above\n")
    terminal.size = (40, 12)  # what was painted as one line is two rows now
    paint.paint(["x" * 30])
    terminal.size = (20, 12)
    paint.paint(["new"])
    assert terminal.shown == ["above", "new"]


def test_a_frame_is_a_line_narrower_than_the_terminal_and_nothing_is_hidden_or_set() -> None:
    terminal = Terminal(60, 12)
    paint = painter(terminal)
    assert paint.width == 59
    paint.paint(lines(RUN, paint.width, colour=True))
    paint.close()
    assert not terminal.screen.cursor.hidden
    assert not re.search(r"\x1b\[\?", "".join(terminal.writes))
    assert terminal.writes[-1] == "\x1b[0m"
    assert terminal.screen.cursor.x == 0


def test_a_stream_that_knows_only_ascii_is_sent_nothing_else() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Painter(stream, lambda: (80, 24)).paint(lines(RUN, 79, colour=False))
    assert b"inf p95" in raw.getvalue()
    assert simpler("▁█░  ∞ ±…") == "_#.inf ~~"
