"""Whether the figures are the server's: VALID, or who was the limit, with the reasons. Pure.

The client is judged first: where it was too slow, nothing is known of the server. A server that fails is no reason
against a result, as long as it was the server that was measured; its failures stand in the figures.
How much of the times is the client's own is judged in `own.py`.

`judge` takes the parts of a result, so that a result that was read back can be judged again.
"""

import math
from collections.abc import Sequence
from statistics import fmean

import msgspec

from chatbot.simulate import own
from chatbot.simulate.own import AT, above, ms
from chatbot.simulate.result import (
    Accuracy,
    Failure,
    Metric,
    Moment,
    Process,
    Totals,
    Verdict,
    Window,
)
from chatbot.simulation import Simulation

_MOST_LATE_MS = 20.0
_LATE_PART = 0.1  # of the time that turns wait for room
_LEAST_RATE = 0.95
_MOST_CPU = 0.9
_MOST_DROPPED = 0.05
_MOST_LOST = 0.01
_MOST_REFUSED = 0.01
_REFUSING = (429, 503, 529)
_CHANCE = 3.0  # standard deviations: arrivals at random may be so many fewer than asked for
_LEAST_MOMENTS = 8
_LEAST_GROWTH = 10

# Nobody was asked at all: what went wrong was on this side.
_OUR_OWN = frozenset({"internal", "poison", "lost", "interrupted"})


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run. `cpu_share` is the client's part of all cores, from 0 to 1, None: not known;
    `busiest` its process that used the most of one core, and how much of it. `ended_early` says why, where it did.
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
    busiest: tuple[str, float] | None = None
    ended_early: str = ""


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict."""
    totals = evidence.totals
    if not totals.asked and not evidence.ended_early:
        return Verdict(name="CLIENT-LIMITED", reasons=("no turn was asked",))
    if evidence.ended_early and totals.asked == totals.cancelled + totals.lost:
        line = f"ended before the first answer: {evidence.ended_early}"
        return Verdict(name="NO-VERDICT", reasons=(line,))
    known = own.Known(evidence.accuracy, evidence.metrics, evidence.simulation.error_ms)
    client = own.errors(known) + own.shares(known) + own.loops(evidence.accuracy)
    client += _busy(evidence)
    client += _lateness(evidence, is_slow=bool(client))
    if totals.lost + totals.interrupted > _MOST_LOST * totals.asked:
        client += _lost(totals)
    if not totals.answered:
        kinds = {kind: n for kind, n in totals.by_kind.items() if kind != "cancelled"}
        kind, count = max(
            kinds.items(), key=lambda item: item[1], default=("cancelled", totals.cancelled)
        )
        line = f"no turn was answered: {count:,} × {kind}"
        if kind in _OUR_OWN or client:
            return Verdict(name="CLIENT-LIMITED", reasons=(line, *client))
        return Verdict(name="SERVER-LIMITED", reasons=(line,))
    notes = (*own.measured(evidence.accuracy), *_failing(totals), *_lost(totals))
    if client:
        return Verdict(name="CLIENT-LIMITED", reasons=tuple(dict.fromkeys((*client, *notes))))
    notes = (*own.tail(known), *notes)
    server = [*_shortfall(evidence), *_dropped(totals), *_refused(evidence), *_growth(evidence)]
    if server:
        return Verdict(name="SERVER-LIMITED", reasons=(*server, *notes))
    return Verdict(name="VALID", reasons=notes)


def cpu_share(processes: Sequence[Process], wall_s: float, cores: int) -> float | None:
    """Return the part of all cores that the client's processes used; a simulated server is not the client."""
    if wall_s <= 0 or cores <= 0 or not processes:
        return None
    used_s = sum(process.cpu_s for process in processes if process.role != "sim-server")
    return used_s / (wall_s * cores)


