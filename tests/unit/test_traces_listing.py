"""The rows of `trace list`, and what a trace was about."""

import pytest

from chatbot.traces.listing import rows, short_ids
from chatbot.traces.spans import AttributeValue, Event, Span
from chatbot.traces.style import ASCII, Style, columns_of
from chatbot.traces.turn import Gathering, Turn

TRACE = "ab" * 16
MS = 1_000_000


def root(status: str = "answered", error: str = "", **attributes: AttributeValue) -> Span:
    asked = {"backend": "openai", "gen_ai.request.model": "gpt", "status": status, **attributes}
    return Span(TRACE, "1" * 16, "", "chat_turn", 1, 100 * MS, 500 * MS, asked, error=error)


def child(number: int, **attributes: AttributeValue) -> Span:
    event = Event("first_token", (100 + number) * MS)
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    return Span(TRACE, f"{number:016x}", "1" * 16, "x", 1, 110 * MS, 600 * MS, named, (event,))


def turn(*spans: Span) -> Turn:
    gathering = Gathering()
    for each in spans:
        gathering.add(each)
    return gathering.turn(TRACE)


def test_a_turn_is_told_by_its_root_and_its_first_token_whatever_comes_first() -> None:
    for order in ((root(), child(70), child(50)), (child(70), child(50), child(50), root())):
        said = turn(*order)
        assert (said.start_ns, said.duration_ns) == (100 * MS, 400 * MS)
        assert (said.status, said.target, said.first_token_ns) == (
            "answered",
            "openai/gpt",
            50 * MS,
        )
        assert said.spans == 3


@pytest.mark.parametrize(
    ("spans", "status"),
    [
        ([root()], "answered"),
        ([root(), child(1, cache__hit=False)], "answered"),
        ([root(), child(1, cache__hit=True)], "cached"),
        ([root("failed", "auth"), child(1, cache__hit=True)], "failed"),
        ([root("cancelled")], "cancelled"),
        ([root("interrupted", "interrupted")], "interrupted"),
        ([root("", "killed")], "failed"),
        ([child(1)], "incomplete"),
    ],
)
def test_how_a_turn_ended_is_said_in_one_word(spans: list[Span], status: str) -> None:
    assert turn(*spans).status == status


def listed(trace_id: str, **more: object) -> Turn:
    fields = {
        "name": "chat_turn",
        "start_ns": 10**18,
        "duration_ns": MS,
        "status": "failed",
        "error": "auth",
        "backend": "sim",
        "model": "sim",
        "first_token_ns": None,
        "spans": 3,
    }
    return Turn(trace_id, **{**fields, **more})  # type: ignore[arg-type] # a test's own fields


def test_ids_are_short_where_that_is_enough() -> None:
    alike = ["12345678" + digit * 24 for digit in "ab"]
    other = "87654321" + "c" * 24
    known = [listed(each) for each in (*alike, other)]
    assert short_ids(known) == {alike[0]: alike[0], alike[1]: alike[1], other: "87654321"}


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (40, "trace time duration status"),
        (50, "trace time duration status"),
        (60, "trace time asked duration status"),
        (65, "trace time asked duration status"),
        (70, "trace time asked duration 1st token status"),
        (80, "trace time asked duration 1st token status spans"),
    ],
)
@pytest.mark.parametrize("error", ["", "server_error"])
def test_no_row_is_wider_than_the_terminal(width: int, columns: str, error: str) -> None:
    turns = [
        listed("1" * 32, backend="a" * 50, status="interrupted", error=error),
        listed("2" * 32, status="failed", error=error, first_token_ns=MS),
    ]
    lines = list(rows(turns, Style(width)))
    assert max(map(columns_of, lines)) <= width
    assert {"interrupted" in lines[1], "1.0 ms" in lines[1]} == {True}
    if not error:
        assert " ".join(lines[0].split()) == columns


@pytest.mark.parametrize("width", [90, 120])
def test_every_row_is_one_safe_line_in_its_columns(width: int) -> None:
    names = {"backend": "a" * 50, "model": "b\x1b[2J\n" * 9, "error": ""}
    turns = [listed("1" * 32, **names), listed("2" * 32), listed("3" * 32, error="\x9b31m\nboo")]
    lines = list(rows(turns, Style(width, characters=ASCII)))
    assert len(lines) == 4
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert max(map(columns_of, lines)) <= width
    assert lines[3].endswith("boo")
    spans_at = {line.index(word) for line, word in ((lines[0], "spans"), (lines[2], "    3"))}
    assert len(spans_at) == 1


def test_nothing_is_listed_of_nothing() -> None:
    assert list(rows([], Style())) == []
