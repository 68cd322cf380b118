"""The seat of the UI, taken by simulated sessions.

    Start ──▶ Ask ──▶ … ──▶ Answered | Failed | Cancelled | Interrupted ──▶ Saved ──▶ Turn ──▶ turns.jsonl, Stats

It goes through the stages of the run, and may be ended in any of them. What the stages are, and what of them was done
before a kill, is said by `programme`.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from chatbot.actor import BEAT_EVERY_S
from chatbot.errors import ChatbotError, FailureKind
from chatbot.ids import new_request_id
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    Beat,
    CacheRead,
    Cancelled,
    ContextRead,
    Delta,
    Failed,
    Flush,
    Flushed,
    Found,
    Interrupt,
    Interrupted,
    Listed,
    ListModels,
    Loaded,
    ModelsListed,
    Notice,
    NotSaving,
    Picked,
    ProcessRestarted,
    ReadStatus,
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
from chatbot.simulate.accounts import Accounts, new_run
from chatbot.simulate.display import Display
from chatbot.simulate.html import page
from chatbot.simulate.journal import Journal, to_text
from chatbot.simulate.news import News
from chatbot.simulate.past import REPORT, RESULT, Past, take_up
from chatbot.simulate.programme import Programme
from chatbot.simulate.result import Result
from chatbot.simulate.stage import REST_S, Stage
from chatbot.simulate.stages import RUN
from chatbot.simulation import Simulation
from chatbot.tracing import Recorder

_INTERRUPTED, _ENDED = "interrupted", "the program was ended"
BY_PERSON = frozenset({_INTERRUPTED, _ENDED})  # why a run ends early when somebody wants it to

_NOBODY: frozenset[FailureKind] = frozenset({"unreachable", "auth", "timeout"})

_IDLE_S = 0.25
_LOOK_EVERY_S = 2.0
_SILENT_NS = 1_500_000_000  # how long the last answers may take before that is worth a line
_BOOT_LOOK_S = 0.05
_BOOT_WITHIN_S = 20.0
_CANCEL_WITHIN_S = 5.0
_CLOSE_WITHIN_S = 5.0


class NothingAsked(Exception):
    """Raised when the program is ended before there was a turn: there is nothing to report."""


class _Left(Exception):
    """Raised when the program is to end now, whatever is under way."""


class Seat:
    """The loop: what is due is asked, what comes is taken, what is over is counted."""

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
        self._look_at = self._beat_at = 0.0
        self._is_interrupted = self._is_ended = self._says_wait = False
        directory = Path(simulation.out)
        self._past = take_up(directory, self._beat) if settings.restarted else Past()
        self._journal = Journal(directory)
        self._run = self._past.run or new_run(settings, simulation)
        self._accounts = Accounts(self._run)
        self._accounts.take_up(self._past)
        self._news = News(self._accounts, self._journal, display)
        if settings.restarted:
            self._news.restarted("ui")
        self._programme = Programme(
            self._run,
            self._past,
            self._accounts,
            self._journal,
            self._news,
            outbox,
            recorder,
            self._beat,
        )

    def run(self) -> tuple[Result, list[str], str]:
        """Put on every stage and write the result; return it, the files that were written, and what went wrong
        with the others. Raises NothingAsked, ChatbotError, OSError."""
        if not self._past.begins:
            try:
                self._await_all()
                self._probe()
            except _Left:
                raise NothingAsked from None
            self._journal.begin(self._run)
        try:
            for stage in self._programme.stages():
                self._put_on(stage)
                self._programme.end()
            self._close_accounts()
        except _Left:
            if self._programme.stage is not None:
                self._accounts.ended_early = self._accounts.ended_early or _ENDED
                self._programme.stage.give_up(time.perf_counter_ns())
                self._programme.end()
        result = self._accounts.result()
        written = self._journal.finish({RESULT: to_text(result), REPORT: page(result)}, self._beat)
        return result, written, self._journal.fault

    # --- before ----------------------------------------------------------------------------------

    def _await_all(self) -> None:
        """Wait until every process is there: what starts competes with what is to be measured."""
        deadline = time.perf_counter() + _BOOT_WITHIN_S

        def all_there() -> bool:
            self._look_at = min(self._look_at, time.perf_counter() + _BOOT_LOOK_S)
            return not self._news.is_anybody_missing(self._simulation.workers)

        self._turn_until(all_there, deadline)

    def _probe(self) -> None:
        """See whether there is somebody to ask. Raises ChatbotError with the remedy.

        Not every server lists its models: where it only cannot do that, the turns decide.
        """
        if self._target.backend == "sim":
            return
        self._outbox.send(ListModels(new_request_id(), self._target.backend))
        self._turn_until(lambda: self._news.models is not None, None)
        models = self._news.models
        if models is None or not models.error:
            return
        if models.kind is None or models.kind in _NOBODY:
            raise ChatbotError(models.error)
        self._display.say(f"its models are not known, asking all the same ({models.error})")

    # --- the stages ------------------------------------------------------------------------------

    def _put_on(self, stage: Stage) -> None:
        """Go through one stage to its end, early or not."""
        if stage.kind.number != RUN:
            self._display.say(
                f"measuring this client itself {stage.kind.phase} the run, "
                f"for {stage.kind.simulation.duration_s:g} s"
            )
        self._turn_until(lambda: stage.is_over or stage.is_late(time.perf_counter_ns()), None)
        if not stage.is_over:
            stage.cancel(time.perf_counter_ns())
            deadline = time.perf_counter() + _CANCEL_WITHIN_S
            if not self._turn_until(lambda: stage.is_over, deadline):
                stage.give_up(time.perf_counter_ns())

    def _stop_early(self, reason: str) -> None:
        stage = self._programme.stage
        if stage is None:
            raise _Left
        if not self._accounts.ended_early:
            self._accounts.ended_early = reason
            self._journal.stopped(reason)
        stage.is_stopped = True

    # --- the loop --------------------------------------------------------------------------------

    def _turn_until(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Ask and take until `done`, or until the deadline (of `perf_counter`); return whether it is done."""
        while not done():
            now = time.perf_counter()
            if deadline is not None and now >= deadline:
                return False
            wait_s = max(min(self._look_at - now, _IDLE_S), 0.0)
            if stage := self._programme.stage:
                stage.ask_due(time.perf_counter_ns())
                stage.send()
                next_ns = stage.schedule.next_ns()
                if next_ns is not None:
                    wait_s = min(wait_s, max((next_ns - time.perf_counter_ns()) / 1e9, 0.0))
            self._journal.flush()
            for message in self._inbox.take(wait_s):
                self._take(message)
            self._tick(now)
        return True

    def _beat(self) -> None:
        """Show that the loop turns, or that it does what takes long."""
        now = time.perf_counter()
        if now >= self._beat_at:
            self._beat_at = now + BEAT_EVERY_S
            self._outbox.send(Beat())

    def _tick(self, now: float) -> None:
        """Show how it goes, and now and then look how everybody is."""
        self._beat()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._outbox.send(ReadStatus(new_request_id()))
            self._recorder.flush()
        if stage := self._programme.stage:
            if stage.kind.number == RUN and self._display.is_due(now):
                self._say_what_is_waited_for(stage)
                self._display.show(self._accounts.live(time.perf_counter_ns()))
            if reason := self._accounts.hopeless(time.perf_counter_ns()):
                self._stop_early(reason)

    def _say_what_is_waited_for(self, stage: Stage) -> None:
        """Say once that the time is over and answers are still to come."""
        since_ns = stage.schedule.draining_since_ns
        if self._says_wait or since_ns is None or not stage.kind.simulation.duration_s:
            return
        if time.perf_counter_ns() - since_ns > _SILENT_NS:
            self._says_wait = True
            self._display.say(
                f"the time is over; waiting for {stage.schedule.in_flight:,} turns, "
                f"{REST_S} s at most (Ctrl-C ends it)"
            )

    def _take(self, message: UiInbox) -> None:
        stage = self._programme.stage
        match message:
            case Answered() | Failed() | Cancelled() | Interrupted():
                if stage is not None:
                    stage.ended(message, time.perf_counter_ns())
            case Saved(request_id):
                if stage is not None:
                    stage.saved(request_id, time.perf_counter_ns())
            case Loaded():
                if stage is not None:
                    stage.loaded(message, time.perf_counter_ns())
            case NotSaving():
                self._news.take(message)
                if stage is not None:
                    stage.not_saving()
            case ProcessRestarted() | StatusRead() | ModelsListed() | Flushed():
                self._news.take(message)
            case Saving() | Notice():
                self._news.take(message)
            case Interrupt():
                if self._is_interrupted:
                    raise _Left
                self._is_interrupted = True
                self._stop_early(_INTERRUPTED)
            case Stop():
                # Without the supervisor nothing more comes, and nothing that is sent goes anywhere.
                if self._is_ended or message is self._inbox.parting:
                    raise _Left
                self._is_ended = True
                self._stop_early(_ENDED)
            case Retrying() | Delta():
                pass  # nobody reads along; a turn's timing has its attempts
            case (
                Listed() | Found() | Undone() | Picked() | CacheRead() | Recovered() | ContextRead()
            ):
                pass  # nobody asks for them
            case _:
                assert_never(message)

    # --- after -----------------------------------------------------------------------------------

    def _close_accounts(self) -> None:
        """Have everything written that was reported, and see what everybody has used for it."""
        deadline = time.perf_counter() + _CLOSE_WITHIN_S
        self._recorder.flush()
        self._outbox.send(Flush(new_request_id()))
        self._turn_until(lambda: self._news.is_flushed, deadline)
        self._news.status = None
        self._look_at = 0.0
        self._turn_until(lambda: self._news.status is not None, deadline)
