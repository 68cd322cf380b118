"""What goes to stdout, what to stderr, and what happens when nobody reads it."""

import errno
import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.errors import ChatbotError
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
from chatbot.ui.codeview import CodeView
from chatbot.ui.jsonview import JsonView
from chatbot.ui.stats import Stats, Used
from chatbot.ui.streams import TextNotices
from chatbot.ui.textview import TextView
from chatbot.ui.view import View

TARGET = Target("sim", "sim")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ESCAPE = "\x1b]0;owned\x07\x9b2J"


class Screen(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream whose every write fails."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, "no good")


class Streams:
    """stdout and stderr of a view."""

    def __init__(self) -> None:
        self.stdout = io.StringIO()
        self.stderr = io.StringIO()
        self.notices = TextNotices(self.stderr)

    @property
    def out(self) -> str:
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        return self.stderr.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def streams() -> Streams:
    return Streams()


def answered(text: str, cached_age_s: float | None = None) -> Answered:
    completion = Completion(text, "sim", "stop", usage={"total_tokens": 3}, output_tokens=2)
    return Answered("r", 1, completion, 5.0, 9.0, cached_age_s, traceparent=PARENT)


def show(view: View, terminal: Terminal, *pieces: str) -> None:
    view.begin("r", "session_1", TARGET)
    for piece in pieces:
        view.delta("r", piece, reasoning=False)
    view.end(terminal, "".join(pieces))


def test_an_answer_is_all_of_stdout_and_ends_its_line(streams: Streams) -> None:
    show(TextView(streams.stdout, streams.notices), answered("one two"), "one", " two")
    assert (streams.out, streams.err) == ("one two\n", "")


def test_a_line_that_is_ended_is_not_ended_twice(streams: Streams) -> None:
    show(TextView(streams.stdout, streams.notices), answered("one\n"), "one\n")
    assert streams.out == "one\n"


def test_what_was_not_streamed_is_shown_at_the_end(streams: Streams) -> None:
    show(TextView(streams.stdout, streams.notices), answered("one two"), "one")
    assert streams.out == "one two\n"


def test_the_first_code_block_is_all_of_stdout(streams: Streams) -> None:
    show(CodeView(streams.stdout, streams.notices), answered("Do:\n\n```sh\nls\n```\nthen rest"))
    assert (streams.out, streams.err) == ("ls\n", "")


def test_an_answer_without_a_code_block_is_whole_and_told_as_such(streams: Streams) -> None:
    show(CodeView(streams.stdout, streams.notices), answered("Just do it."))
    assert streams.out == "Just do it.\n"
    assert streams.err == "no code block in the answer: this is all of it\n"


def test_the_chat_marks_who_speaks_on_stderr(streams: Streams) -> None:
    show(TextView(streams.stdout, streams.notices, chatting=True), answered("one"), "one")
    assert (streams.out, streams.err) == ("one\n", "Bot: ")


def test_an_empty_answer_still_ends_the_line_of_the_chat(streams: Streams) -> None:
    show(TextView(streams.stdout, streams.notices, chatting=True), answered(""))
    assert (streams.out, streams.err) == ("", "Bot: \n")


def test_thinking_goes_to_stderr_on_lines_of_its_own(streams: Streams) -> None:
    view = TextView(streams.stdout, streams.notices)
    view.begin("r", "session_1", TARGET)
    view.delta("r", "hm", reasoning=True)
    view.delta("r", "mm", reasoning=True)
    show(view, answered("one"), "one")
    view.delta("r", "hm", reasoning=True)
    view.end(answered(""), "")
    assert streams.out == "one\n"
    assert "hmmm" in streams.err
    assert streams.err.endswith("hm\n")


def test_a_turn_that_is_left_ends_its_line(streams: Streams) -> None:
    view = TextView(streams.stdout, streams.notices, chatting=True)
    view.begin("r", "session_1", TARGET)
    view.delta("r", "half", reasoning=False)
    view.leave()
    assert streams.out == "half\n"


def test_a_notice_in_a_turn_has_a_line_of_its_own(streams: Streams) -> None:
    streams.stdout = Screen()
    view = TextView(streams.stdout, streams.notices, chatting=True)
    view.begin("r", "session_1", TARGET)
    view.aside("early")
    view.delta("r", "half", reasoning=False)
    view.aside("in the middle")
    view.end(answered("half"), "half")
    view.aside("late")
    assert streams.err == "Bot: \nearly\nBot: \nin the middle\nlate\n"
    assert streams.out == "half\n"


def test_a_notice_does_not_change_what_a_pipe_gets(streams: Streams) -> None:
    view = TextView(streams.stdout, streams.notices)
    view.begin("r", "session_1", TARGET)
    view.delta("r", "half", reasoning=False)
    view.aside("a notice")
    view.end(answered("half"), "half")
    assert (streams.out, streams.err) == ("half\n", "a notice\n")


@pytest.mark.parametrize(
    ("terminal", "out", "line"),
    [
        (answered("hi", 0.2), "hi\n", "(cached just now; --refresh asks anew)\n"),
        (answered("hi", 7300.0), "hi\n", "(cached 2 hours ago; --refresh asks anew)\n"),
        (Failed("r", 1, "auth", "set\nKEY"), "", "set KEY\n"),
        (Failed("r", 1, "timeout", "silent", text="hal"), "hal\n", "silent\n"),
        (Cancelled("r", 1, text="hal"), "hal\n", "(cancelled; what came is kept)\n"),
        (Cancelled("r", 1), "", "(cancelled)\n"),
        (Interrupted("r", 1, "it died", text="hal"), "hal\n", "(interrupted: it died)\n"),
    ],
)
def test_what_was_not_as_it_should_be_is_one_line_on_stderr(
    streams: Streams, terminal: Terminal, out: str, line: str
) -> None:
    show(TextView(streams.stdout, streams.notices), terminal)
    assert (streams.out, streams.err) == (out, line)


def test_in_a_chat_a_cached_answer_names_the_command_that_asks_anew(streams: Streams) -> None:
    show(TextView(streams.stdout, streams.notices, chatting=True), answered("hi", 0.2))
    assert streams.err.endswith("(cached just now; /regenerate asks anew)\n")


def test_a_terminal_never_gets_an_escape_sequence(streams: Streams) -> None:
    streams.stdout = Screen()
    stored = StoredMessage("assistant", ESCAPE, "interrupted", 0.0, ESCAPE, error=ESCAPE)
    session = Session(ESCAPE, ESCAPE, 0.0, ESCAPE, ESCAPE, ESCAPE, {ESCAPE: ESCAPE})
    for view in (
        TextView(streams.stdout, streams.notices, listing=True),
        TextView(streams.stdout, streams.notices, chatting=True),
        JsonView(streams.stdout, streams.notices),
    ):
        show(view, answered(ESCAPE), ESCAPE)
        show(view, Failed("r", 1, "server_error", ESCAPE))
        view.models(ModelsListed("r", "sim", (ESCAPE,)))
        view.sessions((session,))
        view.heading(session)
        view.message(ESCAPE, stored, unanswered=True)
        view.found((SearchHit(ESCAPE, ESCAPE, 1, "user", 0.0, ESCAPE, ((0, 2),)),))
        view.done("renamed", ESCAPE, title=ESCAPE)
    for text in (streams.out, streams.err):
        assert not [c for c in text if c in ("\x1b", "\x07", "\x9b")]
    assert "[interrupted]" in streams.err


def test_a_pipe_gets_the_answer_as_it_came(streams: Streams) -> None:
    show(TextView(streams.stdout, streams.notices), answered(ESCAPE), ESCAPE)
    assert streams.out == ESCAPE + "\n"


def test_models_are_the_output_where_they_were_asked_for_and_a_notice_in_a_chat(
    streams: Streams,
) -> None:
    listed = ModelsListed("r", "sim", ("a", "b\nc"))
    TextView(streams.stdout, streams.notices, listing=True).models(listed)
    assert (streams.out, streams.err) == ("sim\ta\nsim\tb c\n", "")
    TextView(streams.stdout, streams.notices, chatting=True).models(listed)
    assert (streams.out, streams.err) == ("sim\ta\nsim\tb c\n", "a\nb c\n")


@pytest.mark.parametrize(
    ("listed", "line"),
    [
        (ModelsListed("r", "sim"), "sim has no models\n"),
        (ModelsListed("r", "sim", error="no server"), "no server\n"),
    ],
)
def test_no_models_is_one_line(streams: Streams, listed: ModelsListed, line: str) -> None:
    TextView(streams.stdout, streams.notices, listing=True).models(listed)
    assert (streams.out, streams.err) == ("", line)


def test_every_event_is_one_json_object(streams: Streams) -> None:
    view = JsonView(streams.stdout, streams.notices)
    view.begin("r", "session_1", TARGET)
    view.delta("r", "hm\n", reasoning=True)
    view.delta("r", "one", reasoning=False)
    view.end(answered("one"), "one")
    view.end(Failed("r", 1, "auth", "no key", 401), "")
    view.end(Cancelled("r", 1, "hal"), "hal")
    view.end(Interrupted("r", 1, "it died"), "")
    view.models(ModelsListed("r", "sim", ("a",)))
    names = [event["event"] for event in streams.events]
    assert names == [
        *("asked", "reasoning", "delta", "answered", "failed", "cancelled", "interrupted"),
        "models",
    ]
    assert all(isinstance(event["time"], float) for event in streams.events)
    end = streams.events[3]
    assert (end["text"], end["cached"], end["trace_id"]) == ("one", False, TRACE)
    assert end["usage"] == {"total_tokens": 3}
    assert streams.events[4]["kind"] == "auth"
    assert streams.err == "no key\n(cancelled; what came is kept)\n(interrupted: it died)\n"


def test_a_cached_answer_is_marked_in_json_and_on_stderr(streams: Streams) -> None:
    show(JsonView(streams.stdout, streams.notices), answered("one", 2.0))
    assert streams.events[-1]["cached"] is True
    assert "timing" not in streams.events[-1]
    assert streams.err == "(cached 2 seconds ago; --refresh asks anew)\n"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EINVAL])
