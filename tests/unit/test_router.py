"""How messages reach their processes, with children that only remember what they were sent."""

import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chatbot.messages import (
    Answered,
    Call,
    Completion,
    Delta,
    Failed,
    Flush,
    Interrupted,
    Measurement,
    Message,
    Notice,
    ProcessEnded,
    ProcessRole,
    Record,
    Report,
    SpanRecord,
    Target,
    UiInbox,
)
from chatbot.otel import Tracing
from chatbot.supervisor.router import Router
from chatbot.tracing import Recorder, span_id_of, trace_id_of

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


class Box:
    """An outbox that refuses offers while it is full."""

    def __init__(self) -> None:
        self.full = False
        self.sent: list[Any] = []

    def offer(self, message: Message) -> bool:
        if not self.full:
            self.sent.append(message)
        return not self.full

    @property
    def waiting(self) -> int:
        return 1024 if self.full else 0

    def post(self, message: Message) -> None:
        self.sent.append(message)

    gather = post

    def gather_encoded(self, data: bytes) -> None:
        self.sent.append(msgspec.msgpack.decode(data, type=UiInbox))


class FakeChild:
    """As much of a running child as the router looks at."""

    def __init__(self, role: ProcessRole = "worker") -> None:
        self.role = role
        self.slot = 0
        self.process = SimpleNamespace(pid=7)
        self.outbox = Box()


Children = dict[tuple[ProcessRole, int], Any]


@pytest.fixture
def children() -> Children:
    return {("ui", 0): FakeChild(), ("worker", 0): FakeChild(), ("store", 0): FakeChild()}


@pytest.fixture
def router(children: Children) -> Router:
    return Router(children, Tracing())


def listen(router: Router) -> list[Report]:
    """Return where all that the router records will be."""
    reports: list[Report] = []

    def take(report: Report) -> bool:
        reports.append(report)
        return True

    router.recorder = Recorder("supervisor", 0, take)
    return reports


def recorded(reports: list[Report]) -> list[Record]:
    decode = msgspec.msgpack.Decoder(list[Record]).decode
    return [record for each in reports for record in decode(each.payload)]


def delta(seq: int, text: str, *, reasoning: bool = False) -> Delta:
    return Delta("r", 1, seq, text, reasoning)


def report() -> Report:
    return Report("ui", 0, 1, b"\x90")


def test_deltas_for_a_ui_that_reads_too_slowly_are_joined(
    router: Router, children: Children
) -> None:
    box = children["ui", 0].outbox
    router.deliver("ui", 0, delta(0, "a"))
    box.full = True
    for seq, text in enumerate("bcd", 1):
        router.deliver("ui", 0, delta(seq, text))
    box.full = False
    router.show_held()
    assert box.sent == [delta(0, "a"), delta(3, "bcd")]


def test_what_is_held_goes_out_before_the_end_of_its_turn(
    router: Router, children: Children
) -> None:
    box = children["ui", 0].outbox
    box.full = True
    router.deliver("ui", 0, delta(0, "held"))
    end = Answered("r", 1, Completion("held"))
    router.deliver("ui", 0, end)
    assert box.sent == [delta(0, "held"), end]


def test_what_was_held_for_a_terminal_that_died_is_not_shown_to_the_next(
    router: Router, children: Children
) -> None:
    ui = children["ui", 0]
    ui.outbox.full = True
    router.deliver("ui", 0, delta(0, "old"))
    router.ui_ended()
    ui.outbox.full = False
    router.show_held()
    assert ui.outbox.sent == []


def test_thinking_and_answer_are_not_joined(router: Router, children: Children) -> None:
    box = children["ui", 0].outbox
    box.full = True
    router.deliver("ui", 0, delta(0, "hm", reasoning=True))
    router.deliver("ui", 0, delta(1, "yes"))
    box.full = False
    router.show_held()
    assert box.sent == [delta(0, "hm", reasoning=True), delta(1, "yes")]


def test_held_text_does_not_grow_beyond_a_frame(router: Router, children: Children) -> None:
    box = children["ui", 0].outbox
    box.full = True
    for seq in range(6):
        router.deliver("ui", 0, delta(seq, "x" * 600_000))
    assert all(len(held.text) < 2_000_000 for held in box.sent)
    assert sum(len(held.text) for held in box.sent) >= 2_400_000


def test_a_call_carries_the_hop_that_brought_it(router: Router, children: Children) -> None:
    router.deliver("worker", 0, Call("r", 1, "s", Target("sim", "m"), (), traceparent=TRACE))
    (call,) = children["worker", 0].outbox.sent
    assert trace_id_of(call.traceparent) == "a" * 32
    assert span_id_of(call.traceparent) != "b" * 16
    assert call.queued_ns > 0


