"""How well a throughput is known, from how it varied within the run: the method of batch means. Pure.

Sessions that ask in step are answered in bursts, so what was answered in a short time says nothing of how much the
rate is off: after a burst there is none for as long as an answer takes. So an answer counts for the whole time that
it took, and the rates that are compared are those of batches of several answers' time (Conway, Some tactical
problems in digital simulation, Management Science 10, 1963; few and long batches: Schmeiser, Batch size effects in
the analysis of simulation output, Operations Research 30, 1982).
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from chatbot.simulate.result import Moment, Result, Window

_LATENCIES = 3.0  # the least width of a batch where there is time for it
_LEAST, _MOST = 4, 10
_EDGES = 1.96 * math.sqrt(
    1 / 6
)  # of two uniform parts of a burst, one at each end: in 95 of 100 cases
# Student's t at 97.5 %, by the batches less 1.
_T = {3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def latency_s(result: Result) -> float:
    """Return the median of the answers' latency; 0 where none is known."""
    latency = result.metrics.get("latency")
    if latency is None:
        return 0.0
    middle = latency.p50 if isinstance(latency.p50, int | float) else latency.mean
    return middle / 1000 if middle is not None and 0 < middle < math.inf else 0.0


def reach(result: Result, window: Window) -> float | None:
    """Return how far the logarithm of the rate of answers may be off in 95 of 100 cases; None: it does not show.

    What arrives by the clock varies as that does: such a rate is not known better than a Poisson count.
    """
    held_s = latency_s(result)
    # Of what was asked in the warm-up, the timeline does not have the answers.
    from_s = window.from_s + held_s if window.from_s > 0 else window.from_s
    moments = [
        moment
        for moment in result.timeline
        if moment.at_s >= from_s and moment.at_s + moment.width_s <= window.to_s
    ]
    rates = _rates(_evened(moments, held_s), held_s)
    count = window.answered * (window.to_s - window.from_s)
    mean = fmean(rates) if rates else 0.0
    if not mean or not count:
        return None
    found = _T[len(rates) - 1] * stdev(rates) / (mean * math.sqrt(len(rates)))
    # At each end a burst may just have been counted, or not.
    found = math.hypot(found, _EDGES * max(window.answered * held_s, 1.0) / count)
    return max(found, _T[9] / math.sqrt(count)) if result.requested_rate is not None else found


def _evened(moments: Sequence[Moment], held_s: float) -> list[tuple[float, float]]:
    """Return (width, answered) of the moments, the answers counted for the time before their end that they took."""
    if not moments or any(moment.width_s <= 0 for moment in moments):
        return []
    width_s = fmean(moment.width_s for moment in moments)
    over = max(round(min(held_s / width_s, len(moments) - 1)), 1)
    return [
        (moments[at].width_s, sum(moment.answered for moment in moments[at : at + over]) / over)
        for at in range(len(moments) - over + 1)
    ]


def _rates(evened: Sequence[tuple[float, float]], held_s: float) -> list[float]:
    """Return the rate of each batch: as few moments as make it wide enough, in batches of one width."""
    if len(evened) < _LEAST:
        return []
    width_s = fmean(width_s for width_s, _ in evened)
    wide = max(math.ceil(min(_LATENCIES * held_s / width_s, len(evened))), 1)
    batches = min(max(len(evened) // wide, _LEAST), _MOST)
    size = len(evened) // batches
    groups = (evened[start : start + size] for start in range(0, size * batches, size))
    return [
        sum(answered for _, answered in group) / sum(width_s for width_s, _ in group)
        for group in groups
    ]