def busiest(processes: Sequence[Process], wall_s: float) -> tuple[str, float] | None:
    """Return which of the client's processes used the most of one core, and how much of it."""
    ours = [process for process in processes if process.role != "sim-server"]
    if wall_s <= 0 or not ours:
        return None
    most = max(ours, key=lambda process: process.cpu_s)
    alike = sum(process.role == most.role for process in ours)
    name = f"{most.role} {most.slot}" if alike > 1 else most.role
    return name, most.cpu_s / wall_s


def _busy(evidence: Evidence) -> list[str]:
    """All the cores, or one process that can use no more than one of them."""
    share = evidence.cpu_share
    name, used = evidence.busiest or ("", 0.0)
    if share is not None and share >= _MOST_CPU:
        line = f"the client's processes used {share:.0%} of all cores"
    elif used >= _MOST_CPU:
        line = f"the client's {name} process used {used:.0%} of a core"
    else:
        return []
    if not evidence.simulation.is_open:
        line += ": the throughput is the client's, not the server's"
    return [line]


def _lateness(evidence: Evidence, *, is_slow: bool) -> list[str]:
    """Turns that went into the pipeline late, although there was room for them.

    Where they wait for room, an end has its way through the pipeline before the next can be asked: that counts
    as late, and may be a part of the waiting.
    """
    reasons: list[str] = []
    late = evidence.metrics.get("own_late")
    if late is not None:
        field = "p50" if late.p99 is None else "p99"
        value = getattr(late, field)
        waited = own.finite(evidence.metrics.get("waited"), field)
        limit = max(_MOST_LATE_MS, _LATE_PART * waited)
        if above(value, limit):
            reasons.append(
                f"turns went into the pipeline {ms(value)} late {AT[field]}: more than {ms(limit)}"
            )
    if (is_slow or reasons) and _is_short(evidence, evidence.achieved_rate):
        reasons.append(_rates("only {} turns/s were asked", evidence.achieved_rate, evidence))
    return reasons


def _shortfall(evidence: Evidence) -> list[str]:
    """Fewer turns than wanted, in an open load: asked (for want of room), or answered."""
    if _is_short(evidence, evidence.achieved_rate):
        return [_rates("only {} turns/s could be asked", evidence.achieved_rate, evidence)]
    waited = evidence.metrics.get("waited")
    if evidence.simulation.is_open and waited is not None:
        field = "p99" if waited.p99 is not None else "p50"
        value = getattr(waited, field)
        if above(value, _MOST_LATE_MS):
            return [f"turns waited for room, {ms(value)} {AT[field]}: the answers come too slowly"]
    # What has not been answered at the end of the window may still be on its way, as many as one latency holds.
    latency = evidence.metrics.get("latency")
    held_s = latency.mean / 1000 if latency is not None and latency.mean is not None else 0.0
    width_s = _rated(evidence).to_s - _rated(evidence).from_s
    ended = _rated(evidence).answered + _rated(evidence).failed
    if held_s < width_s * 0.1 and _is_short(evidence, ended):
        return [_rates("only {} turns/s were answered", ended, evidence)]
    return []


def _dropped(totals: Totals) -> list[str]:
    due = totals.asked + totals.dropped
    if totals.dropped <= _MOST_DROPPED * due:
        return []
    return [
        f"{totals.dropped:,} of {due:,} turns that were due ({totals.dropped / due:.1%}) were never asked: "
        "there was no room for them"
    ]


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


def _failing(totals: Totals) -> list[str]:
    lines: list[str] = []
    for count, what in (
        (totals.unfinished, "had not ended when the run had long been over, and count as failed"),
        (totals.failed, "failed"),
    ):
        if count:
            lines.append(f"{count:,} of {totals.asked:,} turns ({count / totals.asked:.1%}) {what}")
    return lines


def _lost(totals: Totals) -> list[str]:
    count = totals.lost + totals.interrupted
    if not count:
        return []
    return [
        f"of {count:,} of {totals.asked:,} turns ({count / totals.asked:.1%}) the end is not known: they are in no "
        "percentile, since a process of the client was killed or the run ended before them"
    ]


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
