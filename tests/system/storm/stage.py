"""The test's side of a run: starts the program, kills what is in it, gathers the evidence."""

import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

import psutil

from tests.fakes import eventually
from tests.system.program import clean_environment
from tests.system.storm.journal import Journal, Line, Tail, digest
from tests.system.storm.judge import DEADLINE_S, Evidence, Row
from tests.system.storm.scenario import DIRECTORY, LIFE, Scenario


class Stage:
    """A run in a directory of its own. Leave it always: that kills what is left."""

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self.directory = directory
        self.scenario = scenario
        scenario.write(directory)
        self.lines: list[Line] = []
        self.life = 0
        self.kills: Counter[str] = Counter()
        self._pids: dict[tuple[str, int], int] = {}
        self._terminals = 0
        self._tail = Tail(directory)
        self._journal = Journal(directory, 0)
        self._addresses: dict[str, str] = {}
        self._server: subprocess.Popen[str] | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] = (directory / "stderr").open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.left():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for started in (self._program, self._server):
            if started is not None:
                started.wait(10)
        if self._server is not None and self._server.stderr is not None:
            self._server.stderr.close()
        self._errors.close()
        self._journal.close()

    # --- the program -----------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the simulated server outside of the program, for the other backends to lead to."""
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.system.storm.armed_server"],
            cwd=self.directory,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert self._server.stderr is not None
        said = self._server.stderr.readline()
        address = re.search(r"http://[\d.:]+", said)
        assert address, said
        url = address[0]
        self._addresses = {
            "OLLAMA_HOST": url,
            "OPENAI_BASE_URL": f"{url}/v1",
            "ANTHROPIC_BASE_URL": url,
        }

    def start(self) -> None:
        """Begin a life of the program, on the database that there is."""
        self.life += 1
        self._pids.clear()
        self._journal.write("began", life=self.life)
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.system.storm.run"],
            cwd=self.directory,
            env=self._environment(**self._addresses, **{LIFE: str(self.life)}),
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            start_new_session=True,
        )

    def ended(self, within_s: float) -> int | None:
        """Wait for the end of this life; return its exit code, None when it goes on."""
        assert self._program is not None
        try:
            code = self._program.wait(within_s)
        except subprocess.TimeoutExpired:
            return None
        self._journal.write("ended", life=self.life, outcome=str(code))
        return code

    def run_to_its_end(self, within_s: float = 80.0) -> None:
        """Let it ask all that it has to, through the kill of the whole program if there is one."""
        self.start()
        code = self.ended(within_s)
        if code == -signal.SIGKILL:
            self.start()
            code = self.ended(within_s)
        assert code is not None, f"it does not end: {self.told()}"
        self.must_be_gone()

    def drain(self) -> None:
        """Let it end what is under way, ask nothing more, and leave by itself."""
        self._journal.write("drained", life=self.life)
        (self.directory / "drain").touch()
        code = self.ended(3 * DEADLINE_S)
        assert code is not None, f"it does not end: {self.told()}"
        self.must_be_gone()

    def must_be_gone(self) -> None:
        """Fail when a process of the program is left behind."""
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait(10)
        assert eventually(lambda: not self.left(), 10), f"left behind: {self.left()}"

    def told(self) -> str:
        """Return what the program has said to the person, the end of it."""
        return (self.directory / "stderr").read_text(encoding="utf-8")[-2000:]

    def left(self) -> list[psutil.Process]:
        """Return the processes of this run that live."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and self._is_ours(process):
                    found.append(process)
        return found

    # --- kills -----------------------------------------------------------------------------------

    def storm(
        self, kills: int, chance: random.Random, weights: dict[str, int], gap_s: float
    ) -> None:
        """Kill so many processes, of random roles, at random moments; start the program again where
        that was its end. Fails when the program ends by itself or nothing ends for too long."""
        while sum(self.kills.values()) < kills:
            at_once = chance.random() < 0.2
            gap = 0.0 if at_once else chance.expovariate(1 / gap_s)
            (role,) = chance.choices(list(weights), list(weights.values()))
            spared = [each for each in weights if not self.kills[each]]
            if kills - sum(self.kills.values()) <= len(spared):  # each of them has to die once
                role = spared[0]
            slot = chance.randrange(2) if role == "worker" else 0
            stops_s = chance.uniform(0.02, 0.5) if chance.random() < 0.07 else 0.0
            waits_for_progress = not at_once and chance.random() < 0.75
            if waits_for_progress:
                before = self._progress()
                assert eventually(lambda b=before: self._progress() > b, DEADLINE_S), (  # type: ignore[misc] # a default binds it
                    f"nothing ends any more: {self.told()}"
                )
            code = self.ended(gap)
            assert code is None, f"it ended by itself with {code}: {self.told()}"
            if stops_s:
                self._stop_for(role, slot, stops_s)
            else:
                self._kill(role, slot)

    def _kill(self, role: str, slot: int) -> None:
        process = self._process(role, slot)
        if process is None:
            return
        self._journal.write("killed", pid=process.pid, life=self.life, role=role, slot=slot)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            self.kills[role] += 1
        if role == "supervisor":
            assert self.ended(10) == -signal.SIGKILL
            self.start()

    def _stop_for(self, role: str, slot: int, seconds: float) -> None:
        process = self._process(role, slot)
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
                self.ended(seconds)
                process.resume()

    def _process(self, role: str, slot: int) -> psutil.Process | None:
        """Return a process of the program if it lives just now."""
        assert self._program is not None
        if role == "supervisor":
            return psutil.Process(self._program.pid)
        self._progress()
        with contextlib.suppress(psutil.Error, OSError, KeyError):
            process = psutil.Process(self._pids[role, slot])
            if self._is_ours(process):
                return process
        return None

    def _is_ours(self, process: psutil.Process) -> bool:
        is_here = process.environ().get(DIRECTORY) == str(self.directory)
        return bool(is_here and process.status() != psutil.STATUS_ZOMBIE)

    def _progress(self) -> int:
        """Read on in the journal; return how many ends the driver has been told in all."""
        for line in self._tail.read():
            self.lines.append(line)
            if line.what == "born" and line.life == self.life:
                self._pids[line.role, line.slot] = line.pid
            self._terminals += line.what == "terminal"
        return self._terminals

    def _environment(self, **more: str) -> dict[str, str]:
        return clean_environment(**{DIRECTORY: str(self.directory)}, **more)

    # --- the evidence ----------------------------------------------------------------------------

    def evidence(self) -> Evidence:
        """Return what is left of the run."""
        self._progress()
        with contextlib.closing(sqlite3.connect(self.directory / "chatbot.db")) as connection:
            found = connection.execute(
                "select id, session_id, role, request_id, status, finish_reason, content"
                " from messages order by id"
            ).fetchall()
            verdicts = connection.execute("pragma integrity_check").fetchall()
        rows = [_row_of(*row) for row in found]
        return Evidence(self.lines, rows, "; ".join(verdict for (verdict,) in verdicts))


def _row_of(
    number: int,
    session_id: str,
    role: str,
    request_id: str,
    status: str,
    finish_reason: str | None,
    content: str,
) -> Row:
    text = content.partition(" ")[0]
    return Row(number, session_id, role, request_id, status, finish_reason, text, digest(content))


def figures(evidence: Evidence) -> str:
    """Return what happened in a run, in a few lines for a person."""
    kills: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    counts: Counter[str] = Counter(line.what for line in evidence.lines)
    for line in evidence.lines:
        if line.what == "killed":
            kills[line.role] += 1
        elif line.what == "terminal":
            ends[line.outcome] += 1
    asked = {line.request_id: line.at for line in evidence.lines if line.what == "asked"}
    slowest = max(
        (line.at - asked[line.request_id] for line in evidence.lines if line.what == "terminal"),
        default=0.0,
    )
    gap, inside = longest_silence(evidence.lines)
    lived, _ = longest_silence(evidence.lines, of_one_life=True)
    return (
        f"kills: {sum(kills.values())} {dict(kills)}\n"
        f"asked {counts['asked']}, accepted {counts['accepted']}, received {counts['received']}, "
        f"saved {counts['saved']}, rows {len(evidence.rows)}\n"
        f"ends: {dict(ends)}, the slowest after {slowest:.2f} s\n"
        f"longest time without an end: {gap:.2f} s (in it: {', '.join(inside) or 'no kill'}); "
        f"{lived:.2f} s where the supervisor lived"
    )


def longest_silence(lines: Sequence[Line], *, of_one_life: bool = False) -> tuple[float, list[str]]:
    """Return the longest time without the end of a request while there was load, and who was killed
    in it. `of_one_life`: leave out the times in which the program was started."""
    longest, inside = 0.0, list[str]()
    since: float | None = None
    killed: list[str] = []
    for line in sorted(lines, key=lambda line: line.at):
        if line.what == "drained":
            break
        if line.what == "killed":
            killed.append(line.role)
        elif of_one_life and line.what == "began":
            since = None
        elif line.what == "terminal":
            if since is not None and line.at - since > longest:
                longest, inside = line.at - since, killed
            since, killed = line.at, []
    return longest, inside
