"""How a run goes, as the live view shows it: what there was in the last seconds, and how much in all. Pure.

The values themselves are kept for a few seconds, the counts and a median for a minute, nothing for longer.
"""

from collections import Counter

from chatbot.simulate.histogram import sorted_percentile
from chatbot.simulate.live_state import Live, Stage
from chatbot.simulate.result import Value
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation

_NS_PER_S = 1_000_000_000
_SECONDS = 60  # how many whole seconds it goes back
_EXACT_SECONDS = 5  # of how many of them the percentiles are


class Second:
    """What happened in one second, in every phase but the calibration's."""

    __slots__ = (
        "_is_closed", "_ttft_p50", "answered", "asked", "chunks", "failed", "latencies", "tokens", "ttfts",
    )  # fmt: skip

    def __init__(self) -> None:
        self.asked = self.answered = self.failed = self.tokens = self.chunks = 0
        self.ttfts: list[int] = []  # µs
        self.latencies: list[int] = []
        self._is_closed = False
        self._ttft_p50: Value = None

    @property
    def ttft_p50(self) -> Value:
        """The median of its times to the first token, in ms."""
        if self._is_closed:
            return self._ttft_p50
        return sorted_percentile(sorted(self.ttfts), 50.0, self.failed)

    def close(self) -> None:
        """Keep only what is shown of a second that is long past. What still comes is counted only."""
        self._ttft_p50 = self.ttft_p50
        self._is_closed = True
        self.ttfts = []
        self.latencies = []


class Seconds:
    """The last seconds of a run that began at `start_ns`."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._seconds: dict[int, Second] = {}
        self._newest = -1

    def at(self, now_ns: int) -> Second:
        """Return the second of an instant; one that is long past counts nowhere."""
        number = max(now_ns - self._start_ns, 0) // _NS_PER_S
        second = self._seconds.get(number)
        if second is None:
            second = Second()
            if number <= self._newest - _SECONDS - 1:
                return second
            self._seconds[number] = second
            if number > self._newest:
                self._newest = number
                self._forget()
        return second

    def last(self, now_ns: int) -> list[Second]:
        """Return the last whole seconds, at most 60, the newest last."""
        current = max(now_ns - self._start_ns, 0) // _NS_PER_S
        nothing = Second()
        return [
            self._seconds.get(number, nothing)
            for number in range(max(current - _SECONDS, 0), current)
        ]

    def recent(self, now_ns: int) -> list[Second]:
        """Return the seconds whose values are all known: the current one, and those just before."""
        current = max(now_ns - self._start_ns, 0) // _NS_PER_S
        numbers = range(current - _EXACT_SECONDS, current + 1)
        return [self._seconds[number] for number in numbers if number in self._seconds]

    def _forget(self) -> None:
        for number in [n for n in self._seconds if n < self._newest - _SECONDS - 1]:
            del self._seconds[number]
        for number, second in self._seconds.items():
            if number < self._newest - _EXACT_SECONDS - 1:
                second.close()


class Pulse:
    """The counts of a run from `start_ns` on, in every phase but the calibration's."""

    def __init__(self, simulation: Simulation, start_ns: int) -> None:
        self._simulation = simulation
        self._start_ns = start_ns
        self._seconds = Seconds(start_ns)
        self._asked = self._ended = self._answered = self._unanswered = self._measured = 0
        self._failures: Counter[str] = Counter()
        self._sessions = self._completed = 0

    def asked(self, now_ns: int) -> None:
        """A turn went into the pipeline."""
        self._asked += 1
        self._seconds.at(now_ns).asked += 1

    def ended(self, turn: Turn, ttft_us: int | None, latency_us: int | None) -> None:
        """A turn has ended."""
        self._ended += 1
        self._measured += turn.phase == "run"
        second = self._seconds.at(turn.done_ns or turn.end_ns)
        second.chunks += turn.chunks
        if turn.status == "answered":
            self._answered += 1
            second.answered += 1
            second.tokens += turn.output_tokens or 0
            if ttft_us is not None:
                second.ttfts.append(ttft_us)
            if latency_us is not None:
                second.latencies.append(latency_us)
        else:
            self._unanswered += 1
            second.failed += turn.is_failure
            self._failures[turn.error or turn.status] += 1

    def session_begun(self) -> None:
        """A session is there."""
        self._sessions += 1

    def session_ended(self, *, completed: bool) -> None:
        """It asks no more."""
        self._sessions -= 1
        self._completed += completed

    def live(self, now_ns: int) -> Live:
        """Return how it goes."""
        last = self._seconds.last(now_ns)
        recent = self._seconds.recent(now_ns)
        infinite = sum(second.failed for second in recent)
        ttfts = sorted(value for second in recent for value in second.ttfts)
        latencies = sorted(value for second in recent for value in second.latencies)
        newest = last[-1] if last else self._seconds.at(now_ns)
        elapsed_s = max(now_ns - self._start_ns, 0) / _NS_PER_S
        return Live(
            elapsed_s=elapsed_s,
            stage=self._stage(elapsed_s),
            progress=self._progress(elapsed_s),
            asked=self._asked,
            answered=self._answered,
            failed=self._unanswered,
            in_flight=self._asked - self._ended,
            sessions=self._sessions,
            sessions_completed=self._completed,
            asked_per_s=newest.asked,
            answered_per_s=newest.answered,
            failed_per_s=newest.failed,
            output_tokens_per_s=newest.tokens,
            chunks_per_s=newest.chunks,
            ttft_p50=sorted_percentile(ttfts, 50.0, infinite),
            ttft_p95=sorted_percentile(ttfts, 95.0, infinite),
            latency_p50=sorted_percentile(latencies, 50.0, infinite),
            latency_p95=sorted_percentile(latencies, 95.0, infinite),
            failures=dict(self._failures.most_common()),
            rates=tuple(float(second.answered) for second in last),
            ttfts=tuple(second.ttft_p50 for second in last),
        )

    def _stage(self, elapsed_s: float) -> Stage:
        if elapsed_s < self._simulation.ramp_s:
            return "ramp"
        if elapsed_s < self._simulation.unmeasured_s:
            return "warm-up"
        return "run"

    def _progress(self, elapsed_s: float) -> float | None:
        """Return the share that is over: whichever bound comes first ends the run."""
        simulation = self._simulation
        shares: list[float] = []
        if simulation.duration_s:
            before_s = simulation.unmeasured_s
            shares.append(elapsed_s / (before_s + simulation.duration_s))
        if simulation.requests:
            shares.append(self._measured / simulation.requests)
        if not shares and not simulation.is_open:
            shares.append(self._ended / max(simulation.sessions * simulation.turns, 1))
        return min(max(shares), 1.0) if shares else None
