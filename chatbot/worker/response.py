"""A response: its head, and its body as it is on the wire."""

import asyncio
import contextlib
from collections.abc import Mapping

import aiohttp
from aiohttp.connector import Connection

from chatbot.errors import WireError
from chatbot.worker import timing
from chatbot.worker.faults import FOREIGN


class Response:
    """A response whose head has come."""

    __slots__ = ("_response", "_stopwatch", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._stopwatch = timing.current()

    async def receive(self) -> bytes:
        """Return what has come of the body, waiting for the first of it; empty at its end."""
        data = await self._response.content.readany()
        if self._stopwatch is not None:
            self._stopwatch.received(data)
        return data

    async def read(self, limit: int) -> bytes:
        """Read the body; what is beyond the limit, in bytes, is left."""
        body = bytearray()
        while len(body) < limit and (data := await self.receive()):
            body += data
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
        if self._response.closed:  # its end came with the rest
            return
        with contextlib.suppress(*FOREIGN):  # nothing is missing, whatever becomes of the rest
            async with asyncio.timeout(within_s):
                while await self.receive():
                    pass

    async def aclose(self) -> None:
        """Close it; the connection too, unless the body was read to its end."""
        if self._response.closed:
            if isinstance(self._response, HttpResponse):
                self._response.drop_unsent()
            return
        with contextlib.suppress(*FOREIGN):  # it is being closed: so be it
            self._response.release()
            await self._response.wait_for_close()


class HttpResponse(aiohttp.ClientResponse):
    """A response whose connection really closes.

    An ordinary close waits until what is unsent has been delivered: for ever, where the server does
    not read.
    """

    _way: asyncio.Transport | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head. From there on the call itself limits silence: a timer that is set again for
        every read would cost a tenth of the read."""
        self._way = connection.transport
        stopwatch = timing.current()
        if stopwatch is not None:
            stopwatch.connected()
        await super().start(connection)
        if stopwatch is not None:
            stopwatch.headed()
        if connection.protocol is not None:
            connection.protocol.read_timeout = None
        return self

    def close(self) -> None:
        """Close the connection."""
        self.drop_unsent()
        super().close()

    def release(self) -> object:
        """Let go of the connection, which is used again if the body was read to its end."""
        self.drop_unsent()
        return super().release()

    def drop_unsent(self) -> None:
        """Give up what of the request has not been sent, and its connection with it."""
        # After the end of the body there is no connection here, and its way may be another call's by now:
        # unless it is being closed.
        way = self._way
        if (
            way is not None
            and (self.connection or way.is_closing())
            and way.get_write_buffer_size()
        ):
            way.abort()
