"""A server on loopback in the OpenAI format, as a process of its own: `python -m benchmarks.terminal.server`.

It prints its port. Model `instant` answers at once with one piece, `token-N-` of the N-th request; `flood-LINES-RATE`
streams so many lines at so many pieces a second. `GET /last` returns the body of the last question.
It ends when its standard input does.
"""

import asyncio
import json
import sys

from benchmarks.terminal.answers import long_answer, pieces

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
_TICK_S = 0.001


class Server:
    """Serves until it is cancelled."""

    def __init__(self) -> None:
        self._asked = 0
        self._last = b"{}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, rest = head.partition(b"content-length:")
            body = await reader.readexactly(int(rest.split(b"\r\n")[0]) if rest else 0)
            if head.startswith(b"get /last"):
                writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + self._last)
            elif head.startswith(b"post"):
                self._last = body
                await self._answer(json.loads(body)["model"], writer)
            else:
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # who asked has left
        finally:
            writer.close()

    async def _answer(self, model: str, writer: asyncio.StreamWriter) -> None:
        self._asked += 1
        writer.write(_HEAD)
        if model == "instant":
            writer.write(_piece(f"token-{self._asked}-") + _END)
            return
        _, lines, rate = model.split("-")
        events = [_piece(piece) for piece in pieces(long_answer(int(lines)))]
        loop = asyncio.get_running_loop()
        started, sent = loop.time(), 0
        while sent < len(events):
            due = min(len(events), int((loop.time() - started) * int(rate)) + 1)
            writer.write(b"".join(events[sent:due]))
            sent = due
            await writer.drain()
            await asyncio.sleep(_TICK_S)
        writer.write(_END)


def _piece(text: str) -> bytes:
    delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(delta).encode() + b"\n\n"


async def _main() -> None:
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_main())
