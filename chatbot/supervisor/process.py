"""The supervisor's loop: takes what comes through the pipes, obeys the dispatcher and the policy.

Everything happens in one thread, in the order of one queue of events; reader and writer threads
stand at the pipes, so that no child can hold it up. Called by `cli`, which exits with what `run`
returns.
"""

import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType

import msgspec

from chatbot import host
from chatbot.errors import ExitCode, MessageTooLarge
from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Beat,
    Call,
    Cancelled,
    Delta,
    Entered,
    Failed,
    Flush,
    Flushed,
    Interrupt,
    Interrupted,
    Leaving,
    Level,
    ListModels,
    Load,
    Loaded,
    Message,
    Notice,
    NotSaving,
    ProcessRestarted,
    ReadContext,
    ReadStatus,
    Ready,
    Report,
    Resigned,
    Saved,
    Saving,
    Sending,
    StatusRead,
    Stop,
    Taken,
    TelemetryStatus,
    refused,
)
from chatbot.settings import Settings
from chatbot.supervisor import plan
from chatbot.supervisor.child import Arrived, Ended, Event, Events, RunningChild, Signalled
from chatbot.supervisor.depths import Depths
from chatbot.supervisor.dispatch import Dispatcher, Send
from chatbot.supervisor.family import Family
from chatbot.supervisor.outage import Outage
from chatbot.supervisor.plan import ProcessSpec
from chatbot.supervisor.policy import GiveUp, Restart
from chatbot.supervisor.router import Router
from chatbot.supervisor.status import Roll

_TICK_S = 1.0
_ASLEEP_S = 3.0
_SETTLE_S = 10.0
_REPORT_S = 5.0
_RUNG_S = 1.0
_HURRIED_S = 0.3
_LAST_TRY_S = 3.0
_ROUND_EVENTS = 256
_ROUND_S = 0.001
_MOST_INTERRUPTS = 2
_ENDED = "the program was ended"
_TURNS = frozenset({Sending, Delta, Answered, Accepted, Saved})  # the dispatcher's, always


def run(settings: Settings) -> int:
    """Run the whole program; return its exit code."""
    # Where the tracker that multiprocessing runs was killed, it tells the user of its own troubles.
    warnings.filterwarnings("ignore", module=r"multiprocessing\.resource_tracker")
    # And it passes the command line to every child, by a write that waits for the child to read.
    del sys.argv[1:]
    host.collect_seldom()
    if settings.ui.mode == "simulate":
        host.yield_to_who_runs()
    return Supervisor(settings).run()


