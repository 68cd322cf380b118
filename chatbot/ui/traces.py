"""`/trace` in the chat: the trace of a turn, as soon as the files have all of it.

Every process reports its spans when it has a moment, so that the last of a turn arrive a little after its
answer: what is still missing is waited for, but not for long.
"""

import time
from pathlib import Path

from chatbot.errors import ChatbotError, ExitCode
from chatbot.otel import Tracing
from chatbot.traces import archive
from chatbot.traces.damage import Damage
from chatbot.traces.trace import Trace
from chatbot.traces.turn import Turn
from chatbot.ui.exchange import GIVEN_UP, Exchange
from chatbot.ui.view import Notices, View

_FLUSH_WITHIN_S = 5.0
_WHOLE_WITHIN_S = 2.0
_LOOK_EVERY_S = 0.1


class Traces:
    """The traces of this conversation's turns."""

    def __init__(
        self, log_dir: str, tracing: Tracing, exchange: Exchange, notices: Notices, view: View
    ) -> None:
        self._directory = Path(log_dir)
        self._is_written = True
        self._tracing = tracing
        self._exchange = exchange
        self._notices = notices
        self._view = view

    def show(self, trace_id: str) -> ExitCode:
        """Show a trace. Raises ChatbotError with the reason where there is none, and Leave."""
        if not self._tracing.enabled:
            raise ChatbotError("nothing is traced: OTEL_SDK_DISABLED is set")
        damage = Damage()
        found = self._whole(trace_id, damage) if trace_id else None
        if damage.places:
            self._notices.say(str(damage))
        if found is None:
            raise ChatbotError(f"there is no trace of this turn{self._why()}")
        self._view.trace(*found)
        return ExitCode.OK

    def _why(self) -> str:
        ratio = self._tracing.sample_ratio
        if ratio < 1:
            return f": OTEL_TRACES_SAMPLER keeps {'only a part of them' if ratio else 'none'}"
        if not self._is_written:
            return ": the telemetry process is gone, and what happens is not traced"
        return f" in {self._directory}"

    def _whole(self, trace_id: str, damage: Damage) -> tuple[Trace, Turn] | None:
        """Return the trace, whole if it gets so in time; None where there is nothing of it."""
        deadline = time.monotonic() + _WHOLE_WITHIN_S
        is_first = True
        while True:
            if reason := self._exchange.flush(_FLUSH_WITHIN_S):
                raise ChatbotError("(given up)" if reason == GIVEN_UP else reason)
            found = archive.read(self._directory, trace_id, damage)
            if found is None and self._tracing.sample_ratio < 1:  # it may never come
                return None
            if (found is not None and found[0].is_whole) or time.monotonic() >= deadline:
                return found
            if is_first:
                self._is_written = self._has_telemetry()
                is_first = False
            if not self._is_written:  # nothing more will come
                return found
            self._exchange.listen(_LOOK_EVERY_S)

    def _has_telemetry(self) -> bool:
        """Whether there is a telemetry process, or is to be one again: one that ended too often has no row."""
        status = self._exchange.status()
        return status is None or any(each.role == "telemetry" for each in status.processes)
