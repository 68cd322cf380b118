"""The simulated server: the routes of all wire formats, and the clock that serves the pieces.

Piece k of an answer is due at `arrival + first + k · gap`, on the monotonic clock, counted from the
arrival and not from the piece before it, so lateness does not add up. A piece is never early; it is
late by up to the timer's resolution, about a millisecond. Where nothing has to be waited for, an
answer leaves in one write.
"""

import asyncio
import errno
import math
import time
from collections.abc import Callable

from chatbot.errors import CallError, UsageError
from chatbot.settings import SimServerSettings
from chatbot.simserver.http1 import Connection, Exchange
from chatbot.simserver.model import MODELS, Answer, answer, find_model
from chatbot.wire import FORMATS, Format
from chatbot.wire.format import Producer

WRONG_KEY = b"wrong-key"  # the one API key that is refused, so that clients can be tested

_JSON = "application/json"
_BATCH_PIECES = 256
_STOP_S = 5.0

Handler = Callable[[Exchange], None]


class SimServer:
    """A server on one address. `served` counts finished answers, `active` those under way."""

    def __init__(self, settings: SimServerSettings) -> None:
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._created_s = int(time.time())
        self._serial = 0
        self.served = 0
        self.active = 0
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._greet},
            "/api/version": {"GET": self._version},
            "/api/ps": {"GET": self._running},
            "/api/tags": {"GET": self._list(FORMATS["ollama"])},
            "/v1/models": {"GET": self._list_either},
        }
        for wire_format in FORMATS.values():
            self._routes[wire_format.chat_path] = {"POST": self._chat(wire_format)}

    async def start(self) -> str:
        """Listen; return the base address. Raises UsageError with the remedy when that fails."""
        host, port = self._settings.host, self._settings.port
        loop = asyncio.get_running_loop()
        if not 0 <= port <= 65535:  # uvloop would take it modulo 65,536
            raise UsageError(
                f"port {port} does not exist, give one from 0 to 65535 (0: any free one)"
            )
        try:
            self._server = await loop.create_server(
                lambda: Connection(self._handle, self._connections), host, port, backlog=1024
            )
        except OSError as error:
            raise UsageError(
                f"the simulated server cannot listen on {host} port {port}: "
                f"{_reason(error)}; give another port, or 0 for any that is free"
            ) from error
        address = self._server.sockets[0].getsockname()
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])  # noqa: S104 - only shown
        return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{address[1]}"

    async def stop(self) -> None:
        """Close the listening socket and every connection, whatever is under way."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.wait_for(self._server.wait_closed(), _STOP_S)
        self._server = None

    # --- routes

    def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        wire_format = self._format_of(exchange)
        if request.refusal:
            _refuse(exchange, wire_format, request.refusal, _REFUSALS[request.refusal])
            return
        methods = self._routes.get(request.path)
        if methods is None:
            _refuse(exchange, wire_format, 404, f"no such endpoint: {request.path}")
            return
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            body = wire_format.produce_error(405, f"method not allowed, use {allowed}")
            exchange.respond(405, _JSON, body, allow=allowed)
            return
        if WRONG_KEY in _keys(exchange):
            _refuse(exchange, wire_format, 401, "invalid API key")
            return
        handler(exchange)

    def _format_of(self, exchange: Exchange) -> Format:
        """Return the format that a request speaks: two of them share `/v1/models`."""
        request = exchange.request
        if request.path.startswith("/api/"):
            return FORMATS["ollama"]
        anthropic = FORMATS["anthropic"]
        if b"anthropic-version" in request.headers or request.path == anthropic.chat_path:
            return anthropic
        return FORMATS["openai"]

    def _list(self, wire_format: Format) -> Handler:
        body = wire_format.produce_models(list(MODELS), self._created_s)
        return lambda exchange: exchange.respond(200, _JSON, body)

    def _list_either(self, exchange: Exchange) -> None:
        body = self._format_of(exchange).produce_models(list(MODELS), self._created_s)
        exchange.respond(200, _JSON, body)

    def _greet(self, exchange: Exchange) -> None:
        exchange.respond(200, "text/plain", b"the simulated LLM server of chatbot is running\n")

    def _version(self, exchange: Exchange) -> None:
        exchange.respond(200, _JSON, b'{"version":"0.0.0-sim"}')

    def _running(self, exchange: Exchange) -> None:
        exchange.respond(200, _JSON, b'{"models":[]}')

    def _chat(self, wire_format: Format) -> Handler:
        def handle(exchange: Exchange) -> None:
            arrival_s = time.monotonic()
            try:
                request = wire_format.parse_chat(exchange.request.body)
            except CallError as error:
                _refuse(exchange, wire_format, 400, str(error))
                return
            model = find_model(request.model)
            if model is None:
                known = ", ".join(MODELS)
                text = f"model {request.model!r} not found, there are: {known}"
                _refuse(exchange, wire_format, 404, text)
                return
            self._serial += 1
            producer = wire_format.producer(
                f"sim-{self._serial:08x}", request.model, int(time.time()), request.include_usage
            )
            made = answer(self._settings, model, request)
            content_type = wire_format.stream_content_type if request.stream else ""
            serving = _Serving(self, exchange, producer, made, arrival_s, content_type)
            exchange.attach(serving)
            serving.start()

        return handle


class _Serving:
    """Serves one answer, piece by piece as they fall due, or whole when the last one is."""

    def __init__(
        self,
        server: SimServer,
        exchange: Exchange,
        producer: Producer,
        made: Answer,
        arrival_s: float,
        content_type: str,
    ) -> None:
        self._server = server
        self._exchange = exchange
        self._producer = producer
        self._answer = made
        self._arrival_s = arrival_s
        self._content_type = content_type  # empty: not a stream
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None
        server.active += 1

    def start(self) -> None:
        """Send what comes before the first piece; where that is due already, send all at once."""
        if not self._content_type:
            self._wait_or(self._answer.length_s, self._send_whole)
            return
        exchange = self._exchange
        opening = exchange.stream_head(self._content_type)
        opening += exchange.frame(self._producer.begin(self._answer.count.input_tokens))
        if self._answer.first_s > 0 or exchange.paused:
            exchange.send(opening)
            opening = b""
        self._send_due(opening)

    def resume(self) -> None:
        """Send what has fallen due while the client did not read."""
        if self._content_type and self._timer is None:
            self._send_due(b"")

    def cancel(self) -> None:
        """Stop generating."""
        if self._timer is not None:
            self._timer.cancel()
        self._server.active -= 1

    def _send_due(self, opening: bytes) -> None:
        """Send the pieces that are due, in as few writes as the client's reading allows."""
        self._timer = None
        made, exchange = self._answer, self._exchange
        total = len(made.pieces)
        instant = made.first_s == 0 and made.gap_s == 0
        while not exchange.paused:
            out = [opening] if opening else []
            opening = b""
            stop_at = min(self._next + _BATCH_PIECES, total)
            if not instant:
                elapsed_s = time.monotonic() - self._arrival_s
                due = self._next
                while due < stop_at and made.due_s(due) <= elapsed_s:
                    due += 1
                stop_at = due
            frame, text = exchange.frame, self._producer.text
            out += [frame(text(piece)) for piece in made.pieces[self._next : stop_at]]
            self._next = stop_at
            if stop_at == total and (instant or elapsed_s >= made.length_s):
                out.append(exchange.frame(self._producer.end(made.reason, made.count)))
                out.append(exchange.last_frame())
                exchange.send(b"".join(out))
                self._finish()
                return
            if out:
                exchange.send(b"".join(out))
            if not instant and made.due_s(stop_at) > time.monotonic() - self._arrival_s:
                self._wait_or(made.due_s(stop_at), lambda: self._send_due(b""))
                return

    def _send_whole(self) -> None:
        made = self._answer
        text = "".join(made.pieces)
        body = self._producer.whole(text, made.reason, made.count)
        self._server.active -= 1
        self._server.served += 1
        self._exchange.respond(200, _JSON, body)

    def _finish(self) -> None:
        self._server.active -= 1
        self._server.served += 1
        self._exchange.finish()

    def _wait_or(self, due_s: float, then: Callable[[], None]) -> None:
        """Call `then` when a moment of the answer has come: now, if it has.

        Event loops round to milliseconds, down as well: rounding up here keeps pieces from being early.
        """
        wait_s = self._arrival_s + due_s - time.monotonic()
        if wait_s <= 0:
            then()
            return
        rounded_s = math.ceil(wait_s * 1000) / 1000
        self._timer = asyncio.get_running_loop().call_later(rounded_s, then)


_REFUSALS = {
    400: "this is not an HTTP/1.1 request that can be read",
    413: "the request body is larger than 8 MiB",
    431: "the request head is larger than 64 KiB",
}


def _refuse(exchange: Exchange, wire_format: Format, status: int, message: str) -> None:
    exchange.respond(status, _JSON, wire_format.produce_error(status, message))


def _keys(exchange: Exchange) -> tuple[bytes, bytes]:
    headers = exchange.request.headers
    bearer = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    return bearer, headers.get(b"x-api-key", b"")


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "not allowed"
    if error.errno == errno.EADDRINUSE:
        return "the port is in use"
    return error.strerror or str(error)
