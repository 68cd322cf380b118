"""One running child process: its pipes, its mailbox, and what is known about its health."""

import threading
from multiprocessing.context import SpawnContext
from queue import SimpleQueue
from typing import Any

import msgspec

from chatbot import actor, host
from chatbot.mailbox import Outbox, Reader
from chatbot.messages import Message, ProcessRole
from chatbot.supervisor.plan import ProcessSpec

_QUEUED_BATCHES = 64
_REAP_S = 1.0


class Arrived(msgspec.Struct, frozen=True):
    """An event of the supervisor's loop: these messages came from this child."""

    child: "RunningChild"
    batch: list[Message]


class Ended(msgspec.Struct, frozen=True):
    """An event of the supervisor's loop: this child's pipe has been read to its end."""

    child: "RunningChild"
    reason: str


class Signalled(msgspec.Struct, frozen=True):
    """An event of the supervisor's loop: the supervisor was sent this signal."""

    number: int


Event = Arrived | Ended | Signalled
Events = SimpleQueue[Event]  # reentrant: a signal handler may put into it


class RunningChild:
    """A child from its start to its end. A restart makes a new one, with new pipes."""

    def __init__(
        self,
        spec: ProcessSpec,
        context: SpawnContext,
        events: Events,
        now: float,
        stdin: host.Stdin | None = None,
    ) -> None:
        self.spec = spec
        self.ready = False
        self.stopping = False
        self.resignation = ""
        self.address = ""
        self._killed = False
        self.began = now
        self.last_heard = now
        from_child, childs_outbox = context.Pipe(duplex=False)
        childs_inbox, to_child = context.Pipe(duplex=False)
        self.process = context.Process(
            target=actor.run,
            args=(spec.child, childs_inbox, childs_outbox, stdin),
            name=f"chatbot-{spec.child.role}",
            daemon=True,
        )
        with host.shell_signals_held():
            self.process.start()
        # The child's ends are the child's alone: only then does its death end the pipe.
        childs_inbox.close()
        childs_outbox.close()
        # The settings come through the pipe, too: `start` writes its arguments itself, and would
        # wait for ever on a child that was killed before it had read many of them.
        settings = msgspec.msgpack.encode(spec.settings)
        self.outbox = Outbox(to_child, spec.queued, preamble=settings)
        self._ends = (from_child, to_child)
        self._events = events
        self._room = threading.BoundedSemaphore(_QUEUED_BATCHES)
        self._reader = Reader(from_child, spec.says, self._arrived, self._ended)

    @property
    def role(self) -> ProcessRole:
        """Its role in the plan."""
        return self.spec.child.role

    @property
    def slot(self) -> int:
        """Which of its role it is; 0 where there is one."""
        return self.spec.child.slot

    @property
    def killed_by_signal(self) -> bool:
        """Whether it was ended from outside. Only after `reap`."""
        return (self.process.exitcode or 0) < 0

    @property
    def told_to_stop(self) -> bool:
        """Whether somebody else ended it, by a signal that asks a program to stop. Only after
        `reap`."""
        return not self._killed and host.was_told_to_stop(self.process.exitcode or 0)

    def handled(self) -> None:
        """A batch of this child has been dealt with: its reader may bring another."""
        self._room.release()

    def reap(self) -> str:
        """Wait for the end of a process whose pipe has ended; return how it ended, for a person."""
        self.process.join(_REAP_S)
        if self.process.exitcode is None:  # it closed its pipe and lives on: no use to anyone
            self.kill()
            self.process.join(_REAP_S)
        code = self.process.exitcode
        if self.outbox.close(_REAP_S):  # nobody stands at the pipes any more
            for end in self._ends:
                end.close()
        if code is not None and code < 0:
            return f"killed by signal {-code}"
        if code == actor.CRASHED:
            return "it crashed, the log has the details"
        return f"exit code {code}"

    def terminate(self) -> None:
        """Ask it to end, by a signal."""
        self.process.terminate()

    def kill(self) -> None:
        """End it."""
        self._killed = True  # the exit code does not tell on Windows
        self.process.kill()

    def _arrived(self, batch: list[Any]) -> None:
        self._room.acquire()
        self._events.put(Arrived(self, batch))

    def _ended(self, reason: str) -> None:
        self._events.put(Ended(self, reason))
