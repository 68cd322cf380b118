"""Two results side by side: a change that is there is found, and where there is none, none is."""

import math
from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.errors import UsageError
from chatbot.simulate.change import of_rates, of_shares, of_values, wilson
from chatbot.simulate.compare import NAMES, Row, compare, lines, warnings
from chatbot.simulate.gate import Gated, Outcome, is_failed, judge_gates, parse_gate, parse_gates
from chatbot.simulate.gate import lines as gate_lines
from chatbot.simulate.histogram import Histogram
from chatbot.simulate.result import (
    Machine,
    Moment,
    Result,
    Totals,
    Verdict,
    Window,
    decode,
)

MACHINE = Machine(os="Linux", cpu="some", cores=2, memory_mb=4000, python="3.11")


def _result(
    random: Random, *, n: int = 2000, slower: float = 1.0, failing: float = 0.0, **others: Any
) -> Result:
    """A run of 100 s: exponential TTFT of 100 ms on average, that much slower."""
    failed = sum(random.random() < failing for _ in range(n))
    histogram = Histogram()
    histogram.record_many(int(random.expovariate(1e-5) * slower) for _ in range(n - failed))
    metrics = {name: histogram.metric(failed) for name in ("ttft", "ttft_service", "latency")}
    rate = (n - failed) / 100
    window = Window(from_s=0.0, to_s=100.0, asked=n / 100, answered=rate, good=rate)
    parts: dict[str, Any] = {
        "run_id": "r",
        "started": 0.0,
        "wall_s": 100.0,
        "backend": "sim",
        "model": "sim",
        "seed": 0,
        "machine": MACHINE,
        "verdict": Verdict(name="VALID"),
        "totals": Totals(asked=n, answered=n - failed, failed=failed),
        "whole": window,
        "steady": window,
        "metrics": metrics,
    }
    return Result(**{**parts, **others})


def _by_name(a: Result, b: Result) -> dict[str, Row]:
    return {row.name: row for row in compare(a, b)}


def test_a_change_that_is_there_is_found_with_its_size_and_direction() -> None:
    random = Random(1)
    # With 3 % failing, the percentiles of all lie further out among the others.
    p50, p95 = (1.3 * math.log1p(-p / 0.97) / math.log1p(-p) - 1 for p in (0.5, 0.95))
    held: Counter[str] = Counter()
    for _ in range(20):
        rows = _by_name(_result(random), _result(random, n=2500, slower=1.3, failing=0.03))
        for name, true in (("ttft.p50", p50), ("ttft.p95", p95), ("latency.p50", p50)):
            change = rows[name].change
            assert rows[name].judgement == "worse", name
            held[name] += change.low <= true <= change.high
        assert rows["throughput"].judgement == "better"
        assert rows["throughput"].change.by == pytest.approx(0.2, abs=0.03)
        assert rows["failures"].judgement == "worse"
        assert rows["failures"].change.by == pytest.approx(0.03, abs=0.015)
        back = _by_name(_result(random, slower=1.3), _result(random))
        assert back["ttft.p50"].judgement == "better"
    assert min(held.values()) >= 17


def test_of_two_alike_five_in_a_hundred_at_most_look_different() -> None:
    random = Random(2)
    flagged = dict.fromkeys(("ttft.p50", "ttft.p95", "ttft.p99", "throughput", "failures"), 0)
    pairs = 300
    for _ in range(pairs):
        runs = [
            _result(random, n=round(random.gauss(1000, 1000**0.5)), failing=0.005) for _ in "ab"
        ]
        rows = _by_name(*runs)
        for name in flagged:
            flagged[name] += rows[name].judgement != "no clear difference"
    # 5 % of 300 are 15, with a standard deviation of 3.8.
    assert all(count <= 24 for count in flagged.values()), flagged
    assert sum(flagged.values()) > 0  # it is no interval that holds everything


def test_the_true_ratio_lies_in_95_of_100_intervals() -> None:
    random = Random(3)
    held = 0
    for _ in range(200):
        change = _by_name(_result(random, n=500), _result(random, n=500, slower=1.5))[
            "ttft.p50"
        ].change
        held += change.low <= 0.5 <= change.high
    assert 184 <= held <= 200


