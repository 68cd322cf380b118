"""Frames, batches and bounded queues over one-way pipes.

Each edge between two processes is a private pipe with a single writer and a single reader; nothing
is shared, so a process that is killed can leave no lock behind. At each end a thread does the
blocking work: the reader decodes frames into typed messages, the writer packs what has gathered
into one frame. This is the only module that imports `multiprocessing.connection`, and bytes on
the pipe are MessagePack, never pickles.

A frame is a MessagePack array of messages, at most 4 MiB. Messages are encoded one by one as they
are sent, which makes their size known and puts an encoding error where its cause is.

A peer that is gone is noticed by the reader, as the end of the stream after the last whole frame;
what is sent to it after that is dropped without a word, since nobody can act on it there.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import msgspec

from chatbot import host
from chatbot.errors import MessageTooLarge
from chatbot.messages import Message, Stop

MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_MESSAGE_BYTES = MAX_FRAME_BYTES - 5  # an array header takes up to five bytes

_QUEUED_MESSAGES = 4096
_QUEUED_BATCHES = 64
_HEADERS_BYTES = 32  # of a frame, at most: the array's, and that of the connection

M = TypeVar("M")
_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Encode one message. Raises MessageTooLarge above what a frame can hold."""
    data = _encoder.encode(message)
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"{type(message).__name__} is {len(data) / 2**20:.1f} MiB, more than the "
            f"{MAX_FRAME_BYTES // 2**20} MiB that can be passed between processes"
        )
    return data


def frame_of(parts: list[bytes]) -> bytes:
    """Join encoded messages into one frame: a MessagePack array32 header and the parts."""
    return b"\xdd" + len(parts).to_bytes(4, "big") + b"".join(parts)


class Outbox:
    """The sending end of a pipe: a bounded queue and the thread that writes it out in batches.

    A preamble goes out before everything else, as a frame of its own that holds no messages.
    """

    def __init__(
        self,
        connection: "Connection[Any, Any]",
        limit: int = _QUEUED_MESSAGES,
        preamble: bytes = b"",
    ) -> None:
        self._connection = connection
        self._preamble = preamble
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._gathered: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._writing = threading.Lock()  # held around pop and write, so that the order is kept
        self._closed = False
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        """Queue a message; blocks while the queue is full. Raises MessageTooLarge."""
        data = encode(message)
        with self._changed:
            while len(self._queue) >= self._limit and not self._broken:
                self._changed.wait()
            self._append(data)

    def offer(self, message: Message) -> bool:
        """Queue a message unless the queue is full; never blocks. Raises MessageTooLarge."""
        data = encode(message)
        with self._changed:
            if self.waiting >= self._limit and not self._broken:
                return False
            self._append(data)
            return True

    def post(self, message: Message) -> None:
        """Queue a message even when the queue is full: for what its sender has bounded already."""
        data = encode(message)
        with self._changed:
            self._append(data)

    def gather(self, message: Message) -> None:
        """Keep a message for the next `flush`, whether or not the queue is full; takes no lock.

        For a thread that sends many. What it sends in another way meanwhile goes out behind these.
        Raises MessageTooLarge.
        """
        self.gather_encoded(encode(message))

    def gather_encoded(self, data: bytes) -> None:
        """Do as `gather` with a message that is encoded already."""
        self._gathered.append(data)

    def gather_offered(self, message: Message) -> bool:
        """Do as `gather` unless the queue is full. Raises MessageTooLarge."""
        data = encode(message)
        if self.waiting >= self._limit and not self._broken:
            return False
        self._gathered.append(data)
        return True

    def flush(self) -> None:
        """Queue what was gathered; write it in this thread where that surely blocks nobody.

        So it is with a peer that has read all there was: the other thread need not wake up for it.
        """
        if not self._gathered:
            return
        if not self._writing.acquire(blocking=False):  # it is just writing
            with self._changed:
                self._append()
            return
        try:
            with self._changed:
                self._append(wakes=False)
                size = sum(map(len, self._queue)) + _HEADERS_BYTES
                if self._preamble or size > host.room_in_pipe(self._connection):
                    self._changed.notify_all()
                    return
            self._write_queued()
        finally:
            self._writing.release()

    def send_now(self, *messages: Message) -> None:
        """Write these messages, and all that is queued before them, in this thread.

        When it returns, the bytes are in the pipe and will be read even if this process dies at
        once. Blocks while the pipe is full. Raises MessageTooLarge.
        """
        data = map(encode, messages)
        with self._writing:
            with self._changed:
                self._append(*data, wakes=False)
            self._write_queued()

    @property
    def waiting(self) -> int:
        """How many messages are queued."""
        return len(self._queue) + len(self._gathered)

    def close(self, timeout_s: float) -> bool:
        """Write out what is queued, then end the thread; False when that took too long."""
        with self._changed:
            self._append()
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _append(self, *data: bytes, wakes: bool = True) -> None:
        """Queue this behind what was gathered before it. The caller holds `_changed`; `wakes` False: it
        writes the queue itself, and need not wake the thread up for that."""
        was_empty = not self._queue
        while self._gathered:  # one by one: another thread may be gathering
            self._queue.append(self._gathered.popleft())
        self._queue += data
        if self._broken:
            self._queue.clear()
        elif was_empty and wakes:
            self._changed.notify_all()

    def _run(self) -> None:
        if self._preamble:
            with self._writing:
                self._write(self._preamble)
                self._preamble = b""
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
            with self._writing:
                self._write_queued()

    def _write_queued(self) -> None:
        """Write frames until the queue is empty. The caller holds `_writing`."""
        while batch := self._take_batch():
            self._write(frame_of(batch))

    def _write(self, frame: bytes) -> None:
        try:
            self._connection.send_bytes(frame)
        except OSError:  # the peer is gone; the inbox of the same peer reports it
            with self._changed:
                self._broken = True
                self._queue.clear()
                self._changed.notify_all()

    def _take_batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        with self._changed:
            while self._queue and size + len(self._queue[0]) <= MAX_MESSAGE_BYTES:
                data = self._queue.popleft()
                size += len(data)
                batch.append(data)
            if batch:
                self._changed.notify_all()
        return batch


