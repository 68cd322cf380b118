"""Everything that is counted in a run, and the result that it adds up to."""

import os
import time
from collections import Counter

import msgspec

from chatbot.messages import StatusRead
from chatbot.settings import UiSettings
from chatbot.simulate import machine
from chatbot.simulate.accuracy import Errors, known
from chatbot.simulate.live_state import Live
from chatbot.simulate.machine import Usage, Used
from chatbot.simulate.past import Past, Run
from chatbot.simulate.result import DEFINITIONS, Result
from chatbot.simulate.schedule import Start
from chatbot.simulate.stages import RUN, Kind, Served
from chatbot.simulate.stats import Figures, Stats
from chatbot.simulate.turn import Turn
from chatbot.simulate.verdict import Evidence, busiest, cpu_share, judge
from chatbot.simulation import Simulation
from chatbot.version import __version__

# A server that answers none of so many turns, for so long, is not asked for the rest.
_HOPELESS_TURNS = 100
_TOGETHER = 64
_HOPELESS_NS = 5_000_000_000


def new_run(settings: UiSettings, simulation: Simulation) -> Run:
    """Return what is asked of a run that begins now."""
    return Run(
        program=f"chatbot {__version__}",
        run_id=os.urandom(3).hex(),
        started=time.time(),
        simulation=simulation,
        target=settings.target,
    )


