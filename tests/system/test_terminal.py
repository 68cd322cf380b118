"""The chat in a real terminal: what is on the screen, which keys do what, and who survives what."""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fakes import eventually
from tests.system.conftest import Chatbot

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

import termios

import pexpect
import psutil
import pyte

CTRL_C, CTRL_D = "\x03", "\x04"
WITHIN_S = 20.0
ROWS, COLUMNS = 40, 100


class Screen:
    """`run.py` in a terminal of its own, and what that terminal shows. `close` it always."""

    def __init__(self, chatbot: Chatbot, *arguments: str, **environment: str) -> None:
        self._chatbot = chatbot
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""
        command, *rest = chatbot.command(*arguments)
        self.child: Any = pexpect.spawn(
            command,
            rest,
            cwd=str(chatbot.directory),
            env=chatbot.environment(TERM="xterm-256color", **environment),
            encoding="utf-8",
            dimensions=(ROWS, COLUMNS),
        )
        self.child.delaybeforesend = None
        self.modes = termios.tcgetattr(self.child.child_fd)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the space at the ends of lines and below the last."""
        shown = [line.rstrip() for line in self._screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def title(self) -> str:
        """The title of its window."""
        return str(self._screen.title)

    def until(self, holds: Callable[[list[str]], bool]) -> list[str]:
        """Read until the screen's lines satisfy a condition; return them."""
        assert eventually(lambda: self._read() and holds(self.lines), WITHIN_S), self.lines
        return self.lines

    def at_prompt(self, after: str = "") -> list[str]:
        """Wait for an empty prompt, below a line that holds `after`."""
        return self.until(
            lambda lines: lines[-1:] == ["You:"] and any(after in line for line in lines)
        )

    def type(self, text: str) -> None:
        """Press keys."""
        self.child.send(text)

    def ends(self) -> int:
        """Read to the end; return the exit code. Nothing may be left behind."""
        assert eventually(lambda: not self._read(), WITHIN_S), self.lines
        code: int = self.child.wait()
        assert self.modes_are_as_before()
        self._chatbot.must_be_gone()
        return code

    def modes_are_as_before(self) -> bool:
        """Whether the terminal echoes and edits as it did before."""
        return bool(termios.tcgetattr(self.child.child_fd) == self.modes)

    def ui_pid(self, *, after: int = 0) -> int:
        """Return the pid of the terminal process, as the log has it: the newest, not `after`."""
        path = self._chatbot.directory / "logs" / "chatbot.log"
        found: list[int] = []

        def look() -> bool:
            self._read()
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            lines = [
                json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"
            ]
            ready = [line["fields"] for line in lines if line["event"] == "ready"]
            found[:] = [fields["child_pid"] for fields in ready if fields["role"] == "ui"]
            return bool(found) and found[-1] != after

        assert eventually(look, WITHIN_S)
        return found[-1]

    def _read(self) -> bool:
        """Take what is there; False at the end."""
        try:
            while True:
                text = self.child.read_nonblocking(65536, timeout=0)
                self.raw += text
                self._stream.feed(text)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False


Open = Callable[..., Screen]


@pytest.fixture
def terminal(chatbot: Chatbot) -> Iterator[Open]:
    """Opens the chat in a terminal; by default with the simulated server."""
    opened: list[Screen] = []

    def open_it(*arguments: str, **environment: str) -> Screen:
        screen = Screen(chatbot, *(arguments or ("--backend", "sim")), **environment)
        opened.append(screen)
        return screen

    yield open_it
    for screen in opened:
        screen.child.close(force=True)


class Llm:
    """A server that speaks the OpenAI format: the given pieces, then silence until `go_on`."""

    def __init__(self, *pieces: str) -> None:
        self.go_on = threading.Event()
        llm = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                with contextlib.suppress(OSError):  # the client may leave, as it should
                    for piece in pieces:
                        self._send({"delta": {"content": piece}})
                    llm.go_on.wait(WITHIN_S)
                    self._send({"delta": {"content": " The end."}})
                    self._send({"delta": {}, "finish_reason": "stop"})
                    self.wfile.write(b"data: [DONE]\n\n")

            def _send(self, choice: dict[str, Any]) -> None:
                chunk = {"id": "1", "model": "m", "choices": [{"index": 0, **choice}]}
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                self.wfile.flush()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def llm() -> Iterator[Callable[..., Llm]]:
    """Makes servers, and ends them."""
    made: list[Llm] = []

    def make(*pieces: str) -> Llm:
        made.append(Llm(*pieces))
        return made[-1]

    yield make
    for server in made:
        server.close()


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


def test_ctrl_c_in_mid_answer_stops_it_and_the_chat_goes_on(
    terminal: Open, llm: Callable[..., Llm]
) -> None:
    server = llm("Half", " an", " answer")
    chat = terminal("--backend", "openai", OPENAI_BASE_URL=server.url)
    chat.at_prompt()
    chat.type("hello\r")
    chat.until(lambda lines: lines[-1] == "Bot: Half an answer")
    chat.type(CTRL_C)
    chat.at_prompt("(cancelled; what came is kept)")
    server.go_on.set()
    chat.type("go on\r")
    chat.at_prompt("Bot: Half an answer The end.")
    chat.type(CTRL_D)
    assert chat.ends() == 0


def test_two_ctrl_c_in_mid_answer_leave(terminal: Open, llm: Callable[..., Llm]) -> None:
    chat = terminal("--backend", "openai", OPENAI_BASE_URL=llm("Half").url)
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


def test_an_answer_cannot_drive_the_terminal(terminal: Open, llm: Callable[..., Llm]) -> None:
    pieces = ("\x1b]0;owned\x07", "\x1b", "[2J\x9b2J\u202e", "\rvisible\x08\x7f", "\x1b[?1049h")
    server = llm(*pieces)
    server.go_on.set()
    chat = terminal("--backend", "openai", OPENAI_BASE_URL=server.url)
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
    terminal: Open, llm: Callable[..., Llm]
) -> None:
    server = llm("Half")
    chat = terminal("--backend", "openai", OPENAI_BASE_URL=server.url)
    chat.at_prompt()
    chat.type("hello\r")
    chat.until(lambda lines: lines[-1] == "Bot: Half")
    pid = chat.ui_pid()
    os.kill(pid, signal.SIGKILL)
    assert chat.ui_pid(after=pid)
    server.go_on.set()
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
    command = chatbot.command("--backend", "sim")
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


def test_a_trace_is_drawn_in_the_terminal_in_its_width_and_with_colours(terminal: Open) -> None:
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
    assert "\x1b[32m" in chat.raw
    chat.type("/quit\r")
    assert chat.ends() == 0


def test_without_colours_a_trace_has_none(terminal: Open) -> None:
    chat = terminal(NO_COLOR="1")
    chat.at_prompt()
    chat.type("hi\r")
    chat.at_prompt("Bot: ")
    chat.type("/trace\r")
    chat.at_prompt("slowest: ")
    assert "\x1b[32m" not in chat.raw
    chat.type("/quit\r")
    assert chat.ends() == 0
