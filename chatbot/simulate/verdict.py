"""Whether the figures are the server's: VALID, or who was the limit, with the reasons. Pure.

The client is judged first: where it was too slow, nothing is known of the server. A server that fails is no reason
against a result, as long as it was the server that was measured; its failures stand in the figures.

`judge` takes the parts of a result, so that a result that was read back can be judged again.
"""

import math
from collections.abc import Sequence
from statistics import fmean

import msgspec

from chatbot.simulate.result import (
    Accuracy,
    Failure,
    Metric,
    Moment,
    Process,
    Totals,
    Value,
    Verdict,
    Window,
)
from chatbot.simulation import Simulation

_MOST_LOOP_LAG_MS = 50.0
_MOST_LATE_MS = 20.0
_LEAST_RATE = 0.95
_MOST_CPU = 0.9
_MOST_REFUSED = 0.01
_REFUSING = (429, 503, 529)
_CHANCE = 3.0  # standard deviations: arrivals at random may be so many fewer than asked for
_LEAST_MOMENTS = 8
_LEAST_GROWTH = 10

# Nobody was asked at all: what went wrong was on this side.
_OUR_OWN = frozenset({"internal", "poison", "lost", "cancelled", "interrupted"})


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run. `cpu_share` is the client's part of all cores, from 0 to 1, None: not known.

    `had_room` False: turns waited because there were as many under way, or as many sessions, as are allowed.
    """

    simulation: Simulation
    totals: Totals
    steady: Window
    whole: Window
    achieved_rate: float
    metrics: dict[str, Metric] = {}
    failures: tuple[Failure, ...] = ()
    timeline: tuple[Moment, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    cpu_share: float | None = None
    had_room: bool = True


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict."""
    totals = evidence.totals
    if not totals.asked:
        return Verdict(name="CLIENT-LIMITED", reasons=("no turn was asked",))
    client = _errors(evidence.accuracy, evidence.simulation.error_ms)
    client += _busy(evidence)
    client += _lateness(evidence, is_slow=bool(client))
    if not totals.answered:
        kind, count = max(totals.by_kind.items(), key=lambda item: item[1], default=("unknown", 0))
        line = f"no turn was answered: {count:,} × {kind}"
        if kind in _OUR_OWN or client:
            return Verdict(name="CLIENT-LIMITED", reasons=(line, *client))
        return Verdict(name="SERVER-LIMITED", reasons=(line,))
    if client:
        return Verdict(name="CLIENT-LIMITED", reasons=(*client, *_lost(totals)))
    server = [*_shortfall(evidence), *_refused(evidence), *_growth(evidence)]
    notes = (*_measured(evidence.accuracy), *_failing(totals), *_lost(totals))
    if server:
        return Verdict(name="SERVER-LIMITED", reasons=(*server, *notes))
    return Verdict(name="VALID", reasons=notes)


def cpu_share(processes: Sequence[Process], wall_s: float, cores: int) -> float | None:
    """Return the part of all cores that the client's processes used; a simulated server is not the client."""
    if wall_s <= 0 or cores <= 0 or not processes:
        return None
    used_s = sum(process.cpu_s for process in processes if process.role != "sim-server")
    return used_s / (wall_s * cores)


def _errors(accuracy: Sequence[Accuracy], error_ms: float) -> list[str]:
    """The client's own error. That of the run counts; without it, each calibration's."""
    reasons: list[str] = []
    for each in _decisive(accuracy):
        where = _where(each)
        p50, p99 = each.ttft_error.p50, each.ttft_error.p99
        if _above(p50, error_ms):
            reasons.append(
                f"TTFT is {_ms(p50)} too long at the median{where}: more than {_ms(error_ms)}"
            )
        true_p99 = each.ttft_true.p99
        share = true_p99 * 0.1 if isinstance(true_p99, float) else 0.0
        limit = max(5 * error_ms, share)
        if _above(p99, limit):
            reasons.append(f"TTFT is {_ms(p99)} too long at p99{where}: more than {_ms(limit)}")
    for each in accuracy:
        lag = each.loop_lag.p99 if each.loop_lag.p99 is not None else each.loop_lag.max
        if _above(lag, _MOST_LOOP_LAG_MS):
            at = "at p99" if each.loop_lag.p99 is not None else "at most"
            reasons.append(
                f"a worker's event loop was {_ms(lag)} late {at}{_where(each)}: more than {_ms(_MOST_LOOP_LAG_MS)}"
            )
    return reasons


def _busy(evidence: Evidence) -> list[str]:
    share = evidence.cpu_share
    if share is None or share < _MOST_CPU:
        return []
    line = f"the client's processes used {share:.0%} of all cores"
    if not evidence.simulation.is_open:
        line += ": the throughput is the client's, not the server's"
    return [line]


def _lateness(evidence: Evidence, *, is_slow: bool) -> list[str]:
    """Turns that went into the pipeline late, although there was room for them."""
    reasons: list[str] = []
    late = evidence.metrics.get("late")
    if late is not None and evidence.had_room:
        value = late.p99 if late.p99 is not None else late.p50
        if _above(value, _MOST_LATE_MS):
            at = "at p99" if late.p99 is not None else "at the median"
            reasons.append(
                f"turns went into the pipeline {_ms(value)} late {at}: more than {_ms(_MOST_LATE_MS)}"
            )
    if (is_slow or reasons) and _is_short(evidence, evidence.achieved_rate):
        reasons.append(_rates("only {} turns/s were asked", evidence.achieved_rate, evidence))
    return reasons