def test_a_call_has_been_on_its_way_since_it_became_ready(
    router: Router, children: Children
) -> None:
    reports = listen(router)
    ready_s = time.monotonic() - 5
    sent = Call("r", 2, "s", Target("sim", "m"), (), traceparent=TRACE, ready_s=ready_s)
    router.deliver("worker", 0, sent)
    (call,) = children["worker", 0].outbox.sent
    router.recorder.flush()
    (hop,) = recorded(reports)
    assert isinstance(hop, SpanRecord)
    assert (hop.start_ns, hop.attributes["attempt"]) == (call.queued_ns, 2)
    assert 5e9 <= hop.end_ns - hop.start_ns < 60e9
    assert call.ready_s is None


def test_every_end_of_a_request_is_counted_once_with_or_without_a_ui(
    router: Router, children: Children
) -> None:
    reports = listen(router)
    answer = Answered("r", 1, Completion("hi"))
    router.deliver("ui", 0, answer)
    router.deliver("store", 0, answer)
    router.deliver("ui", 0, delta(0, "no end"))
    router.deliver("ui", 0, msgspec.structs.replace(answer, cached_age_s=0.0))
    del children["ui", 0]
    router.deliver("ui", 0, Failed("r", 1, "timeout", "too slow"))
    router.deliver("ui", 0, Interrupted("r", 1, "it died"))
    router.recorder.flush()
    counted = [r for r in recorded(reports) if isinstance(r, Measurement)]
    assert [(m.name, m.value, m.attributes) for m in counted] == [
        ("chatbot.requests", 1, {"status": "answered"}),
        ("chatbot.requests", 1, {"status": "cached"}),
        ("chatbot.requests", 1, {"status": "failed", "error.type": "timeout"}),
        ("chatbot.requests", 1, {"status": "interrupted"}),
    ]


def test_without_a_trace_there_is_no_hop(router: Router, children: Children) -> None:
    router.deliver("worker", 0, Call("r", 1, "s", Target("sim", "m"), ()))
    (call,) = children["worker", 0].outbox.sent
    assert call.traceparent == ""


def test_what_is_sent_to_a_ui_that_is_gone_is_dropped(router: Router, children: Children) -> None:
    del children["ui", 0]
    router.deliver("ui", 0, Notice("nobody there"))
    router.show_held()


def test_the_first_reports_wait_for_telemetry_and_come_in_order(
    router: Router, children: Children
) -> None:
    first, second = report(), Report("store", 0, 2, b"\x90")
    assert router.report(first)
    assert router.report(second)
    children["telemetry", 0] = FakeChild()
    router.forward()
    assert children["telemetry", 0].outbox.sent == [first, second]


def test_reports_that_wait_for_telemetry_are_bounded(router: Router) -> None:
    taken = sum(router.report(report()) for _ in range(5000))
    assert taken == 4096


def test_reports_are_passed_on_together_after_a_moment(router: Router, children: Children) -> None:
    children["telemetry", 0] = FakeChild()
    assert router.forward_at(10.0) is None
    router.report(report())
    due = router.forward_at(10.0)
    assert due is not None
    assert due > 10.0
    router.report(report())
    router.forward_due(10.0)
    assert children["telemetry", 0].outbox.sent == []
    assert router.forward_at(10.01) == due  # of the first of them
    router.forward_due(due)
    assert len(children["telemetry", 0].outbox.sent) == 2
    assert router.forward_at(due) is None


def test_many_reports_are_passed_on_at_once(router: Router, children: Children) -> None:
    children["telemetry", 0] = FakeChild()
    for _ in range(64):
        router.report(report())
    router.forward_due(10.0)
    assert len(children["telemetry", 0].outbox.sent) == 64


def test_what_the_supervisor_records_itself_is_passed_on_too(
    router: Router, children: Children
) -> None:
    children["telemetry", 0] = FakeChild()
    router.recorder.log("info", "ready")
    due = router.forward_at(10.0)
    assert due is not None
    router.forward_due(due)
    (sent,) = children["telemetry", 0].outbox.sent
    assert sent.role == "supervisor"


def test_a_flush_and_the_end_of_a_process_come_behind_all_that_was_reported(
    router: Router, children: Children
) -> None:
    router.ended(children["store", 0], "killed before telemetry was there")
    assert router.forward_at(10.0) is None
    children["telemetry", 0] = FakeChild()
    router.report(report())
    router.ended(children["worker", 0], "killed by signal 9")
    router.report(report())
    assert router.flush(Flush("f"))
    sent = children["telemetry", 0].outbox.sent
    ended = [ProcessEnded, Report, ProcessEnded, Report, Flush]
    assert [type(each) for each in sent] == ended


