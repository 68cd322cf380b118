"""Sessions, messages, hits and the cache as lines of text."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.messages import CacheStats, SearchHit, Session, StoredMessage
from chatbot.ui import listing

QUESTION = StoredMessage("user", "q", "complete", 0.0, request_id="r1")
ANSWER = StoredMessage("assistant", "a", "complete", 60.0, "sim-1", request_id="r1")


@pytest.fixture(autouse=True)
def two_hours_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not hasattr(time, "tzset"):
        yield
        return
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def session(session_id: str, title: str = "a title", messages: int = 2) -> Session:
    return Session(session_id, title, 0.0, "sim", "sim-1", None, {}, messages, 60.0)


def message(role: str, request_id: str, status: str = "complete", **more: object) -> StoredMessage:
    return StoredMessage(role, "text", status, 0.0, request_id=request_id, **more)  # type: ignore[arg-type] # as in the tests below


@pytest.mark.parametrize(
    ("session_id", "short"),
    [("session_1_57d492", "57d492"), ("mine", "mine"), ("ends_", "ends_"), ("", "")],
)
def test_the_short_name_of_a_session_is_what_follows_the_last_underscore(
    session_id: str, short: str
) -> None:
    assert listing.handle(session_id) == short


def test_sessions_that_would_share_a_short_name_have_their_whole_ids() -> None:
    names = listing.handles(["session_1_aa", "session_2_aa", "session_3_bb"])
    assert sorted(names.values()) == ["bb", "session_1_aa", "session_2_aa"]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="its time zone cannot be set")
def test_a_list_is_aligned_and_in_local_time() -> None:
    lines = list(listing.sessions([session("session_1_aa"), session("mine", "x\ny", 12)]))
    assert lines == [
        "aa    1970-01-01 02:01     2 messages  sim  a title",
        "mine  1970-01-01 02:01    12 messages  sim  x y",
    ]


def test_a_title_that_is_long_is_cut_and_one_that_is_empty_is_named() -> None:
    assert listing.title(session("a", "x" * 61)) == "x" * 59 + "…"
    assert listing.title(session("a", "x" * 60)) == "x" * 60
    assert listing.title(session("a", "")) == "(no title)"


@pytest.mark.parametrize("timestamp", [1e300, -1e300, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_no_error(timestamp: float) -> None:
    assert "no such time" in listing.moment(timestamp)


@pytest.mark.parametrize(
    ("matches", "shown"),
    [
        ([(0, 3)], "«one» two"),
        ([(4, 7), (0, 3)], "«one» «two»"),
        ([], "one two"),
        ([(0, 4), (3, 7)], "«one »two"),
        ([(5, 99)], "one two"),
    ],
)
def test_matches_are_marked_where_they_stand(matches: list[tuple[int, int]], shown: str) -> None:
    assert listing.marked("one two", matches) == shown


@given(st.text(max_size=9), st.lists(st.tuples(st.integers(-2, 12), st.integers(-2, 12))))
def test_no_mark_loses_or_doubles_a_character(text: str, matches: list[tuple[int, int]]) -> None:
    plain = text.replace("«", "").replace("»", "")
    assert listing.marked(plain, matches).replace("«", "").replace("»", "") == plain


def test_a_hit_is_two_lines() -> None:
    hit = SearchHit("session_1_aa", "a title", 1, "assistant", 60.0, "one two", ((0, 3),))
    first, second = listing.found([hit])
    assert first.startswith("aa  ")
    assert first.endswith("  a title")
    assert second == "    Bot: «one» two"


@pytest.mark.parametrize(
    ("stored", "unanswered", "line"),
    [
        (QUESTION, False, "You: q"),
        (QUESTION, True, "You: q [unanswered]"),
        (ANSWER, False, "Bot: a"),
        (message("assistant", "r", "interrupted"), False, "Bot: text [interrupted]"),
        (message("assistant", "r", "failed", error="no\nkey"), False, "Bot: text [failed: no key]"),
        (message("assistant", "r", cached=True), False, "Bot: text [cached]"),
        (StoredMessage("assistant", "", "failed", 0.0), False, "Bot: [failed]"),
    ],
)
def test_what_is_not_as_it_should_be_is_marked(
    stored: StoredMessage, unanswered: bool, line: str
) -> None:
    assert listing.line(stored, unanswered=unanswered) == line
    heading = next(listing.message(stored, unanswered=unanswered))
    mark = line.partition("[")[2].rstrip("]")
    assert mark in heading


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (3,), (4,)])
def test_a_question_waits_for_the_piece_with_its_answer(cuts: tuple[int, ...]) -> None:
    messages = [
        message("user", "r1"),
        message("user", "r2"),
        message("assistant", "r1"),
        message("assistant", "r2"),
        message("user", "r3"),
    ]
    ends = (*cuts, len(messages))
    pages = [messages[start:end] for start, end in zip((0, *cuts), ends, strict=True)]
    judged = list(listing.by_turns(pages))
    assert [m for m, *_ in judged] == messages
    assert [m.request_id for m, unanswered, _ in judged if unanswered] == ["r3"]


FAN = [
    message("user", "r1", fan="r1", backend="ollama", model="llama3"),
    message("assistant", "r1", fan="r1"),
    message("user", "r2", fan="r1", backend="openai", model="gpt\n4", active=False),
    message("user", "r3", fan="r1", backend="sim", model="sim-1", active=False),
    message("assistant", "r3", fan="r1", active=False),
    message("assistant", "r2", fan="r1", active=False),
    message("user", "r4"),
    message("assistant", "r4"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_an_answer_of_several_says_which_it_is_however_they_are_cut_into_pieces(size: int) -> None:
    pages = [FAN[at : at + size] for at in range(0, len(FAN), size)]
    told = list(listing.by_turns(pages))
    assert [each.message for each in told] == FAN
    if size == 9:  # no more than a piece is known of what follows
        assert [each.sibling for each in told if each.message.role == "assistant"] == [
            "1 of 3: ollama llama3",
            "3 of 3: sim sim-1, not picked",
            "2 of 3: openai gpt 4, not picked",
            "",
        ]


def test_of_a_question_to_several_the_lines_have_one() -> None:
    told = list(listing.by_turns([FAN]))
    lines = [line for m, un, s in told for line in listing.message(m, unanswered=un, sibling=s)]
    headings = [line for line in lines if " · " in line]
    assert [line.split(" · ")[0] for line in headings] == ["You", "Bot", "Bot", "Bot", "You", "Bot"]
    assert headings[2].endswith(" · 3 of 3: sim sim-1, not picked")
    assert listing.line(FAN[1], unanswered=False, sibling=told[1].sibling) == (
        "Bot: text [1 of 3: ollama llama3]"
    )


def test_messages_without_request_ids_belong_to_the_question_before() -> None:
    messages = [message("user", ""), message("user", ""), message("assistant", "")]
    assert [unanswered for _, unanswered, _ in listing.by_turns([messages])] == [True, False, False]


def test_the_cache_is_told_in_numbers_that_can_be_read() -> None:
    stats = CacheStats(1024, 3 * 1024 * 1024, 1024**3, 3.5 * 86400, 1, 3)
    assert list(listing.cache(stats)) == [
        "1024 answers, 3.0 MB of at most 1.0 GB, the oldest from 3 days ago",
        "1 of 4 saved answers came from the cache (25 %)",
    ]
    assert list(listing.cache(CacheStats(0, 0, 1023, None, 0, 0))) == [
        "0 answers, 0 bytes of at most 1023 bytes",
        "0 of 0 saved answers came from the cache",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.9, "just now"),
        (1, "1 second ago"),
        (59.9, "59 seconds ago"),
        (60, "1 minute ago"),
        (86400 * 3.5, "3 days ago"),
    ],
)
def test_an_age_is_in_the_largest_unit_that_fits(seconds: float, words: str) -> None:
    assert listing.age(seconds) == words
