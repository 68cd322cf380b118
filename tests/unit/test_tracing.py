"""Span records, trace context, and the bounds of a recorder."""

import re
import sys
import threading
from functools import partial

import msgspec
import pytest

from chatbot.mailbox import MAX_FRAME_BYTES, encode
from chatbot.messages import (
    AttributeValue,
    LogRecord,
    Measurement,
    Record,
    Report,
    SpanRecord,
    SpanStarted,
)
from chatbot.otel import Tracing
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
        recorder.span("inner", kind=CLIENT, parent=outer.traceparent, attributes={"a.b": 1}),
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


def test_an_exception_marks_its_span_as_an_error_without_its_text(
    recorder: Recorder, wire: Wire
) -> None:
    with pytest.raises(ValueError, match="bad"), recorder.span("x", parent=None):
        raise ValueError("bad")
    recorder.flush()
    (record,) = wire.records
    assert isinstance(record, SpanRecord)
    assert (record.error, record.attributes) == ("ValueError", {"error.type": "ValueError"})


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
        recorder.log("info", "l")
    wire.full = False
    recorder.flush()
    assert len(wire.records) == 4096
    assert sum(report.dropped for report in wire.reports) == 5000 - 4096


def test_measurements_go_on_adding_up_while_the_way_is_full(recorder: Recorder, wire: Wire) -> None:
    wire.full = True
    for number in range(10_000):
        recorder.count("c")
        recorder.log("info", "l")
        if number % 100 == 0:
            recorder.flush()
    assert recorder.waiting <= 4096 + 2
    wire.full = False
    recorder.flush()
    recorder.flush()
    counted = [r for r in wire.records if isinstance(r, Measurement)]
    assert sum(each.value for each in counted) == 10_000
    assert len(counted) <= 3


def test_what_is_measured_is_one_record_of_each_series(recorder: Recorder, wire: Wire) -> None:
    shared: dict[str, AttributeValue] = {"a": 1}
    for value in (3.0, 80.0, 90.5, 700.0):
        recorder.observe("http.client.request.duration", value, shared, f"trace {value}")
        recorder.count("c", 2, {"a": 1})  # the same series, though not the same dictionary
        recorder.count("c", 1, {"a": 2})
        recorder.gauge("g", value)
    recorder.flush()
    exemplars = {
        bucket: (value, f"trace {value}") for bucket, value in ((0, 3.0), (5, 90.5), (8, 700.0))
    }
    buckets = {0: 1, 5: 2, 8: 1}
    assert wire.records == [
        Measurement(
            "http.client.request.duration",
            "histogram",
            873.5,
            shared,
            count=4,
            low=3.0,
            high=700.0,
            buckets=buckets,
            exemplars=exemplars,
        ),
        Measurement("c", "counter", 8, {"a": 1}, count=4),
        Measurement("c", "counter", 4, {"a": 2}, count=4),
        Measurement("g", "gauge", 700.0, count=4),
    ]
    wire.reports.clear()
    recorder.observe("http.client.request.duration", 2.5, shared, "trace")
    recorder.flush()
    recorder.flush()
    assert wire.records == [
        Measurement("http.client.request.duration", "histogram", 2.5, shared, "trace")
    ]


def test_a_value_that_would_spoil_a_sum_goes_by_itself(recorder: Recorder, wire: Wire) -> None:
    for value in (1.0, float("inf"), -1.0, 2.0):
        recorder.observe("h", value)
    recorder.flush()
    measured = [r for r in wire.records if isinstance(r, Measurement)]
    assert [(each.value, each.count) for each in measured] == [
        (float("inf"), 1),
        (-1.0, 1),
        (3.0, 2),
    ]


def test_attributes_without_end_are_kept_in_bounds(recorder: Recorder, wire: Wire) -> None:
    for number in range(5000):
        recorder.count("c", 1, {"n": number % 2500})
    assert recorder.waiting <= 4096 + 1024
    recorder.flush()
    counted = [record for record in wire.records if isinstance(record, Measurement)]
    assert sum(each.value for each in counted) == 5000
    assert max(len(recorder._sums._by_content), len(recorder._sums._by_identity)) <= 1024


def test_what_several_threads_measure_is_in_the_sum(
    recorder: Recorder, wire: Wire, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-6)

    def measure() -> None:
        for number in range(5000):
            recorder.observe("h", 1.0)
            if number % 10 == 0:
                recorder.flush()

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    recorder.flush()
    measured = [record for record in wire.records if isinstance(record, Measurement)]
    assert sum(each.count for each in measured) == sum(each.value for each in measured) == 20_000
    several = [each for each in measured if each.count > 1]
    assert all(sum(each.buckets.values()) == each.count for each in several)


def test_spans_can_be_flushed_while_what_was_measured_goes_on_adding_up(
    recorder: Recorder, wire: Wire
) -> None:
    recorder.count("c")
    recorder.flush(sums=False)
    assert wire.reports == []
    recorder.span("x", parent=None).end()
    recorder.flush(sums=False)
    recorder.count("c")
    recorder.flush()
    span, counted = wire.records
    assert isinstance(span, SpanRecord)
    assert counted == Measurement("c", "counter", 2, count=2)


def test_every_measurement_is_an_exemplar_when_the_variable_says_so(wire: Wire) -> None:
    recorder = Recorder("ui", 0, wire.offer, Tracing(every_exemplar=True))
    recorder.observe("chatbot.queue.wait", 1.0)
    recorder.observe("chatbot.queue.wait", 900.0)
    recorder.flush()
    (record,) = wire.records
    assert isinstance(record, Measurement)
    assert sorted(record.exemplars.values()) == [(1.0, ""), (900.0, "")]


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


