"""Who was the limit: every reason is found, and none is found where there is none."""

from typing import Any, Literal

import pytest

from chatbot.simulate.histogram import Histogram
from chatbot.simulate.result import Accuracy, Failure, Metric, Moment, Process, Totals, Window
from chatbot.simulate.verdict import Evidence, busiest, cpu_share, judge
from chatbot.simulation import Simulation

OPEN = Simulation(out="out", arrival="poisson", rate=100.0)
CLOSED = Simulation(out="out")


def _metric(ms: float, n: int = 1000, tail_ms: float | None = None) -> Metric:
    """All of one value, with two in a hundred of another."""
    histogram = Histogram()
    tail = n // 50 if tail_ms is not None else 0
    histogram.record_many([int(ms * 1000)] * (n - tail) + [int((tail_ms or 0) * 1000)] * tail)
    return histogram.metric()


def _accuracy(
    error: Metric,
    *,
    where: Literal["run", "before", "after"] = "run",
    true_ms: float = 5.0,
    lag_ms: float = 1.0,
    turns: int = 1000,
    own: Metric | None = None,
    chunk_lag: Metric | None = None,
) -> Accuracy:
    return Accuracy(
        where=where,
        turns=turns,
        turns_per_s=100.0,
        ttft_true=_metric(true_ms),
        ttft_error=error,
        chunk_lag=chunk_lag or Metric(count=0),
        loop_lag=_metric(lag_ms),
        own_share=own or Metric(count=0),
    )


def _evidence(simulation: Simulation = OPEN, **others: Any) -> Evidence:
    """A run of 100 s that went well, but for the others."""
    window = Window(from_s=0.0, to_s=100.0, asked=100.0, answered=100.0)
    parts: dict[str, Any] = {
        "simulation": simulation,
        "totals": Totals(asked=10_000, answered=10_000),
        "steady": window,
        "whole": window,
        "achieved_rate": 100.0,
        "metrics": {"own_late": _metric(0.5), "ttft": _metric(12.0), "latency": _metric(30.0)},
        "timeline": _level(*[20] * 50),
        "accuracy": (_accuracy(_metric(0.4, tail_ms=2.1), own=_metric(4.0, tail_ms=8.0)),),
        "cpu_share": 0.5,
    }
    return Evidence(**{**parts, **others})


def _level(*in_flight: int) -> tuple[Moment, ...]:
    width = 100 / len(in_flight)
    return tuple(
        Moment(at_s=number * width, width_s=width, in_flight=count)
        for number, count in enumerate(in_flight)
    )


def _window(answered: float) -> Window:
    return Window(from_s=0.0, to_s=100.0, asked=100.0, answered=answered)


@pytest.mark.parametrize("simulation", [OPEN, CLOSED])
def test_a_run_that_went_well_is_valid_and_says_how_good_it_is(simulation: Simulation) -> None:
    verdict = judge(_evidence(simulation))
    assert verdict.name == "VALID"
    assert verdict.reasons == (
        "TTFT from the sending is at most 0.4 ms too long at the median, 2.1 ms at p99 (1,000 turns)",
        "TTFT from when it was due has 4.0 ms of the client's own in it at the median, 8.0 ms at p99",
    )