def _shortfall(evidence: Evidence) -> list[str]:
    """Fewer turns than wanted, in an open load: asked (for want of room), or answered."""
    if _is_short(evidence, evidence.achieved_rate):
        return [_rates("only {} turns/s could be asked", evidence.achieved_rate, evidence)]
    late = evidence.metrics.get("late")
    if evidence.simulation.is_open and not evidence.had_room and late is not None:
        value = late.p99 if late.p99 is not None else late.p50
        if _above(value, _MOST_LATE_MS):
            return [f"turns waited for room, {_ms(value)} at p99: the answers come too slowly"]
    # What has not been answered at the end of the window may still be on its way, as many as one latency holds.
    latency = evidence.metrics.get("latency")
    held_s = latency.mean / 1000 if latency is not None and latency.mean is not None else 0.0
    width_s = _rated(evidence).to_s - _rated(evidence).from_s
    ended = _rated(evidence).answered + _rated(evidence).failed
    if held_s < width_s * 0.1 and _is_short(evidence, ended):
        return [_rates("only {} turns/s were answered", ended, evidence)]
    return []


def _refused(evidence: Evidence) -> list[str]:
    count = sum(
        failure.count
        for failure in evidence.failures
        if failure.kind in ("rate_limited", "busy") or failure.http_status in _REFUSING
    )
    asked = evidence.totals.asked
    if count <= _MOST_REFUSED * asked:
        return []
    return [f"{count:,} of {asked:,} turns ({count / asked:.1%}) were refused as too many"]


def _growth(evidence: Evidence) -> list[str]:
    """Turns that pile up: in each quarter of the window more were under way than in the one before."""
    if not evidence.simulation.is_open:
        return []
    window = _rated(evidence)
    levels = [
        moment.in_flight
        for moment in evidence.timeline
        if moment.at_s >= window.from_s and moment.at_s + moment.width_s <= window.to_s
    ]
    if len(levels) < _LEAST_MOMENTS:
        return []
    size = len(levels) / 4
    first, *others = (fmean(levels[int(q * size) : int((q + 1) * size)]) for q in range(4))
    rises = all(later > before for before, later in zip([first, *others], others, strict=False))
    last = others[-1]
    # A load in balance settles: its last quarters are alike. Counts at random vary by their square root.
    is_growing = last - others[-2] > _CHANCE * math.sqrt(max(last, 1.0) / size)
    if rises and is_growing and last > 2 * first + _LEAST_GROWTH:
        return [
            f"the turns under way grew from {first:.0f} to {last:.0f}: answers fall behind the questions"
        ]
    return []


def _measured(accuracy: Sequence[Accuracy]) -> list[str]:
    """How good the figures are; or that it could not be checked."""
    decisive = _decisive(accuracy)
    if not decisive:
        return ["the client's own error could not be checked: no server told its true times"]
    lines: list[str] = []
    for each in decisive:
        line = f"TTFT is at most {_ms(each.ttft_error.p50)} too long at the median"
        if each.ttft_error.p99 is not None:
            line += f", {_ms(each.ttft_error.p99)} at p99"
        lines.append(f"{line}{_where(each)} ({each.turns:,} turns)")
    return lines


def _failing(totals: Totals) -> list[str]:
    count = totals.failed + totals.interrupted
    if not count:
        return []
    return [f"{count:,} of {totals.asked:,} turns ({count / totals.asked:.1%}) failed"]


def _lost(totals: Totals) -> list[str]:
    if not totals.lost:
        return []
    return [
        f"of {totals.lost:,} turns the end is not known: they are in no percentile, "
        "since a process of the client was killed or the run ended before them"
    ]


def _decisive(accuracy: Sequence[Accuracy]) -> list[Accuracy]:
    told = [each for each in accuracy if each.turns]
    return [each for each in told if each.where == "run"] or told


def _rated(evidence: Evidence) -> Window:
    """The window that rates are taken from."""
    steady = evidence.steady
    return steady if steady.to_s > steady.from_s else evidence.whole


def _is_short(evidence: Evidence, rate: float) -> bool:
    """Whether a rate is below the one that was asked for, by more than chance."""
    simulation = evidence.simulation
    if not simulation.is_open or rate >= _LEAST_RATE * simulation.rate:
        return False
    window = _rated(evidence)
    width_s = max(window.to_s - window.from_s, 0.0)
    expected = simulation.rate * width_s
    if simulation.arrival == "constant":
        return (simulation.rate - rate) * width_s > 1
    spread = math.sqrt(expected / (simulation.burstiness if simulation.arrival == "gamma" else 1.0))
    return (simulation.rate - rate) * width_s > _CHANCE * spread


def _rates(text: str, rate: float, evidence: Evidence) -> str:
    wanted = evidence.simulation.rate
    return f"{text.format(f'{rate:,.1f}')} of {wanted:,.1f} wanted ({rate / wanted:.0%})"


def _above(value: Value, limit: float) -> bool:
    return value == "inf" or (isinstance(value, int | float) and value > limit)


def _where(accuracy: Accuracy) -> str:
    return "" if accuracy.where == "run" else f" in the calibration {accuracy.where} the run"


def _ms(value: Value) -> str:
    if not isinstance(value, int | float):
        return "more than was measured"
    return (
        f"{value:.0f} ms"
        if value >= 100
        else f"{value:.1f} ms"
        if value >= 1
        else f"{value:.2g} ms"
    )
