"""Span records, trace context, and the bounds of a recorder."""

import re

import msgspec
import pytest

from chatbot.mailbox import MAX_FRAME_BYTES, encode
from chatbot.messages import LogRecord, Measurement, Record, Report, SpanRecord
from chatbot.tracing import CLIENT, Recorder, span_id_of, trace_id_of

decode = msgspec.msgpack.Decoder(list[Record]).decode


class Wire:
    """Takes reports, or refuses them while `full`."""

    def __init__(self) -> None:
        self.full = False
        self.reports: list[Report] = []

    def offer(self, report: Report) -> bool:
        if not self.full:
            self.reports.append(report)
        return not self.full

    @property
    def records(self) -> list[Record]:
        return [record for report in self.reports for record in decode(report.payload)]


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def recorder(wire: Wire) -> Recorder:
    return Recorder("worker", 3, wire.offer)


def test_a_traceparent_has_the_form_of_the_w3c(recorder: Recorder) -> None:
    span = recorder.span("x", parent=None)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", span.traceparent)
    assert trace_id_of(span.traceparent) == span.trace_id
    assert span_id_of(span.traceparent) == span.span_id


def test_a_child_is_in_its_parents_trace_under_its_parents_id(
    recorder: Recorder, wire: Wire
) -> None:
    with (
        recorder.span("outer", parent=None) as outer,
        recorder.span("inner", kind=CLIENT, parent=outer.traceparent, a__b=1),
    ):
        pass
    recorder.flush()
    inner, root = wire.records
    assert isinstance(inner, SpanRecord)
    assert isinstance(root, SpanRecord)
    assert (inner.trace_id, inner.parent_id) == (root.trace_id, root.span_id)
    assert (inner.kind, inner.attributes, root.parent_id) == (CLIENT, {"a.b": 1}, "")
    assert root.start_ns <= inner.start_ns <= inner.end_ns <= root.end_ns


def test_under_no_trace_nothing_is_recorded_and_nothing_is_passed_on(
    recorder: Recorder, wire: Wire
) -> None:
    with recorder.span("x", parent="") as span:
        assert span.traceparent == ""
    recorder.flush()
    assert wire.reports == []


def test_an_exception_marks_its_span_as_an_error(recorder: Recorder, wire: Wire) -> None:
    with pytest.raises(ValueError, match="bad"), recorder.span("x", parent=None):
        raise ValueError("bad")
    recorder.flush()
    (record,) = wire.records
    assert isinstance(record, SpanRecord)
    assert record.error == "bad"


def test_a_span_that_is_ended_twice_is_recorded_once(recorder: Recorder, wire: Wire) -> None:
    span = recorder.span("x", parent=None)
    span.end()
    span.end()
    recorder.flush()
    assert len(wire.records) == 1


def test_a_span_can_begin_where_another_process_began_to_wait(
    recorder: Recorder, wire: Wire
) -> None:
    start = recorder.span("x", parent=None).start_ns - 5_000_000
    recorder.span("wait", parent=None, start_ns=start).end()
    recorder.flush()
    (record,) = wire.records
    assert isinstance(record, SpanRecord)
    assert record.start_ns == start
    assert record.end_ns - record.start_ns >= 5_000_000


def test_reports_name_their_source(recorder: Recorder, wire: Wire) -> None:
    recorder.log("info", "hello", n=1)
    recorder.count("c", 2)
    recorder.observe("h", 0.5)
    recorder.flush()
    (report,) = wire.reports
    assert (report.role, report.slot) == ("worker", 3)
    assert [type(record) for record in wire.records] == [LogRecord, Measurement, Measurement]


def test_records_are_kept_while_the_way_is_full_and_then_dropped_and_counted(
    recorder: Recorder, wire: Wire
) -> None:
    wire.full = True
    for _ in range(5000):
        recorder.count("c")
    wire.full = False
    recorder.flush()
    assert len(wire.records) == 4096
    assert sum(report.dropped for report in wire.reports) == 5000 - 4096


def test_records_that_no_frame_can_hold_are_dropped_and_counted(recorder: Recorder) -> None:
    taken: list[Report] = []

    def offer(report: Report) -> bool:
        encode(report)
        taken.append(report)
        return True

    recorder = Recorder("worker", 0, offer)
    recorder.log("info", "too large", text="x" * MAX_FRAME_BYTES)
    recorder.flush()
    recorder.count("c")
    recorder.flush()
    assert [report.dropped for report in taken] == [1]
