"""The way of a message to its process: spans on the hops, patience with a slow terminal.

It never waits. What is sent is queued, and the queues are bounded by other means than by waiting: by
the dispatcher's limits, by joining deltas for a UI that reads too slowly, by dropping telemetry
(see `reports`).
"""

import time
from functools import cache

import msgspec

from chatbot.mailbox import encode
from chatbot.messages import (
    Answered,
    AttributeValue,
    Call,
    Cancelled,
    Delta,
    Failed,
    Flush,
    Interrupted,
    Message,
    ProcessEnded,
    ProcessRole,
    Report,
    Terminal,
)
from chatbot.otel import Tracing
from chatbot.supervisor.child import RunningChild
from chatbot.supervisor.reports import Reports
from chatbot.tracing import Recorder, Span, is_sampled

_FORWARD_FROM = 64
_FORWARD_WITHIN_S = 0.05
_HELD_TEXT = 1024 * 1024
_ENDS: dict[type[Message], str] = {
    Answered: "answered",
    Failed: "failed",
    Cancelled: "cancelled",
    Interrupted: "interrupted",
}


class Router:
    """Delivers to the processes that run now. `children` is the supervisor's own table."""

    def __init__(
        self, children: dict[tuple[ProcessRole, int], RunningChild], tracing: Tracing
    ) -> None:
        self._children = children
        self.recorder = Recorder("supervisor", 0, self.report, tracing)
        self._reports = Reports()
        self._forward_at: float | None = None
        self._flushes: dict[str, Flush] = {}  # nobody has answered them
        self._flushes_to_post: list[Flush] = []
        self._held: dict[str, Delta] = {}
        self._latest: tuple[Message | None, bytes] = (None, b"")

    def deliver(self, role: ProcessRole, slot: int, message: Message) -> None:
        """Queue a message for a process; one for a process that is gone is dropped.

        That is so for the UI and, while the program ends, for the others. Raises MessageTooLarge.
        """
        child = self._children.get((role, slot))
        if child is None:
            if role == "ui":
                self._count_end(message)
            return
        match message:
            case Delta():
                self._show(child, message)
            case Call():
                self._call(child, message)
            case Answered() | Failed() | Cancelled() | Interrupted() if role == "store":
                if is_sampled(message.traceparent):
                    with self._hop(message, "store.answers") as span:
                        child.outbox.gather(
                            msgspec.structs.replace(message, traceparent=span.traceparent)
                        )
                else:
                    child.outbox.gather_encoded(self._encoded(message))
            case _ if role == "ui":
                if self._held:
                    held = self._held.pop(getattr(message, "request_id", ""), None)
                    if held is not None:
                        child.outbox.gather(held)
                child.outbox.gather_encoded(self._encoded(message))
                self._count_end(message)
            case _:
                child.outbox.gather(message)

    def hand_over(self) -> None:
        """Have what was delivered written to the pipes: until then it only gathers, so that a round of
        messages wakes each writer up once."""
        for child in self._children.values():
            child.outbox.flush()

    def _encoded(self, message: Message) -> bytes:
        """Encode a message. The end of a turn goes to the UI and right after that to the store, mostly as
        the very same struct: then it is encoded once."""
        latest, data = self._latest
        if latest is not message:
            data = encode(message)
            self._latest = message, data
        return data

    def report(self, report: Report) -> bool:
        """Take a report of the supervisor's own for telemetry; False: keep its records for later."""
        if self._reports.is_gone:
            self._reports.drop(report)
            return True
        return self._reports.keep(report)

    def take(self, report: Report) -> None:
        """Take a child's report for telemetry, or count what it held.

        They are passed on together, since every single one would wake that process up.
        """
        if self._reports.is_gone or not self._reports.keep(report):
            self._reports.drop(report)

    @property
    def dropped(self) -> int:
        """How many records were given up on their way to telemetry."""
        return self._reports.dropped

    @property
    def is_reported(self) -> bool:
        """Whether telemetry has taken in hand all that was reported."""
        return self._reports.is_empty and not (self._reports.refused or self._flushes_to_post)

    def taken(self, number: int) -> None:
        """Telemetry has taken so many reports and ends of processes in hand."""
        self._reports.taken(number)

    def forward_at(self, now: float) -> float | None:
        """Return when reports should be passed on at the latest; None where there are none, or nobody
        to take them."""
        if ("telemetry", 0) not in self._children:
            return None
        if self._forward_at is None and self._has_news:
            self._forward_at = now + _FORWARD_WITHIN_S
        return self._forward_at

    @property
    def _has_news(self) -> bool:
        if self._reports.new or self._flushes_to_post:
            return True
        return self._reports.has_room and bool(self.recorder.waiting or self._reports.refused)

    def forward_due(self, now: float) -> None:
        """Pass the reports on if it is time, or if there are enough of them."""
        due = self.forward_at(now)
        if due is not None and (now >= due or self._reports.new >= _FORWARD_FROM):
            self.forward()

    def forward(self) -> None:
        """Pass on what was reported; the first reports wait for telemetry to be started."""
        self._forward_at = None
        self.recorder.flush()
        telemetry = self._children.get(("telemetry", 0))
        if telemetry is None:
            return
        self._tell_refused()
        for report in self._reports.take_new():
            telemetry.outbox.post(report)
        for flush in self._flushes_to_post:
            telemetry.outbox.post(flush)
        self._flushes_to_post.clear()

    def _tell_refused(self) -> None:
        """Have telemetry count what found no room, once there is room for that."""
        if not self._reports.refused or not self._reports.has_room or self.recorder.waiting:
            return
        for role, number in self._reports.refused.items():
            lost: dict[str, AttributeValue] = {"reason": "queue_full", "chatbot.process.role": role}
            self.recorder.count("chatbot.telemetry.dropped", number, lost)
        self._reports.refused.clear()
        self.recorder.flush()

    def ended(self, child: RunningChild, how: str) -> None:
        """Tell telemetry that a process has ended, behind all that it reported; while there is none,
        this waits for it, too. What was sent to a telemetry that has ended and was not read by it
        waits for the next one."""
        if child.role == "telemetry":
            self._reports.return_unread()
            self._flushes_to_post = list(self._flushes.values())
        if not self._reports.is_gone:
            pid = child.process.pid or 0
            self._reports.end(ProcessEnded(child.role, child.slot, pid, time.time_ns(), how))
            self.forward()

    def flush(self, flush: Flush) -> bool:
        """Have telemetry write down what was reported, or the next one, where it is being started;
        False where there will be none."""
        if self._reports.is_gone:
            return False
        self._flushes[flush.request_id] = flush
        self._flushes_to_post.append(flush)
        self.forward()
        return True

    def flushed(self, request_id: str) -> None:
        """Telemetry has answered a flush."""
        self._flushes.pop(request_id, None)

    def telemetry_gone(self) -> list[str]:
        """There will be no telemetry: forget what was kept for it, and keep no more. Return the flushes
        that nobody will answer."""
        self._reports.give_up()
        unanswered = list(self._flushes)
        self._flushes.clear()
        self._flushes_to_post.clear()
        return unanswered

    def ui_ended(self) -> None:
        """Forget what was held for a UI that has died: the next one is told the whole text so far."""
        self._held.clear()

    def show_held(self) -> None:
        """Try again to show what the UI had no room for."""
        held, self._held = self._held, {}
        ui = self._children.get(("ui", 0))
        for delta in held.values():
            if ui is not None:
                self._show(ui, delta)

    def _show(self, ui: RunningChild, delta: Delta) -> None:
        held = self._held.pop(delta.request_id, None)
        if held is not None:
            if held.reasoning == delta.reasoning and len(held.text) < _HELD_TEXT:
                delta = msgspec.structs.replace(delta, text=held.text + delta.text)
            else:
                ui.outbox.gather(held)
        if not ui.outbox.offer(delta):
            self._held[delta.request_id] = delta

    def _call(self, worker: RunningChild, call: Call) -> None:
        """Send a call. Its hop begins when it became ready to be sent: the wait for a worker that has
        room is a part of its way."""
        queued_ns = time.time_ns()
        if call.ready_s is not None:
            queued_ns -= max(round((time.monotonic() - call.ready_s) * 1e9), 0)
        if not is_sampled(call.traceparent):
            worker.outbox.gather(msgspec.structs.replace(call, queued_ns=queued_ns, ready_s=None))
            return
        with self._hop(call, "llm.requests", queued_ns) as span:
            span.set("attempt", call.attempt)
            worker.outbox.gather(
                msgspec.structs.replace(
                    call, traceparent=span.traceparent, queued_ns=queued_ns, ready_s=None
                )
            )

    def _hop(self, message: Call | Terminal, destination: str, start_ns: int | None = None) -> Span:
        request_id, parent = message.request_id, message.traceparent
        return self.recorder.hop("send", destination, request_id, parent, start_ns)

    def _count_end(self, message: Message) -> None:
        """Count how a request ended: its one terminal message to the UI tells, also where there is no
        UI to be told."""
        status = _ENDS.get(type(message))
        if status is None:
            return
        kind = ""
        match message:
            case Answered(cached_age_s=age_s) if age_s is not None:
                status = "cached"
            case Failed():
                kind = message.kind
            case _:
                pass
        self.recorder.count("chatbot.requests", 1, _labels(status, kind))


@cache
def _labels(status: str, kind: str) -> dict[str, AttributeValue]:
    return {"status": status, "error.type": kind} if kind else {"status": status}
