"""The sums are true: what the metrics file counts is what the servers said, to the token.

Three witnesses are compared: the last values in the metrics file; the database and the events, which
the program wrote by another way; and what a relay in front of the simulated server read of its bytes
on the wire, with a parser of its own.
"""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatbot.settings import METRIC_FILE
from tests import otlp_files
from tests.fake_llm import FakeLlm, Visit
from tests.fakes import eventually
from tests.system.program import ROOT, Program, clean_environment

if not hasattr(signal, "SIGKILL"):
    pytest.skip("there is no SIGKILL here", allow_module_level=True)

KEYS = {f"{name}_API_KEY": "none" for name in ("ANTHROPIC", "GROK", "OPENAI")}
FORMATS = ("openai", "anthropic", "ollama", "grok")


class Relay:
    """Stands before a server and passes every byte on; `served` are the usages of whole answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heard: list[bytearray] = []

    async def __call__(self, visit: Visit) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        heard = bytearray()
        self.heard.append(heard)

        async def back() -> None:
            while data := await reader.read(65536):
                heard.extend(data)
                await visit.send(data)

        returning = asyncio.create_task(back())
        try:
            while data := await visit.reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass  # the client was killed
        finally:
            writer.close()
            await returning

    def served(self) -> list[dict[str, int]]:
        """Return the usage of every answer that was served to its end, by the path of each integer.

        A line of the stream never lies across two chunks, as the simulated server frames it.
        """
        found: list[dict[str, int]] = []
        for heard in self.heard:
            usage: dict[str, int] = {}
            for line in heard.decode().splitlines():
                data = line.removeprefix("data: ")
                if data == "[DONE]":
                    found.append(usage)
                    usage = {}
                elif data.startswith("{"):
                    event = json.loads(data)
                    usage |= _integers(event.get("usage"))
                    usage |= _integers(event.get("message", {}).get("usage"))
                    if event.get("done") is True:  # Ollama
                        usage["input_tokens"] = event["prompt_eval_count"]
                        usage["output_tokens"] = event["eval_count"]
                    if event.get("done") is True or event.get("type") == "message_stop":
                        found.append(usage)
                        usage = {}
        return found


def _integers(usage: Any, path: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in (usage or {}).items():
        if isinstance(value, dict):
            found |= _integers(value, f"{path}{name}.")
        elif type(value) is int:
            found[path + name] = value
    return found


def added(usages: list[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for usage in usages:
        total.update(usage)
    return dict(total)


class SimServer:
    """`run.py sim-server`, on a port of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), "sim-server", "--port", "0", *arguments],
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.process.stderr.readline())
        assert found
        self.port = int(found[1])

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stderr
        self.process.stderr.close()


@pytest.fixture
def fast_server() -> Iterator[SimServer]:
    server = SimServer("--first-token", "0", "--inter-chunk", "0")
    yield server
    server.end()


@pytest.fixture
def slow_server() -> Iterator[SimServer]:
    """Its pieces are 50 ms apart: an answer takes long enough to be in the middle of it."""
    server = SimServer("--first-token", "0", "--inter-chunk", "0.05", "--chunks", "24")
    yield server
    server.end()


def start(directory: Path, address: str, *arguments: str, export_every_ms: int = 200) -> Program:
    return Program(
        directory,
        *("--backend", "ollama", "-m", "sim", *arguments),
        OLLAMA_HOST=address,
        ANTHROPIC_BASE_URL=address,
        OPENAI_BASE_URL=f"{address}/v1",
        GROK_BASE_URL=f"{address}/v1",
        OTEL_METRIC_EXPORT_INTERVAL=str(export_every_ms),
        **KEYS,
    )


def saved_usages(directory: Path) -> list[dict[str, int]]:
    """Return the usage of every answer that was paid for, as the database has it."""
    connection = sqlite3.connect(directory / "chatbot.db")
    rows = connection.execute(
        "select usage from messages where role = 'assistant' and status = 'complete' and not cached"
    ).fetchall()
    connection.close()
    return [json.loads(usage) for (usage,) in rows]


def counted(path: Path) -> dict[str, int]:
    """Return every `llm.usage.*` counter of a metrics file."""
    return {
        name.removeprefix("llm.usage."): sum(int(point["asInt"]) for point in points)
        for name, points in otlp_files.last_points(path).items()
        if name.startswith("llm.usage.")
    }


def observed(path: Path, name: str) -> list[dict[str, Any]]:
    return otlp_files.last_points(path).get(name, [])


def count_of(path: Path, name: str) -> int:
    return sum(int(point["count"]) for point in observed(path, name))


def tokens(path: Path, kind: str) -> int:
    return sum(
        round(point["sum"])
        for point in observed(path, "gen_ai.client.token.usage")
        if point["attributes"]["gen_ai.token.type"] == kind
    )


def answered(program: Program, *, cached: bool) -> list[dict[str, Any]]:
    return [e for e in program.events if e["event"] == "answered" and e["cached"] is cached]