CLIENT: list[tuple[str, dict[str, Any], str]] = [
    (
        "error at the median",
        {"accuracy": (_accuracy(_metric(2.1)),)},
        "2.1 ms too long at the median",
    ),
    (
        "error at p99",
        {"accuracy": (_accuracy(_metric(0.4, tail_ms=10.5)),)},
        "TTFT from the sending is 10.5 ms too long at p99: more than 10.0 ms",
    ),
    (
        "error at p99 of a slow server",
        {"accuracy": (_accuracy(_metric(0.4, tail_ms=55.0), true_ms=500.0),)},
        "too long at p99: more than 50.0 ms",
    ),
    (
        "error in a calibration",
        {"accuracy": (_accuracy(_metric(9.0), where="after"),)},
        "in the calibration after the run",
    ),
    (
        "loop lag",
        {"accuracy": (_accuracy(_metric(0.4), lag_ms=51.0),)},
        "event loop was 51.0 ms late",
    ),
    (
        "loop lag, the truth untold",
        {"accuracy": (_accuracy(Metric(count=0), turns=0, lag_ms=80.0),)},
        "event loop was 80.0 ms late",
    ),
    (
        "own share at the median",
        {"accuracy": (_accuracy(_metric(0.4), own=_metric(10.5)),)},
        "TTFT from when a turn was due has 10.5 ms of the client's own in it at the median: more than 10.0 ms",
    ),
    (
        "own share at p99",
        {"accuracy": (_accuracy(_metric(0.4), own=_metric(4.0, tail_ms=780.0)),)},
        "has 780 ms of the client's own in it at p99: more than 50.0 ms",
    ),
    (
        "own share of a slow server's",
        {
            "accuracy": (_accuracy(_metric(0.4), own=_metric(60.0)),),
            "metrics": {"ttft": _metric(500.0)},
        },
        "60.0 ms of the client's own in it at the median: more than 50.0 ms",
    ),
    (
        "own share, the truth untold",
        {"accuracy": (_accuracy(Metric(count=0), turns=0, own=_metric(30.0)),)},
        "30.0 ms of the client's own",
    ),
    (
        "chunks read late",
        {"accuracy": (_accuracy(_metric(0.4), chunk_lag=_metric(0.2, tail_ms=12.0)),)},
        "chunks were read 12.0 ms after they were sent at p99: more than 10.0 ms",
    ),
    (
        "turns whose end is not known",
        {"totals": Totals(asked=1000, answered=989, interrupted=6, lost=5)},
        "of 11 of 1,000 turns (1.1%) the end is not known",
    ),
    ("one process", {"busiest": ("worker 1", 0.93)}, "worker 1 process used 93% of a core"),
    ("late", {"metrics": {"own_late": _metric(21.0)}}, "into the pipeline 21.0 ms late at p99"),
    (
        "late, besides waiting",
        {"metrics": {"own_late": _metric(60.0), "waited": _metric(500.0)}},
        "into the pipeline 60.0 ms late at p99: more than 50.0 ms",
    ),
    (
        "late, and so fewer",
        {"metrics": {"own_late": _metric(25.0)}, "achieved_rate": 80.0},
        "only 80.0 turns/s were asked of 100.0 wanted (80%)",
    ),
    (
        "saturated, and so fewer",
        {"cpu_share": 0.95, "achieved_rate": 60.0},
        "only 60.0 turns/s were asked",
    ),
    ("cores", {"cpu_share": 0.9}, "used 90% of all cores"),
    ("nothing asked", {"totals": Totals()}, "no turn was asked"),
    (
        "nothing answered, by a defect of ours",
        {"totals": Totals(asked=7, failed=7, by_kind={"internal": 7})},
        "no turn was answered: 7 × internal",
    ),
]


@pytest.mark.parametrize(("case", "others", "reason"), CLIENT, ids=[case for case, *_ in CLIENT])
def test_the_client_was_the_limit(case: str, others: dict[str, Any], reason: str) -> None:
    verdict = judge(_evidence(**others))
    assert verdict.name == "CLIENT-LIMITED"
    assert any(reason in line for line in verdict.reasons), verdict.reasons


