"""How much a figure of one run differs from that of another, with a 95 % confidence interval. Pure.

A change is a ratio less 1, or of shares a difference; infinite where the other run has a value and this one failed.
Percentiles: the intervals of both, put together by the method of variance estimates recovery (MOVER) on the
logarithm (Zou & Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27,
2008; ratios of percentiles by their logarithm: Price & Bonett, Distribution-free confidence intervals for difference and
ratio of medians, Journal of Statistical Computation and Simulation 72, 2002). Rates: the same, each with the reach that
the batch means give it, or that of a Poisson count (`batches.py`). Shares: Newcombe's hybrid of two Wilson intervals (Interval estimation for the difference between independent
proportions, Statistics in Medicine 17, 1998, method 10).
"""

import math

import msgspec

from chatbot.simulate.result import Value

Z = 1.959963984540054  # of 97.5 %, normal


class Change(msgspec.Struct, frozen=True):
    """A change and its interval, as fractions: 0.05 is 5 % more. `by` None: it cannot be said.

    `is_failing`: where there was a value there is none any more, since too many failed.
    """

    by: float | None
    low: float = -math.inf
    high: float = math.inf
    is_failing: bool = False

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes that there is none. A value that was lost is a change, however wide
        the interval of the value before."""
        return self.by is not None and (self.is_failing or self.low > 0 or self.high < 0)


def of_values(
    a: Value, b: Value, a_interval: tuple[Value, Value], b_interval: tuple[Value, Value]
) -> Change:
    """Return the change between two percentiles, of which None is unknown, and "inf" one among the failures."""
    if a is None or b is None:
        return Change(None)
    la, ua = _log(a_interval[0], -math.inf), _log(a_interval[1], math.inf)
    lb, ub = _log(b_interval[0], -math.inf), _log(b_interval[1], math.inf)
    log_a, log_b = _log(a, 0.0), _log(b, 0.0)
    if math.isinf(log_a) or math.isinf(log_b):
        # Without a finite value there is no distance to its bounds: the interval is that of the bounds themselves.
        by = 0.0 if log_a == log_b else _ratio(log_b, log_a)
        low = -1.0 if lb == ua == math.inf else _ratio(lb, ua)
        high = math.inf if ub == la == math.inf else _ratio(ub, la)
        return Change(by, low, high, is_failing=log_b == math.inf > log_a)
    by_log = log_b - log_a
    low = by_log - math.hypot(log_b - lb, ua - log_a)
    high = by_log + math.hypot(ub - log_b, log_a - la)
    return Change(math.expm1(by_log), _expm1(low), _expm1(high))


def of_rates(
    a_count: float,
    a_s: float,
    b_count: float,
    b_s: float,
    reaches: tuple[float | None, float | None] = (None, None),
) -> Change:
    """Return the change between two rates of events, so many in so many seconds.

    `reaches` are how far the logarithm of each may be off, in 95 of 100 cases; None: as that of a Poisson count.
    """
    if a_s <= 0 or b_s <= 0 or (not a_count and not b_count):
        return Change(None)
    by = (b_count / b_s) / (a_count / a_s) - 1 if a_count else math.inf
    a_some, b_some = a_count or 0.5, b_count or 0.5  # a count of 0 has no logarithm
    middle = math.log((b_some / b_s) / (a_some / a_s))
    reach = math.hypot(
        *(
            Z / math.sqrt(some) if given is None else given
            for given, some in zip(reaches, (a_some, b_some), strict=True)
        )
    )
    return Change(by, _expm1(middle - reach), _expm1(middle + reach))


def of_shares(a_count: int, a_of: int, b_count: int, b_of: int) -> Change:
    """Return the difference of two shares: 0.01 is one in a hundred more."""
    if not a_of or not b_of:
        return Change(None)
    a, b = a_count / a_of, b_count / b_of
    la, ua = wilson(a_count, a_of)
    lb, ub = wilson(b_count, b_of)
    low = b - a - math.hypot(b - lb, ua - a)
    high = b - a + math.hypot(ub - b, a - la)
    return Change(b - a, max(low, -1.0), min(high, 1.0))


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson's score interval)."""
    share, z2 = count / of, Z * Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    reach = Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    # At the ends it touches them; rounding is not to push it past the share itself.
    return min(max(middle - reach, 0.0), share), max(min(middle + reach, 1.0), share)


def _log(value: Value, unknown: float) -> float:
    if value is None:
        return unknown
    if value == "inf":
        return math.inf
    return math.log(value) if value > 0 else -math.inf


def _ratio(log_b: float, log_a: float) -> float:
    """Return exp(b - a) - 1, where either may be infinite; two that are alike have not changed."""
    return 0.0 if log_a == log_b else _expm1(log_b - log_a)


def _expm1(value: float) -> float:
    return math.expm1(value) if value < 700 else math.inf
