"""Open spans: what a process leaves behind is ended as an error, once, and the table is bounded."""

from typing import Any

import msgspec

from chatbot.messages import SpanStarted
from chatbot.telemetry.open import IN_ORDER, PROGRAM_ENDED, OpenSpans, Source

WORKER = Source("worker", 1, 4711)
AGAIN = Source("worker", 1, 4712)  # the same slot, started again
STORE = Source("store", 0, 4713)


def started(number: int, **changes: Any) -> SpanStarted:
    made = SpanStarted(f"{1:032x}", f"{number:016x}", f"{9:016x}", f"span {number}", 2, 1000)
    return msgspec.structs.replace(made, **changes)


def test_a_span_is_ended_with_its_process_as_an_error_that_says_how() -> None:
    spans = OpenSpans()
    spans.began(started(1, attributes={"gen_ai.request.model": "m"}), WORKER)
    (span,) = spans.end_of(WORKER, 5000, "killed by signal 9")
    assert (span.trace_id, span.span_id, span.parent_id) == (f"{1:032x}", f"{1:016x}", f"{9:016x}")
    assert (span.name, span.kind, span.start_ns, span.end_ns) == ("span 1", 2, 1000, 5000)
    assert span.attributes == {"gen_ai.request.model": "m", "error.type": "process_ended"}
    assert span.error == "killed by signal 9"
    assert spans.end_of(WORKER, 6000, "again") == []


def test_a_span_that_has_ended_by_itself_is_not_ended_again() -> None:
    spans = OpenSpans()
    spans.began(started(1), WORKER)
    spans.began(started(2), WORKER)
    spans.ended(started(1).span_id, WORKER)
    spans.ended(started(7).span_id, WORKER)  # never announced
    assert [span.name for span in spans.end_of(WORKER, 5000, "killed")] == ["span 2"]


def test_the_spans_of_other_processes_stay_open() -> None:
    spans = OpenSpans()
    for number, source in enumerate((WORKER, AGAIN, STORE)):
        spans.began(started(number), source)
    assert [span.name for span in spans.end_of(AGAIN, 5000, "killed")] == ["span 1"]
    assert len(spans) == 2


def test_a_span_never_ends_before_it_began() -> None:
    spans = OpenSpans()
    spans.began(started(1, start_ns=9000), WORKER)
    (span,) = spans.end_of(WORKER, 5000, "killed")
    assert span.end_ns == 9000


def test_what_a_process_that_ended_in_order_has_left_open_is_no_error() -> None:
    spans = OpenSpans()
    spans.began(started(1, attributes={"gen_ai.request.model": "m"}), WORKER)
    (span,) = spans.end_of(WORKER, 5000, IN_ORDER)
    assert (span.start_ns, span.end_ns, span.error) == (1000, 1000, "")
    assert span.attributes == {"gen_ai.request.model": "m", "chatbot.end_unknown": True}


def test_a_supervisor_that_has_said_stop_has_ended_its_own() -> None:
    spans = OpenSpans()
    spans.began(started(1), Source("supervisor", 0, 1))
    spans.began(started(2), WORKER)
    errors = [span.error for _, span in spans.end_all(5000, in_order=True)]
    assert errors == ["", PROGRAM_ENDED]
    spans.began(started(3), Source("supervisor", 0, 1))
    assert [span.error for _, span in spans.end_all(5000, in_order=False)] == [PROGRAM_ENDED]


def test_the_table_tells_since_when_something_is_open() -> None:
    spans = OpenSpans()
    assert spans.since_ns() is None
    spans.began(started(1, start_ns=1000), WORKER)
    spans.began(started(2, start_ns=2000), WORKER)
    assert spans.since_ns() == 1000
    spans.ended(started(1).span_id, WORKER)
    assert spans.since_ns() == 2000


def test_an_end_that_nobody_describes_is_an_error_all_the_same() -> None:
    spans = OpenSpans()
    spans.began(started(1), WORKER)
    assert spans.end_of(WORKER, 5000, "")[0].error


def test_the_end_of_the_program_ends_all_with_their_sources() -> None:
    spans = OpenSpans()
    spans.began(started(1), WORKER)
    spans.began(started(2), STORE)
    ended = spans.end_all(5000, in_order=False)
    assert [(source, span.name) for source, span in ended] == [
        (WORKER, "span 1"),
        (STORE, "span 2"),
    ]
    assert {span.error for _, span in ended} == {PROGRAM_ENDED}
    assert spans.end_all(6000, in_order=False) == []


def test_beyond_the_bound_the_oldest_are_forgotten() -> None:
    spans = OpenSpans(at_most=3)
    for number in range(5):
        spans.began(started(number), WORKER)
    assert len(spans) == 3
    spans.ended(started(0).span_id, WORKER)  # forgotten: it ends as if it had not been announced
    left = spans.end_of(WORKER, 5000, "killed")
    assert [span.name for span in left] == ["span 2", "span 3", "span 4"]
