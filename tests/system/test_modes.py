"""Without a terminal: one-shot, script, JSON and models; stdin, stdout, stderr and exit status."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import eventually
from tests.system.conftest import Chatbot, Result

SIM = ("--backend", "sim")
MODELS = "sim\tsim\nsim\tsim-large\nsim\tsim-small\n"


def rows(directory: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(directory / "chatbot.db")) as database:
        return database.execute(query).fetchall()


def questions(directory: Path) -> list[str]:
    return [row[0] for row in rows(directory, "SELECT content FROM messages WHERE role = 'user'")]


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# --- one-shot


def test_a_oneshot_prints_the_answer_and_nothing_else(chatbot: Chatbot) -> None:
    result = chatbot(*SIM, "why", "is", "it", "so?")
    assert (result.err, result.code) == ("", 0)
    assert result.out.endswith(".\n")
    assert result.out.count("\n") == 1
    assert questions(chatbot.directory) == ["why is it so?"]
    assert rows(chatbot.directory, "SELECT content || char(10) FROM messages ORDER BY id")[-1] == (
        result.out,
    )


def test_a_cached_answer_is_the_same_and_is_marked_unless_it_is_asked_anew(
    chatbot: Chatbot,
) -> None:
    first = chatbot(*SIM, "hello")
    again = chatbot(*SIM, "hello")
    assert (again.out, again.code) == (first.out, 0)
    assert again.err.startswith("(cached ")
    assert again.err.endswith("; --refresh asks anew)\n")
    for option in ("--no-cache", "--refresh"):
        anew = chatbot(*SIM, option, "hello")
        assert (anew.out, anew.err, anew.code) == (first.out, "", 0)
    cached = rows(chatbot.directory, "SELECT cached FROM messages WHERE role = 'assistant'")
    assert cached == [(0,), (1,), (0,), (0,)]


def test_a_pipe_goes_before_the_prompt_and_a_dash_is_the_whole_of_it(chatbot: Chatbot) -> None:
    assert chatbot(*SIM, "summarise this", stdin="line 1\nline 2\n").code == 0
    assert chatbot(*SIM, "-", stdin="all of\nit\n").code == 0
    assert questions(chatbot.directory) == ["line 1\nline 2\n\nsummarise this", "all of\nit"]


def test_an_empty_prompt_is_refused(chatbot: Chatbot) -> None:
    for arguments in (("",), ("-",)):
        result = chatbot(*SIM, *arguments, stdin=" \n")
        assert result == ("", "there is nothing to ask: the prompt is empty\n", 2)


# --- script


def test_a_script_is_turns_and_commands_and_its_end_is_the_end_of_the_file(
    chatbot: Chatbot,
) -> None:
    script = "hi\n\n/model sim-small\n/model\n/models\n/new\nhi again\r\n"
    result = chatbot(*SIM, stdin=script)
    assert result.code == 0
    assert len(result.out.splitlines()) == 2
    model, shown, *listed, session = result.err.splitlines()
    assert model == shown.replace("(sim)", "(sim)") == "Model: sim-small (sim)"
    assert listed == ["sim", "sim-large", "sim-small"]
    assert session.startswith("Session: session_")
    asked = rows(
        chatbot.directory, "SELECT content, model, session_id FROM messages WHERE role = 'user'"
    )
    assert [row[:2] for row in asked] == [("hi", "sim"), ("hi again", "sim-small")]
    assert asked[1][2] == session.removeprefix("Session: ")
    assert asked[0][2] != asked[1][2]


def test_an_unknown_command_is_told_and_the_script_goes_on(chatbot: Chatbot) -> None:
    result = chatbot(*SIM, stdin="/hlep\n/home/me/x.png\n/quit\nnot reached\n")
    assert result.err == "unknown command /hlep: did you mean /help?\n"
    assert result.code == 2
    assert questions(chatbot.directory) == ["/home/me/x.png"]


def test_a_failed_turn_outweighs_an_unknown_command(chatbot: Chatbot) -> None:
    script = "/switch ollama\nhi\n/bogus\n/switch sim\nhi\n"
    result = chatbot(*SIM, stdin=script, OLLAMA_HOST=f"127.0.0.1:{closed_port()}")
    assert result.code == 1
    assert result.out.count("\n") == 1
    failed = [line for line in result.err.splitlines() if "ollama serve" in line]
    assert len(failed) == 1
    # The question that got no answer is not sent along with the next one.
    assert questions(chatbot.directory) == ["hi", "hi"]


def test_an_empty_script_asks_nothing(chatbot: Chatbot) -> None:
    assert chatbot(*SIM) == ("", "", 0)


# --- JSON


def test_with_json_every_line_of_a_oneshot_is_an_event(chatbot: Chatbot) -> None:
    result = chatbot(*SIM, "--json", "hello")
    asked, *deltas, answered = events(result)
    assert (result.err, result.code) == ("", 0)
    assert (asked["event"], asked["backend"], asked["model"]) == ("asked", "sim", "sim")
    assert {delta["event"] for delta in deltas} == {"delta"}
    assert answered["event"] == "answered"
    assert answered["text"] == "".join(delta["text"] for delta in deltas)
    assert len({event["request_id"] for event in events(result)}) == 1
    trace = rows(chatbot.directory, "SELECT DISTINCT trace_id FROM messages")
    assert trace == [(answered["trace_id"],)]


def test_with_json_every_line_of_a_script_is_an_event(chatbot: Chatbot) -> None:
    script = "hi\n/models\n/help\n/switch ollama\nhi\n/switch sim\nhi\n"
    result = chatbot(*SIM, "--json", stdin=script, OLLAMA_HOST=f"127.0.0.1:{closed_port()}")
    names = [event["event"] for event in events(result) if event["event"] != "delta"]
    assert names == ["asked", "answered", "models", "asked", "failed", "asked", "answered"]
    assert result.code == 1
    assert "/quit" in result.err


# --- sessions


def test_continue_goes_on_with_the_latest_session_its_backend_and_its_model(
    chatbot: Chatbot,
) -> None:
    chatbot(*SIM, "-m", "sim-small", "one")
    assert chatbot("-c", "two").code == 0  # without it: Ollama
    (session_id,) = {row[0] for row in rows(chatbot.directory, "SELECT session_id FROM messages")}
    asked = "SELECT backend, model, content FROM messages WHERE role = 'user' ORDER BY id"
    assert rows(chatbot.directory, asked)[-1] == ("sim", "sim-small", "two")
    assert chatbot("--session-id", session_id, "-m", "sim", "three").code == 0  # its own backend
    assert rows(chatbot.directory, asked)[-1] == ("sim", "sim", "three")
    assert rows(chatbot.directory, "SELECT count(*) FROM sessions") == [(1,)]


def test_an_unknown_session_is_refused_and_no_latest_one_is_a_new_one(chatbot: Chatbot) -> None:
    unknown = chatbot(*SIM, "--session-id", "session_0_none", "hello")
    assert (unknown.out, unknown.code) == ("", 2)
    assert unknown.err.startswith("there is no session 'session_0_none'")
    assert unknown.err.count("\n") == 1
    first = chatbot(*SIM, "--continue", "hello")
    assert first.code == 0
    assert first.err == "there is no session yet: this is a new one\n"


# --- models


def test_models_lists_one_backend_or_every_configured_one(chatbot: Chatbot) -> None:
    assert chatbot("models", *SIM) == (MODELS, "", 0)
    every = chatbot("models", OLLAMA_HOST=f"127.0.0.1:{closed_port()}")
    assert (every.out, every.code) == (MODELS, 0)
    assert "ollama serve" in every.err
    assert every.err.count("\n") == 1


# --- what goes wrong


def test_no_ollama_is_one_line_with_the_remedy(chatbot: Chatbot) -> None:
    port = closed_port()
    result = chatbot("hello", OLLAMA_HOST=f":{port}")
    assert (result.out, result.code) == ("", 1)
    assert f"http://localhost:{port}" in result.err
    assert "start it with `ollama serve`, or set OLLAMA_HOST" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--backend", "openai", "hi"], {}, "OPENAI_API_KEY"),
        (["--backend", "nobody"], {}, "--backend"),
        (["--ollama-model", "a b", "hi"], {}, "NAME:VERSION"),
        (["hi"], {"OLLAMA_HOST": "http://"}, "OLLAMA_HOST"),
        (["--backend", "openai", "hi"], {"OPENAI_BASE_URL": "localhost"}, "OPENAI_BASE_URL"),
    ],
)
def test_wrong_configuration_is_one_line_that_names_it(
    chatbot: Chatbot, arguments: list[str], environment: dict[str, str], named: str
) -> None:
    result = chatbot(*arguments, **environment)
    assert (result.out, result.code) == ("", 2)
    assert named in result.err
    assert result.err.count("\n") == 1
    assert list(chatbot.directory.iterdir()) == [chatbot.directory / "config.toml"]


@pytest.fixture
def server(chatbot: Chatbot) -> Iterator[str]:
    """The address of a simulated server of its own."""
    process = chatbot.start("sim-server", "--port", "0", "--inter-chunk", "0.2", "--chunks", "100")
    assert process.stderr
    assert process.stdout
    yield process.stderr.readline().split("server on ")[1].split()[0]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_port_in_use_is_one_line_with_the_remedy(chatbot: Chatbot, server: str) -> None:
    process = chatbot.start("sim-server", "--port", server.rsplit(":", 1)[1])
    result = chatbot.finish(process)
    assert (result.out, result.code) == ("", 2)
    assert "give another port, or 0 for any that is free" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "model", "remedy"),
    [("wrong-key", "sim", "check OPENAI_API_KEY"), ("any", "no-such-model", "/models lists")],
)
def test_a_wrong_key_and_an_unknown_model_are_one_line_with_the_remedy(
    chatbot: Chatbot, server: str, key: str, model: str, remedy: str
) -> None:
    arguments = ("--backend", "openai", "-m", model, "hello")
    process = chatbot.start(*arguments, OPENAI_BASE_URL=f"{server}/v1", OPENAI_API_KEY=key)
    result = chatbot.finish(process)
    assert (result.out, result.code) == ("", 1)
    assert remedy in result.err
    assert result.err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("which", ["SIGINT", "SIGTERM"])
def test_a_signal_in_mid_answer_keeps_what_came(chatbot: Chatbot, server: str, which: str) -> None:
    arguments = ("--backend", "openai", "-m", "sim", "hello")
    process = chatbot.start(*arguments, OPENAI_BASE_URL=f"{server}/v1")
    assert process.stdout
    first = os.read(process.stdout.fileno(), 4096).decode()
    os.killpg(process.pid, signal.Signals[which])
    result = chatbot.finish(process)
    assert result.code == 130
    assert "Traceback" not in result.err
    assert result.err.count("\n") <= 1
    ((status, kept),) = rows(
        chatbot.directory, "SELECT status, content FROM messages WHERE role = 'assistant'"
    )
    assert status == "interrupted"
    assert kept
    if which == "SIGINT":
        assert first + result.out == kept + "\n"
        assert result.err == "(cancelled; what came is kept)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_reader_that_has_seen_enough_ends_it_quietly(chatbot: Chatbot, server: str) -> None:
    arguments = ("--backend", "openai", "-m", "sim", "hello")
    process = chatbot.start(*arguments, OPENAI_BASE_URL=f"{server}/v1")
    assert process.stdout
    assert process.stderr
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.wait(20) == 0
    assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk to write to")
def test_a_full_disk_under_stdout_is_one_line(chatbot: Chatbot) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            chatbot.command(*SIM, "hello"),
            cwd=chatbot.directory,
            env=chatbot.environment(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (done.stderr, done.returncode) == (
        "cannot write to stdout: No space left on device\n",
        1,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the streams")
@pytest.mark.parametrize(("closed", "err"), [(">&-", ""), (">&- 2>&- <&-", "")])
def test_closed_streams_do_no_harm(chatbot: Chatbot, closed: str, err: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *chatbot.command(*SIM, "hello")],
        cwd=chatbot.directory,
        env=chatbot.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", err, 0)
    assert questions(chatbot.directory) == ["hello"]
    assert eventually(lambda: len(rows(chatbot.directory, "SELECT 1 FROM messages")) == 2)
