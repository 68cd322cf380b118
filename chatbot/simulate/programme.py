"""The stages of a run, one after the other, from the first or from where the seat was killed.

There is one, or there are three: where the server does not tell its true times, the client measures itself before and
after, against the simulated server. Of a run that is taken up again, what was over is counted again, and what was under
way in the stage that was not is lost.
"""

import random
import time
from collections.abc import Callable, Iterator

from chatbot.mailbox import Outbox
from chatbot.simulate import stages
from chatbot.simulate.accounts import Accounts
from chatbot.simulate.journal import Journal
from chatbot.simulate.news import News
from chatbot.simulate.past import Over, Past, Run
from chatbot.simulate.prompts import Prompts
from chatbot.simulate.restore import restore
from chatbot.simulate.schedule import Schedule
from chatbot.simulate.stage import Stage
from chatbot.simulate.stages import Kind
from chatbot.tracing import Recorder


class Programme:
    """What is to be put on. `stage` is the one that is under way; None: none is."""

    def __init__(
        self,
        run: Run,
        past: Past,
        accounts: Accounts,
        journal: Journal,
        news: News,
        outbox: Outbox,
        recorder: Recorder,
        beat: Callable[[], None],
    ) -> None:
        self.stage: Stage | None = None
        self._run = run
        self._past = past
        self._accounts = accounts
        self._journal = journal
        self._news = news
        self._outbox = outbox
        self._recorder = recorder
        self._beat = beat

    def stages(self) -> Iterator[Stage]:
        """Yield each stage that is to be gone through; `end` it before the next is asked for. None begins
        once the run is to end early."""
        for kind in self._kinds():
            now_ns = time.perf_counter_ns()
            if kind.number in self._past.overs:
                restore(self._past, kind, self._accounts, self._journal, now_ns, self._beat)
            elif kind.number in self._past.begins:
                yield self._resume(kind, now_ns)
            elif not self._accounts.ended_early:
                yield self._begin(kind, now_ns)

    def end(self) -> None:
        """The stage that is under way is over."""
        assert self.stage is not None  # noqa: S101 - there is none to be ended twice
        schedule = self.stage.schedule
        over = Over(time.perf_counter_ns(), schedule.dropped)
        self._accounts.end(over.end_ns, over.dropped, schedule.draining_since_ns)
        self._journal.end_stage(self.stage.kind.number, over)
        self.stage = None

    def _kinds(self) -> Iterator[Kind]:
        simulation, target = self._run.simulation, self._run.target
        calibrates = target.backend != "sim" and simulation.calibration_s > 0
        if calibrates:
            yield stages.before(simulation)
        yield stages.run(simulation, target)
        if calibrates and not self._accounts.has_truth:
            yield stages.after(simulation, self._accounts.served)

    def _begin(self, kind: Kind, now_ns: int) -> Stage:
        self._journal.begin_stage(kind.number, now_ns)
        self._accounts.begin(kind, now_ns)
        if kind.number == stages.RUN and self._news.status is not None:
            self._news.look(self._news.status, begin=True)
        return self._new_stage(kind, now_ns)

    def _resume(self, kind: Kind, now_ns: int) -> Stage:
        stage = self._new_stage(kind, self._past.begins[kind.number])
        turns = restore(self._past, kind, self._accounts, self._journal, now_ns, self._beat)
        stage.resume(turns, self._past.open(kind), now_ns)
        return stage

    def _new_stage(self, kind: Kind, start_ns: int) -> Stage:
        simulation = kind.simulation
        stage = self.stage = Stage(
            kind,
            Schedule(simulation, start_ns, random.Random(simulation.seed)),  # noqa: S311 - to be repeatable
            Prompts(simulation),
            self._outbox,
            self._recorder,
            self._journal,
            self._accounts,
            prefix=f"session_{int(self._run.started)}_{self._run.run_id}{kind.number}",
            saves=simulation.saves and not self._accounts.not_saving,
        )
        stage.is_stopped = bool(self._accounts.ended_early)
        return stage
