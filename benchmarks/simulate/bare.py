"""A bare loop of HTTP requests: what an HTTP client alone can do on this machine, and nothing saved or traced.

It reads each stream to its end and throws it away. Run by `run` in a process of its own, against a simulated
server in another.
"""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import IO

import msgspec

from benchmarks.simulate.program import ROOT, environment

BODY = msgspec.json.encode(
    {
        "model": "sim",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "why is the sky blue and the grass green " * 2}],
    }
)
_HEADERS = {"content-type": "application/json"}


class Rate(msgspec.Struct, frozen=True):
    """Requests a second, and processor time of the client for each in µs."""

    per_s: float
    cpu_us: float


def run(client: str, sessions: int, requests: int) -> Rate:
    """Return what one of the CLIENTS does in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.simulate.bare", client, str(sessions)]
    with _server() as server:
        assert server.stderr is not None
        address = _address(server.stderr)
        done = subprocess.run(
            [*command, str(requests), address],
            cwd=ROOT,
            env=environment(),
            check=True,
            stdout=subprocess.PIPE,
        )
        server.terminate()
    return msgspec.json.decode(done.stdout, type=Rate)


def _server() -> "subprocess.Popen[str]":
    instant = ["--first-token", "0", "--inter-chunk", "0", "--port", "0"]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "sim-server", *instant],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


def _address(stderr: IO[str]) -> str:
    found = re.search(r"http://\S+", stderr.readline())
    if found is None:
        raise RuntimeError("the simulated server did not say where it listens")
    return f"{found[0]}/v1/chat/completions"


async def _httpx(sessions: int, requests: int, url: str) -> None:
    import aiohttp
    import httpx
    from httpx_aiohttp import AiohttpTransport

    transport = AiohttpTransport(trust_env=False)
    transport.client = lambda: aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    )
    async with httpx.AsyncClient(transport=transport, timeout=None) as client:

        async def one() -> None:
            async with client.stream("POST", url, content=BODY, headers=_HEADERS) as response:
                async for _ in response.aiter_raw():
                    pass

        await _closed_loop(sessions, requests, one)


async def _aiohttp(sessions: int, requests: int, url: str) -> None:
    import aiohttp

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as client:

        async def one() -> None:
            async with client.post(url, data=BODY, headers=_HEADERS) as response:
                async for _ in response.content.iter_any():
                    pass

        await _closed_loop(sessions, requests, one)


CLIENTS: dict[str, Callable[[int, int, str], Awaitable[None]]] = {
    "httpx over aiohttp": _httpx,
    "aiohttp": _aiohttp,
}


async def _closed_loop(sessions: int, requests: int, one: Callable[[], Awaitable[None]]) -> None:
    left = requests

    async def session() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await one()

    await asyncio.gather(*(session() for _ in range(sessions)))


def main() -> None:
    """Measure one client, and print it as JSON."""
    client, sessions, requests, url = sys.argv[1:]
    from chatbot import host

    async def measured() -> Rate:
        await CLIENTS[client](int(sessions), int(sessions) * 4, url)
        began, cpu_began = time.perf_counter(), time.process_time()
        await CLIENTS[client](int(sessions), int(requests), url)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
        return Rate(int(requests) / took_s, cpu_s / int(requests) * 1e6)

    sys.stdout.write(msgspec.json.encode(host.run_async(measured())).decode())


if __name__ == "__main__":
    main()
