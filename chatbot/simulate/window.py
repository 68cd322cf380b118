"""How much there was over a time: rates over the whole run, and while the load was full. Pure."""

from collections import deque

from chatbot.simulate.result import Window
from chatbot.simulate.turn import Turn

_NS_PER_S = 1_000_000_000


class Sums:
    """What is counted over a time."""

    __slots__ = ("answered", "chunks", "failed", "good", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.answered = self.failed = self.good = 0
        self.input_tokens = self.output_tokens = self.chunks = 0

    def add(self, turn: Turn, *, is_good: bool) -> None:
        """Count a turn that has ended; `is_good`: it met every SLO."""
        if turn.status == "answered":
            self.answered += 1
            self.good += is_good
            self.input_tokens += turn.input_tokens or 0
            self.output_tokens += turn.output_tokens or 0
        elif turn.is_failure:
            self.failed += 1
        self.chunks += turn.chunks

    def window(self, from_s: float, to_s: float, asked: int) -> Window:
        """Return the rates; all 0 over no time."""
        width = to_s - from_s
        if width <= 0:
            return Window(from_s=from_s, to_s=from_s)
        return Window(
            from_s=from_s,
            to_s=to_s,
            asked=asked / width,
            answered=self.answered / width,
            failed=self.failed / width,
            good=self.good / width,
            input_tokens=self.input_tokens / width,
            output_tokens=self.output_tokens / width,
            chunks=self.chunks / width,
        )


class Steady:
    """The time from the end of ramp and warm-up until the load begins to fall.

    That is the end of the time, or an interruption of it; without a time, the last arrival of an open load; in a
    closed loop, the first session that nobody replaces. Every turn that ended within counts, whenever it was asked,
    also in the warm-up: what goes on at its beginning makes up for what is still under way at its end. Of an open load
    what is asked at the very end does not count: there are as many arrivals as intervals between them.
    """

    def __init__(self, start_ns: int, from_ns: int, *, is_open: bool) -> None:
        self._start_ns = start_ns
        self._from_ns = from_ns
        self._is_open = is_open
        self._falling_ns: int | None = None
        self._last_asked_ns = from_ns
        self._asked = 0
        self._asked_last = 0  # at the last instant at which there was one
        self._sums = Sums()
        # What ended after the last arrival: (when, turn, whether it was good). It counts only if another follows.
        self._waiting: deque[tuple[int, Turn, bool]] = deque()

    def asked(self, now_ns: int) -> None:
        """A turn was asked that is measured."""
        if self._falling_ns is None or now_ns <= self._falling_ns:
            self._asked += 1
            if now_ns > self._last_asked_ns:
                self._last_asked_ns = now_ns
                self._asked_last = 0
            self._asked_last += now_ns == self._last_asked_ns
            waiting = self._waiting
            while waiting and waiting[0][0] <= now_ns:
                _, turn, is_good = waiting.popleft()
                self._sums.add(turn, is_good=is_good)

    def ended(self, turn: Turn, *, is_good: bool) -> None:
        """A turn has ended."""
        end_ns = turn.end_ns
        if end_ns >= self._from_ns and (self._falling_ns is None or end_ns <= self._falling_ns):
            self._waiting.append((end_ns, turn, is_good))

    def falling(self, now_ns: int) -> None:
        """From here on the load falls, or will; the earliest instant counts."""
        if self._falling_ns is None or now_ns < self._falling_ns:
            self._falling_ns = now_ns

    def all_asked(self) -> None:
        """There will be no other arrival; they may have been told in any order."""
        self.falling(self._last_asked_ns)

    def window(self, end_ns: int) -> Window:
        """Return the rates, of a run that ended then."""
        to_ns = end_ns if self._falling_ns is None else min(self._falling_ns, end_ns)
        if self._is_open and self._falling_ns is None:
            to_ns = min(to_ns, self._last_asked_ns)
        asked = self._asked
        if self._is_open and to_ns == self._last_asked_ns:
            asked -= self._asked_last
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            if item[0] <= to_ns:
                self._sums.add(item[1], is_good=item[2])
            else:
                self._waiting.append(item)
        from_s = (self._from_ns - self._start_ns) / _NS_PER_S
        return self._sums.window(from_s, (to_ns - self._start_ns) / _NS_PER_S, asked)
