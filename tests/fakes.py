"""Stand-ins for the other end of a mailbox, and waiting with a deadline."""

import multiprocessing
import queue
import time
from collections.abc import Callable
from typing import Any

from chatbot.mailbox import Inbox, Outbox, Reader
from chatbot.messages import Message

SPAWN = multiprocessing.get_context("spawn")

# What keeps a program under test from sending to a collector that happens to run on this machine.
NO_COLLECTOR = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Poll a condition until it holds or the deadline passes; return whether it held."""
    deadline = time.monotonic() + within_s
    waiting = queue.SimpleQueue[None]()
    while not condition():
        if time.monotonic() > deadline:
            return False
        try:
            waiting.get(timeout=0.005)
        except queue.Empty:
            continue
    return True


class Peer:
    """The supervisor's side of a room that runs in this process: its two pipes, and what it said."""

    def __init__(self, room_reads: Any, room_says: Any) -> None:
        room_end, to_room = SPAWN.Pipe(duplex=False)
        from_room, says_end = SPAWN.Pipe(duplex=False)
        self.inbox: Inbox[Any] = Inbox(room_end, room_reads)
        self.outbox = Outbox(says_end)
        self.to_room = Outbox(to_room)
        self.heard: queue.Queue[Message] = queue.Queue()
        self.ended = queue.Queue[str]()
        self._reader = Reader(from_room, room_says, self._hear, self.ended.put)

    def send(self, *messages: Message) -> None:
        """Send messages to the room."""
        for message in messages:
            self.to_room.send(message)

    def next(self, kind: Any = object, within_s: float = 10.0) -> Any:
        """Return the next message of a kind; others before it are dropped. Raises queue.Empty."""
        deadline = time.monotonic() + within_s
        while True:
            message = self.heard.get(timeout=max(deadline - time.monotonic(), 0.001))
            if isinstance(message, kind):
                return message

    def _hear(self, batch: list[Message]) -> None:
        for message in batch:
            self.heard.put(message)
