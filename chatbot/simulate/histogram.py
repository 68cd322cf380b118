"""Counts of durations, to three digits, that can be merged. Pure.

A value is a whole number of µs from 0 up. It is counted under the lower bound of its bucket, which is 1/1024 of its
power of two wide, at least 1 µs: so up to 2,047 µs each value has a bucket to itself, as in
HdrHistogram (https://hdrhistogram.github.io/HdrHistogram/). A percentile is therefore wrong by less than
1/1024 of itself, whatever its size, and a histogram of many histograms is as good as one of all their values.

Turns that failed are no values: a percentile takes their number, and ranks them above every value.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from chatbot.simulate.result import Metric, Value

_SUB_BITS = 10
_MOST_PENDING = 8192
_MOST_RAW = 65_536
_US_PER_MS = 1000
_TAIL = 0.025  # what a 95 % interval leaves on either side

# The percentiles that are reported → the least number of values for them.
PERCENTILES: dict[str, tuple[float, int]] = {
    "p50": (50.0, 1),
    "p90": (90.0, 10),
    "p95": (95.0, 20),
    "p99": (99.0, 100),
    "p99_9": (99.9, 1000),
}


class Histogram:
    """A distribution that grows; count, sum, least and greatest value are exact."""

    __slots__ = ("_buckets", "_count", "_max", "_min", "_pending", "_raw", "_sum")

    def __init__(self) -> None:
        self._pending: list[int] = []  # as they came; counted together, which costs far less
        self._raw: Counter[int] = Counter()
        self._buckets: dict[int, int] = {}
        self._count = self._sum = self._max = 0
        self._min: int | None = None

    def record(self, us: int) -> None:
        """Add one value."""
        self._pending.append(us)
        if len(self._pending) > _MOST_PENDING:
            self._count_pending()

    def record_many(self, values: Iterable[int]) -> None:
        """Add them all."""
        self._pending.extend(values)
        if len(self._pending) > _MOST_PENDING:
            self._count_pending()

    def merge(self, other: "Histogram") -> None:
        """Add all the values of another, which stays as it is."""
        buckets = other._all_buckets()
        mine = self._all_buckets()
        for bucket, count in buckets.items():
            mine[bucket] = mine.get(bucket, 0) + count
        self._count += other._count
        self._sum += other._sum
        self._note_extremes(other._min, other._max)

    @property
    def count(self) -> int:
        """How many values there are."""
        return self._count + len(self._pending)

    @property
    def sum(self) -> int:
        """Their sum, in µs."""
        self._count_pending()
        return self._sum

    @property
    def min(self) -> int | None:
        """The least of them; None where there is none."""
        self._count_pending()
        return self._min

    @property
    def max(self) -> int | None:
        """The greatest of them; None where there is none."""
        self._count_pending()
        return self._max if self._count else None

    @property
    def buckets(self) -> dict[int, int]:
        """The counts by the lower bound of their bucket, in ascending order."""
        return dict(sorted(self._all_buckets().items()))

    def percentile(self, p: float, infinite: int = 0) -> int | Literal["inf"] | None:
        """Return the value of the nearest rank, with so many infinite ones above; None without any."""
        return self.percentiles((p,), infinite)[0]

    def percentiles(
        self, wanted: Iterable[float], infinite: int = 0
    ) -> list[int | Literal["inf"] | None]:
        """Return several in one pass."""
        total = self.count + infinite
        if not total:
            return [None for _ in wanted]
        return self._at_ranks([_rank(p, total) for p in wanted])

    def interval(
        self, p: float, infinite: int = 0, independent: int | None = None
    ) -> tuple[Value, Value]:
        """Return a 95 % confidence interval of a percentile, in µs, whatever the distribution.

        Its ends are order statistics, their ranks those of the binomial distribution (Conover, Practical
        Nonparametric Statistics, 3rd ed. 1999, section 3.2; Hahn & Meeker, Statistical Intervals, 1991,
        section 5.2). None: the sample is too small for that bound. It takes the values as independent:
        where only so many are (`independent`: the turns, for the gaps within them), it has the width for so many.
        """
        total = self.count + infinite
        if not total:
            return None, None
        n = min(independent or total, total)
        low, high = interval_ranks(n, p)
        # With fewer independent values than values, the ranks are stretched over all of them.
        ranks = [0 if low == 0 else max(low * total // n, 1), -(-high * total // n)]
        known = self._at_ranks([rank for rank in ranks if 1 <= rank <= total])
        lower = known.pop(0) if ranks[0] else None
        upper = known.pop(0) if ranks[1] <= total else None
        return lower, upper

    def metric(self, failed: int = 0, independent: int | None = None) -> Metric:
        """Return what is reported of it, in ms; `failed` turns count as infinite."""
        total = self.count + failed
        names = [name for name, (_, least) in PERCENTILES.items() if total >= least]
        found = self.percentiles([PERCENTILES[name][0] for name in names], failed)
        values = {name: _ms(value) for name, value in zip(names, found, strict=True)}
        intervals: dict[str, tuple[Value, Value]] = {}
        for name in names:
            low, high = self.interval(PERCENTILES[name][0], failed, independent)
            intervals[name] = _ms(low), _ms(high)
        some = self._count > 0
        return Metric(
            count=self._count,
            failed=failed,
            mean=self._sum / self._count / _US_PER_MS if some else None,
            min=self._min / _US_PER_MS if self._min is not None else None,
            max=self._max / _US_PER_MS if some else None,
            intervals=intervals,
            histogram=self.buckets,
            **values,
        )

    def compact(self) -> None:
        """Give up the memory of what was not yet counted: for one that hardly grows any more."""
        self._all_buckets()

    def _count_pending(self) -> None:
        pending = self._pending
        if not pending:
            return
        self._note_extremes(min(pending), max(pending))
        self._count += len(pending)
        self._sum += sum(pending)
        self._raw.update(pending)
        self._pending = []
        if len(self._raw) > _MOST_RAW:
            self._fold()

    def _fold(self) -> None:
        buckets = self._buckets
        for value, count in self._raw.items():
            shift = value.bit_length() - 1 - _SUB_BITS
            bucket = value >> shift << shift if shift > 0 else value
            buckets[bucket] = buckets.get(bucket, 0) + count
        self._raw = Counter()

    def _all_buckets(self) -> dict[int, int]:
        self._count_pending()
        if self._raw:
            self._fold()
        return self._buckets

    def _note_extremes(self, least: int | None, greatest: int) -> None:
        if least is not None:
            self._min = least if self._min is None else min(self._min, least)
            self._max = max(self._max, greatest)

    def _at_ranks(self, ranks: list[int]) -> list[int | Literal["inf"] | None]:
        """Return the values of these ranks, counted from 1, in ascending order of rank."""
        found: list[int | Literal["inf"] | None] = []
        ascending = iter(sorted(self._all_buckets().items()))
        bucket, reached = 0, 0
        for rank in ranks:
            if rank > self._count:
                found.append("inf")
                continue
            while reached < rank:
                bucket, count = next(ascending)
                reached += count
            found.append(self._middle(bucket))
        return found

    def _middle(self, bucket: int) -> int:
        """Return the middle of a bucket, within the extremes: the least wrong of what may be in it."""
        width = 1 << max(bucket.bit_length() - 1 - _SUB_BITS, 0)
        return min(max(bucket + (width >> 1), self._min or 0), self._max)


def sorted_percentile(ascending: list[int], p: float, infinite: int = 0) -> Value:
    """Return a percentile of values in ascending order, by the same rule as a histogram's, in ms."""
    total = len(ascending) + infinite
    if not total:
        return None
    rank = _rank(p, total)
    return ascending[rank - 1] / _US_PER_MS if rank <= len(ascending) else "inf"


