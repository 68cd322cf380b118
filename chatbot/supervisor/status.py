"""What the supervisor knows of its processes, for `/top`."""

import os
import time

from chatbot.messages import ProcessStatus
from chatbot.supervisor.child import RunningChild
from chatbot.supervisor.family import Family


class Roll:
    """The processes and their states. `holds` are the requests that each worker has, by slot."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._began = time.monotonic()

    def call(self, holds: dict[int, int], now: float) -> tuple[ProcessStatus, ...]:
        """Return them in the order of their start: the supervisor, who runs, who is to be started."""
        myself = ProcessStatus("supervisor", 0, os.getpid(), "ready", now - self._began)
        running = [self._of(child, holds, now) for child in self._family.children.values()]
        waiting = [
            ProcessStatus(role, slot, 0, "waiting", 0.0, restarts=self._family.restarts(role, slot))
            for role, slot in (
                (spec.child.role, spec.child.slot)
                for _, spec in sorted(self._family.due, key=lambda due: due[0])
            )
        ]
        return (myself, *running, *waiting)

    def _of(self, child: RunningChild, holds: dict[int, int], now: float) -> ProcessStatus:
        state = "stopping" if child.stopping else "ready" if child.ready else "starting"
        return ProcessStatus(
            child.role,
            child.slot,
            child.process.pid or 0,
            state,
            now - child.began,
            queued=child.outbox.waiting,
            in_flight=holds.get(child.slot, 0) if child.role == "worker" else 0,
            restarts=self._family.restarts(child.role, child.slot),
        )