@pytest.mark.parametrize("kind", [TextView, JsonView])
def test_nobody_reading_any_more_is_a_broken_pipe(streams: Streams, kind: Any, number: int) -> None:
    streams.stdout = Broken(number)
    with pytest.raises(BrokenPipeError):
        show(kind(streams.stdout, streams.notices), answered("one"), "one")


def test_a_full_disk_is_told_in_one_line(streams: Streams) -> None:
    streams.stdout = Broken(errno.ENOSPC)
    with pytest.raises(ChatbotError, match="cannot write to stdout: no good"):
        show(TextView(streams.stdout, streams.notices), answered("one"), "one")


def test_a_stderr_that_is_gone_ends_nothing(streams: Streams) -> None:
    notices = TextNotices(Broken(errno.EPIPE))
    notices.say("one")
    notices.say("two")


def test_lists_are_the_output_where_they_were_asked_for_and_notices_in_a_chat(
    streams: Streams,
) -> None:
    session = Session("session_1_aa", "a title", 0.0, "sim", "sim", messages=2)
    question = StoredMessage("user", "one\ntwo", "complete", 0.0)
    hit = SearchHit("session_1_aa", "a title", 1, "user", 0.0, "one two", ((0, 3),))
    stats = CacheStats(1, 1, 1, None, 0, 0)

    def show_all(view: View) -> None:
        view.sessions((session,))
        view.message("session_1_aa", question, unanswered=False)
        view.found((hit,))
        view.cache(stats)
        view.done("renamed", "it was renamed")

    show_all(TextView(streams.stdout, streams.notices, listing=True))
    listed, noticed = streams.out, streams.err
    assert noticed == "it was renamed\n"
    for part in ("aa  ", "a title", "one\ntwo", "«one» two", "1 answer, 1 byte"):
        assert part in listed
    show_all(TextView(streams.stdout, streams.notices, chatting=True))
    assert streams.out == listed
    assert "You: one\ntwo\n" in streams.err
    assert "«one» two" in streams.err


