"""A real store process, and the parent's ends of its pipes.

The supervisor's place, and nothing of the supervisor: what is measured is the store, with the pipes
and the threads that every message goes through.
"""

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

import msgspec
import psutil

from chatbot import actor
from chatbot.history import DIGEST_OF_NOTHING, extended
from chatbot.mailbox import Outbox, Reader
from chatbot.messages import (
    Ask,
    Beat,
    FromAny,
    FromStore,
    Message,
    Ready,
    Report,
    Stop,
    Target,
)
from chatbot.settings import StoreSettings

DEADLINE_S = 120.0
STORE = actor.Child("store", 0, "chatbot.store.process", outlives_parent=True)
TARGET = Target("sim", "sim")


class StoreProcess:
    """A store in a process of its own. What it says is queued, or handed to `sink` while one is set.

    A wait in which nothing is heard ends the program after two minutes: a benchmark ends, whatever happens.
    """

    def __init__(self, settings: StoreSettings) -> None:
        context = get_context("spawn")
        inbox_end, self._to_store = context.Pipe(duplex=False)
        from_store, outbox_end = context.Pipe(duplex=False)
        self._process = context.Process(
            target=actor.run, args=(STORE, inbox_end, outbox_end), daemon=True
        )
        started = time.perf_counter()
        self._process.start()
        inbox_end.close()  # only the child may hold them: then their end is the child's end
        outbox_end.close()
        self.outbox = Outbox(self._to_store, preamble=msgspec.msgpack.encode(settings))
        self.sink: Callable[[Message], None] | None = None
        self._at_work = 0  # messages that went into a sink
        self._heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        Reader(from_store, FromStore | FromAny, self._hear, lambda _: self._heard.put(None))
        self.expect(Ready)
        self.ready_s = time.perf_counter() - started
        assert self._process.pid is not None
        self._seen = psutil.Process(self._process.pid)

    def expect(self, kind: Any) -> Any:
        """Return the next message, which must be of this kind."""
        message = self._next()
        if not isinstance(message, kind):
            raise SystemExit(f"the store said {message!r} where {kind!r} was expected")
        return message

    def ask(self, message: Message, kind: Any) -> Any:
        """Send a message and return its answer."""
        self.outbox.post(message)
        return self.expect(kind)

    def finish(self) -> None:
        """Wait for the word of a sink that its work is done."""
        message = self._next()
        self.sink = None
        if message is not DONE:
            raise SystemExit(f"the store ended while it was being measured, or said {message!r}")

    def done(self) -> None:
        """Say from a sink that its work is done."""
        self._heard.put(DONE)

    @property
    def cpu_s(self) -> float:
        """Processor time so far, in steps of the system's clock tick (mostly 10 ms)."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    @property
    def rss_bytes(self) -> int:
        """Memory in use, as the system counts it."""
        return int(self._seen.memory_info().rss)

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.join(DEADLINE_S)

    def close(self) -> None:
        """Stop it, and wait for its end; kill it if it does not come."""
        self.outbox.post(Stop())
        self._process.join(DEADLINE_S)
        self.kill()
        self.outbox.close(DEADLINE_S)
        self._to_store.close()
        self._process.close()

    def _next(self) -> Message | None:
        while True:
            before = self._at_work
            try:
                return self._heard.get(timeout=DEADLINE_S)
            except queue.Empty:
                if self._at_work == before:
                    raise SystemExit(f"the store said nothing for {DEADLINE_S:.0f} s") from None

    def _hear(self, batch: list[Message]) -> None:
        for message in batch:
            if isinstance(message, Report | Beat):
                continue
            if self.sink is not None and not isinstance(message, Ready):
                self._at_work += 1
                self.sink(message)
            else:
                self._heard.put(message)


DONE: Any = Stop()  # never comes from a store


@contextlib.contextmanager
def store(path: str, **settings: Any) -> Iterator[StoreProcess]:
    """Have a store process on this database while the block runs."""
    process = StoreProcess(StoreSettings(path, **settings))
    try:
        yield process
    finally:
        process.close()


def question(request_id: str, session_id: str, content: str) -> Ask:
    """Return a question without a history."""
    return Ask(
        request_id, session_id, content, TARGET, history_digest=extended(DIGEST_OF_NOTHING, ())
    )