def start_telemetry(children: Children) -> Any:
    """Start a telemetry, in the place of one that has died."""
    children["telemetry", 0] = FakeChild("telemetry")
    return children["telemetry", 0]


def counted_as_dropped(sent: list[Any]) -> list[tuple[Any, Any]]:
    """Return the roles and numbers of the records that telemetry is told to count as dropped."""
    reports = [each for each in sent if isinstance(each, Report) and each.role == "supervisor"]
    return [
        (record.attributes["chatbot.process.role"], record.value)
        for record in recorded(reports)
        if isinstance(record, Measurement) and record.name == "chatbot.telemetry.dropped"
    ]


def test_what_telemetry_has_not_read_counts_as_waiting_until_it_has_taken_it(
    router: Router, children: Children
) -> None:
    telemetry = start_telemetry(children)
    for _ in range(4096):
        router.take(report())
    router.forward()
    assert len(telemetry.outbox.sent) == 4096
    assert not router.report(report())
    router.taken(2)
    assert [router.report(report()) for _ in range(3)] == [True, True, False]


def test_reports_are_bounded_by_their_bytes_too(router: Router, children: Children) -> None:
    children["telemetry", 0] = FakeChild("telemetry")
    large = Report("worker", 0, 1, b"x" * 2**20, records=5)
    assert sum(router.report(large) for _ in range(40)) == 16
    router.forward()
    assert not router.report(large)
    router.taken(1)
    assert router.report(large)
    assert not router.report(large)


def test_what_a_telemetry_that_died_had_not_read_is_given_to_the_next_one(
    router: Router, children: Children
) -> None:
    first, second, third, fourth = (Report("ui", 0, pid, b"\x90") for pid in range(4))
    telemetry = start_telemetry(children)
    for each in (first, second, third):
        router.take(each)
    router.forward()
    router.taken(1)
    router.take(fourth)
    assert not router.is_reported
    del children["telemetry", 0]
    router.ended(telemetry, "killed by signal 9")
    after = start_telemetry(children)
    router.forward()
    *reports, ended = after.outbox.sent
    assert reports == [second, third, fourth]
    assert isinstance(ended, ProcessEnded)
    assert not router.is_reported
    router.taken(4)
    assert router.is_reported


def test_what_finds_no_room_is_counted_by_role_once_there_is_room_again(
    router: Router, children: Children
) -> None:
    telemetry = start_telemetry(children)
    for _ in range(4096):
        router.take(report())
    for dropped in (0, 30):
        router.take(Report("worker", 0, 1, b"\x90", dropped=dropped, records=10))
    router.take(Report("store", 0, 1, b"\x90", records=1))
    router.forward()
    assert router.dropped == 51
    assert counted_as_dropped(telemetry.outbox.sent) == []
    assert router.forward_at(10.0) is None
    router.taken(4096)
    assert not router.is_reported
    due = router.forward_at(10.0)
    assert due is not None
    router.forward_due(due)
    router.forward()
    assert counted_as_dropped(telemetry.outbox.sent) == [("worker", 50), ("store", 1)]
    assert router.dropped == 51


def test_a_flush_waits_for_the_telemetry_that_is_being_started(
    router: Router, children: Children
) -> None:
    assert router.flush(Flush("early"))
    telemetry = start_telemetry(children)
    assert router.forward_at(10.0) is not None
    router.forward()
    assert telemetry.outbox.sent == [Flush("early")]
    router.flushed("early")
    assert router.flush(Flush("unanswered"))
    del children["telemetry", 0]
    router.ended(telemetry, "killed by signal 9")
    after = start_telemetry(children)
    router.forward()
    assert [type(each) for each in after.outbox.sent] == [ProcessEnded, Flush]
    assert after.outbox.sent[-1] == Flush("unanswered")


def test_without_telemetry_reports_are_forgotten_and_counted(
    router: Router, children: Children
) -> None:
    telemetry = start_telemetry(children)
    full = Report("worker", 0, 1, b"\x90", records=10)
    router.take(full)
    router.forward()
    router.take(full)
    assert router.flush(Flush("f"))
    del children["telemetry", 0]
    router.ended(telemetry, "exit code 3")
    assert router.telemetry_gone() == ["f"]
    assert router.dropped == 20
    for _ in range(5000):
        router.take(full)
    assert router.report(full)
    assert router.dropped == 20 + 50_010
    assert not router.flush(Flush("g"))
    assert router.is_reported
    children["telemetry", 0] = FakeChild("telemetry")  # whatever comes after it
    router.forward()
    assert children["telemetry", 0].outbox.sent == []
