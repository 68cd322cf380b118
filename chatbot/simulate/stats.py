"""What the turns of a run add up to: as it goes for the live view, at its end for the result. Pure.

The seat tells it, each with an instant of the monotonic clock:

    session_begun(now_ns)                  a session is there
    asked(phase, now_ns)                   a turn went into the pipeline
    ended(turn)                            … and this became of it, saved or not; in the order of their ends, roughly
    session_ended(duration_ns, now_ns, …)  it asks no more
    dropped(count)                         turns that were due and will never be asked
    falling(now_ns)                        from here on the load falls: Ctrl-C (it knows the end of the time, the
                                           last of so many requests, and a session that is not replaced)

After a kill it is rebuilt: `restore(turn)` for each line of turns.jsonl, and for each turn that was lost; then
`session_begun` and the rest for what is new. It does for a turn all that the calls above do, and takes a session as
completed with its last turn; of those that have not come so far the seat tells the end.

The turns of the calibration are none of its business: they may be given to it, and leave no mark.
"""

from collections import Counter

import msgspec

from chatbot.simulate.histogram import Histogram
from chatbot.simulate.live_state import Live
from chatbot.simulate.pulse import Pulse
from chatbot.simulate.result import (
    DEFINITIONS,
    ByTurn,
    Failure,
    Metric,
    Moment,
    SloResult,
    Totals,
    Window,
)
from chatbot.simulate.timeline import Timeline
from chatbot.simulate.turn import ALWAYS, MEASURES, UNFINISHED, Phase, Turn, latency, ttft
from chatbot.simulate.window import Steady, Sums
from chatbot.simulation import Simulation

_NS_PER_S = 1_000_000_000
_LATE_NS = 10_000_000
_MOST_INDEXES = 100
_MOST_EXAMPLE = 300

