"""The supervisor's loop: takes what comes through the pipes, obeys the dispatcher and the policy.

Everything happens in one thread, in the order of one queue of events; reader and writer threads
stand at the pipes. It never waits for a child: what it sends is queued, and bounded by the
dispatcher's limits. Called by `cli`, which exits with what `run` returns.
"""

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType

import msgspec

from chatbot import host
from chatbot.errors import ExitCode, MessageTooLarge
from chatbot.messages import (
    Ask,
    Beat,
    BootFailed,
    Call,
    Failed,
    Interrupt,
    Leaving,
    Level,
    Load,
    Message,
    Notice,
    NotSaving,
    ProcessRestarted,
    ProcessRole,
    Ready,
    Report,
    Stop,
)
from chatbot.settings import Settings
from chatbot.supervisor import plan
from chatbot.supervisor.child import Arrived, Ended, Events, RunningChild, Signalled
from chatbot.supervisor.dispatch import Dispatcher, Send
from chatbot.supervisor.plan import ProcessSpec
from chatbot.supervisor.policy import GiveUp, Restart, decide
from chatbot.supervisor.router import Router

_TICK_S = 1.0
_ASLEEP_S = 3.0
_SETTLE_S = 10.0


def run(settings: Settings) -> int:
    """Run the whole program; return its exit code."""
    return Supervisor(settings).run()