SERVER: list[tuple[str, dict[str, Any], str]] = [
    (
        "fewer asked",
        {"achieved_rate": 90.0},
        "only 90.0 turns/s could be asked of 100.0 wanted (90%)",
    ),
    (
        "waited for room",
        {"metrics": {"waited": _metric(500.0), "own_late": _metric(3.0)}},
        "turns waited for room, 500 ms at p99",
    ),
    (
        "waited for room, and a little for us",
        {"metrics": {"waited": _metric(500.0), "own_late": _metric(45.0)}},
        "turns waited for room, 500 ms at p99",
    ),
    (
        "fewer answered",
        {"steady": _window(90.0)},
        "only 90.0 turns/s were answered of 100.0 wanted",
    ),
    (
        "dropped",
        {"totals": Totals(asked=9400, answered=9400, dropped=600)},
        "600 of 10,000 turns that were due (6.0%) were never asked",
    ),
    (
        "failed at first, and then cancelled",
        {
            "totals": Totals(
                asked=9, failed=2, cancelled=7, by_kind={"cancelled": 7, "server_error": 2}
            ),
            "ended_early": "interrupted",
        },
        "no turn was answered: 2 × server_error",
    ),
    (
        "429",
        {"failures": (Failure(kind="rate_limited", count=101, http_status=429),)},
        "101 of 10,000 turns (1.0%) were refused",
    ),
    (
        "503",
        {"failures": (Failure(kind="server_error", count=150, http_status=503),)},
        "150 of 10,000 turns (1.5%) were refused",
    ),
    ("busy", {"failures": (Failure(kind="busy", count=200),)}, "were refused"),
    ("growth", {"timeline": _level(*range(10, 110, 2))}, "grew from 21 to 96"),
    (
        "nothing answered",
        {"totals": Totals(asked=7, failed=7, by_kind={"server_error": 6, "timeout": 1})},
        "no turn was answered: 6 × server_error",
    ),
]


@pytest.mark.parametrize(("case", "others", "reason"), SERVER, ids=[case for case, *_ in SERVER])
def test_the_server_was_the_limit(case: str, others: dict[str, Any], reason: str) -> None:
    verdict = judge(_evidence(**others))
    assert verdict.name == "SERVER-LIMITED"
    assert any(reason in line for line in verdict.reasons), verdict.reasons


VALID: list[tuple[str, dict[str, Any]]] = [
    ("at the bound", {"accuracy": (_accuracy(_metric(2.0, tail_ms=10.0)),)}),
    (
        "p99 within a tenth of a slow server's",
        {"accuracy": (_accuracy(_metric(0.4, tail_ms=45.0), true_ms=500.0),)},
    ),
    (
        "a calibration was worse than the run",
        {"accuracy": (_accuracy(_metric(9.0), where="before"), _accuracy(_metric(0.3)))},
    ),
    ("95 %", {"achieved_rate": 95.0}),
    (
        "fewer by chance",
        {
            "achieved_rate": 90.0,
            "steady": Window(from_s=0.0, to_s=2.0, asked=90.0, answered=90.0),
        },
    ),
    ("refused at times", {"failures": (Failure(kind="rate_limited", count=100, http_status=429),)}),
    ("other failures", {"failures": (Failure(kind="server_error", count=5000, http_status=500),)}),
    ("own share at the bound", {"accuracy": (_accuracy(_metric(1.0), own=_metric(10.0)),)}),
    (
        "own share of a slow server's",
        {
            "accuracy": (_accuracy(_metric(1.0), own=_metric(45.0)),),
            "metrics": {"ttft": _metric(500.0)},
        },
    ),
    (
        "chunks read late, where they come slowly",
        {
            "accuracy": (_accuracy(_metric(0.4), chunk_lag=_metric(0.2, tail_ms=19.0)),),
            "metrics": {"gap": _metric(200.0)},
        },
    ),
    ("a few dropped", {"totals": Totals(asked=9600, answered=9600, dropped=400)}),
    ("a few lost", {"totals": Totals(asked=1000, answered=990, interrupted=4, lost=6)}),
    ("no process is full", {"busiest": ("store", 0.89)}),
    ("in flight up and down", {"timeline": _level(*[10, 60] * 25)}),
    ("in flight settled", {"timeline": _level(*[2] * 20, *[80] * 60)}),
    (
        "what is under way at the end of a slow stream",
        {"steady": _window(90.0), "metrics": {"latency": _metric(20_000.0)}},
    ),
]


@pytest.mark.parametrize(("case", "others"), VALID, ids=[case for case, _ in VALID])
def test_what_is_no_reason_against_a_result(case: str, others: dict[str, Any]) -> None:
    verdict = judge(_evidence(**others))
    assert verdict.name == "VALID", verdict.reasons


def test_a_closed_loop_has_no_rate_to_fall_short_of_and_may_fill_up() -> None:
    closed = _evidence(CLOSED, achieved_rate=1.0, timeline=_level(*range(50)), steady=_window(1.0))
    assert judge(closed).name == "VALID"


