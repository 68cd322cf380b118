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


def _timed(counts: list[int], width_s: float, p50_ms: float, **others: Any) -> Result:
    """A run that answered so many in each interval."""
    to_s = len(counts) * width_s
    timeline = tuple(
        Moment(at_s=number * width_s, width_s=width_s, answered=count)
        for number, count in enumerate(counts)
    )
    rate = sum(counts) / to_s
    window = Window(from_s=0.0, to_s=to_s, asked=rate, answered=rate, good=rate)
    histogram = Histogram()
    histogram.record_many([int(p50_ms * 1000)] * sum(counts))
    totals = Totals(asked=sum(counts), answered=sum(counts))
    parts: dict[str, Any] = {"timeline": timeline, "whole": window, "steady": window}
    parts |= {"totals": totals, "metrics": {"latency": histogram.metric(0)}}
    return _result(Random(4), **{**parts, **others})


def test_throughput_that_varies_is_known_less_well() -> None:
    random = Random(11)
    even, bursts = (
        _timed(counts, 1.0, 300.0)
        for counts in ([100] * 60, [200 * random.randrange(2) for _ in range(60)])
    )
    narrow, wide = (_by_name(each, each)["throughput"].change for each in (even, bursts))
    assert wide.high > 5 * narrow.high


def test_sessions_that_ask_in_step_do_not_hide_how_fast_they_are_answered() -> None:
    def in_step(every_s: float) -> Result:
        counts = [0] * 64
        at_s = every_s
        while at_s < 8.0:
            counts[int(at_s / 0.125)] += 16
            at_s += every_s
        return _timed(counts, 0.125, every_s * 1000)

    rows = _by_name(in_step(0.38), in_step(0.53))
    assert rows["throughput"].judgement == "worse"
    assert rows["throughput"].change.low < 0.38 / 0.53 - 1 < rows["throughput"].change.high
    assert _by_name(in_step(0.38), in_step(0.38))["throughput"].change.low > -0.2


def test_the_true_ratio_of_two_rates_lies_in_95_of_100_intervals_in_a_closed_loop() -> None:
    def closed(random: Random, mean_s: float) -> Result:
        """So many sessions, each answered one after another, for 20 s."""
        counts = [0] * 100
        for _ in range(8):
            at_s = random.gauss(mean_s, mean_s / 4)
            while at_s < 20.0:
                counts[int(at_s / 0.2)] += 1
                at_s += max(random.gauss(mean_s, mean_s / 4), 0.01)
        return _timed(counts, 0.2, mean_s * 1000)

    random, held, width = Random(12), 0, 0.0
    for _ in range(100):
        change = _by_name(closed(random, 0.3), closed(random, 0.4))["throughput"].change
        held += change.low <= 0.3 / 0.4 - 1 <= change.high
        width += (change.high - change.low) / 100
    assert held >= 90
    assert width < 0.15  # two Poisson counts of 530 and 400 would have 0.19


def test_arrivals_by_the_clock_are_not_known_better_than_counts_at_random() -> None:
    closed = _timed([20] * 60, 1.0, 100.0)
    by_clock = _timed([20] * 60, 1.0, 100.0, requested_rate=20.0)
    narrow, wide = (_by_name(each, each)["throughput"].change for each in (closed, by_clock))
    assert wide.high > 5 * narrow.high


def test_a_steady_window_of_a_moment_is_not_what_rates_are_taken_from() -> None:
    moment = Window(from_s=0.0, to_s=0.001)
    short = _timed([8, 0, 8, 0, 8], 0.3, 400.0, steady=moment)
    long = _timed([8, 0, 8, 0, 8] * 8, 0.3, 400.0)
    assert _by_name(short, short)["throughput"].a == pytest.approx(16.0)
    rows = _by_name(short, long)  # both of them from the same part of the run
    assert rows["throughput"].judgement == "no clear difference"
    half = msgspec.structs.replace(long.whole, answered=1.0)
    assert _by_name(long, msgspec.structs.replace(long, steady=half))["throughput"].b == 1.0


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


def test_where_both_have_failed_or_the_first_did_nothing_is_lost() -> None:
    assert of_values("inf", "inf", (90.0, "inf"), (130.0, "inf")).by == 0.0
    assert not of_values("inf", 100.0, (95.0, "inf"), (90.0, 120.0)).is_clear


@pytest.mark.parametrize(
    ("a_interval", "b_interval"),
    [((90.0, 120.0), (95.0, "inf")), ((90.0, None), ("inf", "inf")), ((None, None), (None, None))],
)
def test_a_value_that_is_lost_among_failures_is_worse_whatever_is_known_of_its_interval(
    a_interval: Any, b_interval: Any
) -> None:
    change = of_values(100.0, "inf", a_interval, b_interval)
    assert (change.by, change.is_clear) == (math.inf, True)


def test_every_gate_is_failed_by_a_run_that_answered_nothing() -> None:
    random = Random(13)
    none = Window(from_s=0.0, to_s=100.0, asked=20.0, failed=20.0)
    good = _result(random, n=20)
    dead = _result(random, n=20, failing=1.0, whole=none, steady=none)
    names = "throughput:-5%,goodput:-5%,latency.p99:+5%,tpot.p95:+5%,failures:+100%"
    gated = judge_gates(compare(good, dead), parse_gates(names))
    assert {each.outcome for each in gated} == {"failed"}
    assert is_failed(gated)


def test_a_gate_that_cannot_be_judged_is_not_kept() -> None:
    random = Random(14)
    few = _result(random, n=25)
    unknown = judge_gates(compare(few, few), parse_gates("ttft.p99:+5%"))
    assert (unknown[0].outcome, is_failed(unknown)) == ("not known", True)
    assert not is_failed(judge_gates(compare(few, few), parse_gates("ttft.p50:+5%")))


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


def test_another_server_or_another_timeout_is_a_reason_not_to_compare() -> None:
    def run(**pipeline: Any) -> Result:
        return _result(Random(5), settings={"pipeline": {"retries": 0, **pipeline}})

    alike = run(server={"first_token": ["constant", 0.05], "faults": {}})
    other = run(server={"first_token": ["constant", 0.09], "faults": {"429": 0.1}}, timeout_s=5.0)
    assert warnings(alike, alike) == []
    assert warnings(alike, other) == [
        "pipeline.server.faults.429 differs: - in A, 0.1 in B",
        "pipeline.server.first_token differs: ['constant', 0.05] in A, ['constant', 0.09] in B",
        "pipeline.timeout_s differs: - in A, 5.0 in B",
    ]
