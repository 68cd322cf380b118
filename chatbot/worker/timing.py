"""When what happened in a call that is measured: the stamps of a `Timing`, as they are taken.

The parts of a call that know nothing of it (a response of the HTTP client) find the stopwatch of the
task they run in by `current`; where a call is not measured there is none, and nothing is stamped.
"""

import time
from array import array
from contextvars import ContextVar

from chatbot.messages import Durations, Timing
from chatbot.worker.lag import LagMeter
from chatbot.worker.truth import TruthScanner, clipped_us, packed

MOST_GAPS = 100_000  # so that they fit into a message beside the longest answer

_current: ContextVar["Stopwatch | None"] = ContextVar("stopwatch", default=None)

current = _current.get
_now = time.perf_counter_ns


class Stopwatch:
    """Takes the stamps of one call. Each attempt begins them anew, but for the first."""

    def __init__(self, meter: LagMeter) -> None:
        self._begun_ns = _now()
        self._meter = meter
        self._since = meter.begin()
        self._attempts = 0
        self._reset()

    def _reset(self) -> None:
        self._sent_ns = 0
        self._connected_ns = 0
        self._headers_ns = 0
        self._first_byte_ns = 0
        self._first_reasoning_ns = 0
        self._first_content_ns = 0
        self._last_content_ns = 0
        self._read_ns = 0
        self._ended_ns = 0
        self._chunks = 0
        self._gaps: array[int] = array("I")
        self._truth = TruthScanner()

    def sending(self) -> None:
        """The request is handed to the HTTP client, in this task."""
        self._reset()
        self._attempts += 1
        _current.set(self)
        self._sent_ns = _now()

    def connected(self) -> None:
        """There is a connection for it."""
        self._connected_ns = _now()

    def headed(self) -> None:
        """The head of the response was read."""
        self._headers_ns = _now()

    def received(self, data: bytes) -> None:
        """Bytes of its body were read; none: it has ended."""
        now = _now()
        if not data:
            self._ended_ns = self._ended_ns or now
            return
        self._read_ns = now
        if not self._first_byte_ns:
            self._first_byte_ns = now
        self._truth.scan(data, now)

    def parsed(self, texts: int, thoughts: int) -> None:
        """Of what was read so far, so many pieces were content and so many reasoning."""
        now, fresh = self._read_ns, texts + thoughts - self._chunks
        if fresh <= 0:
            return
        if thoughts and not self._first_reasoning_ns:
            self._first_reasoning_ns = now
        if texts and not self._first_content_ns:
            self._first_content_ns = now
        gaps = self._gaps
        if self._chunks and len(gaps) < MOST_GAPS:
            gaps.append(clipped_us(now - self._last_content_ns))
        if fresh > 1:  # the others came with the first of them
            gaps.frombytes(bytes(gaps.itemsize * min(fresh - 1, MOST_GAPS - len(gaps))))
        self._chunks += fresh
        self._last_content_ns = now

    def ended(self) -> None:
        """What was read last told the end of the answer."""
        self._ended_ns = self._ended_ns or self._read_ns

    def stop(self) -> None:
        """Stop what runs for it. To be called once."""
        self._meter.end()

    def timing(self, served: Durations | None) -> Timing:
        """Return what was stamped, beside what the server has said of its own times."""
        return Timing(
            self._begun_ns,
            self._sent_ns,
            self._connected_ns,
            self._headers_ns,
            self._first_byte_ns,
            self._first_reasoning_ns,
            self._first_content_ns,
            self._last_content_ns,
            self._ended_ns,
            self._attempts,
            self._chunks,
            packed(self._gaps),
            self._meter.longest_us(self._since),
            self._truth.truth(),
            served,
        )
