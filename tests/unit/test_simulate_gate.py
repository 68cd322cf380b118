"""The edges of a comparison: counts of nothing, and a change that is exactly as large as is allowed."""

import math

import pytest

from chatbot.simulate.change import Change, of_rates
from chatbot.simulate.compare import Row
from chatbot.simulate.gate import judge_gates, parse_gates


def row(name: str, unit: str, by: float | None, *, low: float, high: float) -> Row:
    return Row(
        name=name,
        unit=unit,  # type: ignore[arg-type] # one of the three
        a=1.0,
        b=1.0,
        change=Change(by, low, high),
        judgement="worse",
    )


@pytest.mark.parametrize(
    ("by", "low", "outcome"),
    [
        (0.05, 0.01, "passed"),  # as much as is allowed
        (math.nextafter(0.05, 1), 0.01, "failed"),
        (0.5, -0.01, "inconclusive"),
        (0.5, 0.0, "inconclusive"),  # that there is no change is not excluded
        (-0.5, -0.6, "passed"),
        (None, 0.0, "not known"),
    ],
)
def test_a_gate_fails_beyond_its_limit_and_not_at_it(
    by: float | None, low: float, outcome: str
) -> None:
    rows = [row("ttft.p95", "ms", by, low=low, high=9.0)]
    [gated] = judge_gates(rows, parse_gates("ttft.p95:+5%"))
    assert gated.outcome == outcome


@pytest.mark.parametrize(("by", "outcome"), [(-0.05, "passed"), (-0.0501, "failed")])
def test_of_a_rate_it_is_the_fall_that_is_limited(by: float, outcome: str) -> None:
    rows = [row("throughput", "/s", by, low=-0.2, high=-0.01)]
    [gated] = judge_gates(rows, parse_gates("throughput:-5%"))
    assert gated.outcome == outcome


def test_a_count_of_nothing_has_the_interval_of_half_a_one() -> None:
    half = of_rates(0.5, 10.0, 100, 10.0)
    grown = of_rates(0, 10.0, 100, 10.0)
    assert grown.by == math.inf
    assert (grown.low, grown.high) == (half.low, half.high)
    assert grown.is_clear
    gone = of_rates(100, 10.0, 0, 10.0)
    assert gone.by == -1.0
    assert (gone.low, gone.high) == (
        of_rates(100, 10.0, 0.5, 10.0).low,
        of_rates(100, 10.0, 0.5, 10.0).high,
    )
    assert of_rates(0, 10.0, 0, 10.0) == Change(None)
    assert not of_rates(0, 10.0, 1, 10.0).is_clear  # one more than none may be chance
