"""Records `tests/data/traces.jsonl` anew: `python -m tests.data.record`.

The real program asks a server that refuses a first attempt with 503 and answers the second, and asks the same again in a
new session, where the answer comes from the cache. The README shows these two traces: after a new
recording, what `tests/unit/test_documentation.py` prints goes there.
"""

import asyncio
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chatbot.settings import SPAN_FILE
from tests.fake_llm import END, FakeLlm, Visit, piece
from tests.system.program import ROOT, clean_environment

TRACES = Path(__file__).with_name("traces.jsonl")
# The first turn is for the processes to be there; then the question, and the same again.
SCRIPT = "Hello\n/new\nWhy is the sky blue?\n/new\nWhy is the sky blue?\n"


async def _refuse_then_answer(visit: Visit) -> None:
    # The pauses are the pace of the server that is recorded: nothing is waited for with them.
    await visit.request()
    if visit.number == 1:
        await asyncio.sleep(0.04)
        await visit.respond(503, b'{"error":{"message":"overloaded"}}', retry_after_ms="150")
        return
    await asyncio.sleep(0.12)
    await visit.begin()
    for text in ("Because", " the", " air", " scatters", " short", " waves", " most."):
        await visit.send(piece(text))
        await asyncio.sleep(0.03)
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
    await visit.send(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
    await visit.send(END)


def main() -> None:
    """Run the program, and keep its spans without the name of this machine."""
    with tempfile.TemporaryDirectory() as directory, FakeLlm(_refuse_then_answer) as server:
        environment = clean_environment(OPENAI_BASE_URL=f"{server.base_url}/v1")
        command = [sys.executable, str(ROOT / "run.py"), "--backend", "openai"]
        run = [*command, "--config", "config.toml", "--workers", "2"]
        Path(directory, "config.toml").touch()
        subprocess.run(run, cwd=directory, env=environment, input=SCRIPT, text=True, check=True)
        recorded = Path(directory, "logs", SPAN_FILE).read_text(encoding="utf-8")
    address = server.base_url.removeprefix("http://")
    recorded = recorded.replace(address, "127.0.0.1:8080").replace(
        f'"{address.rpartition(":")[2]}"', '"8080"'
    )
    lines = _without_the_first_turn(recorded.replace(f"@{platform.node()}", "@host").splitlines())
    TRACES.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _without_the_first_turn(lines: list[str]) -> Iterator[str]:
    requests = [json.loads(line) for line in lines]
    scopes = [
        scope
        for request in requests
        for resource in request["resourceSpans"]
        for scope in resource["scopeSpans"]
    ]
    turns = [span for scope in scopes for span in scope["spans"] if span["name"] == "chat_turn"]
    first = min(turns, key=lambda span: int(span["startTimeUnixNano"]))["traceId"]
    for scope in scopes:
        scope["spans"] = [span for span in scope["spans"] if span["traceId"] != first]
    for request in requests:
        yield json.dumps(request, separators=(",", ":"))


if __name__ == "__main__":
    main()