class Supervisor:
    """Owns the processes and the way between them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._events: Events = SimpleQueue()
        self._family = Family(self._events)
        self._router = Router(self._family.children, settings.tracing)
        self._recorder = self._router.recorder
        self._dispatcher = Dispatcher(
            credit=settings.supervisor.credit,
            max_in_flight=settings.supervisor.max_in_flight,
            saves=settings.store.saves,
        )
        self._roll = Roll(self._family)
        self._telemetry = TelemetryStatus()
        self._dropped_by: dict[int, int] = {}  # records, by each telemetry that there was
        self._not_recording = ""
        self._depths = Depths(self._family.children, self._dispatcher, self._recorder)
        self._exit_code: int | None = None
        self._interrupts = 0  # that a run was told of
        self._ui_was_ready = False
        self._stopping = False
        self._hurried = False
        self._outage = Outage()
        self._session_id = settings.ui.session_id
        self._modes = host.TerminalModes()

    def run(self) -> int:
        """Start everything, route until the UI leaves or a signal comes, stop everything."""
        for number in host.STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                signal.signal(number, self._on_signal)
        chats = self._settings.ui.mode == "chat"
        try:
            self._start(plan.ui(self._settings))
            if not chats:
                self._start_to_answer()
            self._turn_until(lambda: self._exit_code is not None, None)
            self._stop()
        finally:
            self._family.kill_all()
            if chats:
                self._modes.restore(console=self._has_console)
        return ExitCode.OK if self._exit_code is None else self._exit_code

    # --- the loop --------------------------------------------------------------------------------

    def _turn_until(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Handle events until `done`, or until the deadline (monotonic); return whether it is done."""
        last_tick = began = time.monotonic()
        while True:
            self._router.hand_over()
            if done():
                return True
            # What follows an event gathers for a moment. A round for every frame would wake this
            # process up several times a turn, and take the processor from those who do the work.
            time.sleep(min(max(began + _ROUND_S - time.monotonic(), 0.0), _ROUND_S))
            now = time.monotonic()
            if deadline is not None and self._hurried:
                deadline = min(deadline, now + _HURRIED_S)
            if deadline is not None and now >= deadline:
                return False
            due = (at for at, _ in self._family.due)
            forward_at = self._router.forward_at(now) or now + 60
            wake = min([last_tick + _TICK_S, *due, forward_at, deadline or now + 60])
            if (event := self._next_event(max(wake - now, 0.001))) is not None:
                began = time.monotonic()
                self._handle_all(event)
            now = time.monotonic()
            if now - last_tick >= _TICK_S:
                self._tick(now, asleep=now - last_tick > _ASLEEP_S)
                last_tick = now
            for spec in self._family.take_due(now):
                self._start(spec)
            self._router.forward_due(now)

    def _next_event(self, timeout_s: float) -> Event | None:
        try:
            return self._events.get(timeout=timeout_s)
        except Empty:
            return None

    def _handle_all(self, event: Event) -> None:
        """Handle an event and those that have gathered behind it: what they lead to goes out together."""
        self._handle(event)
        with suppress(Empty):
            for _ in range(_ROUND_EVENTS - 1):
                self._handle(self._events.get_nowait())

    def _handle(self, event: Event) -> None:
        match event:
            case Arrived(child, batch):
                child.last_heard = now = time.monotonic()
                for message in batch:
                    self._on_message(child, message, now)
                child.handled()
            case Ended(child):
                self._on_end(child)
            case Signalled(number):
                self._on_stop_signal(number)

    def _on_stop_signal(self, number: int) -> None:
        """Ctrl-C is the UI's while it is there; anything else ends the program, twice at once."""
        self._recorder.log("info", "signal", number=number)
        if self._stopping:
            self._hurried = True
        elif number == signal.SIGINT and self._heeds_interrupts:
            self._interrupts += self._simulates
            if self._ui_listens:
                self._tell_ui(Interrupt())
        else:
            self._exit_code = ExitCode.INTERRUPTED

    @property
    def _heeds_interrupts(self) -> bool:
        """Whether there is a UI that Ctrl-C is for. A run that was interrupted twice ends at once: one that
        still does not is beyond being asked. One whose process is just coming back hears of it then."""
        if self._ui_listens:
            return self._interrupts < _MOST_INTERRUPTS
        return self._simulates and self._ui_was_ready and not self._interrupts

    @property
    def _ui_listens(self) -> bool:
        return any(ui.ready for ui in self._family.of("ui"))

    @property
    def _simulates(self) -> bool:
        return self._settings.ui.mode == "simulate"

    @property
    def _has_console(self) -> bool:
        ui = self._settings.ui
        return ui.mode == "chat" and not (ui.json or ui.plain or ui.is_dumb)

    def _on_message(self, child: RunningChild, message: Message, now: float) -> None:
        if type(message) in _TURNS:  # most messages by far
            self._dispatch(child, message, now)
            return
        match message:
            case Report():
                self._router.take(message)
            case Beat():
                pass
            case Ready():
                self._on_ready(child, message)
            case Entered(session_id):
                self._session_id = session_id
            case Flushed(request_id):
                self._router.flushed(request_id)
                self._tell_ui(message)
            case Notice() if child.role == "telemetry":
                self._tell_ui(message)
            case Taken(reports):
                self._router.taken(reports)
            case TelemetryStatus():
                self._telemetry = message
                self._dropped_by[child.process.pid or 0] = message.dropped
            case Flush(request_id):
                if not self._router.flush(message):
                    self._tell_ui(Flushed(request_id))
            case ReadStatus(request_id):
                self._tell_ui(self._status(request_id, now))
            case Resigned(reason, lasting):
                child.resignation = reason
                if child.role == "store":
                    self._outage.is_lasting = lasting
            case Leaving(exit_code):
                child.stopping = True
                if self._exit_code is None:  # else it only leaves because it was told to
                    self._exit_code = exit_code
            case Ask() | ListModels() | ReadContext() if self._stopping and not self._simulates:
                pass  # nobody is left to answer it, or to see the answer; a run cancels what it asked
            case _:
                self._dispatch(child, message, now)

    def _dispatch(self, child: RunningChild, message: Message, now: float) -> None:
        if child.role == "worker":
            self._obey(self._dispatcher.from_worker(child.slot, message, now))  # type: ignore[arg-type] # its reader decodes nothing else
        elif child.role == "store":
            self._obey(self._dispatcher.from_store(message, now))  # type: ignore[arg-type] # likewise
            self._tell_if_saving_again()
        else:
            self._obey(self._dispatcher.from_ui(message, now))  # type: ignore[arg-type] # likewise
        if self._dispatcher.wants_sim_server:
            self._want_sim_server()

    def _obey(self, sends: list[Send]) -> None:
        for send in sends:
            try:
                self._router.deliver(send.to, send.slot, send.message)
            except MessageTooLarge as error:
                self._recorder.log("error", "message_too_large", reason=str(error))
                self._refuse(send, f"too long to be passed on: {error}")

    def _refuse(self, send: Send, reason: str) -> None:
        """End what cannot be delivered for its size, so that nobody waits for it."""
        match send.message:
            case Call() as call:
                line = f"the conversation is {reason}; /new-session begins anew"
                failed = Failed(call.request_id, call.attempt, "bad_request", line)
                now = time.monotonic()
                self._obey(self._dispatcher.from_worker(send.slot, failed, now))
            case Answered() | Failed() | Cancelled() | Interrupted() as terminal:
                failed = Failed(terminal.request_id, terminal.attempt, "internal", reason)
                self._router.deliver(send.to, send.slot, failed)
            case Loaded(messages=(_, *rest)) as loaded:  # the answer under way makes it too large
                shorter = msgspec.structs.replace(
                    loaded, messages=tuple(rest[len(rest) // 2 :]), truncated=True
                )
                self._obey([Send(send.to, send.slot, shorter)])
            case Loaded() as loaded:
                self._router.deliver(send.to, send.slot, refused(Load(loaded.request_id), reason))
            case _:
                pass  # a piece of a stream, whose end tells the whole

    def _tick(self, now: float, *, asleep: bool) -> None:
        """Once a second: checkpoints, text that the UI had no room for, the depths of the queues, and
        who is stuck."""
        self._obey(self._dispatcher.tick(now))
        self._router.show_held()
        self._depths.tell()
        for child in self._family.kill_the_stuck(now, asleep=asleep):
            self._recorder.log("error", "stuck", role=child.role, slot=child.slot)

    # --- births and deaths -----------------------------------------------------------------------

    def _start(self, spec: ProcessSpec) -> None:
        try:
            self._family.start(spec)
        except OSError as error:  # out of descriptors, memory or processes: perhaps not for long
            how = f"cannot start a process: {error.strerror or error}"
            self._decide(spec, how, was_ready=True, says_why=False)
            return

    def _start_once(self, *specs: ProcessSpec) -> None:
        for spec in specs:
            if not self._family.was_started(spec) and not self._stopping:
                self._start(spec)

    def _start_to_answer(self) -> None:
        self._start_once(*plan.to_answer(self._settings))
        if self._settings.ui.target.backend == "sim":
            self._start_once(plan.sim_server(self._settings))

    def _want_sim_server(self) -> None:
        """Start the simulated server; one that is there but was not reached is asked again, and
        killed if it does not listen."""
        servers = self._family.of("sim-server")
        if not servers:
            if not self._family.is_due("sim-server") and not self._stopping:
                self._start(plan.sim_server(self._settings))
        elif servers[0].ready:
            if host.is_listening(servers[0].address):
                self._obey(self._dispatcher.sim_up(servers[0].address))
            else:
                servers[0].kill()

    def _on_ready(self, child: RunningChild, ready: Ready) -> None:
        child.ready = True
        child.address = ready.address
        self._recorder.log("info", "ready", role=child.role, slot=child.slot, child_pid=ready.pid)
        match child.role:
            case "ui":
                self._start_to_answer()
                self._ui_was_ready = True
                if child.spec.settings.restarted:
                    self._tell_again()
            case "store":
                self._obey(self._dispatcher.store_up())
                self._tell_if_saving_again()
            case "worker":
                self._obey(self._dispatcher.worker_up(child.slot))
                self._start_once(*plan.behind_the_first_worker(self._settings))
            case "sim-server":
                self._obey(self._dispatcher.sim_up(ready.address))
            case "telemetry" | "supervisor":
                pass

    def _tell_again(self) -> None:
        """Tell a UI that is back what the one before it was told, and it cannot know."""
        if self._outage.reason:
            self._tell_ui(NotSaving(self._outage.reason))
        for _ in range(self._interrupts):
            self._tell_ui(Interrupt())

    def _on_end(self, child: RunningChild) -> None:
        """A child's pipe has ended: everything it said has been heard. Reap it, and decide."""
        ended = child.reap()
        del self._family.children[child.role, child.slot]
        level: Level = "info" if child.stopping else "error"
        self._recorder.log(level, "ended", role=child.role, slot=child.slot, how=ended)
        self._router.ended(child, ended)
        match child.role:
            case "worker":
                self._obey(self._dispatcher.worker_down(child.slot))
            case "store":
                self._obey(self._dispatcher.store_down())
            case "sim-server":
                self._dispatcher.sim_down()
            case "ui":
                self._modes.restore(console=self._has_console)
                self._router.ui_ended()
            case "telemetry" | "supervisor":
                pass
        if child.stopping or (self._stopping and child.role not in plan.TO_THE_END):
            return
        if child.role == "ui" and child.told_to_stop:  # before it could say so itself
            self._exit_code = ExitCode.INTERRUPTED
            return
        # One that said why it cannot go on would only say it again.
        was_ready = (child.ready or child.killed_by_signal) and not child.resignation
        how = child.resignation or ended
        self._decide(child.spec, how, was_ready=was_ready, says_why=bool(child.resignation))

    def _decide(self, spec: ProcessSpec, how: str, *, was_ready: bool, says_why: bool) -> None:
        """Start a dead process again, or go on without it, as the policy says."""
        role, now = spec.child.role, time.monotonic()
        decision = self._family.decide(spec, now, was_ready=was_ready)
        if role == "ui" and self._settings.ui.mode not in ("chat", "simulate"):
            decision = GiveUp("there is no terminal to go on with")
        match decision:
            case Restart(after_s):
                self._recorder.count("chatbot.process.restarts", 1, {"role": role})
                self._family.due.append((now + after_s, self._reborn(spec)))
                self._tell_ui(ProcessRestarted(role, spec.child.slot, how))
            case GiveUp(reason):
                self._recorder.log("error", "gave_up", role=role, reason=reason)
                self._give_up(spec, how if says_why else f"{how}; {reason}", usage=says_why)

    def _reborn(self, spec: ProcessSpec) -> ProcessSpec:
        """The UI comes back to the conversation (or the run) it was in; everything else is stateless."""
        if spec.child.role != "ui" or not (self._session_id or self._simulates):
            return spec
        back = msgspec.structs.replace(
            self._settings.ui, session_id=self._session_id, resume_latest=False, restarted=True
        )
        return msgspec.structs.replace(spec, settings=back)

    def _give_up(self, spec: ProcessSpec, reason: str, *, usage: bool) -> None:
        """A process stays dead: go on without it where that is possible."""
        match spec.child.role:
            case "ui":
                self._say(f"the terminal process ended: {reason}{self._how_to_report()}")
                self._exit_code = ExitCode.USAGE if usage else ExitCode.TURN_FAILED
            case "store":
                self._go_round_the_store(spec, reason)
            case "worker":
                self._start_once(*plan.behind_the_first_worker(self._settings))
                if not self._family.of("worker") and not self._family.is_due("worker"):
                    self._obey(self._dispatcher.workers_gone(f"no worker process: {reason}"))
            case "sim-server":
                self._obey(self._dispatcher.sim_gone(f"the simulated server: {reason}"))
            case "telemetry":
                self._not_recording = reason
                for request_id in self._router.telemetry_gone():
                    self._tell_ui(Flushed(request_id))
                self._tell_ui(Notice(f"no logs and traces from here on: {reason}"))
            case "supervisor":
                pass

    def _how_to_report(self) -> str:
        """Say what is to be done about a run that nobody is left to report."""
        simulation = self._settings.ui.simulation
        if simulation is None:
            return ""
        return (
            f"; chatbot simulate report {shlex.quote(simulation.out)} reports what it had measured"
        )

    def _go_round_the_store(self, spec: ProcessSpec, reason: str) -> None:
        """Go on without a store, and try again later whether there can be one."""
        now = time.monotonic()
        after_s, is_news = self._outage.failed(reason)
        if is_news:
            self._tell_ui(NotSaving(reason))
        self._obey(self._dispatcher.store_gone(reason, now))
        if not self._stopping and not self._outage.is_lasting:
            self._family.due.append((now + after_s, spec))

    def _tell_if_saving_again(self) -> None:
        if self._outage.reason and self._dispatcher.is_saving:
            self._outage.ended()
            self._tell_ui(Saving(self._dispatcher.take_unsaved()))

    def _status(self, request_id: str, now: float) -> StatusRead:
        work = msgspec.structs.replace(
            self._dispatcher.status,
            dropped=self._router.dropped + sum(self._dropped_by.values()),
            collector=self._telemetry.collector,
            not_recording=self._not_recording,
        )
        return StatusRead(request_id, self._roll.call(self._dispatcher.holds, now), work)

    def _tell_ui(self, message: Message) -> None:
        self._router.deliver("ui", 0, message)

    # --- the end ---------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Stop everything, role by role, each by the same ladder: message, TERM, KILL."""
        if self._settings.ui.mode != "manage":
            self._start_once(plan.telemetry(self._settings))  # what was reported is to be written
        self._stopping = True
        self._family.due_only(*plan.TO_THE_END)
        self._family.hasten("telemetry", time.monotonic())
        for role in plan.STOP_ORDER:
            if role == "store":
                self._settle()
            if role == "telemetry":
                self._see_all_reported()
            members = self._family.of(role)
            for child in members:
                child.stopping = True
                self._router.forward()  # before telemetry hears of the end
                child.outbox.post(Stop())
            self._climb(members)

    def _settle(self) -> None:
        """End what is still open, and see everything saved, even by a store that dies just now."""
        self._obey(self._dispatcher.end_all(_ENDED))
        if self._outage.reason:
            self._family.due_only("telemetry")
            self._try_a_last_time()
        self._turn_until(self._is_settled, time.monotonic() + _SETTLE_S)
        self._family.due_only("telemetry")
        if unsaved := self._dispatcher.unsaved:
            were = "message was" if unsaved == 1 else "messages were"
            why = self._outage.reason or f"the store did not save it within {_SETTLE_S:g} s"
            self._say(f"{unsaved} {were} not saved: {why}")

    def _see_all_reported(self) -> None:
        """See telemetry take in hand all that was reported, even one that is started again for it."""
        self._family.hasten("telemetry", time.monotonic())
        self._router.forward()

        def done() -> bool:
            has_telemetry = self._family.of("telemetry") or self._family.is_due("telemetry")
            return self._router.is_reported or not has_telemetry

        self._turn_until(done, time.monotonic() + _REPORT_S)
        self._family.due.clear()

    def _try_a_last_time(self) -> None:
        """See whether what could not be saved until now can be saved by now."""
        if not self._dispatcher.unsaved or self._outage.is_lasting:
            return
        if not self._family.of("store"):
            self._start(plan.store(self._settings))

        def decided() -> bool:
            stores = self._family.of("store")
            return not stores or stores[0].ready

        if not self._turn_until(decided, time.monotonic() + _LAST_TRY_S):
            for store in self._family.of("store"):
                store.stopping = True
                store.kill()

    def _is_settled(self) -> bool:
        has_store = self._family.of("store") or self._family.is_due("store")
        return self._dispatcher.idle or not has_store

    def _climb(self, members: list[RunningChild]) -> None:
        """Wait for processes that were told to stop, then insist."""

        def gone() -> bool:
            return not any(self._family.has(child) for child in members)

        within_s = max((child.spec.stop_within_s for child in members), default=0.0)
        if self._turn_until(gone, time.monotonic() + within_s):
            return
        for insist in (RunningChild.terminate, RunningChild.kill):
            for child in members:
                if self._family.has(child):
                    insist(child)
            if self._turn_until(gone, time.monotonic() + _RUNG_S):
                return

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._events.put(Signalled(number))

    @staticmethod
    def _say(line: str) -> None:
        try:
            sys.stderr.write(f"chatbot: {line}\n")
            sys.stderr.flush()
        except OSError:
            pass  # there is nobody to tell