def test_sessions_and_the_cache_are_events_with_all_their_fields(streams: Streams) -> None:
    view = JsonView(streams.stdout, streams.notices)
    session = Session("session_1_aa", "a title", 1.0, "sim", "sim", "be brief", {"seed": 1}, 2, 3.0)
    view.sessions((session, session))
    view.message("session_1_aa", StoredMessage("user", "q", "complete", 2.0), unanswered=True)
    view.found((SearchHit("session_1_aa", "a title", 7, "user", 0.0, "q", ((0, 1),)),))
    view.cache(CacheStats(1, 2, 3, None, 4, 5))
    view.done("deleted", "a line", session_id="session_1_aa")
    names = [event["event"] for event in streams.events]
    assert names == ["session", "session", "message", "found", "cache", "deleted"]
    first, _, message, found, cache, deleted = streams.events
    assert (first["session_id"], first["options"], first["last_time"]) == (
        *("session_1_aa", {"seed": 1}),
        3.0,
    )
    assert (message["session_id"], message["content"], message["unanswered"]) == (
        *("session_1_aa", "q"),
        True,
    )
    assert (found["matches"], cache["misses"]) == ([[0, 1]], 5)
    assert deleted["session_id"] == "session_1_aa"
    assert streams.err == ""


# --- several at once, and what is watched ----------------------------------------------------------

TWO = (("r1", TARGET), ("r2", Target("ollama", "llama3:latest")))


def of(request_id: str, text: str) -> Answered:
    return msgspec.structs.replace(answered(text), request_id=request_id)


def piece(view: View, request_id: str, text: str) -> None:
    view.delta(request_id, text, reasoning=False)


def test_several_answers_come_one_after_the_other_in_the_order_they_were_asked(
    streams: Streams,
) -> None:
    view = TextView(streams.stdout, streams.notices)
    view.begin_fan(TWO, "session_1")
    piece(view, "r2", "se")
    assert streams.out == "[1] sim sim\n"
    piece(view, "r1", "fir")
    piece(view, "r2", "cond")
    assert streams.out == "[1] sim sim\nfir"
    view.end(of("r2", "second and more"), "second")
    piece(view, "r1", "st")
    view.end(of("r1", "first"), "first")
    view.end_fan()
    assert streams.out == ("[1] sim sim\nfirst\n\n[2] ollama llama3:latest\nsecond and more\n")


