"""The seat of the UI, taken by simulated sessions.

    Start ──▶ Ask ──▶ … ──▶ Answered | Failed | Cancelled | Interrupted ──▶ Saved ──▶ Turn ──▶ turns.jsonl, Stats

A run has one stage, or three: where the server does not tell its true times, the client measures itself
before and after, against the simulated server. A seat that was killed is taken up again: what was under way
then is counted as lost.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from chatbot.errors import ChatbotError, ExitCode
from chatbot.ids import new_request_id
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    CacheRead,
    Cancelled,
    Delta,
    Failed,
    Flush,
    Flushed,
    Found,
    Interrupt,
    Interrupted,
    Leaving,
    Listed,
    ListModels,
    Loaded,
    ModelsListed,
    Notice,
    NotSaving,
    ProcessRestarted,
    ReadStatus,
    Ready,
    Recovered,
    Retrying,
    Saved,
    Saving,
    StatusRead,
    Stop,
    UiInbox,
    Undone,
)
from chatbot.settings import UiSettings
from chatbot.simulate import stages
from chatbot.simulate.accounts import Accounts, new_run
from chatbot.simulate.display import Display
from chatbot.simulate.html import page
from chatbot.simulate.journal import REPORT, RESULT, Journal, Past, take_up, to_text
from chatbot.simulate.prompts import Prompts
from chatbot.simulate.schedule import Schedule
from chatbot.simulate.stage import Stage
from chatbot.simulate.stages import Kind
from chatbot.simulation import Simulation
from chatbot.tracing import Recorder

INBOX = UiInbox
SETTINGS = UiSettings

_IDLE_S = 0.25
_LOOK_EVERY_S = 2.0
_BOOT_LOOK_S = 0.05
_BOOT_WITHIN_S = 20.0
_CANCEL_WITHIN_S = 5.0
_REPORT_WITHIN_S = 5.0
_UNFINISHED = "it had not ended when the run did"


class _Left(Exception):
    """Raised when the program is to end now, whatever is under way."""


def main(
    settings: UiSettings, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Run the simulation, write its report, and tell the supervisor how it went."""
    assert settings.simulation is not None  # noqa: S101 - the settings made it so
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr] # a TextIOWrapper in a process of its own
    outbox.send(Ready(os.getpid()))
    display = Display(settings, settings.simulation)
    try:
        code = Seat(settings, settings.simulation, inbox, outbox, recorder, display).run()
    except ChatbotError as error:
        display.say(str(error))
        code = ExitCode.USAGE
    except BrokenPipeError:  # whoever read the result has seen enough
        code = ExitCode.OK
    recorder.flush()
    outbox.send(Leaving(code))
    return ExitCode.OK