class Reader(threading.Thread):
    """The receiving end of a pipe: a thread that decodes each frame and hands it to `sink`.

    `sink` may block; then the pipe fills and the peer waits. `ended` is called once, after the last
    whole frame, with the reason: end of file, a broken-off frame, or bytes that are not of `kind`.
    """

    def __init__(
        self,
        connection: "Connection[Any, Any]",
        kind: Any,
        sink: Callable[[list[Any]], None],
        ended: Callable[[str], None],
    ) -> None:
        super().__init__(name="inbox", daemon=True)
        self._connection = connection
        self._decoder = msgspec.msgpack.Decoder(list[kind])
        self._sink = sink
        self._ended = ended
        self.start()

    def run(self) -> None:
        """Read until the pipe ends."""
        while True:
            try:
                frame = self._connection.recv_bytes(MAX_FRAME_BYTES)
                batch = self._decoder.decode(frame)
            except (EOFError, OSError) as error:  # a death in mid-frame is an OSError
                self._ended(str(error) or "end of file")
                return
            except msgspec.DecodeError as error:
                self._ended(f"bad frame: {error}")
                return
            self._sink(batch)


class Inbox(Generic[M]):
    """A process's own inbox: its pipe from the supervisor, and what the process posts to itself.

    The end of the pipe is delivered as a `Stop`: whoever is left behind drains and leaves. Who must
    know the one from the other compares with `parting`: it is that very object. A room with a loop of
    its own subscribes; the others iterate over `batches`.
    """

    def __init__(self, connection: "Connection[Any, Any]", kind: Any) -> None:
        self._connection = connection
        self._kind = kind
        self._queue: SimpleQueue[list[Any]] = SimpleQueue()
        self._room = threading.BoundedSemaphore(_QUEUED_BATCHES)
        self._sink: Callable[[list[M]], None] = self._enqueue
        self._is_subscribed = False
        self._reader: Reader | None = None
        self.parting = Stop()  # nobody sent it: it stands for the end of the pipe
        self.on_arrival: Callable[[list[M]], None] | None = None

    def subscribe(self, sink: Callable[[list[M]], None]) -> None:
        """Have every batch handed to `sink`, in the reader's thread, instead of queueing it."""
        self._sink = sink
        self._is_subscribed = True
        while not self._queue.empty():  # what was posted before
            sink(self._queue.get())
        self.start()

    def post(self, message: Any) -> None:
        """Put a message in as if it had arrived. Safe in a signal handler."""
        if self._is_subscribed:
            self._sink([message])
        else:
            self._queue.put([message])

    def batches(self, idle_s: float, at_most: int = 1024) -> Iterator[list[M]]:
        """Yield what has gathered, in order; an empty list after `idle_s` seconds of silence.

        A batch ends at `at_most` messages or a little above it: frames are not split.
        """
        while True:
            yield self.take(idle_s, at_most)

    def take(self, timeout_s: float, at_most: int = 1024) -> list[M]:
        """Return what has gathered; wait up to `timeout_s` for the first of it, else return []."""
        self.start()
        batch: list[M] = []
        try:
            batch += self._get(timeout_s)
            while len(batch) < at_most:
                batch += self._get(0)
        except Empty:
            pass  # the queue is empty: what there is has been taken
        return batch

    @property
    def is_empty(self) -> bool:
        """Whether nothing has arrived that was not taken."""
        return self._queue.empty()

    def _get(self, timeout_s: float) -> list[Any]:
        item = self._queue.get(timeout=timeout_s) if timeout_s > 0 else self._queue.get_nowait()
        if isinstance(item, _Arrived):
            self._room.release()
        return item

    def start(self) -> None:
        """Begin to read; `take`, `batches` and `subscribe` do it by themselves."""
        if self._reader is None:
            self._reader = Reader(self._connection, self._kind, self._arrived, self._on_end)

    def _arrived(self, batch: list[M]) -> None:
        if self.on_arrival is not None:
            self.on_arrival(batch)
        self._sink(batch)

    def _enqueue(self, batch: list[M]) -> None:
        self._room.acquire()
        self._queue.put(_Arrived(batch))

    def _on_end(self, reason: str) -> None:
        del reason  # for a child, every end of its inbox means that the supervisor is gone
        if self.on_arrival is not None:
            stop: list[Any] = [self.parting]
            self.on_arrival(stop)
        self.post(self.parting)


class _Arrived(list[Any]):
    """A batch that came through the pipe, and so holds a place in the bounded queue."""
