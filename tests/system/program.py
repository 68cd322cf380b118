"""A scripted conversation with the real program, as JSON events, and its processes by role."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from tests.fakes import NO_COLLECTOR, eventually

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LD_LIBRARY_PATH")


def clean_environment(**more: str) -> dict[str, str]:
    """Return this environment without keys, addresses, proxies or OpenTelemetry variables, but for
    those that keep a test from sending to a collector that happens to run on this machine."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    return {**kept, **NO_COLLECTOR, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **more}


class Program:
    """`run.py --json` in a directory of its own, with pipes. `end` it always."""

    runs: tuple[str, ...] = (str(ROOT / "run.py"), "--json")

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, *self.runs, *arguments],
            cwd=directory,
            env=clean_environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            bufsize=1,
            start_new_session=True,
        )
        self.events: list[dict[str, Any]] = []
        self._new: queue.Queue[dict[str, Any]] = queue.Queue()
        self._errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._seen: set[int] = set()

    def say(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def close_input(self) -> None:
        """End its input: what a one-shot with a pipe for its stdin waits for."""
        assert self.process.stdin
        self.process.stdin.close()

    def next(self, *names: str, within_s: float = 30.0) -> dict[str, Any]:
        """Return the next event of one of these names; others before it are passed over."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                event = self._new.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                raise AssertionError(
                    f"no {names} within {within_s} s; so far {self.events} and {self.stderr!r}"
                ) from None
            if event["event"] in names:
                return event

    def pid(self, role: str, slot: int = 0, *, after: int = 0) -> int:
        """Return the pid of a process of this role, as the log has it: the newest, not `after`."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [
                line["fields"]["child_pid"]
                for line in self.log_lines("ready")
                if (line["fields"]["role"], line["fields"]["slot"]) == (role, slot)
            ]
            return bool(found) and found[-1] != after

        assert eventually(look, 20), f"no {role} is ready: {self.stderr!r}"
        return found[-1]

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log that have this event."""
        path = self.directory / "logs" / "chatbot.log"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        parsed = [json.loads(line) for line in lines if line.endswith("\n")]
        return [line for line in parsed if line["event"] == event]

    @property
    def stderr(self) -> str:
        """What it has said to the person so far."""
        return "".join(self._errors)

    def descendants(self) -> list[psutil.Process]:
        """Return every process that it has started and that still lives."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            self._seen |= {child.pid for child in children}
        alive: list[psutil.Process] = []
        for pid in self._seen:
            with contextlib.suppress(psutil.NoSuchProcess):  # it may end while we look
                alive.append(psutil.Process(pid))
        return alive

    def finish(self, within_s: float = 30.0) -> int:
        """Close its input and wait for its end; return the exit code. Nothing may be left behind."""
        children = self.descendants()
        self.close_input()
        code = self.process.wait(within_s)
        for thread in self._threads:
            thread.join(within_s)
        assert self.gone(children), f"left behind: {[p.pid for p in children if p.is_running()]}"
        return code

    def gone(self, processes: list[psutil.Process]) -> bool:
        """Whether these processes are all gone, within ten seconds."""
        return eventually(lambda: not any(_lives(process) for process in processes), 10)

    def end(self) -> None:
        """Kill whatever is left of it."""
        left = self.descendants()
        self.process.kill()
        self.process.wait(10)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def _read_events(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            self._new.put(event)

    def _read_errors(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._errors.append(line)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
