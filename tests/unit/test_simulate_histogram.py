"""Histograms of durations, against the sorted values themselves."""

import math
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from chatbot.simulate.histogram import Histogram, interval_ranks, sorted_percentile
from chatbot.simulate.result import Value

durations = st.integers(0, 10**10) | st.integers(0, 5000)
many = st.lists(durations, max_size=300)
percents = st.sampled_from([0.1, 1.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0])


def _of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.record_many(values)
    return histogram


def _exact(values: list[int], p: float, infinite: int) -> float | None:
    """The definition, in fractions of a thousandth of a percent."""
    total = len(values) + infinite
    ranked = [*sorted(values), *([math.inf] * infinite)]
    return next(
        (ranked[i] for i in range(total) if (i + 1) * 100_000 >= round(p * 1000) * total), None
    )


@given(many, percents, st.integers(0, 20))
def test_a_percentile_is_that_of_the_sorted_values_within_a_1024th(
    values: list[int], p: float, infinite: int
) -> None:
    exact = _exact(values, p, infinite)
    found = _of(values).percentile(p, infinite)
    if exact is None or math.isinf(exact):
        assert found == (None if exact is None else "inf")
    else:
        assert isinstance(found, int)
        assert abs(found - exact) <= exact / 1024
        assert exact >= 2048 or found == exact
    ms = sorted_percentile(sorted(values), p, infinite)
    assert ms == (exact / 1000 if exact is not None and math.isfinite(exact) else found)


@given(many)
def test_count_sum_and_extremes_are_exact(values: list[int]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    assert (histogram.count, histogram.sum) == (len(values), sum(values))
    assert histogram.min == min(values, default=None)
    assert histogram.max == max(values, default=None)


@given(st.lists(many, max_size=5))
def test_merged_ones_are_as_one_of_all_values(parts: list[list[int]]) -> None:
    merged = Histogram()
    for part in parts:
        merged.merge(_of(part))
    assert merged.metric(3) == _of([value for part in parts for value in part]).metric(3)


@given(durations)
def test_a_bucket_begins_at_or_below_its_value_and_is_a_1024th_of_its_power_of_two_wide(
    value: int,
) -> None:
    [bucket] = _of([value]).buckets
    width = max(2 ** (value.bit_length() - 1) // 1024, 1) if value else 1
    assert bucket <= value < bucket + width
    assert bucket % width == 0


def test_many_values_are_counted_while_they_come() -> None:
    random = Random(5)
    values = [int(random.expovariate(1e-6)) for _ in range(200_000)]
    histogram = Histogram()
    for start in range(0, len(values), 31):
        histogram.record_many(values[start : start + 31])
    assert histogram.metric() == _of(values).metric()
    assert histogram.count == sum(histogram.buckets.values()) == 200_000
    assert len(histogram.buckets) < 15_000  # the raw values were folded


def test_a_percentile_is_left_out_where_the_sample_is_too_small() -> None:
    small = {n: _of(list(range(n))).metric() for n in (0, 1, 9, 10, 19, 20, 99, 100, 999, 1000)}
    assert [n for n, metric in small.items() if metric.p50 is None] == [0]
    assert [n for n, metric in small.items() if metric.p90 is None] == [0, 1, 9]
    assert [n for n, metric in small.items() if metric.p95 is None] == [0, 1, 9, 10, 19]
    assert [n for n, metric in small.items() if metric.p99 is None] == [0, 1, 9, 10, 19, 20, 99]
    assert small[999].p99_9 is None
    assert small[1000].p99_9 == 0.998


def test_failed_turns_are_infinite_in_the_percentiles_and_nowhere_else() -> None:
    metric = _of([1000] * 90).metric(failed=10)
    assert (metric.p50, metric.p90, metric.p95, metric.p99) == (1.0, 1.0, "inf", "inf")
    assert (metric.count, metric.failed, metric.mean, metric.max) == (90, 10, 1.0, 1.0)
    assert _of([]).metric(failed=3).p50 == "inf"


def test_the_ranks_of_intervals_are_those_of_the_tables() -> None:
    # n = 10: P(B < 2) = 0.0107, P(B < 3) = 0.0547; and the same from above.
    assert interval_ranks(10, 50.0) == (2, 9)
    assert interval_ranks(100, 50.0) == (40, 61)
    assert interval_ranks(5, 50.0) == (0, 6)  # too few for either bound
    low, high = interval_ranks(100, 99.0)
    assert (low, high) == (97, 101)  # … for the upper


@given(st.integers(1, 300), st.sampled_from([50.0, 90.0, 95.0, 99.0, 99.9]))
def test_the_ranks_are_the_closest_that_leave_at_most_a_fortieth_on_either_side(
    n: int, p: float
) -> None:
    chances = [math.comb(n, k) * (p / 100) ** k * (1 - p / 100) ** (n - k) for k in range(n + 1)]
    low, high = interval_ranks(n, p)
    tiny = 1e-9
    assert sum(chances[:low]) <= 0.025 + tiny
    assert sum(chances[: low + 1]) > 0.025 - tiny
    assert high == n + 1 or sum(chances[:high]) >= 0.975 - tiny
    assert sum(chances[: high - 1]) < 0.975 + tiny


def test_intervals_hold_the_true_percentile_in_95_of_100_samples() -> None:
    random = Random(11)
    for n, p, failing in ((200, 50.0, 0.0), (200, 95.0, 0.02), (1500, 99.0, 0.0)):
        # With some of the turns failing, the percentile of all lies higher among the others.
        true = -math.log1p(-p / 100 / (1 - failing)) * 1e6
        held = 0
        for _ in range(400):
            values = [int(random.expovariate(1e-6)) for _ in range(n)]
            infinite = sum(random.random() < failing for _ in range(n))
            low, high = _of(values[infinite:]).interval(p, infinite)
            held += _number(low, 0.0) <= true * 1.001 and _number(high, math.inf) >= true * 0.999
        assert held >= 372  # 95 % of 400, less two standard deviations


def test_an_interval_of_values_that_come_together_is_as_wide_as_for_the_independent_ones() -> None:
    values = list(range(100_000))
    narrow, wide = _of(values).interval(50.0), _of(values).interval(50.0, independent=100)
    assert abs(_number(wide[0], 0) - 40_000) < 100
    assert 49_000 < _number(narrow[0], 0) < 50_000


def _number(bound: Value, unknown: float) -> float:
    return bound if isinstance(bound, int | float) else math.inf if bound == "inf" else unknown
