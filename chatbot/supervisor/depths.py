"""How full the queues are, as gauges: looked at once a second, told where it is news."""

from chatbot.messages import AttributeValue, ProcessRole
from chatbot.supervisor.child import RunningChild
from chatbot.supervisor.dispatch import Dispatcher
from chatbot.tracing import Recorder

_QUEUES: dict[ProcessRole, str] = {
    "ui": "ui",
    "store": "store",
    "worker": "workers",
    "telemetry": "telemetry",
}


class Depths:
    """Reads the queues of the supervisor: `llm.requests` (accepted, and no worker has room), and what
    is written for each process and not yet in its pipe.

    A queue that is empty and was so before is not told of.
    """

    def __init__(
        self,
        children: dict[tuple[ProcessRole, int], RunningChild],
        dispatcher: Dispatcher,
        recorder: Recorder,
    ) -> None:
        self._children = children
        self._dispatcher = dispatcher
        self._recorder = recorder
        self._told: dict[str, int] = {}

    def tell(self) -> None:
        """Set the gauges."""
        waiting, in_flight = self._dispatcher.depths
        depths = {"llm.requests": waiting}
        for (role, _), child in self._children.items():
            if queue := _QUEUES.get(role):
                depths[queue] = depths.get(queue, 0) + child.outbox.waiting
        for queue, depth in depths.items():
            self._tell("chatbot.queue.depth", depth, {"queue": queue}, queue)
        self._tell("chatbot.requests.in_flight", in_flight, {}, "in_flight")

    def _tell(self, name: str, value: int, attributes: dict[str, AttributeValue], key: str) -> None:
        if value or self._told.get(key):
            self._recorder.gauge(name, value, attributes)
        self._told[key] = value