def test_throughput_that_comes_in_bursts_is_known_less_well() -> None:
    def bursty(counts: list[int]) -> Result:
        timeline = tuple(
            Moment(at_s=number * 5.0, width_s=5.0, answered=count)
            for number, count in enumerate(counts)
        )
        return _result(Random(4), timeline=timeline)

    even, bursts = bursty([100] * 20), bursty([0, 200] * 10)
    narrow, wide = (_by_name(each, each)["throughput"].change for each in (even, bursts))
    assert wide.high > 5 * narrow.high


times = st.floats(0.001, 1e6) | st.just("inf") | st.just(0.0) | st.none()


@given(times, times, times, times, times, times)
def test_any_two_values_can_be_compared(a: Any, b: Any, la: Any, ua: Any, lb: Any, ub: Any) -> None:
    def ordered(*bounds: Any) -> list[Any]:
        return sorted(bounds, key=lambda bound: math.inf if bound == "inf" else bound or 0.0)

    la, a, ua = ordered(la, a, ua)
    lb, b, ub = ordered(lb, b, ub)
    change = of_values(a, b, (la, ua), (lb, ub))
    if a is None or b is None:
        assert change.by is None
    else:
        assert change.by is not None
        assert not any(math.isnan(value) for value in (change.by, change.low, change.high))
        assert change.low <= change.by + 1e-9
        assert change.high >= change.by - 1e-9


def test_a_percentile_that_comes_to_lie_among_the_failures_is_worse() -> None:
    random = Random(5)
    good, bad = _result(random), _result(random, failing=0.2)
    rows = _by_name(good, bad)
    assert (rows["ttft.p95"].b, rows["ttft.p95"].judgement) == ("inf", "worse")
    assert _by_name(bad, good)["ttft.p95"].judgement == "better"
    assert _by_name(bad, bad)["ttft.p95"].judgement == "no clear difference"
    [gated] = judge_gates(compare(good, bad), parse_gates("ttft.p95:+1000%"))
    assert gated.outcome == "failed"
    assert "failed" in "\n".join(lines(compare(good, bad)))


def test_a_failing_percentile_that_may_be_chance_is_not_clear() -> None:
    change = of_values(100.0, "inf", (90.0, 120.0), (95.0, "inf"))
    assert (change.by, change.is_clear) == (math.inf, False)
    assert of_values(100.0, "inf", (90.0, 120.0), (130.0, "inf")).is_clear


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilsons_intervals_are_those_of_the_tables(
    count: int, of: int, low: float, high: float
) -> None:
    assert wilson(count, of) == pytest.approx((low, high), abs=1e-4)


