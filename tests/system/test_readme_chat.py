"""The chat that the README shows is a real one: what is typed in it is typed again, and looks the same.

`python -m tests.system.test_readme_chat` puts it there anew, made by what is typed in it now.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.system.conftest import Chatbot
from tests.system.program import ROOT
from tests.system.screen import ChatScreen

README = ROOT / "README.md"
COMMAND = "$ python run.py --backend sim"
COLUMNS = 90
PROMPT = "You: "
BLOCK = re.compile(rf"(?<=^```text\n){re.escape(COMMAND)}\n.*?(?=^```$)", re.MULTILINE | re.DOTALL)

# What is another each time: an id, and what was measured.
_SESSION = re.compile(r"\bsession_\d+_[0-9a-f]{6}\b")
_SPEED = re.compile(r"[\d.,]+ tokens/s")
_FIRST = re.compile(r"\btoken [\d.,]+ (ms|s)\b")  # in a narrow column, `first` stands above
_ROW = re.compile(r"^(sim \S+(?: +\d+)+) .* (\S+)$")  # of /stats: tok/s and first token
_HEADS = "model "  # its columns are as wide as what is below them


def replayed(chat: ChatScreen, inputs: Sequence[str]) -> str:
    """Type each of these at a prompt, the last one ends the chat; return all that the terminal has then."""
    for number in range(len(inputs)):
        chat.at_prompt()
        chat.enter(inputs[number])
        chat.until_true(partial(_has, chat, inputs[: number + 1]))
    assert chat.ends() == 0
    return "\n".join((COMMAND, *chat.everything, ""))


def _has(chat: ChatScreen, inputs: Sequence[str]) -> bool:
    return typed(chat.everything) == list(inputs)


def typed(lines: Sequence[str]) -> list[str]:
    """Return what is behind the prompts."""
    return [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]


def steady(text: str) -> list[str]:
    """Return the lines of a chat without what is another each time; what it moves is moved together."""
    lines = []
    for each in text.splitlines():
        line = _SESSION.sub("ID", each)
        line = _FIRST.sub("token T", _SPEED.sub("N tokens/s", line))
        line = _ROW.sub(r"\1 N T \2", line)
        moves = line != each or line.startswith(_HEADS)
        lines.append(re.sub(" +", " ", line) if moves else line)
    return lines


def test_the_chat_looks_as_the_readme_shows_it(chatbot: Chatbot) -> None:
    (shown,) = BLOCK.findall(README.read_text(encoding="utf-8"))
    chat = ChatScreen(chatbot, "--backend", "sim", columns=COLUMNS)
    try:
        assert steady(replayed(chat, typed(shown.splitlines()))) == steady(shown)
    finally:
        chat.close()


def renew() -> None:
    """Put the chat into the README anew."""
    text = README.read_text(encoding="utf-8")
    (shown,) = BLOCK.findall(text)
    with tempfile.TemporaryDirectory() as directory:
        chatbot = Chatbot(Path(directory))
        chat = ChatScreen(chatbot, "--backend", "sim", columns=COLUMNS)
        try:
            made = replayed(chat, typed(shown.splitlines()))
        finally:
            chat.close()
            chatbot.end()
    README.write_text(BLOCK.sub(lambda _: made, text), encoding="utf-8")
    sys.stdout.write(made)


if __name__ == "__main__":
    renew()
