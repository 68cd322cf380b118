"""Two-turn conversations with a real model, through the whole program and each of its real formats."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.program import ROOT, Program, clean_environment

pytestmark = pytest.mark.real

SYSTEM = "You are a helpful assistant. Answer in one short sentence."


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.system.llama_server"],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin
    assert server.stdout
    try:
        line = server.stdout.readline().strip()
        assert line.startswith("http://127.0.0.1:"), "the model did not start"
        yield line
    finally:
        server.stdin.close()
        server.stdout.close()
        server.kill()
        server.wait()


BACKENDS = {
    "openai": ("OPENAI_BASE_URL", "/v1"),
    "grok": ("GROK_BASE_URL", "/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", ""),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_real_model_holds_a_conversation_of_two_turns(
    backend: str, address: str, tmp_path: Path
) -> None:
    variable, suffix = BACKENDS[backend]
    options = ["-o", "max_tokens", "40", "-o", "temperature", "0"]
    program = Program(
        tmp_path,
        *("--backend", backend, "-m", "smollm2-135m", "-s", SYSTEM, *options),
        **{variable: address + suffix},
    )
    try:
        program.say("What is the capital of France?")
        first = program.next("answered", "failed", within_s=90)
        assert first["event"] == "answered", first
        assert "Paris" in first["text"]
        program.say("And which river flows through it?")
        second = program.next("answered", "failed", within_s=90)
        assert second["event"] == "answered", second
        assert second["text"]
        # The second question was sent with the first one and its answer.
        assert second["input_tokens"] > first["input_tokens"] + first["output_tokens"]
        for answered in (first, second):
            pieces = [
                event["text"]
                for event in program.events
                if event["event"] == "delta" and event["request_id"] == answered["request_id"]
            ]
            assert "".join(pieces) == answered["text"]
            assert answered["first_token_ms"] <= answered["duration_ms"]
            assert not answered["cached"]
        assert program.finish() == 0
    finally:
        program.end()


@pytest.mark.parametrize("backend", BACKENDS)
def test_its_models_are_listed(backend: str, address: str, tmp_path: Path) -> None:
    variable, suffix = BACKENDS[backend]
    program = Program(tmp_path, "--backend", backend, **{variable: address + suffix})
    try:
        program.say("/models")
        assert program.next("models")["names"] == ["smollm2-135m"]
        assert program.finish() == 0
    finally:
        program.end()


def test_an_error_of_the_server_is_one_line(address: str, tmp_path: Path) -> None:
    program = Program(
        tmp_path, "--backend", "openai", "-o", "top_p", "wrong", OPENAI_BASE_URL=address + "/v1"
    )
    try:
        program.say("hi")
        failed = program.next("failed", "answered", within_s=90)
        assert failed["event"] == "failed"
        assert program.finish() == 1
        assert program.stderr.count("\n") == 1
        assert "Traceback" not in program.stderr
    finally:
        program.end()
