"""What a person at the console sees of a turn, of several at once, and of all else."""

import sys
import threading
from collections.abc import Iterator

import pytest

from chatbot.messages import (
    Answered,
    CacheStats,
    Cancelled,
    Completion,
    Failed,
    Interrupted,
    ModelsListed,
    ProcessStatus,
    SearchHit,
    Session,
    StatusRead,
    StoredMessage,
    Target,
    Terminal,
)
from chatbot.settings import Price
from chatbot.ui.console.answer import LEAD
from chatbot.ui.console.notices import ConsoleNotices
from chatbot.ui.console.view import ConsoleView
from chatbot.ui.lines import Line
from chatbot.ui.live import Frame
from chatbot.ui.stats import Stats
from chatbot.ui.view import Notices, View
from tests.screens import FakeScreen, PlainRendering, PlainText

TARGET = Target("sim", "sim-1")
OTHER = Target("openai", "gpt-4.1-mini")
TWO = (("r1", TARGET), ("r2", OTHER))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def screen() -> FakeScreen:
    return FakeScreen()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(screen: FakeScreen, clock: Clock) -> ConsoleView:
    prices = {"sim:sim-1": Price(1.0, 10.0)}
    return ConsoleView(screen, prices=prices, rendering=PlainRendering(), clock=clock)


def answered(text: str, request_id: str = "r", cached_age_s: float | None = None) -> Answered:
    completion = Completion(text, "sim-1", "stop", input_tokens=500, output_tokens=100)
    return Answered(request_id, 1, completion, 210.0, 2000.0, cached_age_s)


def say(view: View, *pieces: str, request_id: str = "r") -> None:
    for piece in pieces:
        view.delta(request_id, piece, reasoning=False)


FOOTER = "sim-1 · 100 tokens · 50.0 tokens/s · first token 210 ms · $0.0015"


