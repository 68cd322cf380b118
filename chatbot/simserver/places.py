"""The places of a server that generates only so many answers at once, and those who wait for one.

First come, first served. Pure: it is told who comes and goes, and calls those whose turn it is.
"""

from collections import OrderedDict
from typing import Protocol


class Guest(Protocol):
    """Who takes a place."""

    def begin(self) -> None:
        """Go on: the place is there. It may be left before this returns."""


class Places:
    """`running` have a place, `waiting` are in the queue. `most` 0: there is no bound."""

    def __init__(self, most: int, most_waiting: int) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._queue: OrderedDict[Guest, None] = OrderedDict()  # leaves in the middle cost nothing
        self._calling = False
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def enter(self, guest: Guest) -> bool:
        """Begin the guest now or in its turn; False: there is no room, not even to wait."""
        if not self._most or (self.running < self._most and not self._queue):
            self.running += 1
            guest.begin()
            return True
        if len(self._queue) >= self._most_waiting:
            return False
        self._queue[guest] = None
        return True

    def leave(self, guest: Guest) -> None:
        """Take a guest out, wherever it is, and call the next."""
        if guest in self._queue:
            del self._queue[guest]
            return
        self.running -= 1
        if self._calling:  # one that left before its `begin` returned comes here: loop, not recurse
            return
        self._calling = True
        try:
            while self._queue and self.running < self._most:
                following, _ = self._queue.popitem(last=False)
                self.running += 1
                following.begin()
        finally:
            self._calling = False
