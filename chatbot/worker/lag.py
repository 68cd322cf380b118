"""How late the event loop is: looked at every 20 ms while somebody asks, and else not at all."""

import asyncio
import time
from bisect import bisect_left

EVERY_S = 0.02

_EVERY_NS = round(EVERY_S * 1e9)


class LagMeter:
    """The lateness of the loop, for any number of calls at once.

    Of the looks taken it keeps those that no later one surpasses: the longest lag since any moment is
    then the first that is kept from there on, and a call costs the same however long it takes.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._looks = 0
        self._kept: list[int] = []  # the numbers of the looks, rising …
        self._lags_ns: list[int] = []  # … and their lags, falling
        self._due_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> int:
        """Begin to look, for one more call; return the moment, for `longest_us`."""
        self._calls += 1
        if self._timer is None:
            self._set(asyncio.get_running_loop())
        return self._looks

    def end(self) -> None:
        """End it for one of them."""
        self._calls -= 1
        if not self._calls and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._kept.clear()
            self._lags_ns.clear()

    def longest_us(self, since: int) -> int:
        """Return the longest lag since that moment, in µs, up to now."""
        at = bisect_left(self._kept, since)
        seen_ns = self._lags_ns[at] if at < len(self._lags_ns) else 0
        return max(seen_ns, time.perf_counter_ns() - self._due_ns, 0) // 1000

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_ns = time.perf_counter_ns() + _EVERY_NS
        self._timer = loop.call_later(EVERY_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._keep(time.perf_counter_ns() - self._due_ns)
        self._looks += 1
        self._set(loop)

    def _keep(self, lag_ns: int) -> None:
        while self._lags_ns and self._lags_ns[-1] <= lag_ns:
            self._lags_ns.pop()
            self._kept.pop()
        self._lags_ns.append(lag_ns)
        self._kept.append(self._looks)
