"""The plain chat in a real terminal: what is on the screen, which keys do what, and who survives what."""

import functools
import os
import signal
import sys
from collections.abc import Callable

import pytest

from tests.fakes import eventually
from tests.system.conftest import Chatbot
from tests.system.llm import Llm

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

import termios

import pexpect
import psutil

from tests.system.screen import COLUMNS, KEYS, WITHIN_S, ChatScreen

CTRL_C, CTRL_D = KEYS["ctrl-c"], KEYS["ctrl-d"]


Open = Callable[..., ChatScreen]


@pytest.fixture
def terminal(open_chat: Open) -> Open:
    """Opens the plain chat."""
    return functools.partial(open_chat, plain=True)


def test_the_chat_looks_as_its_users_know_it(terminal: Open) -> None:
    chat = terminal()
    lines = chat.at_prompt()
    assert lines[0] == "=== chatbot ==="
    assert lines[1].startswith("Session: session_1")
    assert lines[2:] == [
        "Backend: sim",
        "Type /help for commands, /quit to exit",
        "",
        "You:",
    ]
    chat.type("hello\r")
    chat.at_prompt("Bot: ")
    assert "You: hello" in chat.lines
    chat.type("/hlep\r")
    chat.at_prompt("did you mean /help?")
    chat.type("/quit\r")
    assert chat.ends() == 0
    assert chat.lines[-1] == "Goodbye!"


def test_ctrl_c_at_the_prompt_clears_then_hints_then_leaves(terminal: Open) -> None:
    chat = terminal()
    chat.at_prompt()
    chat.type("half a que")
    chat.until(lambda lines: lines[-1] == "You: half a que")
    chat.type(CTRL_C)
    chat.at_prompt("half a que")
    assert not any("Ctrl-C again" in line for line in chat.lines)
    chat.type(CTRL_C)
    chat.at_prompt("(Ctrl-C again, or Ctrl-D, leaves)")
    chat.type(CTRL_C)
    assert chat.ends() == 130
    assert chat.lines[-1] == "Goodbye!"


def test_ctrl_d_leaves(terminal: Open) -> None:
    chat = terminal()
    chat.at_prompt()
    chat.type(CTRL_D)
    assert chat.ends() == 0
    assert chat.lines[-1] == "Goodbye!"


def test_ctrl_c_in_mid_answer_stops_it_and_the_chat_goes_on(terminal: Open, llm: Llm) -> None:
    llm.will("Half", " an", " answer", held=True)
    llm.will("Half", " an", " answer", " The end.")
    chat = terminal("--backend", "openai", **llm.environment)
    chat.at_prompt()
    chat.type("hello\r")
    chat.until(lambda lines: lines[-1] == "Bot: Half an answer")
    chat.type(CTRL_C)
    chat.at_prompt("(cancelled; what came is kept)")
    chat.type("go on\r")
    chat.at_prompt("Bot: Half an answer The end.")
    chat.type(CTRL_D)
    assert chat.ends() == 0


def test_two_ctrl_c_in_mid_answer_leave(terminal: Open, llm: Llm) -> None:
    llm.will("Half", held=True)
    chat = terminal("--backend", "openai", **llm.environment)
    chat.at_prompt()
    chat.type("hello\r")
    chat.until(lambda lines: lines[-1] == "Bot: Half")
    chat.type(CTRL_C + CTRL_C)
    # The second may come when the first has stopped the answer: then it is one at the prompt.
    chat.until(lambda lines: lines[-1] in ("Goodbye!", "You:"))
    if chat.lines[-1] != "Goodbye!":
        chat.type(CTRL_D)
    assert chat.ends() in (0, 130)
    assert chat.lines[-1] == "Goodbye!"


def test_an_answer_cannot_drive_the_terminal(terminal: Open, llm: Llm) -> None:
    pieces = ("\x1b]0;owned\x07", "\x1b", "[2J\x9b2J\u202e", "\rvisible\x08\x7f", "\x1b[?1049h")
    llm.will(*pieces, " The end.")
    chat = terminal("--backend", "openai", **llm.environment)
    chat.at_prompt()
    before = len(chat.raw)
    chat.type("hello\r")
    lines = chat.at_prompt("The end.")
    assert lines[0] == "=== chatbot ==="
    assert any(line.startswith("Bot: ␛]0;owned␇␛[2J2Jvisible␈␡␛[?1049h") for line in lines)
    assert chat.title == ""
    answer = chat.raw[before:].split("Bot: ")[1].split("You: ")[0]
    assert "\x9b" not in answer
    assert "\x07" not in answer
    chat.type(CTRL_D)
    assert chat.ends() == 0


def test_a_killed_terminal_comes_back_with_its_conversation(terminal: Open) -> None:
    chat = terminal()
    chat.at_prompt()
    chat.type("hello\r")
    chat.at_prompt("Bot: ")
    answer = next(line for line in chat.lines if line.startswith("Bot: "))
    chat.type("/switch ollama\r")
    chat.at_prompt("Backend: ollama")
    pid = chat.ui_pid()
    os.kill(pid, signal.SIGKILL)
    chat.ui_pid(after=pid)
    chat.until(lambda lines: lines.count(answer) == 2 and lines[-1] == "You:")
    assert chat.lines.count("=== chatbot ===") == 2
    assert chat.lines.count("You: hello") == 2
    chat.type("typing works\r")
    chat.until(lambda lines: sum(line.startswith("Bot: ") for line in lines) == 3)
    chat.at_prompt()
    chat.type(CTRL_D)
    assert chat.ends() == 0


