"""A run of `simulate` as a program, and what must hold of the files that it leaves."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from chatbot.simulate import stages
from chatbot.simulate.past import ASKED, RESULT, TURNS, take_up
from chatbot.simulate.result import Result, decode
from tests.fakes import eventually
from tests.system.program import ROOT, clean_environment

QUICK = ("--first-token", "10ms", "--inter-chunk", "1ms", "--chunks", "8")


class Simulation:
    """`run.py simulate` in a directory of its own. `end` it always."""

    def __init__(
        self, directory: Path, *arguments: str, stdout: int = subprocess.PIPE, **environment: str
    ) -> None:
        self.out = directory / "out"
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), "simulate", "--out", str(self.out), *arguments],
            cwd=directory,
            env=clean_environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._children: dict[int, psutil.Process] = {}

    def turns(self) -> list[dict[str, Any]]:
        """Return what has been written of the turns so far."""
        path = self.out / TURNS
        if not path.exists():
            return []
        lines = path.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def await_turns(self, number: int) -> None:
        """Wait until so many more turns have ended."""
        before = len(self.turns())
        assert eventually(lambda: len(self.turns()) >= before + number, 30), self.process.poll()

    def under_way(self) -> int:
        """Return how many turns of the run were asked and have not ended, by what has been written."""
        past = take_up(self.out)
        assert past.run is not None
        return len(past.open(stages.run(past.run.simulation, past.run.target)))

    def hold(self, pid: int) -> int:
        """Stop the seat while turns are under way; return how many. It writes nothing more."""
        held = 0

        def stop() -> bool:
            nonlocal held
            os.kill(pid, signal.SIGSTOP)
            process = psutil.Process(pid)
            assert eventually(lambda: process.status() == psutil.STATUS_STOPPED, 5)
            held = self.under_way()
            if not held:
                os.kill(pid, signal.SIGCONT)
            return held > 0

        assert eventually(stop, 10)
        return held

    def pid(self, role: str, *, after: int = 0) -> int:
        """Return the pid of the newest process of a role, as the log has it."""
        if role == "supervisor":
            return self.process.pid
        found: list[int] = []

        def look() -> bool:
            log = self.out / "logs" / "chatbot.log"
            lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
            events = [json.loads(line) for line in lines if '"ready"' in line]
            found[:] = [
                event["fields"]["child_pid"]
                for event in events
                if event["event"] == "ready" and event["fields"]["role"] == role
            ]
            return bool(found) and found[-1] != after

        assert eventually(look, 20), f"no {role} is ready"
        return found[-1]

    def see(self) -> list[psutil.Process]:
        """Remember its processes, so that what is left behind is found; return them."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self._children[child.pid] = child
        return list(self._children.values())

    def finish(self, within_s: float = 60.0) -> tuple[int, str, str]:
        """Wait for its end; return the exit code, stdout and stderr. Nothing may be left behind."""
        self.see()
        out, errors = self.process.communicate(timeout=within_s)
        left = [child for child in self._children.values() if child.is_running()]
        assert eventually(lambda: not any(child.is_running() for child in left), 10), left
        return self.process.returncode, out, errors

    def result(self) -> Result:
        """Return what it has written at its end."""
        return decode((self.out / RESULT).read_bytes(), RESULT)

    def end(self) -> None:
        """Kill whatever is left of it."""
        children = self.see()
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=10)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def adds_up(simulation: Simulation) -> Result:
    """Check that every total is the same wherever it stands; return the result."""
    result, turns = simulation.result(), simulation.turns()
    totals = result.totals
    measured = [turn for turn in turns if turn["phase"] == "run"]
    assert len({(turn["session"], turn["index"], turn["phase"]) for turn in turns}) == len(turns)
    assert totals.asked == len(measured)
    assert totals.asked == (
        totals.answered + totals.failed + totals.cancelled + totals.interrupted + totals.lost
    )
    by_status = Counter(turn["status"] for turn in measured)
    assert totals.answered == by_status["answered"]
    assert totals.failed == by_status["failed"]
    assert totals.interrupted == by_status["interrupted"]
    assert totals.lost == by_status["lost"]
    assert sum(totals.by_kind.values()) == totals.asked - totals.answered
    assert totals.output_tokens == sum(
        turn.get("output_tokens") or 0 for turn in measured if turn["status"] == "answered"
    )
    assert not (simulation.out / ASKED).exists()
    return result


def answers_in(database: Path) -> list[tuple[str, str]]:
    """Return (session id, status) of every answer that is saved."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT session_id, status FROM messages WHERE role = 'assistant'"
        )
        return rows.fetchall()


@contextlib.contextmanager
def sim_server(directory: Path) -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "sim-server", "--port", "0", *QUICK],
        cwd=directory,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        line = server.stderr.readline()
        yield next(word for word in line.split() if word.startswith("http://"))
    finally:
        server.terminate()
        server.communicate(timeout=10)
