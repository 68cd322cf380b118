"""A server that misbehaves as it is told: raw asyncio TCP on loopback, in a thread of its own.

A script is a coroutine function that is called with each `Visit` (one connection) and does with its
bytes what it likes. The connection is closed when it returns. What a script raises fails the test
when the server is left.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Self, cast

import msgspec

DEADLINE_S = 20.0

SSE = "text/event-stream"
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' + b"data: [DONE]\n\n"


def piece(text: str) -> bytes:
    """Return a piece of an answer in the OpenAI format."""
    return (
        b'data: {"id":"r-1","model":"m-1","choices":[{"index":0,"delta":{"content":'
        + msgspec.json.encode(text)
        + b"}}]}\n\n"
    )


class Request(msgspec.Struct):
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Visit:
    """One connection, seen from the server. `number` counts them from 0."""

    def __init__(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        requests: list[Request],
    ) -> None:
        self.number = number
        self.reader = reader
        self._writer = writer
        self._requests = requests

    async def request(self) -> Request:
        """Read one request, to the end of its body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        request = Request(method, path, headers, body)
        self._requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        """Send bytes; that the client is gone meanwhile is no error."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    def stop_reading(self) -> None:
        """Let what the client still sends pile up on its side."""
        cast(asyncio.ReadTransport, self._writer.transport).pause_reading()

    async def respond(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole response, the last of its connection unless a header says otherwise.

        Underscores in header names stand for hyphens.
        """
        headers.setdefault("connection", "close")  # else the client may use it while it is closed
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def begin(self, content_type: str = SSE, **headers: str) -> None:
        """Send the head of a response whose end is the end of the connection."""
        lines = ["HTTP/1.1 200 OK", f"content-type: {content_type}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def answer(self, *texts: str, **headers: str) -> None:
        """Send a whole, well-formed answer in the OpenAI format, like `respond`."""
        body = b"".join(map(piece, texts)) + END
        await self.respond(200, body, content_type=SSE, **headers)

    async def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def closed(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Break the connection off with a TCP reset."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Visit], Awaitable[None]]


class Gate:
    """A point that a script waits at until the test opens it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self.reached = threading.Event()

    def open(self) -> None:
        """Let through whoever waits, now and later."""
        with self._lock:
            self._is_open = True
            for loop, opened in self._waiting:
                loop.call_soon_threadsafe(opened.set)
            self._waiting.clear()

    async def passed(self) -> None:
        """Wait, in the server's loop."""
        self.reached.set()
        opened = asyncio.Event()
        with self._lock:
            if self._is_open:
                return
            self._waiting.append((asyncio.get_running_loop(), opened))
        await asyncio.wait_for(opened.wait(), DEADLINE_S)


class FakeLlm:
    """The server, to be used in a `with`. `requests` holds all that were read whole, in order."""

    def __init__(self, script: Script, receive_buffer: int | None = None) -> None:
        self._script = script
        self._receive_buffer = receive_buffer
        self._loop = asyncio.new_event_loop()
        self._visits: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self.requests: list[Request] = []
        self.connections = 0
        self.base_url = ""

    def __enter__(self) -> Self:
        listening = socket.socket()
        if self._receive_buffer is not None:  # before the first connection, which inherits it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        listening.bind(("127.0.0.1", 0))
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=listening, limit=2**20, backlog=1024)
        )
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(DEADLINE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        if self._errors and exc_info[0] is None:
            raise self._errors[0]

    def listen_no_more(self) -> None:
        """Refuse all further connections; to be called by a script."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        visit = Visit(self.connections, reader, writer, self.requests)
        self.connections += 1
        try:
            await self._script(visit)
        except asyncio.CancelledError:
            pass  # the test is over
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left while a request was awaited
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self._errors.append(error)
        finally:
            self._visits.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _stop(self) -> None:
        self._server.close()
        for visit in list(self._visits):
            visit.cancel()
        if self._visits:
            await asyncio.wait(self._visits, timeout=DEADLINE_S)


@contextlib.contextmanager
def nobody_listens() -> Iterator[str]:
    """Yield the base URL of a port that is taken and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
