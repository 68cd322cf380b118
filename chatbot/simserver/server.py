"""The simulated server: the routes of all wire formats, what is refused, and who is served."""

import asyncio
import errno
import sys
import time
from collections.abc import Callable

from chatbot.errors import CallError, UsageError
from chatbot.settings import SimServerSettings
from chatbot.simserver.faults import Fault, Faults
from chatbot.simserver.http1 import MAX_BODY_BYTES, Connection, Exchange
from chatbot.simserver.model import MODELS, Answer, Models, answer
from chatbot.simserver.places import Places
from chatbot.simserver.serving import Service, Serving
from chatbot.wire import FORMATS, Format
from chatbot.wire.ollama import OLLAMA

WRONG_KEY = b"wrong-key"  # the one API key that is refused, so that clients can be tested

CONTEXT_TOKENS = MAX_BODY_BYTES // 2  # a token is a word: no request can have more of them

_JSON = "application/json"
_STOP_S = 5.0
_BACKLOG = 16_384  # the system has its own bound

Handler = Callable[[Exchange], None]


class SimServer:
    """A server on one address. It may have so many `files` open, and says once through `tell` that it has them all."""

    def __init__(
        self,
        settings: SimServerSettings,
        files: int = sys.maxsize,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._files = files
        self._tell = tell
        self._is_full = False
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._created_s = int(time.time())
        self._models = Models(settings)
        self._faults = Faults(settings)
        self._places = Places(settings.max_running, settings.max_queue)
        self._service = Service(self._places, settings.truth)
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._greet},
            "/api/version": {"GET": self._version},
            OLLAMA.running_path: {"GET": self._running},
            "/api/tags": {"GET": self._list(FORMATS["ollama"])},
            "/v1/models": {"GET": self._list_either},
        }
        for wire_format in FORMATS.values():
            self._routes[wire_format.chat_path] = {"POST": self._chat(wire_format)}

    @property
    def served(self) -> int:
        """How many answers were brought to their end."""
        return self._service.served

    @property
    def active(self) -> int:
        """How many are under way."""
        return self._places.running

    @property
    def waiting(self) -> int:
        """How many wait to be begun."""
        return self._places.waiting

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
                lambda: Connection(self._handle, self._connections, self._count_files),
                host,
                port,
                backlog=_BACKLOG,
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

    def _count_files(self, number: int) -> None:
        """Tell when a socket has the last number there is: uvloop ends what comes beyond that, and says nothing."""
        if number < self._files - 1 or self._is_full:
            return
        self._is_full = True
        self._tell(
            f"the simulated server has all {self._files:,} files open that it may ({len(self._connections):,} "
            "connections); what comes beyond is cut off: raise the limit (ulimit -n)"
        )

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
        body = OLLAMA.produce_running(self._models.names, CONTEXT_TOKENS)
        exchange.respond(200, _JSON, body)

    def _chat(self, wire_format: Format) -> Handler:
        def handle(exchange: Exchange) -> None:
            try:
                request = wire_format.parse_chat(exchange.request.body)
                profile = self._models.find(request.model)
            except (CallError, UsageError) as error:
                _refuse(exchange, wire_format, 400, str(error))
                return
            if profile is None:
                known = ", ".join(MODELS)
                text = f"model {request.model!r} not found, there are: {known}"
                _refuse(exchange, wire_format, 404, text)
                return
            fault = self._faults.next(request) if self._faults.any else None
            if fault and fault.status:
                self._fail(exchange, wire_format, fault)
                return

            def plan() -> Answer:
                return answer(profile, request, self._places.running - 1)

            serving = Serving(self._service, exchange, wire_format, request, plan, fault)
            if not serving.start():
                text = "all places are taken, and all places in the queue"
                self._refuse_for_now(exchange, wire_format, text)

        return handle

    def _fail(self, exchange: Exchange, wire_format: Format, fault: Fault) -> None:
        text = f"the simulated server answers {fault.status}, as it was told to"
        if fault.status == 429:
            self._refuse_for_now(exchange, wire_format, text)
        else:
            _refuse(exchange, wire_format, fault.status, text)

    def _refuse_for_now(self, exchange: Exchange, wire_format: Format, text: str) -> None:
        retry_after = f"{self._settings.retry_after_s:g}"
        body = wire_format.produce_error(429, text)
        exchange.respond(429, _JSON, body, retry_after=retry_after)


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
