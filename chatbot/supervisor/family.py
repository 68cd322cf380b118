"""The processes that run now, those that are to be started, and those that have been.

It starts them and knows their health; what a birth or a death means is the supervisor's business.
"""

import multiprocessing
import time

from chatbot import host
from chatbot.messages import ProcessRole
from chatbot.supervisor.child import Events, RunningChild
from chatbot.supervisor.plan import ProcessSpec
from chatbot.supervisor.policy import GiveUp, Restart, decide

Key = tuple[ProcessRole, int]

BOOT_WITHIN_S = 20.0


class Family:
    """The supervisor's children, by role and slot."""

    def __init__(self, events: Events) -> None:
        self.children: dict[Key, RunningChild] = {}
        self.due: list[tuple[float, ProcessSpec]] = []
        self._events = events
        self._context = multiprocessing.get_context("spawn")
        self._ever: set[Key] = set()
        self._restarts: dict[Key, list[float]] = {}
        self._stdin = host.Stdin()

    def start(self, spec: ProcessSpec) -> RunningChild:
        """Start a process. Raises OSError when this machine has no room for it."""
        key = (spec.child.role, spec.child.slot)
        self._ever.add(key)
        stdin = self._stdin if spec.child.role == "ui" else None
        child = RunningChild(spec, self._context, self._events, time.monotonic(), stdin)
        self.children[key] = child
        return child

    def was_started(self, spec: ProcessSpec) -> bool:
        """Whether this process runs or once ran; if it died, the policy has decided about it."""
        return (spec.child.role, spec.child.slot) in self._ever

    def take_due(self, now: float) -> list[ProcessSpec]:
        """Return what is to be started by now; it is not due any more."""
        specs = [spec for at, spec in self.due if at <= now]
        self.due = [(at, spec) for at, spec in self.due if at > now]
        return specs

    def is_due(self, role: ProcessRole) -> bool:
        """Whether a process of this role is to be started again."""
        return any(spec.child.role == role for _, spec in self.due)

    def due_only(self, *roles: ProcessRole) -> None:
        """Start no others than these again."""
        self.due = [entry for entry in self.due if entry[1].child.role in roles]

    def hasten(self, role: ProcessRole, now: float) -> None:
        """Start a role that is due without its pause."""
        self.due = [(now if spec.child.role == role else at, spec) for at, spec in self.due]

    def restarts(self, role: ProcessRole, slot: int) -> int:
        """Return how often this process was started again."""
        return len(self._restarts.get((role, slot), ()))

    def of(self, role: ProcessRole) -> list[RunningChild]:
        """Return the running processes of a role."""
        return [child for child in self.children.values() if child.role == role]

    def has(self, child: RunningChild) -> bool:
        """Whether this very process still runs, as far as is known."""
        return self.children.get((child.role, child.slot)) is child

    def decide(self, spec: ProcessSpec, now: float, *, was_ready: bool) -> Restart | GiveUp:
        """Ask the policy about a process that is dead; a restart is noted in its history."""
        history = self._restarts.setdefault((spec.child.role, spec.child.slot), [])
        decision = decide(spec.policy, history, now, was_ready=was_ready)
        if isinstance(decision, Restart):
            history.append(now + decision.after_s)
        return decision

    def kill_the_stuck(self, now: float, *, asleep: bool) -> list[RunningChild]:
        """Kill, and return, those whose loop is silent or whose start takes too long.

        `asleep`: the supervisor was suspended, and so were they; their silence means nothing.
        """
        stuck: list[RunningChild] = []
        for child in self.children.values():
            if asleep:
                child.last_heard = now
            limit = child.spec.silent_for_s if child.ready else BOOT_WITHIN_S
            if limit is not None and now - child.last_heard > limit:
                child.kill()
                child.last_heard = now
                stuck.append(child)
        return stuck

    def kill_all(self) -> None:
        """End whatever is left, at once."""
        for child in self.children.values():
            child.kill()
