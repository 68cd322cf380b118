"""What happened when, for a run of any length in a bounded memory. Pure.

There are cells of one width from the start of the run. When there are too many, two and two become one, twice as wide:
so a run of a minute is seen by the half second, and one of a day still has as many intervals.
"""

from chatbot.simulate.histogram import Histogram
from chatbot.simulate.result import Moment, Value

_NS_PER_S = 1_000_000_000
_FIRST_WIDTH_NS = _NS_PER_S // 8
_MOST_CELLS = 240
_MOST_MOMENTS = 120


class Cell:
    """What happened in one interval. `opened` and `closed` are the turns of every phase, the others those
    that are measured; `begun` and `over` are sessions."""

    __slots__ = (
        "answered", "asked", "begun", "closed", "failed", "latency", "opened", "over", "tokens", "ttft",
    )  # fmt: skip

    def __init__(self) -> None:
        self.asked = self.answered = self.failed = self.tokens = 0
        self.opened = self.closed = self.begun = self.over = 0
        self.ttft = Histogram()
        self.latency = Histogram()

    def merge(self, other: "Cell") -> None:
        """Take in another."""
        self.asked += other.asked
        self.answered += other.answered
        self.failed += other.failed
        self.tokens += other.tokens
        self.opened += other.opened
        self.closed += other.closed
        self.begun += other.begun
        self.over += other.over
        self.ttft.merge(other.ttft)
        self.latency.merge(other.latency)


class Timeline:
    """Cells from `start_ns` on, all of one width."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._width_ns = _FIRST_WIDTH_NS
        self._cells: list[Cell] = []

    def at(self, now_ns: int) -> Cell:
        """Return the cell of an instant."""
        index = max(now_ns - self._start_ns, 0) // self._width_ns
        if index < len(self._cells):
            return self._cells[index]
        while index >= _MOST_CELLS:
            self._cells = _merged(self._cells, 2)
            self._width_ns *= 2
            index //= 2
        while len(self._cells) <= index:
            for old in self._cells[-2:-1]:  # few will be added to this one
                old.ttft.compact()
                old.latency.compact()
            self._cells.append(Cell())
        return self._cells[index]

    def moments(self, end_ns: int) -> tuple[Moment, ...]:
        """Return at most 120 intervals; the last one ends with the run."""
        several = -(-len(self._cells) // _MOST_MOMENTS)
        width_ns = self._width_ns * several
        moments: list[Moment] = []
        in_flight = sessions = 0
        for number, cell in enumerate(_merged(self._cells, several) if several else []):
            in_flight += cell.opened - cell.closed
            sessions += cell.begun - cell.over
            at_ns = number * width_ns
            left_ns = end_ns - self._start_ns - at_ns
            ttft_p50, ttft_p95 = cell.ttft.percentiles((50.0, 95.0), cell.failed)
            latency_p50, latency_p95 = cell.latency.percentiles((50.0, 95.0), cell.failed)
            moments.append(
                Moment(
                    at_s=at_ns / _NS_PER_S,
                    width_s=(min(width_ns, left_ns) if left_ns > 0 else width_ns) / _NS_PER_S,
                    asked=cell.asked,
                    answered=cell.answered,
                    failed=cell.failed,
                    in_flight=in_flight,
                    sessions=sessions,
                    output_tokens=cell.tokens,
                    ttft_p50=_ms(ttft_p50),
                    ttft_p95=_ms(ttft_p95),
                    latency_p50=_ms(latency_p50),
                    latency_p95=_ms(latency_p95),
                )
            )
        return tuple(moments)


def _merged(cells: list[Cell], several: int) -> list[Cell]:
    """Return the cells, so many to one."""
    merged: list[Cell] = []
    for first in range(0, len(cells), several):
        cell = Cell()
        for each in cells[first : first + several]:
            cell.merge(each)
        merged.append(cell)
    return merged


def _ms(us: Value) -> Value:
    return us / 1000 if isinstance(us, int | float) else us