class Supervisor:
    """The processes that run now, those that are to be started, and the way between them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")
        self._events: Events = SimpleQueue()
        self._children: dict[tuple[ProcessRole, int], RunningChild] = {}
        self._started: set[tuple[ProcessRole, int]] = set()
        self._restarts: dict[tuple[ProcessRole, int], list[float]] = {}
        self._due: list[tuple[float, ProcessSpec]] = []
        self._dispatcher = Dispatcher(
            credit=settings.supervisor.credit, max_in_flight=settings.supervisor.max_in_flight
        )
        self._router = Router(self._children)
        self._recorder = self._router.recorder
        self._exit_code: int | None = None
        self._stopping = False
        self._session_id = settings.ui.session_id
        self._stdin = host.Stdin()
        self._modes = host.TerminalModes()

    def run(self) -> int:
        """Start everything, route until the UI leaves or a signal comes, stop everything."""
        for number in host.STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        try:
            self._start(plan.ui(self._settings), self._stdin)
            if self._settings.ui.mode != "chat":
                self._start_to_answer()
            self._turn_until(lambda: self._exit_code is not None, None)
            self._stop()
        finally:
            for child in self._children.values():
                child.process.kill()
            self._modes.restore()
        return ExitCode.OK if self._exit_code is None else self._exit_code

    # --- the loop --------------------------------------------------------------------------------

    def _turn_until(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Handle events until `done`, or until the deadline (monotonic); return whether it is done."""
        last_tick = time.monotonic()
        while not done():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return False
            wake = min([last_tick + _TICK_S, *(at for at, _ in self._due), deadline or now + 60])
            try:
                event = self._events.get(timeout=max(wake - now, 0.001))
                self._handle(event)
            except Empty:
                pass
            now = time.monotonic()
            if now - last_tick >= _TICK_S:
                self._tick(now, asleep=now - last_tick > _ASLEEP_S)
                last_tick = now
            self._start_due(now)
            self._recorder.flush()
        return True

    def _handle(self, event: Arrived | Ended | Signalled) -> None:
        match event:
            case Arrived(child, batch):
                child.last_heard = time.monotonic()
                for message in batch:
                    self._on_message(child, message)
                child.handled()
            case Ended(child):
                self._on_end(child)
            case Signalled(number):
                ui = self._children.get(("ui", 0))
                self._recorder.log("info", "signal", number=number)
                if number == signal.SIGINT and ui is not None and ui.ready and not self._stopping:
                    ui.outbox.post(Interrupt())
                else:
                    self._exit_code = ExitCode.INTERRUPTED

    def _on_message(self, child: RunningChild, message: Message) -> None:
        now = time.monotonic()
        match message:
            case Report():
                self._router.report(message)
            case Beat():
                pass
            case Ready():
                self._on_ready(child, message)
            case BootFailed(reason):
                child.boot_failure = reason
            case Leaving(exit_code):
                child.stopping = True
                self._exit_code = exit_code
            case _ if child.role == "ui":
                if isinstance(message, Ask | Load) and message.session_id:
                    self._session_id = message.session_id
                self._obey(self._dispatcher.from_ui(message, now))  # type: ignore[arg-type] # its reader decodes nothing else
            case _ if child.role == "store":
                self._obey(self._dispatcher.from_store(message, now))  # type: ignore[arg-type] # likewise
            case _:
                self._obey(self._dispatcher.from_worker(child.slot, message, now))  # type: ignore[arg-type] # likewise
        if self._dispatcher.wants_sim_server:
            self._want_sim_server()

    def _obey(self, sends: list[Send]) -> None:
        for send in sends:
            try:
                self._router.deliver(send.to, send.slot, send.message)
            except MessageTooLarge as error:
                self._recorder.log("error", "message_too_large", reason=str(error))
                if isinstance(send.message, Call):
                    call = send.message
                    reason = f"the conversation is too long to be sent ({error}); /new-session"
                    refused = Failed(call.request_id, call.attempt, "bad_request", reason)
                    now = time.monotonic()
                    self._obey(self._dispatcher.from_worker(send.slot, refused, now))

    def _tick(self, now: float, *, asleep: bool) -> None:
        """Once a second: checkpoints, held text, and the silence of those that should beat."""
        self._obey(self._dispatcher.tick(now))
        self._router.show_held()
        for child in self._children.values():
            if asleep:  # we were suspended, and so were they: their silence means nothing
                child.last_heard = now
            limit = child.spec.silent_for_s
            if limit is not None and child.ready and now - child.last_heard > limit:
                self._recorder.log("error", "stuck", role=child.role, slot=child.slot)
                child.process.kill()
                child.last_heard = now

    # --- births and deaths -----------------------------------------------------------------------

    def _start(self, spec: ProcessSpec, stdin: host.Stdin | None = None) -> None:
        child = RunningChild(spec, self._context, self._events, time.monotonic(), stdin)
        self._children[spec.child.role, spec.child.slot] = child
        if child.role == "telemetry":
            self._router.telemetry_started()

    def _start_all(self, specs: tuple[ProcessSpec, ...]) -> None:
        """Start those that were never started; what died since is the restart policy's business."""
        for spec in specs:
            key = (spec.child.role, spec.child.slot)
            if key not in self._started and not self._stopping:
                self._started.add(key)
                self._start(spec)

    def _start_to_answer(self) -> None:
        self._start_all(plan.to_answer(self._settings))
        if self._settings.ui.target.backend == "sim":
            self._start_all((plan.sim_server(self._settings),))

    def _want_sim_server(self) -> None:
        """Start the simulated server, or kill one that is there and cannot be reached."""
        server = self._children.get(("sim-server", 0))
        starting = any(spec.child.role == "sim-server" for _, spec in self._due)
        if server is not None and server.ready:
            server.process.kill()
        elif server is None and not starting and not self._stopping:
            self._start(plan.sim_server(self._settings))

    def _start_due(self, now: float) -> None:
        for at, spec in list(self._due):
            if at <= now:
                self._due.remove((at, spec))
                self._start(spec, self._stdin if spec.child.role == "ui" else None)

    def _on_ready(self, child: RunningChild, ready: Ready) -> None:
        child.ready = True
        self._recorder.log("info", "ready", role=child.role, slot=child.slot, child_pid=ready.pid)
        match child.role:
            case "ui":
                self._start_to_answer()
            case "store":
                self._obey(self._dispatcher.store_up())
            case "worker":
                self._obey(self._dispatcher.worker_up(child.slot))
                self._start_all(plan.behind_the_first_worker(self._settings))
            case "sim-server":
                self._obey(self._dispatcher.sim_up(ready.address))
            case "telemetry" | "supervisor":
                pass

    def _on_end(self, child: RunningChild) -> None:
        """A child's pipe has ended: everything it said has been heard. Reap it, and decide."""
        ended = child.reap()
        how = child.boot_failure or ended
        key = (child.role, child.slot)
        del self._children[key]
        now = time.monotonic()
        level: Level = "info" if child.stopping else "error"
        self._recorder.log(level, "ended", role=child.role, slot=child.slot, how=how)
        match child.role:
            case "worker":
                self._obey(self._dispatcher.worker_down(child.slot))
            case "store":
                self._dispatcher.store_down()
            case "sim-server":
                self._dispatcher.sim_down()
            case "ui":
                self._modes.restore()
            case "telemetry" | "supervisor":
                pass
        if child.stopping or (self._stopping and child.role != "store"):
            return
        history = self._restarts.setdefault(key, [])
        started = child.ready or child.killed_by_signal
        decision = decide(child.spec.policy, history, now, was_ready=started)
        if child.role == "ui" and self._settings.ui.mode != "chat":
            decision = GiveUp("there is no terminal to go on with")
        match decision:
            case Restart(after_s):
                history.append(now + after_s)
                self._recorder.count("chatbot.process.restarts", 1, {"role": child.role})
                self._due.append((now + after_s, self._reborn(child.spec)))
                self._tell_ui(ProcessRestarted(child.role, child.slot, how))
            case GiveUp(reason):
                self._recorder.log("error", "gave_up", role=child.role, reason=reason)
                self._give_up(child, how if child.boot_failure else f"{how}; {reason}")

    def _reborn(self, spec: ProcessSpec) -> ProcessSpec:
        """The UI comes back to the conversation it was in; everything else is stateless."""
        if spec.child.role != "ui" or not self._session_id:
            return spec
        back = msgspec.structs.replace(
            self._settings.ui, session_id=self._session_id, resume_latest=False, restarted=True
        )
        return msgspec.structs.replace(spec, settings=back)

    def _give_up(self, child: RunningChild, reason: str) -> None:
        """A process stays dead: go on without it where that is possible."""
        now = time.monotonic()
        match child.role:
            case "ui":
                self._say(f"chatbot: the terminal process ended: {reason}")
                self._exit_code = ExitCode.USAGE if child.boot_failure else ExitCode.TURN_FAILED
            case "store":
                self._tell_ui(NotSaving(reason))
                self._obey(self._dispatcher.store_gone(reason, now))
            case "worker":
                self._start_all(plan.behind_the_first_worker(self._settings))
                alive = [key for key in self._children if key[0] == "worker"]
                due = [spec for _, spec in self._due if spec.child.role == "worker"]
                if not alive and not due:
                    self._obey(self._dispatcher.workers_gone(f"no worker process: {reason}"))
            case "sim-server":
                self._obey(self._dispatcher.sim_gone(f"the simulated server: {reason}"))
            case "telemetry":
                self._router.telemetry_gone()
                self._tell_ui(Notice(f"no logs and traces from here on: {reason}"))
            case "supervisor":
                pass

    def _tell_ui(self, message: Message) -> None:
        self._router.deliver("ui", 0, message)

    # --- the end ---------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Stop everything, role by role, each by the same ladder: message, TERM, KILL."""
        self._stopping = True
        self._due = [(at, spec) for at, spec in self._due if spec.child.role == "store"]
        for role in plan.STOP_ORDER:
            if (
                role == "store"
            ):  # everything that ended must be saved, even by a store that dies now
                deadline = time.monotonic() + _SETTLE_S
                self._turn_until(lambda: self._dispatcher.idle, deadline)
                self._due.clear()
            members = [child for child in self._children.values() if child.role == role]
            for child in members:
                child.stopping = True
                child.outbox.post(Stop())
            if role == "telemetry":
                self._recorder.flush()
            for rung in ("wait", "terminate", "kill"):
                if rung != "wait":
                    for child in self._alive(members):
                        getattr(child.process, rung)()
                within_s = max((c.spec.stop_within_s for c in members), default=0.0)
                deadline = time.monotonic() + (within_s if rung == "wait" else 1.0)
                if self._turn_until(lambda: not self._alive(members), deadline):  # noqa: B023 - called at once
                    break

    def _alive(self, members: list[RunningChild]) -> list[RunningChild]:
        return [child for child in members if child in self._children.values()]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._events.put(Signalled(number))

    @staticmethod
    def _say(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
