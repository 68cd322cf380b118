"""Ctrl-C at every moment of a chat's life, and the death of what a terminal hangs on: the shell stays usable.

A hundred chats by default; `CHATBOT_TEST_INTERRUPTS` tells another number, `CHATBOT_TEST_SEED` the seed.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fakes import eventually
from tests.system.conftest import MARK, Chatbot
from tests.system.llm import Llm
from tests.system.program import ROOT

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.system.screen import WITHIN_S, ChatScreen, Shell

TIMES = int(os.environ.get("CHATBOT_TEST_INTERRUPTS", "100"))
SEED = int(os.environ.get("CHATBOT_TEST_SEED", "0")) or random.randrange(1, 10**6)
AT_ONCE = 5
AGAIN_S = 0.4  # a key that should end a chat is pressed so often until it does

# Longer than what begins there takes: some are interrupted when nothing is under way any more.
MOMENTS_S = {"start": 1.2, "prompt": 0.6, "streaming": 0.6, "quit": 0.6}

Open = Callable[..., ChatScreen]
Begin = Callable[[], bool]


class Life:
    """One chat in a terminal, with a Ctrl-C, or two, at one moment. `wrong` is what it did that it may not."""

    def __init__(self, directory: Path, llm: Llm, number: int, seed: int) -> None:
        draw = random.Random(seed)
        self._moment = tuple(MOMENTS_S)[number % len(MOMENTS_S)]
        self._delay_s = draw.uniform(0, MOMENTS_S[self._moment])
        self._keys = ["ctrl-c"] * draw.choice((1, 1, 1, 2))
        plain = number // len(MOMENTS_S) % 4 == 3  # one in four
        self._name = f"{number}: {'plain' if plain else 'console'}, {self._keys} {self._delay_s:.3f} s after {self._moment}"
        self.wrong = ""
        directory.mkdir()
        self._chatbot = Chatbot(directory)
        asks = ("--backend", "openai", "--model", "m-1", "--no-cache", "--workers", "1")
        environment: dict[str, Any] = {**llm.environment}
        self._screen = ChatScreen(self._chatbot, *asks, plain=plain, **environment)
        self._steps = self._live()

    def step(self) -> bool:
        """Go on without waiting; return whether it still lives."""
        try:
            next(self._steps)
        except StopIteration:
            return False
        except AssertionError as error:
            self.wrong = f"{self._name}: {error}\n{self._screen.raw[-4000:]}"
            return False
        return True

    def end(self) -> None:
        """End what is left of it."""
        self._screen.close()
        self._chatbot.end()

    def _live(self) -> Iterator[None]:
        chat = self._screen
        if self._moment != "start":
            yield from self._until(lambda: chat.read() and chat.input_line >= 0)
        if self._moment in ("streaming", "quit"):
            chat.enter("tell me a story" if self._moment == "streaming" else "/quit")
        moment = time.monotonic() + self._delay_s
        yield from self._until(lambda: not chat.read() or time.monotonic() >= moment)
        if chat.read():
            chat.press(*self._keys)
        keys = [
            "ctrl-d",
            "ctrl-c",
        ]  # whatever was hit: a key may be lost with a process that begins
        again = time.monotonic() + AGAIN_S

        def ended() -> bool:
            nonlocal again
            if not chat.read():
                return True
            if time.monotonic() >= again:
                chat.press(keys[0])
                keys.reverse()
                again = time.monotonic() + AGAIN_S
            return False

        yield from self._until(ended)
        code = chat.ends()
        if self._moment == "start" and code in (
            1,
            -signal.SIGINT,
        ):  # Python was still starting, not we
            assert str(ROOT / "chatbot") not in chat.raw
        else:  # at the very end, when Python has given the signal back, a shell calls that 130 too
            assert code in (0, 130, -signal.SIGINT), f"ended with {code}"
            assert "Traceback" not in chat.raw

    def _until(self, holds: Callable[[], bool]) -> Iterator[None]:
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline, f"hangs: {self._screen.lines}"
            yield


def test_ctrl_c_at_any_moment_leaves_the_terminal_as_it_was_and_nothing_behind(
    tmp_path: Path, llm: Llm
) -> None:
    draw = random.Random(SEED)
    seeds = [(number, draw.randrange(10**9)) for number in range(TIMES)]
    lives: list[Life] = []
    wrong: list[str] = []
    for _ in seeds:
        llm.will(*(f"word{number} " for number in range(400)), held=True)

    def go_on() -> bool:
        while seeds and len(lives) < AT_ONCE:
            number, seed = seeds.pop(0)
            lives.append(Life(tmp_path / str(number), llm, number, seed))
        for life in [life for life in lives if not life.step()]:
            lives.remove(life)
            life.end()
            wrong.append(life.wrong)
        return not lives

    try:
        assert eventually(go_on, 110), f"CHATBOT_TEST_SEED={SEED}: {wrong}"
    finally:
        for life in lives:
            life.end()
    assert not any(wrong), f"CHATBOT_TEST_SEED={SEED}\n" + "\n\n".join(filter(None, wrong))


# --- in a shell ------------------------------------------------------------------------------------


@pytest.fixture
def bash(chatbot: Chatbot) -> Iterator[Shell]:
    """An interactive shell in a terminal, at its prompt."""
    environment = chatbot.environment()
    del environment[MARK]  # it stays when all of the chat is gone
    opened = Shell(str(chatbot.directory), environment)
    opened.at_shell()
    yield opened
    opened.close()


@pytest.fixture(params=["console", "plain"])
def begin(request: pytest.FixtureRequest, chatbot: Chatbot, bash: Shell) -> Begin:
    """Begins the chat in the shell, and waits for its prompt; returns whether it is the console."""
    plain = ["--plain"] if request.param == "plain" else []
    command = " ".join(chatbot.command("--backend", "sim", *plain))

    def begin() -> bool:
        bash.enter(f"{MARK}={chatbot.directory} {command}")
        bash.until(lambda _: bash.input_line >= 0)
        return not plain

    return begin


def program_of(bash: Shell) -> psutil.Process:
    """Return the process that the shell waits for: the supervisor."""
    (program,) = psutil.Process(bash.child.pid).children()
    assert isinstance(program, psutil.Process)
    return program


def assert_usable(bash: Shell, pasting: bool) -> None:
    """Fail unless the shell is as before: it echoes, edits, has its cursor, and its way with pastes."""
    bash.assert_never_driven()
    assert bash.mode_is_on("2004") == pasting
    assert not bash.mode_is_on("2026")
    bash.enter("echo ok-$((40 + 2))")
    lines = bash.at_shell("ok-42")
    assert any(line.endswith("$ echo ok-$((40 + 2))") for line in lines), lines
    modes = " ".join(bash.run("stty -a", "icanon"))
    for mode in ("echo", "icanon", "isig", "icrnl", "opost", "onlcr"):
        assert f" {mode} " in modes
    assert bash.is_cursor_shown
    assert bash.style_of("ok-42") == bash.style_of("$ echo")._replace(data="o")


def wait_for_banners(bash: Shell, count: int) -> None:
    bash.until_true(lambda: sum("=== chatbot ===" in n for n in bash.everything) >= count)


def test_a_killed_terminal_process_comes_back_twice_and_then_the_program_leaves(
    bash: Shell, begin: Begin, chatbot: Chatbot
) -> None:
    pasting = bash.mode_is_on("2004")
    begin()
    pid = 0
    for kills in range(1, 3):
        pid = bash.ui_pid(after=pid)
        os.kill(pid, signal.SIGKILL)
        wait_for_banners(bash, kills + 1)
    os.kill(bash.ui_pid(after=pid), signal.SIGKILL)
    bash.at_shell()
    chatbot.must_be_gone()
    assert_usable(bash, pasting)


@pytest.mark.parametrize("moment", ["at the prompt", "in an answer", "in the start"])
def test_a_killed_supervisor_leaves_the_shell_usable(
    moment: str, bash: Shell, begin: Begin, chatbot: Chatbot
) -> None:
    pasting = bash.mode_is_on("2004")
    is_console = begin()
    if moment != "in the start":
        bash.ui_pid()
    if moment == "in an answer":
        bash.enter("hello")
        bash.until(lambda lines: any(line.startswith("Bot: ") for line in lines))
    program_of(bash).kill()
    chatbot.must_be_gone()
    assert str(ROOT / "chatbot") not in bash.raw.split("Killed")[-1]
    if moment == "in the start" or not is_console:
        # Python itself, if it was starting a child, or the last piece of a plain answer came below the prompt.
        bash.until(lambda lines: any("Killed" in line for line in lines))
        bash.press("enter")
    bash.at_shell("Killed")
    assert_usable(bash, pasting)


def test_a_stopped_chat_comes_back_whole(bash: Shell, begin: Begin, chatbot: Chatbot) -> None:
    pasting = bash.mode_is_on("2004")
    is_console = begin()
    bash.ui_pid()
    bash.type("half a que")
    bash.until(lambda lines: any(line == "You: half a que" for line in lines))
    bash.press("ctrl-z")
    bash.at_shell("Stopped")
    assert_usable(bash, pasting)
    bash.enter("fg")
    if is_console:  # an edited line of old shows itself again with the next key only
        bash.until(lambda lines: any(line == "You: half a que" for line in lines[-2:]))
    bash.enter("stion")
    bash.until(lambda lines: any(line.startswith("Bot: ") for line in lines[-12:]))
    bash.until(lambda lines: any(line == "You:" for line in lines[-2:]))
    bash.press("ctrl-d")
    bash.at_shell("Goodbye!")
    chatbot.must_be_gone()
    assert_usable(bash, pasting)


def test_a_terminal_that_is_closed_leaves_nothing_behind(open_chat: Open, chatbot: Chatbot) -> None:
    chat = open_chat()
    chat.until(lambda _: chat.input_line >= 0)
    chat.ui_pid()
    chat.child.ptyproc.fileobj.close()  # as closing the window does
    chatbot.must_be_gone()
