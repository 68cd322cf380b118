"""What turns add up to: no total is wrong, whatever becomes of them."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.simulate.stats import Figures, Stats
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation, Slo
from tests.unit.simulated import MS, S, turn

START = 1000 * S


def _simulation(**settings: Any) -> Simulation:
    return Simulation(out="out", **settings)


def _fed(turns: list[Turn], simulation: Simulation) -> Stats:
    """As the seat does it: what is asked, and what has ended, in the order in which it happens."""
    stats = Stats(simulation, START)
    events = [(each.asked_ns, 0, each) for each in turns] + [
        (each.end_ns, 1, each) for each in turns
    ]
    for _, is_end, each in sorted(events, key=lambda event: event[:2]):
        if is_end:
            stats.ended(each)
        else:
            stats.asked(each.phase, each.asked_ns)
    return stats


turns_of_a_run = st.lists(
    st.builds(
        turn,
        st.integers(START, START + 700 * S),
        index=st.integers(0, 130),
        phase=st.sampled_from(["before", "warmup", "run", "run", "after"]),
        status=st.sampled_from(
            ["answered", "answered", "failed", "cancelled", "interrupted", "lost"]
        ),
        error=st.sampled_from(["", "timeout", "rate_limited"]),
        late_ms=st.floats(0, 30),
        ttft_ms=st.floats(0.1, 3000),
        attempts=st.integers(1, 3),
        output_tokens=st.none() | st.integers(0, 50),
    ),
    max_size=60,
)


@given(turns_of_a_run, st.booleans())
def test_every_total_is_that_of_the_measured_turns(turns: list[Turn], is_open: bool) -> None:
    simulation = _simulation(arrival="poisson" if is_open else "closed", rate=5.0)
    figures = _fed(turns, simulation).figures(START + 800 * S)
    measured = [each for each in turns if each.phase == "run"]
    totals = figures.totals
    assert totals.asked == len(measured)
    assert totals.asked == (
        totals.answered + totals.failed + totals.cancelled + totals.interrupted + totals.lost
    )
    assert totals.unmeasured == sum(each.phase == "warmup" for each in turns)
    bad = Counter(each.error or each.status for each in measured if each.status != "answered")
    assert totals.by_kind == bad
    assert totals.late == sum(each.asked_ns - each.intended_ns > 10 * MS for each in measured)
    assert totals.retries == sum(each.attempts - 1 for each in measured)
    answered = [each for each in measured if each.status == "answered"]
    assert totals.output_tokens == sum(each.output_tokens or 0 for each in answered)
    for name in ("asked", "answered", "output_tokens"):
        assert sum(getattr(moment, name) for moment in figures.timeline) == getattr(totals, name)
    assert sum(moment.failed for moment in figures.timeline) == totals.failed
    if figures.timeline:
        assert figures.timeline[-1].in_flight == 0
    assert len(figures.timeline) <= 120
    if figures.metrics.get("ttft"):
        metric = figures.metrics["ttft"]
        assert (metric.count, metric.failed) == (
            totals.answered, totals.failed,
        )  # fmt: skip
    assert sum(index.asked for index in figures.by_turn) == sum(
        each.index < 100 for each in measured
    )


@given(turns_of_a_run)
def test_rebuilt_from_the_journal_it_is_the_same(turns: list[Turn]) -> None:
    simulation = _simulation(turns=200, slos=(Slo("ttft", 500.0),))
    rebuilt = Stats(simulation, START)
    for each in sorted(turns, key=lambda each: each.end_ns):
        rebuilt.restore(msgspec.json.decode(msgspec.json.encode(each), type=Turn))

    def comparable(figures: Figures) -> Figures:
        """Without the sessions, of which the other was not told."""
        return msgspec.structs.replace(
            figures,
            totals=msgspec.structs.replace(figures.totals, sessions_begun=0),
            timeline=tuple(
                msgspec.structs.replace(moment, sessions=0) for moment in figures.timeline
            ),
        )

    end_ns = START + 800 * S
    expected = _fed(turns, simulation).figures(end_ns)
    found = rebuilt.figures(end_ns)
    by_count = msgspec.structs.replace(comparable(found), failures=expected.failures)
    assert msgspec.to_builtins(by_count) == msgspec.to_builtins(comparable(expected))
    assert {(f.kind, f.http_status, f.count) for f in found.failures} == {
        (f.kind, f.http_status, f.count) for f in expected.failures
    }


def test_a_restored_session_ends_with_its_last_turn() -> None:
    stats = Stats(_simulation(turns=2), START)
    stats.restore(turn(START, session=7))
    assert stats.live(START + S).sessions == 1
    stats.restore(turn(START + S, session=7, index=1))
    figures = stats.figures(START + 2 * S)
    assert (figures.totals.sessions_begun, figures.totals.sessions_completed) == (1, 1)
    assert figures.metrics["session"].max == 1030.0
    assert figures.timeline[-1].sessions == 0


def test_failures_are_infinite_where_someone_waits_for_the_answer_and_nowhere_else() -> None:
    turns = [turn(START + number * MS) for number in range(90)]
    turns += [turn(START, status="failed", error="timeout") for _ in range(7)]
    turns += [turn(START, status="failed", error="unfinished") for _ in range(3)]
    for status in ("cancelled", "lost", "interrupted"):  # of these nothing is known
        turns.append(turn(START, status=status))
    assert _fed(turns, _simulation()).figures(START + S).totals.unfinished == 3
    metrics = _fed(turns, _simulation()).figures(START + S).metrics
    for name in ("ttft", "ttft_service", "ttfo", "latency", "latency_service", "tpot"):
        assert (metrics[name].failed, metrics[name].p90 != "inf", metrics[name].p95) == (
            10, True, "inf",
        ), name  # fmt: skip
    assert (metrics["late"].failed, metrics["gap"].failed, metrics["gap"].count) == (0, 0, 360)
    assert "server_total" not in metrics


def test_an_slo_is_met_by_those_in_time_and_goodput_by_those_that_meet_all() -> None:
    slos = (Slo("ttft", 25.0), Slo("latency", 100.0), Slo("tpot", 1.0))
    turns = [turn(START), turn(START, ttft_ms=24.5), turn(START, gap_ms=1.0)]
    turns += [turn(START, chunks=1, output_tokens=1), turn(START, status="failed")]
    figures = _fed(turns, _simulation(slos=slos)).figures(START + 2 * S)
    assert [(slo.met, slo.asked) for slo in figures.slos] == [(3, 5), (4, 5), (2, 5)]
    assert figures.whole.good == 1.0  # the one of one token, and the one with short gaps; in 2 s
    assert figures.whole.answered == 2.0


def test_the_steady_window_goes_from_the_warm_up_to_the_first_session_that_is_not_replaced() -> (
    None
):
    stats = Stats(_simulation(sessions=2, ramp_s=1.0, warmup_s=1.0), START)
    warm = turn(START + 1990 * MS, phase="warmup")
    early = turn(START + 500 * MS, phase="warmup")
    inside = [turn(START + 2 * S + number * 100 * MS) for number in range(20)]
    for each in [early, warm, *inside]:
        stats.asked(each.phase, each.asked_ns)
        stats.ended(each)
    stats.session_ended(S, START + 3 * S, completed=True, replaced=True)
    stats.session_ended(S, START + 4 * S, completed=True, replaced=False)
    late = turn(START + 3990 * MS)
    stats.asked("run", late.asked_ns)
    stats.ended(late)
    stats.session_ended(S, START + 5 * S, completed=True, replaced=False)
    figures = stats.figures(START + 6 * S)
    assert (figures.steady.from_s, figures.steady.to_s) == (2.0, 4.0)
    assert figures.steady.answered == (20 + 1) / 2  # with the one that was asked in the warm-up
    assert figures.steady.asked == (20 + 1) / 2
    assert (figures.whole.from_s, figures.whole.to_s) == (2.0, 6.0)
    assert figures.whole.answered == 21 / 4
    assert figures.totals.unmeasured == 2


def test_the_steady_window_of_an_open_load_ends_with_the_last_arrival() -> None:
    turns = [turn(START + number * 100 * MS) for number in range(11)]
    stats = _fed(turns, _simulation(arrival="constant", rate=10.0))
    figures = stats.figures(START + 60 * S)
    assert (figures.steady.from_s, figures.steady.to_s) == (0.0, 1.0)
    assert (figures.steady.answered, figures.achieved_rate) == (10.0, 10.0)
    assert figures.requested_rate == 10.0
    stats.falling(START + 2 * S)  # Ctrl-C: nothing came in the second before
    figures = stats.figures(START + 60 * S)
    assert (figures.steady.to_s, figures.achieved_rate) == (2.0, 5.5)


@pytest.mark.parametrize(
    ("seconds", "asked", "achieved"), [(4.0, 8, 2.0), (4.0, 4, 1.0), (10.0, 10, 1.0)]
)
def test_a_load_that_stops_early_has_not_reached_its_rate(
    seconds: float, asked: int, achieved: float
) -> None:
    simulation = _simulation(arrival="constant", rate=2.0, duration_s=seconds)
    turns = [turn(START + number * 500 * MS) for number in range(asked)]
    assert _fed(turns, simulation).figures(START + 60 * S).achieved_rate == achieved


def test_so_many_requests_have_one_interval_less() -> None:
    turns = [turn(START + number * 500 * MS) for number in range(9)]
    simulation = _simulation(arrival="constant", rate=2.0, requests=9)
    assert _fed(turns, simulation).figures(START + 60 * S).achieved_rate == 2.0


def test_how_late_a_turn_was_asked_is_known_whatever_becomes_of_it() -> None:
    turns = [turn(START, status="answered", late_ms=1.0, waited_ms=0.25)]
    turns += [
        turn(START, status=status, late_ms=40.0, waited_ms=10.0)
        for status in ("failed", "cancelled", "interrupted", "lost")
    ]
    metrics = _fed(turns, _simulation()).figures(START + S).metrics
    for name, largest in (("late", 40.0), ("own_late", 30.0), ("waited", 10.0)):
        metric = metrics[name]
        assert (metric.count, metric.failed, metric.max) == (5, 0, largest), name


def test_a_run_of_hours_has_a_timeline_of_as_many_intervals() -> None:
    turns = [turn(START + number * S) for number in range(7200)]
    figures = _fed(turns, _simulation()).figures(START + 7200 * S)
    assert 60 <= len(figures.timeline) <= 120
    assert sum(moment.asked for moment in figures.timeline) == 7200
    assert sum(moment.width_s for moment in figures.timeline) == pytest.approx(7200, abs=1)
    assert {moment.ttft_p50 for moment in figures.timeline} == {21.0}


def test_the_live_view_has_the_last_second_the_last_five_and_the_last_minute() -> None:
    stats = _fed(
        [turn(START + number * 100 * MS, ttft_ms=10.0) for number in range(900)]
        + [turn(START + 90 * S + number * 50 * MS, ttft_ms=40.0) for number in range(200)]
        + [turn(START + 97_500 * MS, status="failed", error="timeout")],
        _simulation(duration_s=200.0),
    )
    stats.asked("run", START + 99_999 * MS)
    live = stats.live(START + 100 * S)
    assert (live.asked, live.answered, live.failed, live.in_flight) == (1102, 1100, 1, 1)
    assert (live.asked_per_s, live.answered_per_s, live.failed_per_s) == (21.0, 20.0, 0.0)
    assert (live.ttft_p50, live.latency_p50) == (41.0, 50.0)
    assert len(live.rates) == len(live.ttfts) == 60
    assert live.rates[0] == 10.0
    assert (live.ttfts[0], live.ttfts[-1]) == (11.0, 41.0)
    assert live.failures == {"timeout": 1}
    assert (live.progress, live.stage) == (0.5, "run")
    assert (live.output_tokens_per_s, live.chunks_per_s) == (100.0, 100.0)
    assert stats.live(START + 200 * S).ttft_p50 is None


def test_a_live_view_before_anything_has_happened_shows_nothing() -> None:
    live = Stats(_simulation(ramp_s=1.0, warmup_s=1.0), START).live(START)
    assert (live.stage, live.asked, live.rates, live.ttft_p50) == ("ramp", 0, (), None)
    assert Stats(_simulation(warmup_s=2.0), START).live(START + S).stage == "warm-up"
    empty = Stats(_simulation(), START).figures(START)
    assert (empty.totals.asked, empty.whole.answered, empty.timeline, empty.metrics) == (
        0,
        0,
        (),
        {},
    )


def test_the_steady_window_ends_with_the_time_or_with_the_last_of_so_many_requests() -> None:
    turns = [turn(START + number * 100 * MS) for number in range(40)]
    timed = _fed(turns, _simulation(duration_s=2.0)).figures(START + 5 * S)
    assert (timed.steady.to_s, timed.steady.answered, timed.steady.asked) == (2.0, 10.0, 10.5)
    counted = _fed(turns, _simulation(requests=21)).figures(START + 5 * S)
    assert (counted.steady.to_s, counted.steady.answered) == (2.0, 10.0)
    stats = _fed(turns[:15], _simulation(duration_s=2.0))
    stats.falling(START + 1500 * MS)
    assert stats.figures(START + 5 * S).steady.to_s == 1.5
