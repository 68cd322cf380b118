"""A courier: one signal's bounded queue, and the thread that empties it through the signal's gate.

Owns the gathering into batches and what does not fit: the queue is bounded by number and, since a span
may hold a whole conversation, by bytes. It never makes the caller wait: with a full
queue, or while there is no collector, it counts and forgets. Called by `otlp`.

The SDK's own batch processors do not tell how much they dropped, keep what nobody will ever take, and
wake up every second for nothing.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from chatbot.telemetry.gate import Gate

BUDGET_BYTES = 16 * 1024 * 1024  # of what waits and what is being sent

_BATCH = 512
_BATCH_BYTES = 2 * 1024 * 1024  # a collector over gRPC takes requests of 4 MB by default


class Courier:
    """`limit` items wait at most, for `delay_s` or until a batch is full; `size` says how many bytes
    one is about. With `newest` only the last one counts: each replaces the one that still waits."""

    def __init__(
        self,
        gate: Gate,
        limit: int,
        delay_s: float,
        size: Callable[[Any], int] = lambda _: 0,
        *,
        newest: bool = False,
    ) -> None:
        self.gate = gate
        self.refused = 0
        self._limit = limit
        self._delay_s = delay_s
        self._size = size
        self._newest = newest
        self._queue: deque[tuple[Any, int]] = deque()
        self._waiting_bytes = 0
        self._sending_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """What did not fit, and what a collector did not take."""
        return self.refused + self.gate.lost

    def add(self, item: Any) -> None:
        """Queue an item, from any thread."""
        with self._changed:
            if self._closing or not self.gate.is_due():
                return
            size = self._size(item)
            before = self._waiting_bytes
            if self._newest:
                self._queue.clear()
                before = 0
            elif (
                len(self._queue) >= self._limit
                or before + size + self._sending_bytes > BUDGET_BYTES
            ):
                self.refused += 1
                return
            self._queue.append((item, size))
            self._waiting_bytes = before + size
            if len(self._queue) in (1, _BATCH) or before < _BATCH_BYTES <= self._waiting_bytes:
                self._changed.notify()

    def close(self) -> None:
        """Have the thread send what is left, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while batch := self._next_batch():
            self.gate.send(batch, len(batch))
            del batch  # it is not kept while we wait for the next one

    def _next_batch(self) -> list[Any]:
        """Wait for a batch; an empty one means the end."""
        with self._changed:
            self._sending_bytes = 0
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(self._is_full, self._delay_s)
            batch: list[Any] = []
            while self._queue and len(batch) < _BATCH:
                size = self._queue[0][1]
                if batch and self._sending_bytes + size > _BATCH_BYTES:
                    break
                batch.append(self._queue.popleft()[0])
                self._sending_bytes += size
            self._waiting_bytes -= self._sending_bytes
            return batch

    def _is_full(self) -> bool:
        return len(self._queue) >= _BATCH or self._waiting_bytes >= _BATCH_BYTES or self._closing