def test_newcombes_interval_is_that_of_his_paper() -> None:
    change = of_shares(48, 80, 56, 70)  # example (a), method 10: 0.0524 to 0.3339
    assert (change.low, change.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert of_shares(0, 0, 1, 2).by is None


def test_rates_without_events_are_compared_too() -> None:
    assert of_rates(0, 10.0, 0, 10.0).by is None
    assert of_rates(0, 10.0, 100, 10.0).by == math.inf
    assert of_rates(0, 10.0, 100, 10.0).is_clear
    assert of_rates(100, 10.0, 0, 10.0).by == -1.0
    assert not of_rates(1, 10.0, 0, 10.0).is_clear
    assert of_rates(5, 0.0, 5, 1.0).by is None


def test_a_gate_is_failed_only_by_a_clear_change_in_the_bad_direction() -> None:
    random = Random(6)
    base, slow = _result(random), _result(random, slower=1.3)
    few, few_slow = _result(random, n=25), _result(random, n=25, slower=1.3)

    def outcome(a: Result, b: Result, gate: str) -> str:
        [gated] = judge_gates(compare(a, b), parse_gates(gate))
        return gated.outcome

    assert outcome(base, slow, "ttft.p50:+5%") == "failed"
    assert outcome(base, slow, "ttft.p50:+60%") == "passed"
    assert outcome(slow, base, "ttft.p50:+5%") == "passed"
    assert outcome(few, few_slow, "ttft.p50:+5%") in ("inconclusive", "passed")
    halved = _result(random, n=1000)
    assert outcome(base, halved, "throughput:-5%") == "failed"
    assert outcome(halved, base, "throughput:-5%") == "passed"
    assert outcome(base, _result(random, failing=0.05), "failures:+1%") == "failed"
    assert outcome(base, _result(random, failing=0.05), "failures:+9%") == "passed"
    assert outcome(base, base, "goodput:-5%") == "not known"
    assert outcome(few, few, "ttft.p99:+5%") == "not known"


@pytest.mark.parametrize(
    ("outcome", "fails"),
    [("passed", False), ("inconclusive", False), ("failed", True), ("not known", True)],
)
def test_a_gate_that_could_not_be_judged_is_not_passed(outcome: Outcome, fails: bool) -> None:
    gate = parse_gate("ttft.p95:+5%")
    passed = Gated(gate=gate, outcome="passed", line="")
    assert is_failed([passed, Gated(gate=gate, outcome=outcome, line="")]) == fails


def test_a_change_beyond_the_limit_that_may_be_chance_is_inconclusive() -> None:
    random = Random(8)
    a, b = _result(random, n=30), _result(random, n=30, slower=1.4)
    [row] = [row for row in compare(a, b) if row.name == "ttft.p50"]
    assert row.change.by is not None
    assert row.change.by > 0.05
    assert not row.change.is_clear
    [gated] = judge_gates([row], parse_gates("ttft.p50:+5%"))
    assert gated.outcome == "inconclusive"
    assert "measure for longer" in gated.line


@pytest.mark.parametrize("text", ["ttft.p95:+5%", "ttft.p95:5%", " ttft.p95 : +5.0 % "])
def test_a_gate_is_read(text: str) -> None:
    assert parse_gate(text).limit == 0.05
    assert parse_gate(text).text == "ttft.p95:+5%"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no gate"),
        ("ttft.p95", "is no gate"),
        ("ttft.p95:5", "is no gate"),
        ("ttft.p95:+5%,", "is no gate"),
        ("ttft.p42:+5%", "there are: throughput, goodput, ttft.p50"),
        ("ttft.p95:-5%", "give ttft.p95:+5%"),
        ("throughput:+5%", "give throughput:-5%"),
    ],
)
def test_a_gate_that_is_none_is_refused_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=r"(?s).") as caught:
        parse_gates(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_gate_or_refused(text: str) -> None:
    try:
        gates = parse_gates(text)
    except UsageError:
        return
    assert all(gate.name in NAMES for gate in gates)


def test_two_runs_that_are_not_alike_are_warned_of() -> None:
    random = Random(7)
    settings = {"simulation": {"sessions": 16, "out": "a", "seed": 1}}
    a = _result(random, settings=settings, program="1.0")
    assert warnings(a, a) == []
    b = _result(
        random,
        settings={"simulation": {"sessions": 64, "out": "b", "seed": 2}},
        program="1.1",
        verdict=Verdict(name="CLIENT-LIMITED", reasons=("it was slow",)),
        ended_early="interrupted",
    )
    assert warnings(a, b) == [
        "B is CLIENT-LIMITED: it was slow",
        "B ended early: interrupted",
        "program differs: 1.0 in A, 1.1 in B",
        "simulation.sessions differs: 16 in A, 64 in B",
    ]


def test_the_table_is_aligned_and_narrow() -> None:
    random = Random(9)
    a, b = _result(random), _result(random, slower=1.3, failing=0.04)
    rows = compare(a, b)
    gated = judge_gates(rows, parse_gates("ttft.p50:+5%,throughput:-50%"))
    shown = [*lines(rows, ["B ended early: interrupted"]), *gate_lines(gated)]
    assert max(len(line) for line in shown) <= 100
    table = shown[: len(rows) + 1]
    ends = {line.index(row.judgement) for line, row in zip(table[1:], rows, strict=True)}
    assert len(ends) == 1
    assert "! B ended early: interrupted" in shown
    assert shown[-2].startswith("failed: ttft.p50:+5%: it changed by +")
    assert shown[-1].startswith("passed: throughput:-50%: it changed by -")


def test_a_result_is_read_back_as_it_was_written() -> None:
    result = _result(Random(10), n=50, failing=0.2)
    assert decode(msgspec.json.encode(result), "result.json") == result


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no result"),
        (b"{}", "no result"),
        (b"[1]", "no result"),
        (b"\xff\x00", "no result"),
        (b'{"format":"chatbot-simulate","version":2}', "newer than this program"),
        (b'{"format":"chatbot-simulate","version":1}', "damaged"),
    ],
)
def test_what_is_no_result_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode(data, "some/result.json")
    assert says in str(caught.value)
    assert str(caught.value).startswith("some/result.json: ")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_result_or_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        decode(data, "x")