def test_two_hundred_turns_of_every_format_add_up(tmp_path: Path, fast_server: SimServer) -> None:
    relay = Relay(fast_server.port)
    with FakeLlm(relay) as front:
        program = start(tmp_path, front.base_url)
        try:
            for backend in FORMATS:
                program.say(f"/switch {backend}")
                program.say("/model sim")
                for number in range(50):
                    # Every tenth begins anew and asks what has been asked before: a hit.
                    if number % 10 == 0:
                        program.say("/new")
                    program.say("the same" if number % 10 == 0 else f"{backend} {number}")
                    assert program.next("answered", "failed")["event"] == "answered"
            assert program.finish() == 0
        finally:
            program.end()

    metrics = tmp_path / "logs" / METRIC_FILE
    paid, free = answered(program, cached=False), answered(program, cached=True)
    assert (len(paid), len(free)) == (200 - 16, 16)
    served = relay.served()
    assert len(served) == len(paid)
    assert counted(metrics) == added(served)
    assert counted(metrics) == added([event["usage"] for event in paid])
    assert counted(metrics) == added(saved_usages(tmp_path))

    for name in ("http.client.request.duration", "gen_ai.client.operation.duration"):
        assert count_of(metrics, name) == len(paid)
    assert count_of(metrics, "gen_ai.client.operation.time_to_first_chunk") == len(paid)
    for point in observed(metrics, "http.client.request.duration"):
        assert point["attributes"]["http.response.status_code"] == 200
        assert int(point["count"]) == 46  # of each backend: 50, of which 4 were cached
    # By both of the names that the formats have for them.
    assert tokens(metrics, "input") == sum(
        usage.get("input_tokens", usage.get("prompt_tokens", 0)) for usage in served
    )
    assert tokens(metrics, "output") == sum(
        usage.get("output_tokens", usage.get("completion_tokens", 0)) for usage in served
    )
    lookups = otlp_files.totals(metrics, "chatbot.cache.lookups", "result")
    assert sum(lookups.values()) == 200
    assert lookups[("miss",)] == len(paid)
    assert "chatbot.telemetry.dropped" not in otlp_files.last_points(metrics)


@pytest.mark.parametrize("backend", ["openai", "ollama"])
def test_a_worker_killed_on_the_way_changes_no_sum(
    backend: str, tmp_path: Path, slow_server: SimServer
) -> None:
    """What was served to its end is counted once; the answer that was cut off is not counted: its
    usage would have come with its end."""
    relay = Relay(slow_server.port)
    with FakeLlm(relay) as front:
        program = start(tmp_path, front.base_url, "--workers", "1")
        try:
            program.say(f"/switch {backend}")
            program.say("/model sim")
            worker = 0
            for number in range(3):
                program.say(f"answered {number}")
                assert program.next("answered", "failed")["event"] == "answered"
                worker = program.pid("worker", after=worker)
                program.say(f"killed {number}")
                program.next("delta")
                os.kill(worker, signal.SIGKILL)
                program.next("interrupted")
            program.say("the last")
            assert program.next("answered", "failed")["event"] == "answered"
            assert program.finish() == 1
        finally:
            program.end()

    metrics = tmp_path / "logs" / METRIC_FILE
    paid, served = answered(program, cached=False), relay.served()
    assert len(paid) == len(served) == 4
    begun = sum(heard.count(b"HTTP/1.1 200") for heard in relay.heard)
    assert begun == 4 + 3
    assert counted(metrics) == added(served)
    assert counted(metrics) == added([event["usage"] for event in paid])
    assert counted(metrics) == added(saved_usages(tmp_path))
    assert count_of(metrics, "http.client.request.duration") == 4
    assert tokens(metrics, "output") == 4 * 24
    assert otlp_files.totals(metrics, "chatbot.process.restarts", "role") == {("worker",): 3}


def test_a_worker_killed_right_behind_its_answer_has_reported_it(
    tmp_path: Path, fast_server: SimServer
) -> None:
    relay = Relay(fast_server.port)
    with FakeLlm(relay) as front:
        program = start(tmp_path, front.base_url, "--workers", "1")
        try:
            worker = 0
            for number in range(4):
                worker = program.pid("worker", after=worker)
                program.say(f"question {number}")
                assert program.next("answered", "failed")["event"] == "answered"
                os.kill(worker, signal.SIGKILL)
            program.pid("worker", after=worker)
            program.say("the last")
            assert program.next("answered", "failed")["event"] == "answered"
            assert program.finish() == 0
        finally:
            program.end()
    assert len(relay.served()) == 5
    assert counted(tmp_path / "logs" / METRIC_FILE) == added(relay.served())


@pytest.mark.parametrize("export_every_ms", [200, 600_000], ids=["exported", "last-words"])
def test_telemetry_killed_on_the_way_loses_nothing_that_was_on_the_disk(
    export_every_ms: int, tmp_path: Path, fast_server: SimServer
) -> None:
    """What it had exported, or put down as its last words, is in the sums for good."""
    logs = tmp_path / "logs"
    relay = Relay(fast_server.port)
    with FakeLlm(relay) as front:
        program = start(tmp_path, front.base_url, export_every_ms=export_every_ms)
        try:
            for number in range(5):
                program.say(f"question {number}")
                assert program.next("answered", "failed")["event"] == "answered"
            telemetry = program.pid("telemetry")

            def is_on_the_disk() -> bool:
                return any(
                    counted(path) == added(relay.served())
                    for path in (logs / METRIC_FILE, *logs.glob(f"{METRIC_FILE}.*.last"))
                    if path.exists()
                )

            assert eventually(is_on_the_disk, 20)
            os.kill(telemetry, signal.SIGKILL)
            program.pid("telemetry", after=telemetry)
            for number in range(5):
                program.say(f"question {number} again")
                assert program.next("answered", "failed")["event"] == "answered"
            assert program.finish() == 0
        finally:
            program.end()
    assert len(relay.served()) == 10
    assert counted(logs / METRIC_FILE) == added(relay.served())
