"""The real program, in a directory of its own: run to its end, or in a terminal of its own.

Whatever a test does, its processes are ended, and a process that was left behind fails the test.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests.fakes import eventually
from tests.system.llm import Llm
from tests.system.program import ROOT, clean_environment
from tests.system.simulation import Simulation

MARK = "CHATBOT_TEST_DIRECTORY"  # every process of a test inherits it, and can be found by it


class Result(NamedTuple):
    """How a program ended."""

    out: str
    err: str
    code: int


class Chatbot:
    """Starts `run.py` with a clean environment: no keys, addresses, proxies; of the OTEL variables
    only those that say that there is no collector."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[subprocess.Popen[str]] = []
        config = directory / "config.toml"
        config.touch()
        self._environment = {"CHATBOT_CONFIG": str(config), MARK: str(directory)}

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the program."""
        return [sys.executable, str(ROOT / "run.py"), *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the program."""
        return clean_environment(**self._environment, **more)

    def start(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, **environment: str
    ) -> "subprocess.Popen[str]":
        """Start it with pipes, in a process group of its own."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.directory,
            env=self.environment(**environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Result:
        """Run it to its end; nothing may be left behind."""
        process = self.start(*arguments, stdin=subprocess.PIPE, **environment)
        result = self.finish(process, stdin)
        self.must_be_gone()
        return result

    def finish(self, process: "subprocess.Popen[str]", stdin: str | None = None) -> Result:
        """Give it its input and wait for its end."""
        out, err = process.communicate(stdin, timeout=60)
        return Result(out, err, process.returncode)

    def must_be_gone(self) -> None:
        """Fail when a process of this test still runs, a few seconds after the program's end."""
        assert eventually(lambda: not self._alive(), 10), f"left behind: {self._alive()}"

    def end(self) -> None:
        """Kill what is left."""
        for process in self._alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.wait(10)
            for stream in (started.stdin, started.stdout, started.stderr):
                if stream:
                    with contextlib.suppress(OSError):  # unsent input of a program that has ended
                        stream.close()

    def _alive(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                ours = process.environ().get(MARK) == str(self.directory)
                if ours and process.pid != os.getpid() and process.status() != "zombie":
                    found.append(process)
        return found


@pytest.fixture
def chatbot(tmp_path: Path) -> Iterator[Chatbot]:
    """The program, in the test's own directory."""
    program = Chatbot(tmp_path)
    try:
        yield program
        program.must_be_gone()
    finally:
        program.end()


@pytest.fixture
def open_chat(chatbot: Chatbot) -> Iterator[Any]:
    """Opens chats, each in a terminal of its own: see `ChatScreen`. By default with the simulated server."""
    from tests.system.screen import ChatScreen  # there are no pseudo-terminals on Windows

    opened: list[ChatScreen] = []

    def open_it(*arguments: str, **more: Any) -> ChatScreen:
        given = arguments or ("--backend", "sim")
        one = () if "--workers" in given else ("--workers", "1")  # each is a process to be started
        opened.append(ChatScreen(chatbot, *given, *one, **more))
        return opened[-1]

    yield open_it
    for screen in opened:
        screen.close()


@pytest.fixture
def llm() -> Iterator[Llm]:
    """A server that answers as it is told."""
    with Llm(["m-1", "m-2", "lantern"]) as server:
        yield server


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Any]:
    """Begins runs of `simulate`, each in a directory of its own."""
    begun: list[Simulation] = []

    def begin(*arguments: str, **environment: Any) -> Simulation:
        directory = tmp_path / str(len(begun))
        directory.mkdir()
        begun.append(Simulation(directory, *arguments, **environment))
        return begun[-1]

    yield begin
    for each in begun:
        each.end()
