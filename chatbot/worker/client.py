"""HTTP for LLM calls: aiohttp, used directly.

One session per way (plain, TLS, through a proxy), each with an unlimited pool. Redirects (they would
carry `x-api-key` to whoever they name), cookies and decompression are off. Nothing is taken from the
environment here: proxies come with the settings and never catch an address on this machine.
"""

import base64
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # not in typeshed

import aiohttp
import certifi
from yarl import URL

from chatbot.backends import Backend
from chatbot.errors import CallError
from chatbot.settings import WorkerSettings
from chatbot.wire.format import HttpRequest
from chatbot.worker.faults import FOREIGN, translate
from chatbot.worker.response import HttpResponse, Response

_PIECE = 256 * 1024
_PORTS = {"http": 80, "https": 443}


class Server:
    """Where a base URL leads, and by which way; worked out once."""

    def __init__(self, backend: Backend, way: "_Way") -> None:
        parts = urlsplit(backend.base_url)
        self.base_url = backend.base_url
        self.host = parts.hostname or ""
        self.port = parts.port or _PORTS[parts.scheme]
        self.is_local = backend.is_loopback
        self.way = way
        self.open = 0  # responses that are being read
        self._urls: dict[str, URL] = {}

    def url(self, path: str) -> URL:
        """Return the URL of a path, as it is written. Raises CallError."""
        url = self._urls.get(path)
        if url is None:
            written = self.base_url + path
            try:
                url = URL(written, encoded=written.isascii())  # encoded: it is left as it is
            except ValueError as error:
                raise CallError("bad_request", f"not an address: {error}") from error
            self._urls[path] = url
        return url


class Client:
    """Opens responses. `aclose` closes every connection."""

    def __init__(self, settings: WorkerSettings) -> None:
        connect_s = settings.connect_timeout_s
        # "sock_connect" is the socket's part of it, "connect" all of it, names included.
        self._timeout = aiohttp.ClientTimeout(
            total=None,
            connect=connect_s,
            sock_connect=connect_s,
            sock_read=settings.read_timeout_s,
        )
        self._proxies = settings.proxies
        self._ca_file = settings.ca_file
        self._ways: dict[tuple[str, str], _Way] = {}
        self._servers: dict[str, Server] = {}

    def server(self, backend: Backend) -> Server:
        """Return where this backend is. Raises CallError where its proxy or the certificates that
        it is to be trusted by cannot be used."""
        server = self._servers.get(backend.base_url)
        if server is None:
            scheme = urlsplit(backend.base_url).scheme
            key = (scheme, self._proxy_for(backend))
            if key not in self._ways:
                self._ways[key] = _Way(*key, self._ca_file, self._timeout)
            server = self._servers[backend.base_url] = Server(backend, self._ways[key])
        return server

    def open(self, server: Server, request: HttpRequest, traceparent: str = "") -> "_Exchange":
        """Send a request, in an `async with` that yields its response, whose body is still to be read,
        and closes it after.

        Raises CallError, also for what goes wrong with the body inside the block: "unreachable"
        when nothing was sent, "timeout" or "connection_lost" when the request may have been taken.
        """
        return _Exchange(server, request, traceparent)

    async def aclose(self) -> None:
        """Close every connection."""
        for way in self._ways.values():
            await way.aclose()

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
            usable = urlsplit(proxy).scheme in _PORTS and bool(URL(proxy).host)
        except ValueError:
            usable = False
        if not usable:
            unusable = f"{variable.upper()} is not the address of an http proxy"
            raise CallError("unreachable", unusable, should_retry=False)
        return proxy


class _Exchange:
    """A request and its response: what `Client.open` returns. A class, and not a generator, because
    it is entered for every call."""

    __slots__ = ("_request", "_response", "_server", "_traceparent")

    def __init__(self, server: Server, request: HttpRequest, traceparent: str) -> None:
        self._server = server
        self._request = request
        self._traceparent = traceparent

    async def __aenter__(self) -> Response:
        server, request = self._server, self._request
        headers, data = request.headers, request.body
        extra: dict[str, str] = {}
        if self._traceparent:
            extra["traceparent"] = self._traceparent
        if len(data) > _PIECE:
            extra["content-length"] = str(len(data))
        try:
            sent = await server.way.session().request(
                request.method,
                server.url(request.path),
                headers={**headers, **extra} if extra else headers,
                data=(_pieces(data) if len(data) > _PIECE else data) or None,
                allow_redirects=False,
                **server.way.options,
            )
        except FOREIGN as error:
            # Who answers others listens, and may only be overrun: by thousands who connect at once.
            is_gone = server.is_local and not server.open
            raise translate(error, is_gone=is_gone) from error
        server.open += 1
        self._response = Response(sent)
        return self._response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.open -= 1
        await self._response.aclose()
        if isinstance(error, FOREIGN):
            raise translate(error, is_gone=False) from error


class _Way:
    """A scheme, and the proxy that leads there (empty: none). Raises CallError where the certificates
    cannot be read."""

    def __init__(
        self, scheme: str, proxy: str, ca_file: str, timeout: aiohttp.ClientTimeout
    ) -> None:
        # The certificates are read only where they are needed: it takes 30 ms.
        needs_tls = scheme == "https" or proxy.startswith("https:")
        self._ssl = _trusting(ca_file) if needs_tls else True
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self.options = _proxy_options(proxy) if proxy else {}

    def session(self) -> aiohttp.ClientSession:
        """Return the session. It is made at the first request: it belongs to the loop it is made in."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl),
                headers={"user-agent": "chatbot"},
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                auto_decompress=False,
                trust_env=False,
                response_class=HttpResponse,
            )
        return self._session

    async def aclose(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """Cut a long body, so that writing it never holds up the other calls of the loop."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or certifi.where())
    except OSError as error:
        unusable = f"SSL_CERT_FILE: {ca_file} holds no certificates that can be read"
        raise CallError("unreachable", unusable, should_retry=False) from error


def _proxy_options(proxy: str) -> dict[str, Any]:
    """Return what makes a request go through the proxy; a user name and password go into the header
    that aiohttp turns into the proxy's."""
    parts = urlsplit(proxy)
    credentials, _, authority = parts.netloc.rpartition("@")
    options: dict[str, Any] = {"proxy": URL(f"{parts.scheme}://{authority}")}
    if credentials:
        name, _, password = credentials.partition(":")
        pair = f"{unquote(name)}:{unquote(password)}".encode()
        encoded = base64.b64encode(pair).decode()
        options["proxy_headers"] = {"authorization": f"Basic {encoded}"}
    return options
