"""Arize Phoenix, a store for traces, as a server on loopback that a test can ask what has arrived.

It lives in an environment of its own, since it wants other versions of what the tests import: in
`.venv/phoenix`, made by the README's test command, or where `CHATBOT_PHOENIX` says.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.fakes import eventually
from tests.system.program import clean_environment

START_WITHIN_S = 90.0  # it takes 5 s, and 15 s the first time, while its modules are compiled

# It listens for gRPC on every address of the machine, and nothing can tell it otherwise.
_ON_LOOPBACK = """
import sys
import grpc.aio
make = grpc.aio.server
def server(*args, **kwargs):
    made = make(*args, **kwargs)
    listen = made.add_insecure_port
    made.add_insecure_port = lambda at: listen("127.0.0.1:" + at.rpartition(":")[2])
    return made
grpc.aio.server = server
from phoenix.server.main import main
sys.argv = ["phoenix", "serve"]
main()
"""


def python() -> Path:
    """Return the interpreter of the environment that has it."""
    environment = Path(os.environ.get("CHATBOT_PHOENIX") or Path(sys.prefix) / "phoenix")
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


class Phoenix:
    """The server, from its start until `end`; its database is in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as http, socket.socket() as grpc:
            for taken in (http, grpc):
                taken.bind(("127.0.0.1", 0))
            port, grpc_port = http.getsockname()[1], grpc.getsockname()[1]
        self.http_endpoint = f"http://127.0.0.1:{port}"
        self.grpc_endpoint = f"http://127.0.0.1:{grpc_port}"
        environment = clean_environment(
            HOME=str(directory),
            PHOENIX_WORKING_DIR=str(directory),
            PHOENIX_HOST="127.0.0.1",
            PHOENIX_PORT=str(port),
            PHOENIX_GRPC_PORT=str(grpc_port),
            PHOENIX_TELEMETRY_ENABLED="false",
            PHOENIX_ALLOW_EXTERNAL_RESOURCES="false",
        )
        del environment["PYTHONPATH"]
        self._log = directory / "phoenix.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python()), "-c", _ON_LOOPBACK],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._client = httpx.Client(base_url=self.http_endpoint, trust_env=False, timeout=30)
        if not eventually(self._is_up, START_WITHIN_S):
            self.end()
            raise AssertionError(f"phoenix did not start: {self.said()}")

    def _is_up(self) -> bool:
        assert self._process.poll() is None, f"phoenix has ended: {self.said()}"
        try:
            return self._client.get("/v1/projects").status_code == 200
        except httpx.TransportError:
            return False

    def said(self) -> str:
        """Return the end of what it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def spans(self) -> list[dict[str, Any]]:
        """Return every span that it has, page by page."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            asked = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
            page = self._client.get("/v1/projects/default/spans", params=asked)
            page.raise_for_status()
            found += page.json()["data"]
            cursor = page.json()["next_cursor"]
            if not cursor:
                return found

    def end(self) -> None:
        """Stop it."""
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