def test_an_answer_goes_from_waiting_by_its_tail_into_the_scrollback(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin("r", "s", TARGET)
    assert screen.frame() == ["Bot: …"]
    say(view, "one\nt", "wo")
    assert screen.changes == 2
    assert screen.frame() == ["two"]
    assert screen.text == ["Bot: one"]
    say(view, " three")
    view.end(answered("one\ntwo three"), "one\ntwo three")
    assert screen.live is None
    assert screen.text == ["Bot: one", "two three", FOOTER, ""]
    assert screen.styles(FOOTER) == {"dim"}


def test_an_answer_that_no_frame_ever_saw_is_whole_all_the_same(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin("r", "s", TARGET)
    say(view, "one\n", "two")
    view.end(answered("one\ntwo and the rest"), "one\ntwo")
    assert screen.text == ["Bot: one", "two and the rest", FOOTER, ""]


def test_the_next_turn_has_nothing_of_the_last_one(view: ConsoleView, screen: FakeScreen) -> None:
    view.begin("r", "s", TARGET)
    view.delta("r", "hm", reasoning=True)
    say(view, "one")
    before = screen.live
    view.end(answered("one"), "one")
    view.begin("r2", "s", TARGET)
    assert before is not None
    assert before.frame(80, 20) == ((), ())
    assert screen.frame() == ["Bot: …"]
    screen.lines.clear()
    view.end(Failed("r2", 1, "auth", "no key"), "")
    assert screen.text == ["no key", ""]


def test_a_turn_that_is_over_draws_nothing_more(view: ConsoleView, screen: FakeScreen) -> None:
    view.begin("r", "s", TARGET)
    live = screen.live
    view.end(Failed("r", 1, "auth", "no key"), "")
    assert live is not None
    assert live.frame(80, 20) == ((), ())


def test_thinking_shows_its_last_rows_and_folds_when_the_answer_begins(
    view: ConsoleView, screen: FakeScreen, clock: Clock
) -> None:
    view.begin("r", "s", TARGET)
    for number in range(9):
        view.delta("r", f"thought {number}\n", reasoning=True)
        clock.now += 0.5
    assert screen.frame() == ["thought 6", "thought 7", "thought 8"]
    say(view, "so")
    assert screen.frame() == ["Bot: so"]
    folded = "▸ thought for 4.0 s · 90 characters · /thinking shows it"
    assert screen.text == [folded]
    assert screen.styles(folded) == {"dim"}
    view.end(answered("so"), "so")
    assert screen.text == [folded, "Bot: so", FOOTER, ""]


def test_thinking_without_an_answer_folds_when_the_turn_ends(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin("r", "s", TARGET)
    view.delta("r", "hm", reasoning=True)
    view.end(Cancelled("r", 1), "")
    assert screen.text == [
        "▸ thought for 0.0 s · 2 characters · /thinking shows it",
        "(cancelled)",
        "",
    ]


def test_what_is_thought_behind_the_first_text_is_told_once_at_the_end(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin("r", "s", TARGET)
    say(view, "so\n")
    screen.frame()
    for _ in range(3):
        view.delta("r", "hm", reasoning=True)
        assert screen.frame() == []
    view.end(answered("so\n"), "so\n")
    assert screen.text == [
        "Bot: so",
        "▸ thought for 0.0 s · 6 characters · /thinking shows it",
        FOOTER,
        "",
    ]


@pytest.mark.parametrize(
    ("terminal", "line", "style"),
    [
        (Failed("r", 1, "timeout", "silent\nfor long", text="hal"), "silent for long", "ansired"),
        (Cancelled("r", 1, text="hal"), "(cancelled; what came is kept)", "ansiyellow"),
        (Interrupted("r", 1, "it died", text="hal"), "(interrupted: it died)", "ansiyellow"),
    ],
)
def test_what_ended_otherwise_keeps_its_text_and_says_so(
    view: ConsoleView, screen: FakeScreen, terminal: Terminal, line: str, style: str
) -> None:
    view.begin("r", "s", TARGET)
    say(view, "hal")
    view.end(terminal, "hal")
    assert screen.text == ["Bot: hal", line, ""]
    assert screen.styles(line) == {style}


def test_a_text_that_is_another_than_what_came_is_shown_whole_below_it(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin("r", "s", TARGET)
    say(view, "one")
    view.end(answered("two"), "one")
    assert screen.text[0] == "Bot: one"
    assert screen.text[1].startswith("(what is kept")
    assert screen.text[2:] == ["Bot: two", FOOTER, ""]


def test_an_answer_without_text_says_so(view: ConsoleView, screen: FakeScreen) -> None:
    view.begin("r", "s", TARGET)
    view.end(answered(""), "")
    assert screen.text == ["(the answer is empty)", FOOTER, ""]


class BrokenText(PlainText):
    """Text that cannot be drawn any more once it has a certain word."""

    def frame(self, columns: int) -> Frame:
        if "evil" in self._text:
            raise ZeroDivisionError("no such row")
        return super().frame(columns)

    def end(self, columns: int) -> tuple[Line, ...]:
        self.frame(columns)
        return super().end(columns)


class BrokenRendering(PlainRendering):
    def stream(self, lead: Line = ()) -> PlainText:
        return BrokenText(lead)

    def whole(self, text: str, columns: int, lead: Line = ()) -> tuple[Line, ...]:
        raise ZeroDivisionError("no such row")


TOLD = "(it cannot be drawn: ZeroDivisionError('no such row'); as it came, it is:)"


def test_an_answer_that_cannot_be_drawn_is_shown_as_it_came(screen: FakeScreen) -> None:
    view = ConsoleView(screen, rendering=BrokenRendering())
    view.begin("r", "s", TARGET)
    say(view, "fine\nand ")
    assert screen.frame() == ["and "]
    say(view, "evil\nit ")
    assert screen.frame() == ["it "]
    say(view, "ends")
    view.end(answered("fine\nand evil\nit ends"), "fine\nand evil\nit ends")
    assert screen.text[:-2] == ["Bot: fine", TOLD, "Bot: fine", "and evil", "it ends"]


def test_an_answer_that_fails_at_its_end_is_shown_as_it_came(screen: FakeScreen) -> None:
    view = ConsoleView(screen, rendering=BrokenRendering())
    view.begin("r", "s", TARGET)
    view.end(answered("evil"), "")
    assert screen.text[:-2] == [TOLD, "Bot: evil"]


def test_several_that_cannot_be_drawn_are_shown_as_they_came(screen: FakeScreen) -> None:
    view = ConsoleView(screen, rendering=BrokenRendering())
    screen.columns = 200
    view.begin_fan(TWO, "s")
    say(view, "evil", request_id="r1")
    say(view, "good", request_id="r2")
    shown = " ".join(screen.frame())
    assert "no such row" in shown
    assert "evil" in shown
    assert "good" in shown
    view.end(answered("evil", "r1"), "evil")
    view.end(answered("good", "r2"), "good")
    view.end_fan()
    assert sum("no such row" in row for row in screen.text) == 1
    assert any("evil" in row and "good" in row for row in screen.text)


def test_what_is_said_is_broken_between_words(screen: FakeScreen) -> None:
    screen.columns = 30
    view = ConsoleView(screen, rendering=PlainRendering())
    view.begin("r", "s", TARGET)
    view.delta("r", "Hmm.", reasoning=True)
    view.end(answered("hi"), "")
    view.aside("[ui process restarted: killed by a signal]")
    ConsoleNotices(screen).say("the session is called a name with many words")
    assert all(len(row) <= 30 for row in screen.text)
    words = " ".join(screen.text).split()
    assert {"characters", "/thinking", "tokens/s", "restarted:", "called", "words"} <= {*words}


def test_a_cached_answer_says_how_old_it_is(view: ConsoleView, screen: FakeScreen) -> None:
    view.begin("r", "s", TARGET)
    view.end(answered("hi", cached_age_s=3 * 3600.0), "")
    assert screen.text == [
        "Bot: hi",
        "sim-1 · 100 tokens · cached 3 h ago · /regenerate asks anew",
        "",
    ]


def test_a_notice_goes_above_an_answer_that_goes_on(view: ConsoleView, screen: FakeScreen) -> None:
    view.begin("r", "s", TARGET)
    say(view, "one")
    view.aside("a worker\ndied")
    assert screen.text == ["a worker died"]
    assert screen.frame() == ["Bot: one"]
    view.end(answered("one"), "one")
    assert screen.text == ["a worker died", "Bot: one", FOOTER, ""]


def test_a_turn_that_is_left_leaves_what_came_of_it(view: ConsoleView, screen: FakeScreen) -> None:
    view.begin("r", "s", TARGET)
    say(view, "half")
    view.leave()
    assert (screen.text, screen.live) == (["Bot: half"], None)
    view.leave()
    assert screen.text == ["Bot: half"]


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_what_is_fed_by_one_thread_and_drawn_by_another_is_whole(
    view: ConsoleView, screen: FakeScreen
) -> None:
    frames = 0
    is_over = threading.Event()

    def paint() -> None:
        nonlocal frames
        while not is_over.is_set():
            screen.frame()
            frames += 1

    painter = threading.Thread(target=paint)
    view.begin("r", "s", TARGET)
    painter.start()
    pieces: list[str] = []
    try:
        while frames < 500:  # pytest-timeout is the deadline of a painter that stands still
            if len(pieces) < 20 * (frames + 1):  # or the painter would never come to an end of it
                pieces.append(f"word {len(pieces)}{chr(10) * (len(pieces) % 7 == 0)} ")
                say(view, pieces[-1])
        text = "".join(pieces)
        view.end(answered(text), text)
    finally:
        is_over.set()
        painter.join()
    assert screen.lines[:-2] == [*PlainRendering().whole(text, 80, LEAD)]


# --- several at once -------------------------------------------------------------------------------


def test_several_answers_stand_side_by_side_while_they_come(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin_fan(TWO, "s")
    first = screen.frame()
    assert first[0] == "[1] sim sim-1                           │ [2] openai gpt-4.1-mini"
    assert first[1] == "…                                       │ …"
    say(view, "left\n", request_id="r1")
    say(view, "日本", request_id="r2")
    view.delta("r1", "", reasoning=True)
    assert screen.frame()[1] == "left                                    │ 日本"
    say(view, "more", request_id="r1")
    assert screen.frame()[1:] == [
        "left                                    │ 日本",
        "more                                    │",
    ]
    assert screen.lines == []


def test_several_answers_go_into_the_scrollback_whole_when_all_are_over(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin_fan(TWO, "s")
    say(view, "right", request_id="r2")
    view.delta("r1", "hm", reasoning=True)
    view.end(Failed("r2", 1, "timeout", "silent", text="right and"), "right")
    assert "silent" in screen.frame()[2]
    view.end(answered("left", "r1"), "")
    assert screen.lines == []
    view.end_fan()
    assert screen.live is None
    assert [part.strip() for row in screen.text[:6] for part in row.split("│")] == [
        *("[1] sim sim-1", "[2] openai gpt-4.1-mini"),
        *("▸ thought for 0.0 s · 2 characters ·", "right and"),
        *("/thinking shows it", "silent"),
        *("left", ""),
        *("sim-1 · 100 tokens · 50.0 tokens/s ·", ""),
        *("first token 210 ms · $0.0015", ""),
    ]
    assert screen.text[6:] == [""]


def test_in_a_narrow_window_they_stand_one_above_the_other_with_fair_shares(
    view: ConsoleView, screen: FakeScreen
) -> None:
    screen.columns, screen.rows = 60, 8
    view.begin_fan(TWO, "s")
    say(view, "".join(f"left {number}\n" for number in range(99)), request_id="r1")
    say(view, "right", request_id="r2")
    assert screen.frame() == [
        *("[1] sim sim-1", "left 94", "left 95", "left 96", "left 97", "left 98"),
        *("[2] openai gpt-4.1-mini", "right"),
    ]
    say(view, "".join(f"\nright {number}" for number in range(99)), request_id="r2")
    assert screen.frame() == [
        *("[1] sim sim-1", "left 96", "left 97", "left 98"),
        *("[2] openai gpt-4.1-mini", "right 96", "right 97", "right 98"),
    ]


def test_a_window_that_changes_its_width_loses_nothing_of_several(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin_fan(TWO, "s")
    say(view, "left\nand more\n", request_id="r1")
    screen.frame()
    screen.columns = 50
    assert screen.frame()[:3] == ["[1] sim sim-1", "left", "and more"]
    screen.columns = 100
    assert [row.split("│")[0].strip() for row in screen.frame()] == [
        *("[1] sim sim-1", "left", "and more")
    ]


def test_several_that_are_left_stay_to_be_read(view: ConsoleView, screen: FakeScreen) -> None:
    view.begin_fan(TWO, "s")
    say(view, "left", request_id="r1")
    view.leave()
    assert "left" in screen.text[1]
    assert screen.live is None
    view.begin("r", "s", TARGET)
    say(view, "one")
    assert screen.frame() == ["Bot: one"]


def test_of_several_a_text_that_is_another_takes_the_place_of_what_came(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.begin_fan(TWO, "s")
    say(view, "wrong\n", request_id="r1")
    screen.frame()
    view.end(answered("right", "r1"), "wrong\n")
    assert screen.frame()[1].startswith("right ")
    assert "wrong" not in "".join(screen.frame())


# --- all else --------------------------------------------------------------------------------------


def status(in_flight: int) -> StatusRead:
    return StatusRead("r", (ProcessStatus("worker", 0, 7, "ready", 1.0, in_flight=in_flight),))


def test_a_status_that_is_watched_is_painted_over_and_its_last_one_stays(
    view: ConsoleView, screen: FakeScreen
) -> None:
    view.watch(status(1), {7: 1024**2})
    live = screen.live
    assert screen.frame()[0].startswith("process ")
    view.watch(status(2), {7: 1024**2})
    assert screen.live is live
    assert screen.changes == 1
    assert screen.lines == []
    screen.rows = 3
    assert len(screen.frame()) == 3
    assert screen.frame()[-1] == "…"
    view.end_watch()
    assert screen.live is None
    assert screen.text[1].split() == [
        "worker",
        "0",
        "7",
        "ready",
        "0:01",
        "0",
        "2",
        "0",
        "1.0",
        "MB",
    ]
    screen.lines.clear()
    view.end_watch()
    view.status(status(3), {})
    assert screen.text[1].split() == ["worker", "0", "7", "ready", "0:01", "0", "3", "0", "-"]


def test_what_was_said_before_looks_as_it_did(view: ConsoleView, screen: FakeScreen) -> None:
    question = StoredMessage("user", "what\nis it", "complete", 0.0, request_id="r1")
    answer = StoredMessage("assistant", "this\nit is", "interrupted", 0.0, request_id="r1")
    nothing = StoredMessage("assistant", "", "failed", 0.0, request_id="r1", error="no key")
    view.message("s", question, unanswered=False)
    view.message("s", answer, unanswered=False)
    view.message("s", nothing, unanswered=False)
    assert screen.text == [
        *("You: what", "is it", "Bot: this", "it is", "[interrupted]", ""),
        *("Bot: ", "[failed: no key]", ""),
    ]
    assert screen.styles("You: ") == {"bold"}
    assert screen.styles("[interrupted]") == {"dim"}


def test_a_question_to_several_is_shown_once_and_each_answer_says_whose_it_is(
    view: ConsoleView, screen: FakeScreen
) -> None:
    again = StoredMessage("user", "what", "complete", 0.0, request_id="r2", fan="r1", active=False)
    answer = StoredMessage("assistant", "it", "complete", 0.0, request_id="r2", fan="r1")
    view.message("s", again, unanswered=False, sibling="2 of 2: sim sim-1, not picked")
    view.message("s", answer, unanswered=False, sibling="2 of 2: sim sim-1, not picked")
    assert screen.text == ["Bot: it", "[2 of 2: sim sim-1, not picked]", ""]


def test_the_words_that_were_searched_for_are_bold(view: ConsoleView, screen: FakeScreen) -> None:
    hit = SearchHit("s_1_aa", "a title", 1, "user", 0.0, "one two three", ((4, 7), (9, 99)))
    view.found((hit,))
    assert screen.text[1] == "    You: one two three"
    assert screen.styles("two") == {"bold"}


def test_lists_are_lines(view: ConsoleView, screen: FakeScreen) -> None:
    session = Session("session_1_aa", "a title", 0.0, "sim", "sim", messages=2)
    view.sessions((session,))
    view.heading(session)
    view.cache(CacheStats(1, 1, 1, None, 0, 0))
    view.models(ModelsListed("r", "sim", ("a", "b\nc")))
    view.models(ModelsListed("r", "sim", error="no server"))
    view.models(ModelsListed("r", "sim"))
    view.stats(Stats("s"))
    view.thoughts("one\ntwo")
    view.thoughts("")
    view.done("renamed", "aa is now: b")
    assert screen.text[1] == "Session: session_1_aa (a title)"
    assert screen.text[-9:] == [
        *("a", "b c", "no server", "sim has no models"),
        "nothing was answered in this session yet",
        *("one", "two", "(no thinking came before the last answer)", "aa is now: b"),
    ]


def test_notices_are_lines_above_whatever_goes_on(screen: FakeScreen) -> None:
    notices: Notices = ConsoleNotices(screen)
    notices.say("one\nline")
    notices.block("two\nlines\twith a tab")
    notices.drawn(["\x1b[1mdrawn\x1b[0m"])
    notices.prompt("\n")
    notices.prompt("Bot: \n")
    assert screen.text == ["one line", "two", "lines    with a tab", "Bot: "]
    assert screen.drawn == ["\x1b[1mdrawn\x1b[0m"]
    assert (notices.columns, notices.is_terminal) == (80, True)
