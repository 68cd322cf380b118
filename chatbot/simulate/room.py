"""Since when there is room for a turn, had the client lost no time: whose fault it is that one is asked late. Pure.

A place is free when the server has done with the turn that had it, and not only when the client hears of that. All times
are in ns of the caller's clock.
"""

import heapq

import msgspec

NEVER = 1 << 200

# What the client adds to every turn does not add up, as long as it is no more than this.
_LET_PASS_NS = 20_000_000


class UnderWay(msgspec.Struct):
    """A turn that was asked then, so long after it was ready."""

    index: int
    asked_ns: int
    late_ns: int


class Places:
    """So many places, and since when those are free that were taken before. 0: there is no end of them."""

    def __init__(self, most: int, start_ns: int) -> None:
        self._has_end = most > 0
        self._unused = most
        self._start_ns = start_ns
        self._free: list[int] = []  # a heap

    @property
    def since_ns(self) -> int:
        """Since when there is a place; never, where there is none."""
        if self._unused or not self._has_end:
            return self._start_ns
        return self._free[0] if self._free else NEVER

    def take(self) -> None:
        """Take the one that has been free longest."""
        if self._unused:
            self._unused -= 1
        elif self._free:
            heapq.heappop(self._free)

    def leave(self, since_ns: int) -> None:
        """Give one back that is free since then."""
        if self._has_end:
            heapq.heappush(self._free, since_ns)


def freed_ns(turn: UnderWay, now_ns: int, served_ns: int | None) -> int:
    """Return when the place of a turn would have been free, had the client lost no time on it: when it was asked,
    or what it was asked late by earlier, and so long as the server took after that."""
    if served_ns is None:
        return now_ns
    lost_ns = max(turn.late_ns - _LET_PASS_NS, 0)
    return min(turn.asked_ns + served_ns - lost_ns, now_ns)