def test_a_span_is_announced_with_what_is_known_and_recorded_when_it_ends(
    recorder: Recorder, wire: Wire
) -> None:
    span = recorder.span("wait", kind=CLIENT, parent=None, attributes={"a": 1}).announce()
    recorder.flush()
    span.set("b", 2)
    span.end()
    recorder.flush()
    started, ended = wire.records
    assert isinstance(started, SpanStarted)
    assert isinstance(ended, SpanRecord)
    assert (started.attributes, ended.attributes) == ({"a": 1}, {"a": 1, "b": 2})
    for name in ("trace_id", "span_id", "parent_id", "name", "kind", "start_ns"):
        assert getattr(started, name) == getattr(ended, name)


def test_of_a_trace_that_is_not_kept_only_measurements_are_recorded(wire: Wire) -> None:
    recorder = Recorder("ui", 0, wire.offer, Tracing(sample_ratio=0.0))
    with recorder.span("turn", parent=None).announce() as turn:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", turn.traceparent)
        with recorder.hop("send", "store.asks", "r", turn.traceparent) as hop:
            assert hop.traceparent == turn.traceparent
        recorder.count("c", 1, None, hop.exemplar)
    recorder.flush()
    assert wire.records == [Measurement("c", "counter", 1)]


def test_a_link_to_what_is_not_recorded_is_left_out(recorder: Recorder, wire: Wire) -> None:
    kept = f"00-{'a' * 32}-{'b' * 16}-01"
    with recorder.span("x", parent=None) as span:
        span.link("", kept[:-1] + "0", kept)
    recorder.flush()
    (record,) = wire.records
    assert isinstance(record, SpanRecord)
    assert record.links == (kept,)


def test_records_with_much_in_them_are_split_among_reports_in_their_order(
    recorder: Recorder, wire: Wire
) -> None:
    wire.full = True
    for number in range(60):
        with recorder.span(str(number), parent=None) as span:
            span.set("content", "\u20ac" * 64 * 1024)
    wire.full = False
    recorder.flush()
    assert [r.name for r in wire.records if isinstance(r, SpanRecord)] == [*map(str, range(60))]
    assert all(len(encode(report)) < MAX_FRAME_BYTES // 8 for report in wire.reports)
    assert all(report.records == len(decode(report.payload)) for report in wire.reports)


def test_what_did_not_fit_is_kept_in_its_order(wire: Wire) -> None:
    places = iter([True, False] + [True] * 100)

    def offer(report: Report) -> bool:
        return next(places) and wire.offer(report)

    recorder = Recorder("worker", 0, offer)
    for number in range(60):
        recorder.log("info", str(number), text="x" * 100_000)
    recorder.flush()
    recorder.log("info", "60")
    recorder.flush()
    assert [r.event for r in wire.records if isinstance(r, LogRecord)] == [*map(str, range(61))]


def test_a_record_that_cannot_be_encoded_costs_itself_only(recorder: Recorder, wire: Wire) -> None:
    for number in range(9):
        recorder.count(f"c{number}", 2**70 if number == 4 else 1)
    recorder.log("info", "half of a pair", text="\ud800")
    recorder.flush()
    recorder.count("later")
    recorder.flush()
    names = [record.name for record in wire.records if isinstance(record, Measurement)]
    assert names == [f"c{number}" for number in range(9) if number != 4] + ["later"]
    assert sum(report.dropped for report in wire.reports) == 2


def test_debug_lines_are_made_only_when_the_log_is_verbose(wire: Wire) -> None:
    for debug in (False, True):
        recorder = Recorder("worker", 0, wire.offer, Tracing(debug=debug))
        recorder.log("debug", f"debug {debug}")
        recorder.flush()
    assert [record.event for record in wire.records if isinstance(record, LogRecord)] == [
        "debug True"
    ]


def test_what_leaves_a_span_that_has_ended_does_not_change_it(
    recorder: Recorder, wire: Wire
) -> None:
    with recorder.span("x", parent=None) as span:
        span.fail("of its own")
        span.end()
        span.__exit__(KeyError, KeyError("later"), None)
    recorder.flush()
    (record,) = wire.records
    assert isinstance(record, SpanRecord)
    assert (record.error, record.attributes) == ("of its own", {})


def test_the_lower_half_of_the_id_decides_whether_a_trace_is_kept(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder("ui", 0, wire.offer, Tracing(sample_ratio=0.5))
    kept = []
    for trace_id in ("7f" + "ff" * 7, "80" + "00" * 7):
        monkeypatch.setattr("chatbot.tracing._random_bits", lambda n, half=trace_id: int(half, 16))
        kept.append(recorder.span("x", parent=None).is_recorded)
    assert kept == [True, False]


def test_a_step_of_the_clock_does_not_change_how_long_a_span_took(
    recorder: Recorder, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = recorder.span("x", parent=None)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    span.event("then")
    span.end()
    recorder.flush()
    (record,) = wire.records
    assert isinstance(record, SpanRecord)
    assert record.start_ns <= record.events[0].time_ns <= record.end_ns


def test_traces_that_begin_together_do_not_begin_alike(recorder: Recorder) -> None:
    # A list of traces shows the beginnings of their ids, and a person types no more of one.
    begun = {recorder.span("x", parent=None).trace_id[:8] for _ in range(20)}
    assert len(begun) == 20
