"""The tree of a trace, its critical path, and what is drawn of any set of spans."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.traces.event import as_event
from chatbot.traces.spans import CLIENT, CONSUMER, INTERNAL, PRODUCER, Event, Link, Span
from chatbot.traces.style import ASCII, UNICODE, Style, characters_for, columns_of
from chatbot.traces.trace import Trace, self_ns
from chatbot.traces.turn import Gathering, Turn
from chatbot.traces.waterfall import waterfall

TRACE = "ab" * 16
MS = 1_000_000


def span(
    name: str, parent: str, start_ms: float, end_ms: float, kind: int = INTERNAL, role: str = "ui"
) -> Span:
    start, end = round(start_ms * MS), round(end_ms * MS)
    return Span(TRACE, name, parent, name, kind, start, end, role=role, pid=1)


def turn_of(spans: Sequence[Span]) -> Turn:
    gathering = Gathering()
    for each in spans:
        gathering.add(each)
    return gathering.turn(TRACE)


# A turn with a retry: what is sent is over long before what it sets off.
TURN = [
    span("turn", "", 0, 100),
    span("send asks", "turn", 0, 0.1, PRODUCER),
    span("process asks", "send asks", 1, 9, CONSUMER, "store"),
    span("send requests", "turn", 10, 10.1, PRODUCER, "supervisor"),
    span("process requests", "send requests", 11, 98, CONSUMER, "worker"),
    span("call 1", "process requests", 12, 20, CLIENT, "worker"),
    span("backoff", "process requests", 20, 50, INTERNAL, "worker"),
    span("call 2", "process requests", 50, 97, CLIENT, "worker"),
    span("send answers", "turn", 98.5, 98.6, PRODUCER, "supervisor"),
    span("process answers", "send answers", 99, 120, CONSUMER, "store"),
]


def test_the_critical_path_goes_through_what_was_waited_for_last() -> None:
    trace = Trace(TURN)
    on_path = [s.node.span.name for s in trace.chain(at_least=0.05)]
    assert on_path == ["process asks", "call 1", "backoff", "call 2"]
    slowest = trace.shares()[0]
    assert (slowest.node.span.name, round(slowest.part, 3)) == ("call 2", 0.47)
    # The save outlasts the turn: nobody waited for it.
    assert "process answers" not in {s.node.span.name for s in trace.critical}


def test_the_tree_is_in_the_order_of_time_and_counts_each_span_once() -> None:
    trace = Trace([*reversed(TURN), *TURN])
    assert [node.span.name for node in trace.nodes] == [s.name for s in TURN]
    assert [node.depth for node in trace.nodes] == [0, 1, 2, 1, 2, 3, 3, 3, 1, 2]
    assert self_ns(trace.nodes[4]) == 2 * MS
    assert trace.is_whole


@pytest.mark.parametrize("missing", ["process asks", "turn", "process answers"])
def test_a_trace_is_not_whole_while_a_span_is_missing(missing: str) -> None:
    rest = [s for s in TURN if s.name != missing]
    trace = Trace(rest)
    assert not trace.is_whole
    assert len(trace.nodes) == len(rest)


def test_what_is_below_a_missing_span_is_shown_with_the_reason() -> None:
    rest = [s for s in TURN if s.name != "send requests"]
    lines = list(waterfall(Trace(rest), turn_of(rest), Style()))
    below = lines.index(next(line for line in lines if line.startswith("process requests")))
    assert "span send requests, which is missing" in lines[below + 1]


def test_a_message_on_its_way_is_dotted_and_its_receiver_solid() -> None:
    spans = [
        span("turn", "", 0, 100),
        span("send", "turn", 0, 0.1, PRODUCER),
        span("process", "send", 50, 100, CONSUMER, "store"),
    ]
    rows = list(waterfall(Trace(spans), turn_of(spans), Style()))
    sent, processed = (next(r for r in rows if f" {name} " in r) for name in ("send", "process"))
    assert sent.count(UNICODE.under_way) == pytest.approx(processed.count(UNICODE.critical), abs=2)
    assert sent.index(UNICODE.tick) < processed.index(UNICODE.critical)


@pytest.mark.parametrize(
    ("resend_count", "said"),
    [
        (1, "sent a second time (resend_count 1)"),
        (2, "sent a third time (resend_count 2)"),
        (3, "sent again, attempt 4 (resend_count 3)"),
        (11, "sent again, attempt 12 (resend_count 11)"),
        ("9" * 30, f"sent again (resend_count {'9' * 30})"),
        ("²", "sent again (resend_count ²)"),
    ],
)
def test_what_is_sent_again_says_how_often(resend_count: int | str, said: str) -> None:
    call = span("call", "", 0, 100, CLIENT)
    call.attributes["http.request.resend_count"] = resend_count
    lines = list(waterfall(Trace([call]), turn_of([call]), Style()))
    assert [line.strip() for line in lines if "sent" in line] == [f"{UNICODE.resent} {said}"]


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (503, "server_error", "HTTP 503: server_error"),
        (503, "503 busy", "503 busy"),
        (200, "cancelled", "cancelled"),  # the response was fine until then
    ],
)
def test_a_failed_call_tells_the_status_where_that_is_the_failure(
    status: int, error: str, said: str
) -> None:
    call = msgspec.structs.replace(span("call", "", 0, 100, CLIENT), error=error)
    call.attributes["http.response.status_code"] = status
    lines = list(waterfall(Trace([call]), turn_of([call]), Style()))
    assert f"{UNICODE.failed} {said}" in [line.strip() for line in lines]


ids = st.sampled_from([f"{n:016x}" for n in range(8)])
texts = st.text(max_size=60)
times = st.one_of(st.integers(0, 2**63 - 1), st.integers(10**18, 10**18 + 10**9))
values = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.tuples(texts))
keys = st.sampled_from(["cache.hit", "http.request.resend_count", "status", "backend", "x"])
any_span = st.builds(
    Span,
    st.just(TRACE),
    ids,
    st.one_of(st.just(""), ids),
    texts,
    st.integers(-1, 7),
    times,
    times,
    st.dictionaries(keys, values, max_size=3),
    st.lists(st.builds(Event, texts, times), max_size=2).map(tuple),
    st.lists(st.builds(Link, texts, texts), max_size=2).map(tuple),
    texts,
    texts,
    st.sampled_from(["ui", "worker", "store", "", "other"]),
    st.integers(0, 3),
)
styles = st.builds(Style, width=st.integers(1, 200), characters=st.sampled_from([UNICODE, ASCII]))


@given(st.lists(any_span, min_size=1, max_size=12), styles)
def test_any_spans_are_drawn_each_once_and_no_line_is_too_wide(
    spans: list[Span], style: Style
) -> None:
    trace = Trace(spans)
    assert sorted(n.span.span_id for n in trace.nodes) == sorted({s.span_id for s in spans})
    lines = list(waterfall(trace, turn_of(spans), style))
    assert sum(line.startswith("trace ") for line in lines) >= 1
    for line in lines:
        assert columns_of(line) <= style.columns, line
        assert not [c for c in line if ord(c) < 32 or 0x7F <= ord(c) < 0xA0]
        assert line.isascii() or style.characters is UNICODE
    assert len(as_event(trace, turn_of(spans))["tree"]) == len(trace.nodes)
    path = trace.critical
    assert all(a.end_ns == b.start_ns for a, b in pairwise(path))
    covered = sum(segment.end_ns - segment.start_ns for segment in path)
    assert covered == max(trace.root.span.duration_ns, 0)


def test_a_tree_of_any_depth_is_drawn() -> None:
    deep = [
        Span(TRACE, f"{n:016x}", f"{n - 1:016x}" if n else "", "x", INTERNAL, n, 9999)
        for n in range(5000)
    ]
    lines = list(waterfall(Trace(deep), turn_of(deep), Style(80)))
    assert len(lines) > 5000
    assert max(map(columns_of, lines)) <= 80


def test_colours_change_nothing_but_colours() -> None:
    plain = "\n".join(waterfall(Trace(TURN), turn_of(TURN), Style()))
    painted = "\n".join(waterfall(Trace(TURN), turn_of(TURN), Style(colour=True)))
    assert "\x1b[" not in plain
    for code in ("36", "33", "32", "2", "31", "1", "35", "0"):
        painted = painted.replace(f"\x1b[{code}m", "")
    assert painted == plain


def test_escape_sequences_from_the_file_are_never_drawn() -> None:
    evil = Span(
        TRACE, "1" * 16, "", "\x1b[2Jx\n\rboo\x9b", 1, 0, 9, error="\x1b]0;t\x07", role="\x1b"
    )
    drawn = "\n".join(waterfall(Trace([evil]), turn_of([evil]), Style(120)))
    assert not set("\x1b\x9b\r\x07") & set(drawn)
    assert "boo" in drawn


@pytest.mark.parametrize(
    ("ns", "said"),
    [
        (0, "0 µs"),
        (999_499, "999 µs"),
        (999_600, "1.0 ms"),
        (9_940_000, "9.9 ms"),
        (363_000_000, "363 ms"),
        (1_230_000_000, "1.23 s"),
        (65_000_000_000, "65.00 s"),
        (125_000_000_000, "2 m 05 s"),
        (7_260_000_000_000, "2 h 01 m"),
    ],
)
def test_durations_are_said_in_their_unit(ns: int, said: str) -> None:
    assert Style().duration(ns) == said


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), ("nonsense", ASCII), (None, ASCII)],
)
def test_an_encoding_that_has_no_bars_gets_ascii(encoding: str | None, expected: object) -> None:
    assert characters_for(encoding) is expected
