"""HTTP for LLM calls: httpx requests over the aiohttp transport.

One transport per way (plain, TLS, through a proxy), each with an unlimited pool. They are used
directly, without `httpx.AsyncClient` around them: redirects (httpx would leak `x-api-key`), cookies
and retries are then not switched off but absent, and a call costs a little less. Nothing is taken
from the environment here: proxies come with the settings and never catch an address on this machine.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # not in typeshed

import aiohttp
import httpx
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport

from chatbot.backends import Backend
from chatbot.errors import CallError, WireError
from chatbot.settings import WorkerSettings
from chatbot.wire.format import HttpRequest
from chatbot.worker.faults import FOREIGN, translate

_PIECE = 256 * 1024
_PORTS = {"http": 80, "https": 443}


class Server:
    """Where a base URL leads, and by which transport; worked out once."""

    def __init__(self, backend: Backend, transport: AiohttpTransport) -> None:
        parts = urlsplit(backend.base_url)
        self.base_url = backend.base_url
        self.host = parts.hostname or ""
        self.port = parts.port or _PORTS[parts.scheme]
        self.is_local = backend.is_loopback
        self.transport = transport
        self._urls: dict[str, httpx.URL] = {}

    def url(self, path: str) -> httpx.URL:
        """Return the URL of a path. Raises httpx.InvalidURL."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx.URL(self.base_url + path)
        return url


class Response:
    """A response whose head has come. Iterate over it for its body, as it is on the wire."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        stream = cast(httpx.AsyncByteStream, response.stream)
        self._pieces = cast(AsyncGenerator[bytes, None], stream.__aiter__())

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def read(self, limit: int) -> bytes:
        """Read the body; what is beyond the limit, in bytes, is left."""
        body = bytearray()
        async for data in self._pieces:
            body += data
            if len(body) >= limit:
                break
        return bytes(body[:limit])

    def refuse_foreign(self) -> None:
        """Raise WireError for a body that no format has: compressed, or a page for a browser."""
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", ""):
            raise WireError("malformed", f"compressed ({encoding[:20]}) though not asked to be")
        if self.headers.get("content-type", "").lower().startswith("text/html"):
            raise WireError("malformed", "an HTML page instead of an answer")

    async def drain(self, within_s: float) -> None:
        """Wait a moment for the end of the body, so that the connection can be used again."""
        with contextlib.suppress(*FOREIGN):  # nothing is missing, whatever becomes of the rest
            async with asyncio.timeout(within_s):
                async for _ in self._pieces:
                    pass

    async def aclose(self) -> None:
        """Close it; the connection too, unless the body was read to its end."""
        with contextlib.suppress(*FOREIGN):  # it is being closed: so be it
            await self._response.aclose()
        await self._pieces.aclose()


class _Pieces(httpx.AsyncByteStream):
    """A long body, cut so that writing it never holds up the other calls of the loop."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _PIECE):
            yield self._body[start : start + _PIECE]


