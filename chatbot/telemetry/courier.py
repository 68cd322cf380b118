"""A courier: one signal's bounded queue, and the thread that empties it through the signal's gate.

Owns the gathering into batches and what does not fit. It never makes the caller wait: with a full
queue, or while there is no collector, it counts and forgets. Called by `otlp`.

The SDK's own batch processors do not tell how much they dropped, keep what nobody will ever take, and
wake up every second for nothing.
"""

import threading
from collections import deque
from typing import Any

from chatbot.telemetry.gate import Gate

_BATCH = 512


class Courier:
    """`limit` items wait at most, for `delay_s` or until a batch is full. With `newest` only the last
    one counts: each replaces the one that still waits."""

    def __init__(self, gate: Gate, limit: int, delay_s: float, *, newest: bool = False) -> None:
        self.gate = gate
        self.refused = 0
        self._unsent = 0
        self._limit = limit
        self._delay_s = delay_s
        self._newest = newest
        self._queue: deque[Any] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """What did not fit, and what a collector did not take."""
        return self.refused + self.gate.lost

    @property
    def unsent(self) -> int:
        """What was not sent because there was nobody to send it to."""
        return self._unsent + self.gate.unsent

    def add(self, item: Any) -> None:
        """Queue an item, from any thread."""
        with self._changed:
            if self._closing or not self.gate.is_due():
                self._unsent += 1
                return
            if self._newest:
                self._queue.clear()
            elif len(self._queue) >= self._limit:
                self.refused += 1
                return
            self._queue.append(item)
            if len(self._queue) in (1, _BATCH):
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

    def _next_batch(self) -> list[Any]:
        """Wait for a batch; an empty one means the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(
                lambda: len(self._queue) >= _BATCH or self._closing, self._delay_s
            )
            return [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