class Accounts:
    """The sums of a run and of its calibrations; a `stage.Sink`."""

    def __init__(self, run: Run) -> None:
        self.ended_early = ""
        self.not_saving = ""
        self._run = run
        self._usage = Usage()
        self._seen_ns = 0  # when the processes were last seen
        self._restarts: Counter[str] = Counter()
        self._errors: list[Errors] = []  # of each stage, the last one under way
        self._telemetry_dropped = 0
        self._is_run = False
        self._to_add: list[Turn] = []
        self._ended = self._answered = 0  # turns of the run, those of the warm-up too
        self._began_ns = self._ended_ns = time.perf_counter_ns()
        self._stats = Stats(run.simulation, self._began_ns)
        self._figures: Figures | None = None

    # --- what happens ----------------------------------------------------------------------------

    def begin(self, kind: Kind, start_ns: int) -> None:
        """A stage begins, or is taken up again."""
        self._is_run = kind.number == RUN
        self._errors.append(Errors(kind.phase if kind.phase in ("before", "after") else "run"))
        if self._is_run:
            self._stats = Stats(kind.simulation, start_ns)
            self._began_ns = start_ns

    def end(self, now_ns: int, dropped: int, falling_ns: int | None = None) -> None:
        """The stage is over; so many turns were due in it and were never asked. `falling_ns` is when its
        load began to fall."""
        self._add_up()
        if self._is_run:
            self._ended_ns = now_ns
            self._stats.dropped(dropped)
            if self.ended_early and falling_ns is not None:
                self._stats.falling(falling_ns)
            self._figures = self._stats.figures(now_ns)
        self._is_run = False

    def session_begun(self, now_ns: int) -> None:
        """A session is there."""
        if self._is_run:
            self._stats.session_begun(now_ns)

    def session_ended(self, duration_ns: int, now_ns: int, *, completed: bool) -> None:
        """It asks no more."""
        if self._is_run:
            simulation = self._run.simulation
            lasts = bool(simulation.duration_s or simulation.requests)
            self._stats.session_ended(
                duration_ns, now_ns, completed=completed, replaced=lasts and not self.ended_early
            )

    def asked(self, start: Start, now_ns: int) -> None:
        """A turn went into the pipeline."""
        if self._is_run:
            self._stats.asked(start.phase, now_ns)

    def ended(self, turn: Turn) -> None:
        """A turn has ended. They are added up many at a time, which takes half the time that one by one does."""
        if self._is_run:
            self._ended += 1
            self._answered += turn.status == "answered"
        self._to_add.append(turn)
        if len(self._to_add) >= _TOGETHER:
            self._add_up()

    def restore(self, turn: Turn) -> None:
        """A turn has ended before this process had the seat."""
        self._stats.restore(turn)
        if self._is_run:
            self._ended += 1
            self._answered += turn.status == "answered"
        self._errors[-1].add(turn)

    def _add_up(self) -> None:
        turns, self._to_add = self._to_add, []
        for turn in turns:
            self._stats.ended(turn)
            self._errors[-1].add(turn)

    def take_up(self, past: Past) -> None:
        """Go on with what is known besides the turns."""
        self.ended_early = past.stopped
        self.not_saving = past.not_saving
        self._restarts.update(past.restarted)
        self._usage.take_up(past.used)
        self._seen_ns = past.seen_ns

    def restarted(self, role: str) -> None:
        """A process was started again."""
        self._restarts[role] += 1

    def look(self, status: StatusRead, *, begin: bool = False) -> tuple[tuple[Used, ...], int]:
        """See what the processes have used, and return it, and when; `begin`: count from now on."""
        self._telemetry_dropped = status.work.dropped
        if begin:
            self._usage.begin(status.processes)
        else:
            self._usage.look(status.processes)
        self._seen_ns = time.perf_counter_ns()
        return self._usage.used, self._seen_ns

    # --- what is known ---------------------------------------------------------------------------

    def live(self, now_ns: int) -> Live:
        """Return how the run goes."""
        self._add_up()
        return self._stats.live(now_ns)

    def hopeless(self, now_ns: int) -> str:
        """Return why it makes no sense to go on; empty: it does."""
        if not self._is_run or self._answered or now_ns - self._began_ns < _HOPELESS_NS:
            return ""
        if self._ended < max(_HOPELESS_TURNS, self._run.simulation.sessions):
            return ""
        return f"none of the first {self._ended:,} turns was answered"

    @property
    def has_truth(self) -> bool:
        """Whether the server of the run has told its true times."""
        return any(each.where == "run" and each.turns for each in known(self._errors))

    @property
    def served(self) -> Served | None:
        """Return what the answers of the run were like; None: there were none."""
        figures = self._figures
        if figures is None or not figures.totals.answered:
            return None
        first, gap = figures.metrics.get("ttft_service"), figures.metrics.get("gap")
        first_ms = first.p50 if first is not None else None
        gap_ms = gap.p50 if gap is not None else None
        return Served(
            first_s=first_ms / 1000 if isinstance(first_ms, float) else 0.0,
            gap_s=gap_ms / 1000 if isinstance(gap_ms, float) else 0.0,
            chunks=round(figures.totals.chunks / figures.totals.answered),
        )

    def result(self) -> Result:
        """Return the result of the whole run."""
        self._add_up()
        run, simulation = self._run, self._run.simulation
        figures = self._figures or self._stats.figures(self._ended_ns)
        wall_s = (self._ended_ns - self._began_ns) / 1e9
        looked_s = max(self._seen_ns - self._began_ns, 0) / 1e9
        described = machine.describe()
        processes = self._usage.processes(self._ended)
        accuracy = known(self._errors)
        verdict = judge(
            Evidence(
                simulation=simulation,
                totals=figures.totals,
                steady=figures.steady,
                whole=figures.whole,
                achieved_rate=figures.achieved_rate,
                metrics=figures.metrics,
                failures=figures.failures,
                timeline=figures.timeline,
                accuracy=accuracy,
                cpu_share=cpu_share(processes, looked_s, described.cores),
                busiest=busiest(processes, looked_s),
                ended_early=self.ended_early,
            )
        )
        return Result(
            program=run.program,
            run_id=run.run_id,
            started=run.started,
            wall_s=wall_s,
            ended_early=self.ended_early,
            command=simulation.command,
            backend=run.target.backend,
            model=run.target.model,
            seed=simulation.seed,
            settings=_settings(run),
            machine=described,
            definitions=DEFINITIONS,
            verdict=verdict,
            totals=figures.totals,
            requested_rate=figures.requested_rate,
            achieved_rate=figures.achieved_rate,
            whole=figures.whole,
            steady=figures.steady,
            slos=figures.slos,
            metrics=figures.metrics,
            by_turn=figures.by_turn,
            timeline=figures.timeline,
            failures=figures.failures,
            accuracy=accuracy,
            processes=processes,
            restarts=dict(self._restarts),
            not_saving=self.not_saving,
            telemetry_dropped=self._telemetry_dropped,
        )


def _settings(run: Run) -> dict[str, object]:
    """Return what was asked, as it stands in the result; prompts may be many, and may be private."""
    simulation: dict[str, object] = msgspec.to_builtins(run.simulation)
    simulation["prompts"] = len(run.simulation.prompts)
    pipeline = simulation.pop("pipeline")
    target = msgspec.to_builtins(run.target)
    return {"simulation": simulation, "target": target, "pipeline": pipeline}