def interval_ranks(n: int, p: float) -> tuple[int, int]:
    """Return the ranks between which a percentile of n values lies with at least 95 %.

    The lower is 0, or the upper n + 1, where no value of so few is far enough out. With B of n values below the
    percentile, binomial: the lower is the greatest l with P(B < l) <= 2.5 %, the upper the least u with P(B < u) >= 97.5 %.
    """
    share = p / 100
    mean = n * share
    reach = int(9 * math.sqrt(mean * (1 - share))) + 12  # beyond it lies less than a float can tell
    first, last = max(int(mean) - reach, 0), min(int(mean) + reach, n)
    chance = math.exp(
        math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1)
        + first * math.log(share) + (n - first) * math.log1p(-share)
    )  # fmt: skip
    low, below = first, 0.0  # P(B < k), as k goes up
    odds = share / (1 - share)
    for k in range(first, last + 1):
        if below <= _TAIL:
            low = k
        if below >= 1 - _TAIL:
            return low, k
        below += chance
        chance *= (n - k) / (k + 1) * odds
    return low, last + 1


def _rank(p: float, total: int) -> int:
    """Return the nearest rank, from 1; in whole numbers, so that 99.9 % of 1,000 is the 999th."""
    return max(-(-round(p * 1000) * total // 100_000), 1)


def _ms(us: Value) -> Value:
    return us / _US_PER_MS if isinstance(us, int | float) else us