# A turn that failed is in these, as infinite: what never came is longer than any limit.
_WITH_FAILURES = frozenset(
    {"ttft", "ttft_service", "ttfo", "ttfo_service", "tpot", "latency", "latency_service"}
)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a `Result` that follow from the turns, under the same names."""

    totals: Totals
    requested_rate: float | None
    achieved_rate: float
    whole: Window
    steady: Window
    slos: tuple[SloResult, ...]
    metrics: dict[str, Metric]
    by_turn: tuple[ByTurn, ...]
    timeline: tuple[Moment, ...]
    failures: tuple[Failure, ...]


class _Index:
    """The turns with one index in their session."""

    __slots__ = ("answered", "asked", "failed", "input_tokens", "latency", "told", "ttft")

    def __init__(self) -> None:
        self.asked = self.answered = self.failed = self.input_tokens = self.told = 0
        self.ttft = Histogram()
        self.latency = Histogram()


class Stats:
    """The sums of one run, which began at `start_ns`."""

    def __init__(self, simulation: Simulation, start_ns: int) -> None:
        self._simulation = simulation
        self._start_ns = start_ns
        before_s = simulation.unmeasured_s
        self._run_ns = start_ns + int(before_s * _NS_PER_S)
        self._last_end_ns = start_ns
        self._pulse = Pulse(simulation, start_ns)
        self._whole = Sums()
        self._steady = Steady(start_ns, self._run_ns, is_open=simulation.is_open)
        if simulation.duration_s:
            self._steady.falling(self._run_ns + int(simulation.duration_s * _NS_PER_S))
        self._count: Counter[str] = Counter()
        self._by_kind: Counter[str] = Counter()
        self._failures: dict[tuple[str, int | None], list[int | str]] = {}
        self._histograms = {name: Histogram() for name in DEFINITIONS}
        self._always, self._measures = (
            [
                (self._histograms[name].record, measure)
                for name, measure in MEASURES.items()
                if (name in ALWAYS) == always
            ]
            for always in (True, False)
        )
        self._record_gaps = self._histograms["gap"].record_many
        self._slos = [
            (MEASURES[slo.metric], int(slo.limit_ms * 1000), slo.metric == "tpot")
            for slo in simulation.slos
        ]
        self._met = [0] * len(self._slos)
        self._indexes: dict[int, _Index] = {}
        self._timeline = Timeline(start_ns)
        self._restored_due: dict[int, int] = {}

    # --- what happens ----------------------------------------------------------------------------

    def session_begun(self, now_ns: int) -> None:
        """A session is there."""
        self._count["sessions_begun"] += 1
        self._pulse.session_begun()
        self._timeline.at(now_ns).begun += 1

    def session_ended(
        self, duration_ns: int, now_ns: int, *, completed: bool, replaced: bool
    ) -> None:
        """It asks no more: `duration_ns` after its first turn was due, `completed` with all of its turns.

        Where it is not `replaced` in a closed loop, the load falls from here on.
        """
        self._pulse.session_ended(completed=completed)
        self._timeline.at(now_ns).over += 1
        if completed:
            self._count["sessions_completed"] += 1
            self._histograms["session"].record(duration_ns // 1000)
        if not replaced and not self._simulation.is_open:
            self.falling(now_ns)

    def asked(self, phase: Phase, now_ns: int) -> None:
        """A turn went into the pipeline."""
        if phase not in ("run", "warmup"):
            return
        self._pulse.asked(now_ns)
        cell = self._timeline.at(now_ns)
        cell.opened += 1
        if phase == "run":
            self._count["asked"] += 1
            cell.asked += 1
            self._steady.asked(now_ns)
            if self._count["asked"] == self._simulation.requests:
                self._steady.all_asked()
        else:
            self._count["unmeasured"] += 1

    def ended(self, turn: Turn) -> None:
        """A turn has ended."""
        if turn.phase not in ("run", "warmup"):
            return
        end_ns = turn.end_ns
        answered = turn.status == "answered"
        failed = turn.is_failure
        ttft_us = ttft(turn) if answered else None
        latency_us = latency(turn) if answered else None
        self._last_end_ns = max(self._last_end_ns, end_ns)
        cell = self._timeline.at(end_ns)
        cell.closed += 1
        self._pulse.ended(turn, ttft_us, latency_us)
        is_good = answered
        met = [
            answered and _meets(measure(turn), limit_us, without=no_value_is_met)
            for measure, limit_us, no_value_is_met in self._slos
        ]
        if met:
            is_good = all(met)
        self._steady.ended(turn, is_good=is_good)
        if turn.phase != "run":
            return
        self._whole.add(turn, is_good=is_good)
        for number, each in enumerate(met):
            self._met[number] += each
        cell.tokens += turn.output_tokens or 0
        self._count_one(turn)
        for record, measure in self._always:
            value = measure(turn)
            if value is not None:
                record(value)
        index = self._index(turn.index)
        if index is not None:
            index.asked += 1
            index.failed += failed
        if answered:
            cell.answered += 1
            for record, measure in self._measures:
                value = measure(turn)
                if value is not None:
                    record(value)
            self._record_gaps(turn.gaps_us)
            if ttft_us is not None:
                cell.ttft.record(ttft_us)
            if latency_us is not None:
                cell.latency.record(latency_us)
            if index is not None:
                index.answered += 1
                if ttft_us is not None:
                    index.ttft.record(ttft_us)
                if latency_us is not None:
                    index.latency.record(latency_us)
                if turn.input_tokens is not None:
                    index.input_tokens += turn.input_tokens
                    index.told += 1
        else:
            cell.failed += failed
            self._note_failure(turn)

    def dropped(self, count: int = 1) -> None:
        """Turns were due that will never be asked."""
        self._count["dropped"] += count

    def falling(self, now_ns: int) -> None:
        """From here on the load falls; the earliest instant counts."""
        self._steady.falling(now_ns)

    def restore(self, turn: Turn) -> None:
        """Take a turn that was asked, and has ended, before a kill (or was lost by it)."""
        if turn.phase not in ("run", "warmup"):
            return
        if turn.index == 0:
            self.session_begun(turn.asked_ns)
            self._restored_due[turn.session] = turn.intended_ns
        self.asked(turn.phase, turn.asked_ns)
        self.ended(turn)
        if turn.index == self._simulation.turns - 1:
            end_ns = turn.end_ns
            duration_ns = end_ns - self._restored_due.pop(turn.session, end_ns)
            lasts = bool(self._simulation.duration_s or self._simulation.requests)
            self.session_ended(duration_ns, end_ns, completed=True, replaced=lasts)

    # --- what it adds up to ----------------------------------------------------------------------

    def live(self, now_ns: int) -> Live:
        """Return how it goes."""
        return self._pulse.live(now_ns)

    def figures(self, end_ns: int) -> Figures:
        """Return the figures of a run that ended then; it may go on, and be asked again."""
        totals = self._totals()
        end_ns = max(end_ns, self._last_end_ns)
        run_s = (self._run_ns - self._start_ns) / _NS_PER_S
        whole = self._whole.window(run_s, (end_ns - self._start_ns) / _NS_PER_S, totals.asked)
        steady = self._steady.window(end_ns)
        rated = steady if steady.to_s > steady.from_s else whole
        return Figures(
            totals=totals,
            requested_rate=self._simulation.rate if self._simulation.is_open else None,
            achieved_rate=rated.asked,
            whole=whole,
            steady=steady,
            slos=tuple(
                SloResult(
                    metric=slo.metric,
                    limit_ms=slo.limit_ms,
                    met=met,
                    asked=totals.answered + totals.failed,
                )
                for slo, met in zip(self._simulation.slos, self._met, strict=True)
            ),
            metrics=self._metrics(totals),
            by_turn=tuple(self._by_turn()),
            timeline=self._timeline.moments(end_ns),
            failures=self._failure_table(),
        )

    # --- within ----------------------------------------------------------------------------------

    def _count_one(self, turn: Turn) -> None:
        count = self._count
        count[turn.status] += 1
        count["unfinished"] += turn.status == "failed" and turn.error == UNFINISHED
        if turn.saved_ns:
            count["saved"] += 1
        if turn.asked_ns - turn.intended_ns > _LATE_NS:
            count["late"] += 1
        if turn.attempts > 1:
            count["retries"] += turn.attempts - 1

    def _note_failure(self, turn: Turn) -> None:
        kind = turn.error or turn.status
        self._by_kind[kind] += 1
        if turn.status == "cancelled":
            return
        entry = self._failures.setdefault(
            (kind, turn.http_status), [0, turn.message[:_MOST_EXAMPLE]]
        )
        entry[0] = int(entry[0]) + 1

    def _index(self, number: int) -> _Index | None:
        index = self._indexes.get(number)
        if index is None and number < _MOST_INDEXES:
            index = self._indexes[number] = _Index()
        return index

    def _totals(self) -> Totals:
        count = self._count
        return Totals(
            asked=count["asked"],
            answered=count["answered"],
            failed=count["failed"],
            cancelled=count["cancelled"],
            interrupted=count["interrupted"],
            lost=count["lost"],
            by_kind=dict(self._by_kind.most_common()),
            saved=count["saved"],
            late=count["late"],
            dropped=count["dropped"],
            unfinished=count["unfinished"],
            retries=count["retries"],
            unmeasured=count["unmeasured"],
            input_tokens=self._whole.input_tokens,
            output_tokens=self._whole.output_tokens,
            chunks=self._whole.chunks,
            sessions_begun=count["sessions_begun"],
            sessions_completed=count["sessions_completed"],
        )

    def _metrics(self, totals: Totals) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {}
        for name, histogram in self._histograms.items():
            infinite = totals.failed if name in _WITH_FAILURES else 0
            if histogram.count or (infinite and name in ("ttft", "latency")):
                # The gaps within one answer are alike: there are as many independent ones as answers.
                independent = totals.answered if name == "gap" else None
                metrics[name] = histogram.metric(infinite, independent)
        return metrics

    def _by_turn(self) -> list[ByTurn]:
        return [
            ByTurn(
                index=number,
                asked=index.asked,
                answered=index.answered,
                input_tokens=index.input_tokens / index.told if index.told else None,
                ttft=index.ttft.metric(index.failed),
                latency=index.latency.metric(index.failed),
            )
            for number, index in sorted(self._indexes.items())
        ]

    def _failure_table(self) -> tuple[Failure, ...]:
        failures = [
            Failure(kind=kind, count=int(count), http_status=status, example=str(example))
            for (kind, status), (count, example) in self._failures.items()
        ]
        return tuple(sorted(failures, key=lambda failure: -failure.count))


def _meets(value_us: int | None, limit_us: int, *, without: bool) -> bool:
    """Whether an answered turn meets an SLO; `without` a value: one token has no time per token, and is in time."""
    return without if value_us is None else value_us <= limit_us
