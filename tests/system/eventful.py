"""A run of the real program in which everything happens that telemetry tells: an answer after a
retry, a cached one, a call that fails, one whose worker is killed, and another backend."""

import os
import signal
from pathlib import Path

import msgspec

from tests.fake_llm import END, SSE, FakeLlm, Gate, Visit, piece
from tests.system.program import Program

USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 2, "audio": False},
}


class Eventful:
    """The run: it is over when this has been made. `turns` were asked, and `answers` came whole from
    the scripted server."""

    turns = 5
    answers = 1

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "logs"
        self._held = Gate()
        with FakeLlm(self._serve) as server:
            address = f"{server.base_url}/v1"
            program = Program(
                directory, "--backend", "openai", "-m", "m-1", "--workers", "1",
                OPENAI_BASE_URL=address, OTEL_METRIC_EXPORT_INTERVAL="200",
            )  # fmt: skip
            try:
                self.trace_ids = self._talk(program)
            finally:
                self._held.open()
                program.end()
            self.requests = list(server.requests)

    def _talk(self, program: Program) -> dict[str, str]:
        """Return the trace id of each turn, by what happened in it."""
        traces: dict[str, str] = {}

        def ask(name: str, end: str) -> None:
            program.say("Why?" if name in ("retried", "cached") else f"Why is it {name}?")
            traces[name] = program.next("answered", "failed", "interrupted")["trace_id"]
            assert program.events[-1]["event"] == end, program.events

        ask("retried", "answered")
        program.say("/new")
        ask("cached", "answered")
        assert program.events[-1]["cached"] is True
        program.say("/new")
        ask("failed", "failed")
        worker = program.pid("worker")
        program.say("Why is it killed?")
        program.next("delta")
        os.kill(worker, signal.SIGKILL)
        traces["killed"] = program.next("interrupted")["trace_id"]
        assert program.pid("worker", after=worker)
        program.say("/switch sim")
        ask("simulated", "answered")
        assert program.finish() == 1  # a turn has failed
        return traces

    async def _serve(self, visit: Visit) -> None:
        request = await visit.request()
        if b"failed" in request.body:
            await visit.respond(400, b'{"error":{"message":"no"}}', content_type="application/json")
        elif b"killed" in request.body:
            await visit.begin()
            await visit.send(piece("It is"))
            await self._held.passed()
        elif visit.number == 0:
            await visit.respond(503, retry_after="0")
        else:
            chunks = [piece("Be"), piece("cause"), END.partition(b"data: [DONE]")[0]]
            used = {"id": "r-1", "model": "m-1", "choices": [], "usage": USAGE}
            chunks += [b"data: " + msgspec.json.encode(used) + b"\n\n", b"data: [DONE]\n\n"]
            await visit.respond(200, b"".join(chunks), content_type=SSE)