def test_of_several_the_next_one_streams_from_where_it_is(streams: Streams) -> None:
    view = TextView(streams.stdout, streams.notices, chatting=True)
    view.begin_fan(TWO, "session_1")
    piece(view, "r2", "se")
    view.end(Failed("r1", 1, "auth", "no key"), "")
    assert streams.out.endswith("[2] ollama llama3:latest\nse")
    assert streams.err.endswith("no key\n")
    piece(view, "r2", "cond")
    assert streams.out.endswith("second")
    view.end(of("r2", "second"), "second")
    view.end_fan()
    show(view, answered("one"), "one")
    assert streams.out.endswith("second\none\n")


def test_several_that_are_left_leave_nothing_behind(streams: Streams) -> None:
    view = TextView(streams.stdout, streams.notices, chatting=True)
    view.begin_fan(TWO, "session_1")
    piece(view, "r1", "fir")
    piece(view, "r2", "kept")
    view.leave()
    show(view, answered("one"), "one")
    assert streams.out == "[1] sim sim\nfir\none\n"


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b\n", "c "])), max_size=20))
def test_in_whatever_order_they_come_each_of_several_is_whole(
    pieces: list[tuple[int, str]],
) -> None:
    streams = Streams()
    view = TextView(streams.stdout, streams.notices)
    texts = ["", "", ""]
    view.begin_fan([(f"r{number}", Target("sim", f"m{number}")) for number in range(3)], "s")
    for number, text in pieces:
        piece(view, f"r{number}", text)
        texts[number] += text
    for number in (2, 0, 1):
        view.end(of(f"r{number}", texts[number]), texts[number])
    view.end_fan()
    shown = [text if not text or text.endswith("\n") else f"{text}\n" for text in texts]
    assert streams.out == "\n".join(f"[{n + 1}] sim m{n}\n{text}" for n, text in enumerate(shown))


def test_in_json_several_are_events_with_their_requests(streams: Streams) -> None:
    view = JsonView(streams.stdout, streams.notices)
    view.begin_fan(TWO, "session_1")
    piece(view, "r2", "se")
    view.end(of("r2", "se"), "se")
    view.end_fan()
    fan, *others = streams.events
    assert (fan["event"], fan["request_ids"], fan["session_id"]) == (
        *("fan", ["r1", "r2"]),
        "session_1",
    )
    assert [(event["event"], event["request_id"]) for event in others] == [
        *(("asked", "r1"), ("asked", "r2"), ("delta", "r2"), ("answered", "r2")),
    ]


STATUS = StatusRead("r", (ProcessStatus("worker", 0, 7, "ready", 1.0),))


def test_a_status_that_is_watched_is_printed_once(streams: Streams) -> None:
    view = TextView(streams.stdout, streams.notices, listing=True)
    view.watch(STATUS, {7: 1024})
    once = streams.out
    view.watch(STATUS, {7: 2048})
    assert streams.out == once
    assert "1.0 KB" in once
    view.end_watch()
    view.watch(STATUS, {7: 1024})
    assert streams.out == once + once


def test_in_json_a_status_has_the_memory_of_each_process_that_is_there(streams: Streams) -> None:
    view = JsonView(streams.stdout, streams.notices)
    view.status(STATUS, {7: 1024})
    view.watch(STATUS, {})
    view.end_watch()
    first, second = streams.events
    assert first["processes"][0]["memory_bytes"] == 1024
    assert second["processes"][0]["memory_bytes"] is None


def test_what_was_used_and_thought_is_shown_by_both(streams: Streams) -> None:
    used = Used(TARGET, answers=2, input_tokens=3, output_tokens=4, cost=0.5)
    view = TextView(streams.stdout, streams.notices, listing=True)
    view.stats(Stats("s", (used,)))
    view.thoughts("hm\nmm")
    assert streams.out.splitlines()[1].split() == [
        "sim",
        "sim",
        *"2000",
        "3",
        "4",
        "-",
        "-",
        "$0.500",
    ]
    assert streams.out.endswith("\nhm\nmm\n")
    streams.stdout = io.StringIO()
    JsonView(streams.stdout, streams.notices).stats(Stats("s", (used,)))
    JsonView(streams.stdout, streams.notices).thoughts("hm")
    stats, thinking = streams.events
    assert (stats["event"], stats["used"][0]["model"], stats["used"][0]["cost"]) == (
        *("stats", "sim"),
        0.5,
    )
    assert (thinking["event"], thinking["text"]) == ("thinking", "hm")