def test_a_terminal_killed_in_mid_answer_comes_back_and_shows_all_of_it(
    terminal: Open, llm: Llm
) -> None:
    half = llm.will("Half", held=True, rest=[" The end."])
    chat = terminal("--backend", "openai", **llm.environment)
    chat.at_prompt()
    chat.type("hello\r")
    chat.until(lambda lines: lines[-1] == "Bot: Half")
    pid = chat.ui_pid()
    os.kill(pid, signal.SIGKILL)
    assert chat.ui_pid(after=pid)
    half.go_on()
    chat.at_prompt("Bot: Half The end.")
    chat.type(CTRL_D)
    assert chat.ends() == 0


@pytest.mark.parametrize("whom", ["the program", "its terminal process"])
def test_sigterm_at_the_prompt_leaves_at_once(terminal: Open, whom: str) -> None:
    chat = terminal()
    chat.at_prompt()
    chat.type("half a que")
    pid = chat.child.pid if whom == "the program" else chat.ui_pid()
    os.kill(pid, signal.SIGTERM)
    assert chat.ends() == 130
    assert "Traceback" not in chat.raw


def test_a_missing_key_fails_the_turn_and_not_the_chat(terminal: Open) -> None:
    chat = terminal("--backend", "anthropic")
    chat.at_prompt()
    chat.type("hello\r")
    chat.at_prompt("anthropic needs an API key: set the environment variable ANTHROPIC_API_KEY")
    chat.type("/switch sim\r")
    chat.at_prompt("Backend: sim, model sim")
    chat.type("hello\r")
    chat.until(lambda lines: sum(line.startswith("Bot: ") for line in lines) == 1)
    chat.at_prompt()
    chat.type(CTRL_D)
    assert chat.ends() == 0


def test_without_a_database_the_chat_goes_on(terminal: Open) -> None:
    chat = terminal("--backend", "sim", "--db", "config.toml/chat.db")
    chat.at_prompt()
    chat.type("hello\r")
    chat.at_prompt("Bot: ")
    chat.type("again\r")
    chat.until(lambda lines: sum(line.startswith("Bot: ") for line in lines) >= 2)
    chat.at_prompt()
    assert sum(line.startswith("not saving: ") for line in chat.lines) == 1, chat.lines
    chat.type(CTRL_D)
    assert chat.ends() == 0


@pytest.mark.parametrize("turns", [0, 1])
def test_a_killed_supervisor_leaves_the_terminal_as_it_was(chatbot: Chatbot, turns: int) -> None:
    # In a shell, as a person would: the one that is killed is not the leader of the session.
    script = '"$0" "$@"; echo "ended with $?"; read -r line'
    command = chatbot.command("--backend", "sim", "--plain")
    shell = pexpect.spawn(
        "/bin/sh",
        ["-c", script, *command],
        cwd=str(chatbot.directory),
        env=chatbot.environment(TERM="xterm-256color"),
        encoding="utf-8",
        timeout=WITHIN_S,
    )
    shell.delaybeforesend = None
    try:
        modes = termios.tcgetattr(shell.child_fd)
        shell.expect_exact("You: ")
        for _ in range(turns):
            shell.send("hello\r")
            shell.expect_exact("Bot: ")
            shell.expect_exact("You: ")
        assert termios.tcgetattr(shell.child_fd) != modes  # the line is being edited
        (supervisor,) = psutil.Process(shell.pid).children()
        supervisor.kill()
        shell.expect_exact("ended with 137")
        assert eventually(lambda: termios.tcgetattr(shell.child_fd) == modes)
        assert eventually(lambda: not psutil.Process(shell.pid).children())
    finally:
        shell.close(force=True)


def test_without_a_database_a_killed_terminal_comes_back_too(terminal: Open) -> None:
    screen = terminal("--backend", "sim", "--db", "missing/chat.db")
    screen.at_prompt()
    screen.type("hello\r")
    screen.at_prompt("Bot: ")
    before = screen.ui_pid()
    os.kill(before, signal.SIGKILL)
    screen.ui_pid(after=before)
    screen.type("hello again\r")
    screen.until(lambda lines: lines[-1:] == ["You:"] and sum("Bot: " in n for n in lines) >= 2)
    screen.type(CTRL_D)
    assert screen.ends() == 0


def test_a_plain_trace_is_drawn_in_the_width_of_the_terminal_without_colours(
    terminal: Open,
) -> None:
    chat = terminal()
    chat.at_prompt()
    chat.type("hi\r")
    chat.at_prompt("Bot: ")
    chat.type("/trace\r")
    lines = chat.at_prompt("slowest: ")
    assert any(line.startswith("├ send store.asks") for line in lines)
    rows = [line for line in lines if " ui " in line or " store " in line]
    assert len(rows) > 5
    assert {len(line) for line in rows} == {COLUMNS}
    assert not chat.has_color
    chat.type("/quit\r")
    assert chat.ends() == 0