class Client:
    """Opens responses. `aclose` closes every connection."""

    def __init__(self, settings: WorkerSettings) -> None:
        connect_s, read_s = settings.connect_timeout_s, settings.read_timeout_s
        # To the transport "connect" is the socket's part of it, "pool" all of it, names included.
        timeout = {"connect": connect_s, "pool": connect_s, "read": read_s}
        self._extensions = {"timeout": timeout}
        self._proxies = settings.proxies
        self._ca_file = settings.ca_file
        self._transports: dict[tuple[str, str], AiohttpTransport] = {}
        self._servers: dict[str, Server] = {}

    def server(self, backend: Backend) -> Server:
        """Return where this backend is. Raises CallError where its proxy or the certificates that
        it is to be trusted by cannot be used."""
        server = self._servers.get(backend.base_url)
        if server is None:
            scheme = urlsplit(backend.base_url).scheme
            way = (scheme, self._proxy_for(backend))
            if way not in self._transports:
                self._transports[way] = _make_transport(*way, self._ca_file)
            server = self._servers[backend.base_url] = Server(backend, self._transports[way])
        return server

    @contextlib.asynccontextmanager
    async def open(
        self, server: Server, request: HttpRequest, traceparent: str = ""
    ) -> AsyncIterator[Response]:
        """Send a request; yield its response, whose body is still to be read, and close it after.

        Raises CallError, also for what goes wrong with the body inside the block: "unreachable"
        when nothing was sent, "timeout" or "connection_lost" when the request may have been taken.
        """
        headers = {**request.headers, "user-agent": "chatbot"}
        if len(request.body) > _PIECE:
            headers["content-length"] = str(len(request.body))
        if traceparent:
            headers["traceparent"] = traceparent
        try:
            sent = httpx.Request(
                request.method,
                server.url(request.path),
                headers=headers,
                content=_Pieces(request.body) if len(request.body) > _PIECE else request.body,
                extensions=self._extensions,
            )
            response = Response(await server.transport.handle_async_request(sent))
            try:
                yield response
            finally:
                await response.aclose()
        except FOREIGN as error:
            raise translate(error, is_local=server.is_local) from error

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._transports.values():
            await transport.aclose()

    def _proxy_for(self, backend: Backend) -> str:
        if not self._proxies or backend.is_loopback:
            return ""
        parts = urlsplit(backend.base_url)
        variable = f"{parts.scheme}_proxy"
        if not self._proxies.get(variable):
            variable = "all_proxy"
        proxy = self._proxies.get(variable, "")
        no_proxy = {"no": self._proxies.get("no_proxy", "")}
        if not proxy or proxy_bypass_environment(parts.netloc, no_proxy):
            return ""
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        try:
            usable = urlsplit(proxy).scheme in _PORTS and bool(httpx.Proxy(proxy).url.host)
        except (ValueError, httpx.InvalidURL):
            usable = False
        if not usable:
            unusable = f"{variable.upper()} is not the address of an http proxy"
            raise CallError("unreachable", unusable, should_retry=False)
        return proxy


class _AiohttpResponse(aiohttp.ClientResponse):
    """A response whose connection really closes, and that has no reason phrase.

    An ordinary close waits until what is unsent has been delivered: for ever, where the server does
    not read. And nobody reads the reason phrase, but where it is not UTF-8 the transport fails on
    it, and loses the connection.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head."""
        await super().start(connection)
        self.reason = ""
        return self

    def close(self) -> None:
        """Close the connection."""
        self._drop_unsent()
        super().close()

    def release(self) -> object:
        """Let go of the connection, which is used again if the body was read to its end."""
        self._drop_unsent()
        return super().release()

    def _drop_unsent(self) -> None:
        # After the end of the body there is no connection here: it may be another call's by now.
        transport = self.connection.transport if self.connection else None
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()


def _make_transport(scheme: str, proxy: str, ca_file: str) -> AiohttpTransport:
    verify: ssl.SSLContext | bool = False
    if scheme == "https" or proxy.startswith("https:"):
        # The certificates are read only where they are needed: it takes 30 ms.
        try:
            verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
        except OSError as error:
            unusable = f"SSL_CERT_FILE: {ca_file} holds no certificates that can be read"
            raise CallError("unreachable", unusable, should_retry=False) from error
    transport = AiohttpTransport(
        verify=verify, trust_env=False, proxy=_with_header(httpx.Proxy(proxy)) if proxy else None
    )
    context = transport.ssl_context
    # Called at the first request: a session belongs to the loop it is made in.
    transport.client = lambda: aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        response_class=_AiohttpResponse,
    )
    return transport


def _with_header(proxy: httpx.Proxy) -> httpx.Proxy:
    """Move a user name and password into the header that aiohttp turns into the proxy's."""
    if proxy.auth is None:
        return proxy
    credentials = base64.b64encode(":".join(proxy.auth).encode()).decode()
    return httpx.Proxy(proxy.url, headers={"authorization": f"Basic {credentials}"})
