"""One HTTP/1.1 connection of a server: requests in, responses out, one at a time and in order.

httptools parses; this adds what it leaves to its user: caps, pipelining, `Expect: 100-continue`,
errors for what is no HTTP, and an end that does not destroy the last response. What a request means
is decided by `handle`, which answers by way of an `Exchange`, at once or later.

Source: https://www.rfc-editor.org/rfc/rfc9112 (HTTP/1.1) and rfc9110 (semantics).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol, cast

import httptools
import msgspec

from chatbot import host

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_HEAD_BYTES = 64 * 1024

_MAX_WAITING = 16
_LINGER_S = 1.0
_KEPT_HEADERS = frozenset(
    {b"accept", b"anthropic-version", b"authorization", b"content-length", b"expect", b"x-api-key"}
)
_phrases = {int(status): status.phrase.encode() for status in HTTPStatus} | {529: b"Overloaded"}


class Request(msgspec.Struct):
    """A whole request. `refusal` is the status to refuse it with, where the parser already knows."""

    method: str = ""
    path: str = ""
    headers: dict[bytes, bytes] = {}
    body: bytes = b""
    keep_alive: bool = False
    chunked: bool = False  # whether the client can read a chunked response (HTTP/1.1)
    refusal: int = 0
    arrived_ns: int = 0  # when it was whole: time.perf_counter_ns


class Task(Protocol):
    """What works on a request while its response is under way."""

    def resume(self) -> None:
        """Go on: the client has read what was waiting."""

    def cancel(self) -> None:
        """Stop: the client is gone, or the server is stopping."""


class Exchange:
    """A request, and the one way to respond to it. Once `done`, it does nothing any more."""

    __slots__ = ("_connection", "done", "request")

    def __init__(self, connection: "Connection", request: Request) -> None:
        self._connection = connection
        self.request = request
        self.done = False

    @property
    def paused(self) -> bool:
        """Whether the client reads too slowly to be sent any more for now."""
        return self._connection.paused

    def attach(self, task: Task) -> None:
        """Have the task told when the client is gone or has caught up."""
        self._connection.task = task

    def respond(self, status: int, content_type: str, body: bytes, **headers: str) -> None:
        """Send a whole response. Underscores in header names stand for hyphens."""
        head = [f"content-type: {content_type}", f"content-length: {len(body)}"]
        head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines = "\r\n".join(head).encode() + b"\r\n"
        payload = b"" if self.request.method == "HEAD" else body
        self.send(self._connection.head(status, lines, self.request.keep_alive) + payload)
        self.finish()

    def stream_head(self, content_type: str) -> bytes:
        """Return the head of a response of unknown length; its bytes are for `frame`."""
        lines = f"content-type: {content_type}\r\ncache-control: no-cache\r\n".encode()
        if self.request.chunked:
            lines += b"transfer-encoding: chunked\r\n"
        return self._connection.head(200, lines, self.request.keep_alive)

    def frame(self, data: bytes) -> bytes:
        """Return a piece of the body as it goes on the wire."""
        return wrap_chunk(data) if self.request.chunked else data

    def last_frame(self) -> bytes:
        """Return what ends the body."""
        return b"0\r\n\r\n" if self.request.chunked else b""

    def send(self, data: bytes) -> None:
        """Write to the client."""
        if not self.done:
            self._connection.write(data)

    def reset(self) -> None:
        """Break the connection off, as a server does that crashes."""
        if not self.done:
            self._connection.reset()

    def finish(self) -> None:
        """Let the next request of the connection have its turn, or close it."""
        if not self.done:
            self.done = True
            self._connection.finished(self.request.keep_alive)


class Connection(asyncio.Protocol):
    """The state of one connection. `connections` is the server's set of those that are open; `made` is told the
    number of its socket."""

    def __init__(
        self,
        handle: Callable[[Exchange], None],
        connections: "set[Connection]",
        made: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._handle = handle
        self._made = made
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._exchange: Exchange | None = None
        self._closing = False  # a last response is decided: no more is read
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._in_head = False
        self._reading = True
        self._serving = False
        self._lingering: asyncio.TimerHandle | None = None
        self.paused = False
        self.task: Task | None = None

    # --- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._made(self._transport.get_extra_info("socket").fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is under way: nobody will read it."""
        del exc
        self._connections.discard(self)
        self._transport = None
        self._waiting.clear()
        self._closing = True
        if self._lingering is not None:
            self._lingering.cancel()
        if self._exchange is not None:
            self._exchange.done = True
        if self.task is not None:
            self.task.cancel()
            self.task = None

    def pause_writing(self) -> None:
        """The client does not read; hold back."""
        self.paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.paused = False
        if self.task is not None:
            self.task.resume()

    def data_received(self, data: bytes) -> None:
        """Parse; callbacks below gather requests, which are then served in order."""
        if self._closing:
            return  # lingering: read and forgotten, so that the last response is not reset
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # refused when its head was complete
        except httptools.HttpParserError:
            self._refuse(400)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)
        self._serve()

    # --- the parser's calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head = True
        self._head_bytes = 0
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Gather the target, which may come in parts."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the headers that mean something here."""
        self._head_bytes += len(name) + len(value)
        name = name.lower()
        if name in _KEPT_HEADERS:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        """Refuse what is too large or an upgrade before its body is read."""
        self._in_head = False
        if self._head_bytes + len(self._url) > MAX_HEAD_BYTES:
            self._refuse(431)
        elif self._parser.should_upgrade():
            self._refuse(400)
        elif int(self._headers.get(b"content-length", b"0")) > MAX_BODY_BYTES:
            self._refuse(413)
        elif self._headers.get(b"expect", b"").lower() == b"100-continue" and self._is_idle:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Gather the body, up to its cap."""
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse(413)
        elif not self._closing:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request."""
        if self._closing:
            return
        path = self._url
        if not path.startswith(b"/"):  # the absolute form, http://host/path
            try:
                path = httptools.parse_url(path).path or b"/"
            except httptools.HttpParserInvalidURLError:
                self._refuse(400)
                return
        parser = self._parser
        self._waiting.append(
            Request(
                parser.get_method().decode(),
                path.partition(b"?")[0].decode("latin-1"),
                self._headers,
                self._body[0] if len(self._body) == 1 else b"".join(self._body),
                parser.should_keep_alive() and parser.get_http_version() == "1.1",
                parser.get_http_version() == "1.1",
                arrived_ns=time.perf_counter_ns(),
            )
        )

    # --- the exchange's calls

    def head(self, status: int, lines: bytes, keep_alive: bool) -> bytes:
        """Return a response's head around the lines given."""
        first = b"HTTP/1.1 %d %b\r\n" % (status, _phrases.get(status, b""))
        return (
            first
            + _date(int(time.time()))
            + lines
            + (b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        )

    def write(self, data: bytes) -> None:
        """Write, unless the client is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finished(self, keep_alive: bool) -> None:
        """The response is out: go on with the next request, or close."""
        self._exchange = None
        self.task = None
        if keep_alive:
            self._serve()
        else:
            self._closing = True
            self._waiting.clear()
            self._linger()

    def reset(self) -> None:
        """Close at once, so that the client sees a reset and not an end."""
        if self._transport is not None:
            host.reset_when_closed(self._transport.get_extra_info("socket"))
            self._transport.abort()

    def abort(self) -> None:
        """Close at once; the server is stopping."""
        if self._transport is not None:
            self._transport.abort()

    # --- inside

    @property
    def _is_idle(self) -> bool:
        return self._exchange is None and not self._waiting

    def _refuse(self, status: int) -> None:
        """Queue a last response behind those that are due; nothing after it is read."""
        if not self._closing:
            self._closing = True
            self._body = []
            self._waiting.append(Request(refusal=status))

    def _serve(self) -> None:
        """Begin the next response, unless one is under way; stop reading when too many wait."""
        if self._serving:  # a response that is finished at once comes back here: loop, not recurse
            return
        self._serving = True
        while self._exchange is None and self._waiting and self._transport is not None:
            self._exchange = Exchange(self, self._waiting.popleft())
            self._handle(self._exchange)
        self._serving = False
        reading = len(self._waiting) < _MAX_WAITING
        if reading != self._reading and self._transport is not None:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _linger(self) -> None:
        """Close for writing, and read on for a moment.

        Closing a socket that has unread data resets it, which can destroy the response in flight.
        """
        if self._transport is None:
            return
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._lingering = asyncio.get_running_loop().call_later(_LINGER_S, self._close)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def wrap_chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked body; nothing for nothing, which would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else data


@lru_cache(maxsize=1)
def _date(unix_s: int) -> bytes:
    return f"date: {formatdate(unix_s, usegmt=True)}\r\n".encode()
