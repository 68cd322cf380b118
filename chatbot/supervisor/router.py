"""The way of a message to its process: spans on the hops, patience with a slow terminal.

It never waits. What is sent is queued, and the queues are bounded by other means than by waiting: by
the dispatcher's limits, by joining deltas for a UI that reads too slowly, by dropping telemetry.
"""

import time
from functools import cache

import msgspec

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
from chatbot.tracing import Recorder, Span

_EARLY_REPORTS = 1024
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
        self._early_reports: list[Report] = []
        self._telemetry_gone = False
        self._held: dict[str, Delta] = {}

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
                with self._hop(message, "store.answers") as span:
                    child.outbox.post(
                        msgspec.structs.replace(message, traceparent=span.traceparent)
                    )
            case _ if role == "ui":
                held = self._held.pop(getattr(message, "request_id", ""), None)
                if held is not None:
                    child.outbox.post(held)
                child.outbox.post(message)
                self._count_end(message)
            case _:
                child.outbox.post(message)

    def report(self, report: Report) -> bool:
        """Pass a report on to telemetry; the first ones wait for it to be started."""
        telemetry = self._children.get(("telemetry", 0))
        if telemetry is not None:
            return telemetry.outbox.offer(report)
        if not self._telemetry_gone and len(self._early_reports) < _EARLY_REPORTS:
            self._early_reports.append(report)
            return True
        return self._telemetry_gone

    def ended(self, child: RunningChild, how: str) -> None:
        """Tell telemetry that a process has ended, behind all that it reported."""
        pid = child.process.pid or 0
        telemetry = self._children.get(("telemetry", 0))
        if telemetry is not None and child.role != "telemetry":
            telemetry.outbox.post(ProcessEnded(child.role, child.slot, pid, time.time_ns(), how))

    def flush(self, flush: Flush) -> bool:
        """Have telemetry write down what was reported; False where there is none."""
        telemetry = self._children.get(("telemetry", 0))
        if telemetry is not None:
            telemetry.outbox.post(flush)
        return telemetry is not None

    def telemetry_started(self) -> None:
        """Send telemetry what was reported before there was any."""
        early, self._early_reports = self._early_reports, []
        for report in early:
            self.report(report)

    def telemetry_gone(self) -> None:
        """There will be no telemetry: forget what was kept for it, and keep no more."""
        self._telemetry_gone = True
        self._early_reports.clear()

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
                ui.outbox.post(held)
        if not ui.outbox.offer(delta):
            self._held[delta.request_id] = delta

    def _call(self, worker: RunningChild, call: Call) -> None:
        """Send a call. Its hop begins when it became ready to be sent: the wait for a worker that has
        room is a part of its way."""
        queued_ns = time.time_ns()
        if call.ready_s is not None:
            queued_ns -= max(round((time.monotonic() - call.ready_s) * 1e9), 0)
        with self._hop(call, "llm.requests", queued_ns) as span:
            span.set("attempt", call.attempt)
            worker.outbox.post(
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