class Seat:
    """The loop: what is due is asked, what comes is taken, what is over is reported."""

    def __init__(
        self,
        settings: UiSettings,
        simulation: Simulation,
        inbox: Inbox[UiInbox],
        outbox: Outbox,
        recorder: Recorder,
        display: Display,
    ) -> None:
        self._simulation = simulation
        self._target = settings.target
        self._inbox = inbox
        self._outbox = outbox
        self._recorder = recorder
        self._display = display
        directory = Path(simulation.out)
        self._past = take_up(directory) if settings.restarted else Past()
        self._journal = Journal(directory)
        self._run = self._past.run or new_run(settings, simulation)
        self._accounts = Accounts(self._run)
        self._stage: Stage | None = None
        self._status: StatusRead | None = None
        self._models: ModelsListed | None = None
        self._look_at = 0.0
        self._is_flushed = False
        self._is_interrupted = False
        self._saves = simulation.saves

    def run(self) -> ExitCode:
        """Put on every stage; write and show the result."""
        try:
            self._await_all()
            self._probe()
            self._journal.begin(self._run)
            self._put_on_all()
            self._close_accounts()
        except _Left:
            self._give_up()
        return self._report()

    # --- before ----------------------------------------------------------------------------------

    def _await_all(self) -> None:
        """Wait until every process is there: what starts competes with what is to be measured."""
        deadline = time.perf_counter() + _BOOT_WITHIN_S

        def all_ready() -> bool:
            self._look_at = min(self._look_at, time.perf_counter() + _BOOT_LOOK_S)
            if self._status is None:
                return False
            workers = [each for each in self._status.processes if each.role == "worker"]
            return len(workers) >= self._simulation.workers and all(
                each.state == "ready" for each in self._status.processes
            )

        self._turn_until(all_ready, deadline)

    def _probe(self) -> None:
        """See whether there is somebody to ask. Raises ChatbotError with the remedy."""
        if self._target.backend == "sim" or self._past.run is not None:
            return
        self._outbox.send(ListModels(new_request_id(), self._target.backend))
        self._turn_until(lambda: self._models is not None, None)
        if self._models is not None and self._models.error:
            raise ChatbotError(self._models.error)

    # --- the stages ------------------------------------------------------------------------------

    def _put_on_all(self) -> None:
        simulation = self._simulation
        calibrates = self._target.backend != "sim" and simulation.calibration_s > 0
        if calibrates:
            self._put_on(stages.before(simulation))
        self._put_on(stages.run(simulation, self._target))
        if calibrates and not self._accounts.has_truth:
            self._put_on(stages.after(simulation, self._accounts.served))

    def _put_on(self, kind: Kind) -> None:
        """Go through one stage to its end, early or not."""
        past, simulation = self._past, kind.simulation
        if kind.number < past.stage or self._accounts.ended_early:
            return
        start_ns = past.start_ns if kind.number == past.stage else time.perf_counter_ns()
        schedule = Schedule(simulation, start_ns, random.Random(simulation.seed))  # noqa: S311 - to be repeatable
        self._accounts.begin(kind, schedule, start_ns)
        if kind.number == stages.RUN and self._status is not None:
            self._accounts.look(self._status, begin=True)
        stage = self._stage = Stage(
            kind,
            schedule,
            Prompts(simulation),
            self._outbox,
            self._recorder,
            self._journal,
            self._accounts,
            prefix=f"session_{int(self._run.started)}_{self._run.run_id}{kind.number}",
            saves=self._saves,
        )
        if kind.number == past.stage:
            self._resume(stage)
        else:
            self._journal.begin_stage(kind.number, start_ns)
        self._turn_until(lambda: stage.is_over or stage.is_late(time.perf_counter_ns()), None)
        if not stage.is_over:
            self._cut_off(stage)
        self._accounts.end(time.perf_counter_ns())
        self._stage = None

    def _resume(self, stage: Stage) -> None:
        """Go on where the seat was killed. The turns that were under way are counted as lost."""
        asked = [each for each in self._past.asked if each.stage == stage.kind.number]
        ended = [turn for turn in self._past.ended if stages.is_of(turn, stage.kind)]
        for turn in ended:
            self._accounts.restore(turn)
        stage.resume(asked, ended, time.perf_counter_ns())
        self._accounts.restarted("ui")

    def _cut_off(self, stage: Stage) -> None:
        """End what should have ended: first by asking for it, then by giving it up."""
        stage.cancel(time.perf_counter_ns())
        deadline = time.perf_counter() + _CANCEL_WITHIN_S
        if not self._turn_until(lambda: stage.is_over, deadline):
            stage.give_up("unfinished", _UNFINISHED, time.perf_counter_ns())

    def _stop_early(self, reason: str) -> None:
        if self._stage is None:
            raise _Left
        if not self._accounts.ended_early:
            self._accounts.ended_early = reason
            self._stage.is_stopped = True

    # --- the loop --------------------------------------------------------------------------------

    def _turn_until(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Ask and take until `done`, or until the deadline (of `perf_counter`); return whether it is done."""
        while not done():
            now = time.perf_counter()
            if deadline is not None and now >= deadline:
                return False
            wait_s = max(min(self._look_at - now, _IDLE_S), 0.0)
            if self._stage is not None:
                self._stage.ask_due(time.perf_counter_ns())
                self._outbox.flush()
                next_ns = self._stage.schedule.next_ns()
                if next_ns is not None:
                    wait_s = min(wait_s, max((next_ns - time.perf_counter_ns()) / 1e9, 0.0))
            self._journal.flush()
            for message in self._inbox.take(wait_s):
                self._take(message)
            self._tick(now)
        return True

    def _tick(self, now: float) -> None:
        """Show how it goes, and now and then look how everybody is."""
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._outbox.send(ReadStatus(new_request_id()))
            self._recorder.flush()
        if self._stage is not None:
            if self._display.is_due(now):
                self._display.show(self._accounts.live(time.perf_counter_ns()))
            if reason := self._accounts.hopeless(time.perf_counter_ns()):
                self._stop_early(reason)

    def _take(self, message: UiInbox) -> None:
        match message:
            case Answered() | Failed() | Cancelled() | Interrupted():
                if self._stage is not None:
                    self._stage.ended(message, time.perf_counter_ns())
            case Saved(request_id):
                if self._stage is not None:
                    self._stage.saved(request_id, time.perf_counter_ns())
            case Loaded():
                if self._stage is not None:
                    self._stage.loaded(message)
            case StatusRead():
                self._status = message
                self._accounts.look(message)
            case ModelsListed():
                self._models = message
            case Flushed():
                self._is_flushed = True
            case ProcessRestarted(role=role, reason=reason):
                self._accounts.restarted(role)
                self._display.say(f"{role} process restarted: {reason}")
            case NotSaving(reason=reason):
                self._saves = False
                self._accounts.not_saving = reason
                self._display.say(f"not saving: {reason}")
                if self._stage is not None:
                    self._stage.not_saving()
            case Saving():
                self._display.say("saving again")
            case Notice(text=text):
                self._display.say(text)
            case Interrupt():
                if self._is_interrupted:
                    raise _Left
                self._is_interrupted = True
                self._stop_early("interrupted")
            case Stop():
                raise _Left
            case Retrying() | Delta():
                pass  # nobody reads along; a turn's timing has its attempts
            case Listed() | Found() | Undone() | CacheRead() | Recovered():
                pass  # nobody asks for them
            case _:
                assert_never(message)

    # --- after -----------------------------------------------------------------------------------

    def _close_accounts(self) -> None:
        """Have everything written that was reported, and see what everybody has used for it."""
        self._recorder.flush()
        self._outbox.send(Flush(new_request_id()))
        self._turn_until(lambda: self._is_flushed, time.perf_counter() + _REPORT_WITHIN_S)
        self._status = None
        self._look_at = 0.0
        self._turn_until(lambda: self._status is not None, time.perf_counter() + _REPORT_WITHIN_S)

    def _give_up(self) -> None:
        self._accounts.ended_early = self._accounts.ended_early or "the program was ended"
        if self._stage is not None:
            self._stage.give_up("unfinished", _UNFINISHED, time.perf_counter_ns())
            self._accounts.end(time.perf_counter_ns())

    def _report(self) -> ExitCode:
        """Write the result, and show it."""
        result = self._accounts.result()
        written = self._journal.finish({RESULT: to_text(result), REPORT: page(result)})
        self._display.end(result, written, self._journal.fault)
        if self._is_interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.OK if result.totals.answered else ExitCode.TURN_FAILED