def test_the_client_is_named_before_the_server() -> None:
    verdict = judge(_evidence(achieved_rate=50.0, accuracy=(_accuracy(_metric(30.0)),)))
    assert verdict.name == "CLIENT-LIMITED"


def test_what_could_not_be_checked_is_said() -> None:
    for accuracy in ((), (_accuracy(Metric(count=0), turns=0),)):
        verdict = judge(_evidence(accuracy=accuracy))
        assert verdict.name == "VALID"
        assert any("could not be checked" in line for line in verdict.reasons)


def test_failed_and_lost_turns_are_said() -> None:
    totals = Totals(asked=1000, answered=952, failed=40, unfinished=30, interrupted=2, lost=6)
    reasons = judge(_evidence(totals=totals)).reasons
    assert any("40 of 1,000 turns (4.0%) failed" in line for line in reasons)
    assert any("30 of 1,000 turns (3.0%) had not ended" in line for line in reasons)
    assert any("of 8 of 1,000 turns (0.8%) the end is not known" in line for line in reasons)


@pytest.mark.parametrize("totals", [Totals(), Totals(asked=20, cancelled=18, lost=2)])
def test_what_was_ended_before_the_first_answer_is_judged_neither_way(totals: Totals) -> None:
    verdict = judge(_evidence(totals=totals, ended_early="interrupted"))
    assert verdict.name == "NO-VERDICT"
    assert verdict.reasons == ("ended before the first answer: interrupted",)


@pytest.mark.parametrize(
    ("error", "own", "said"),
    [
        ([400] * 9980 + [1_002_000] * 20, [4000] * 10_000, "p99.9 and the maximum of the times"),
        ([400] * 10_000, [4000] * 9980 + [900_000] * 20, "p99.9 and the maximum of the times"),
        ([400] * 9999 + [1_002_000], [4000] * 10_000, "! the maximum of the times"),
        ([400] * 10_000, [4000] * 9999 + [900_000], "! the maximum of the times"),
        ([400] * 9980 + [21_000] * 20, [4000] * 10_000, "p99.9 and the maximum of the times"),
        ([400] * 9980 + [20_000] * 20, [4000] * 9980 + [50_000] * 20, ""),
        ([400] * 10_000, [4000] * 10_000, ""),
    ],
)
def test_a_tail_that_is_the_clients_own_is_named_first(
    error: list[int], own: list[int], said: str
) -> None:
    def of(values: list[int]) -> Metric:
        histogram = Histogram()
        histogram.record_many(values)
        return histogram.metric()

    verdict = judge(_evidence(accuracy=(_accuracy(of(error), own=of(own)),)))
    assert verdict.name == "VALID"
    tails = [f"! {line}" for line in verdict.reasons if "not the server's alone" in line]
    assert len(tails) == bool(said)
    if said:
        assert said in tails[0]
        assert verdict.reasons[0] == tails[0][2:]


def test_a_small_sample_is_judged_by_its_median() -> None:
    verdict = judge(_evidence(accuracy=(_accuracy(_metric(0.5, n=9)),)))
    assert verdict.reasons == (
        "TTFT from the sending is at most 0.5 ms too long at the median (1,000 turns)",
    )


def test_the_share_of_the_cores_is_that_of_the_clients_processes() -> None:
    def process(role: str, cpu_s: float, slot: int = 0) -> Process:
        return Process(role=role, slot=slot, pid=1, cpu_s=cpu_s, cpu_us_per_turn=None, rss_mb=1.0)

    processes = [process("worker", 6.0), process("store", 3.0), process("sim-server", 9.0)]
    assert cpu_share(processes, 10.0, 2) == pytest.approx(0.45)
    assert cpu_share([], 10.0, 2) is None
    assert cpu_share(processes, 0.0, 2) is None
    assert busiest(processes, 10.0) == ("worker", 0.6)
    assert busiest([*processes, process("worker", 7.0, slot=3)], 10.0) == ("worker 3", 0.7)
    assert busiest([process("sim-server", 9.0)], 10.0) is None
    assert busiest(processes, 0.0) is None
