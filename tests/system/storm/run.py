"""The real supervisor, under watch: `python -m tests.system.storm.run`, with its scenario in a file.

What is replaced in the plan: the room in the UI's seat, the rooms that are armed, and the patience of
the policies, which is not what a storm is about. What is watched: births, what comes to the dispatcher.
"""

import os
import sys
from typing import Any


def main() -> int:
    """Run the program; return its exit code."""
    from chatbot.settings import Arguments, load
    from chatbot.supervisor import process
    from tests.system.storm.arms import Arm

    arm = Arm()
    scenario = arm.scenario
    _replace_rooms(arm)
    _watch_births(arm)
    _watch_dispatcher(arm)
    arguments = Arguments(
        mode="chat",
        backend=scenario.backends[0],
        model="sim",
        workers=2,
        db="chatbot.db",
        sim_server=scenario.server,
    )
    return process.run(load(arguments, os.environ))


def _replace_rooms(arm: Any) -> None:
    import msgspec

    from chatbot.supervisor import plan
    from chatbot.supervisor.policy import Policy

    rooms = {"ui": "driver", "sim-server": "armed_server"}
    rooms |= {role: f"armed_{role}" for role in ("store", "worker") if arm.scenario.arms(role)}

    def replaced(spec: Any) -> Any:
        if isinstance(spec, tuple):
            return tuple(replaced(each) for each in spec)
        child = spec.child
        if child.role in rooms:
            room = f"tests.system.storm.{rooms[child.role]}"
            child = msgspec.structs.replace(child, module=room)
        return msgspec.structs.replace(spec, child=child, policy=Policy(1_000_000, 30.0, (0.0,)))

    def replacing(make: Any) -> Any:
        return lambda *args, **more: replaced(make(*args, **more))

    for name in ("ui", "to_answer", "telemetry", "behind_the_first_worker", "sim_server"):
        setattr(plan, name, replacing(getattr(plan, name)))


def _watch_births(arm: Any) -> None:
    from multiprocessing.process import BaseProcess

    start = BaseProcess.start

    def watched_start(self: Any) -> None:
        child = self._args[0]  # before `start` forgets them
        start(self)
        arm.journal.write("born", pid=self.pid, role=child.role, slot=child.slot)

    BaseProcess.start = watched_start  # type: ignore[method-assign] # this process is a test's


def _watch_dispatcher(arm: Any) -> None:
    from chatbot.messages import Accepted, Answered, Ask, Saved, Sending
    from chatbot.supervisor.dispatch import Dispatcher

    from_ui, from_store, from_worker = (
        Dispatcher.from_ui,
        Dispatcher.from_store,
        Dispatcher.from_worker,
    )

    def watched_from_ui(self: Any, message: Any, *args: Any) -> Any:
        if isinstance(message, Ask):
            arm.journal.write("got", request_id=message.request_id)
        return from_ui(self, message, *args)

    def watched_from_store(self: Any, message: Any, *args: Any) -> Any:
        if not isinstance(message, Accepted | Saved):
            return from_store(self, message, *args)
        what = "accepted" if isinstance(message, Accepted) else "saved"
        arm.journal.write(what, request_id=message.request_id)
        return struck_around(
            f"supervisor {what}", message, lambda: from_store(self, message, *args)
        )

    def watched_from_worker(self: Any, slot: int, message: Any, *args: Any) -> Any:
        if not isinstance(message, Sending | Answered):
            return from_worker(self, slot, message, *args)
        point = "supervisor sending" if isinstance(message, Sending) else "supervisor answered"
        return struck_around(point, message, lambda: from_worker(self, slot, message, *args))

    def struck_around(point: str, message: Any, step: Any) -> Any:
        if not arm.aims_at(message.request_id):
            return step()
        arm.strike(f"{point} before")
        sends = step()
        arm.strike(f"{point} after")
        return sends

    Dispatcher.from_ui = watched_from_ui  # type: ignore[method-assign, assignment] # any arguments
    Dispatcher.from_store = watched_from_store  # type: ignore[method-assign, assignment] # any arguments
    Dispatcher.from_worker = watched_from_worker  # type: ignore[method-assign, assignment] # any arguments


if __name__ == "__main__":  # child processes import this file again, and must not start the program
    sys.exit(main())
