"""What was reported and telemetry has not taken in hand: kept, in order, within bounds.

A report that was posted to telemetry is kept until telemetry says that it has it, so that one that dies
with a full pipe takes nothing of it along: the next one is given all of it. None is ever given out
again that was taken in hand, so that nothing is written twice.

It counts every record that found no room. It posts nothing itself: the router does.
"""

from collections import Counter, deque

from chatbot.messages import ProcessEnded, ProcessRole, Report

_AT_MOST = 4096
_BYTES_AT_MOST = 16 * 1024 * 1024

Kept = Report | ProcessEnded


class Reports:
    """The reports on their way to telemetry: `new` ones, and those it was sent and has not read."""

    def __init__(self) -> None:
        self.dropped = 0  # records, since the start
        self.refused: Counter[ProcessRole] = Counter()  # those of them that telemetry is to count
        self.is_gone = False
        self._new: deque[Kept] = deque()
        self._unread: deque[Kept] = deque()
        self._bytes = 0

    @property
    def new(self) -> int:
        """How many are still to be posted."""
        return len(self._new)

    @property
    def is_empty(self) -> bool:
        """Whether telemetry has taken all there was."""
        return not (self._new or self._unread)

    @property
    def has_room(self) -> bool:
        """Whether another one will be kept."""
        return len(self._new) + len(self._unread) < _AT_MOST and self._bytes < _BYTES_AT_MOST

    def keep(self, report: Report) -> bool:
        """Keep a report; False where there are too many, or too many bytes of them."""
        if not self.has_room:
            return False
        self._new.append(report)
        self._bytes += len(report.payload)
        return True

    def end(self, ended: ProcessEnded) -> None:
        """Keep the end of a process, behind all that it reported: there are few of them."""
        self._new.append(ended)

    def drop(self, report: Report) -> None:
        """Count a report that is not kept, and what its sender had given up before."""
        number = report.records + report.dropped
        self.dropped += number
        if not self.is_gone:
            self.refused[report.role] += number

    def take_new(self) -> list[Kept]:
        """Return what is to be posted now; it is kept as unread."""
        new = list(self._new)
        self._unread += new
        self._new.clear()
        return new

    def taken(self, number: int) -> None:
        """Telemetry has taken the next so many in hand: they are its own now."""
        for _ in range(min(number, len(self._unread))):
            kept = self._unread.popleft()
            if isinstance(kept, Report):
                self._bytes -= len(kept.payload)

    def return_unread(self) -> None:
        """Telemetry has ended: what it had not read is to be posted again, before all else."""
        self._new.extendleft(reversed(self._unread))
        self._unread.clear()

    def give_up(self) -> None:
        """There will be no telemetry: count what was kept for it, and forget it."""
        self.is_gone = True
        for kept in (*self._unread, *self._new):
            if isinstance(kept, Report):
                self.drop(kept)
        self._unread.clear()
        self._new.clear()
        self.refused.clear()
        self._bytes = 0
