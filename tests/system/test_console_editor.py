"""The person's editor: it has the terminal while it runs, and never outlives the program, however that ends."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.fakes import eventually
from tests.system.llm import Llm

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.system.screen import ChatScreen

Open = Callable[..., ChatScreen]
ASKS_LLM = ("--backend", "openai", "--model", "m-1", "--no-cache")


class Editor:
    """An editor that stays open, and tells its process."""

    def __init__(self, directory: Path, script: str = "") -> None:
        self._told = directory / "editor.pid"
        self.command = directory / "editor"
        self.command.write_text(
            f'#!/bin/sh\n{script}\necho $$ > "{self._told}.new"; mv "{self._told}.new" "{self._told}"\n'
            "exec sleep 600\n",
            encoding="utf-8",
        )
        self.command.chmod(0o755)

    @property
    def variables(self) -> dict[str, str]:
        """What makes it the person's."""
        return {"EDITOR": str(self.command), "VISUAL": ""}

    def process(self, chat: ChatScreen) -> psutil.Process:
        """Wait until it is open; return its process."""
        chat.until_true(self._told.exists)
        return psutil.Process(int(self._told.read_text(encoding="utf-8")))


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    return Editor(tmp_path)


def opened(open_chat: Open, llm: Llm, editor: Editor, way: str, **more: bool) -> ChatScreen:
    """Return a chat in which the editor is about to open."""
    chat = open_chat(*ASKS_LLM, **editor.variables, **llm.environment, **more)
    chat.at_prompt()
    if way == "ctrl-x ctrl-e":
        chat.type("half a que")
        chat.press("ctrl-x", "ctrl-e")
    else:
        chat.enter("a question")
        chat.shows("Answer 1.")
        chat.at_prompt()
        chat.enter("/edit")
    return chat


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


WAYS = pytest.mark.parametrize("way", ["/edit", "ctrl-x ctrl-e"])


@WAYS
@pytest.mark.parametrize("whom", ["the program", "its console"])
def test_sigterm_ends_the_editor_and_the_program(
    whom: str, way: str, open_chat: Open, llm: Llm, editor: Editor
) -> None:
    chat = opened(open_chat, llm, editor, way)
    process = editor.process(chat)
    os.kill(chat.child.pid if whom == "the program" else chat.ui_pid(), signal.SIGTERM)
    assert chat.ends() == 130
    assert is_gone(process)
    assert "Traceback" not in chat.raw
    chat.assert_modes_restored()


def test_an_editor_that_does_not_heed_it_is_killed(
    open_chat: Open, llm: Llm, tmp_path: Path
) -> None:
    editor = Editor(tmp_path, "trap '' TERM")
    chat = opened(open_chat, llm, editor, "/edit")
    process = editor.process(chat)
    os.kill(chat.child.pid, signal.SIGTERM)
    assert chat.ends() == 130
    assert is_gone(process)


def test_sigterm_ends_the_editor_of_a_plain_terminal(
    open_chat: Open, llm: Llm, editor: Editor
) -> None:
    chat = opened(open_chat, llm, editor, "/edit", plain=True)
    process = editor.process(chat)
    os.kill(chat.child.pid, signal.SIGTERM)
    assert chat.ends() == 130
    assert is_gone(process)


@WAYS
def test_ctrl_c_ends_an_editor_that_leaves_it_to_the_terminal(
    way: str, open_chat: Open, llm: Llm, editor: Editor
) -> None:
    chat = opened(open_chat, llm, editor, way)
    process = editor.process(chat)
    chat.press("ctrl-c")
    chat.shows("failed")
    assert is_gone(process)
    chat.until(lambda _: chat.is_at_prompt("half a que" if way != "/edit" else ""))


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process of its parent's death"
)
@WAYS
def test_the_editor_of_a_killed_console_ends_before_the_next_one_has_the_terminal(
    way: str, open_chat: Open, llm: Llm, editor: Editor
) -> None:
    chat = opened(open_chat, llm, editor, way)
    process = editor.process(chat)
    killed = chat.ui_pid()
    os.kill(killed, signal.SIGKILL)
    chat.ui_pid(after=killed)
    assert eventually(lambda: is_gone(process))
    chat.at_prompt()
    chat.enter("are you there?")
    chat.until_true(lambda: "are you there?" in llm.questions)
    chat.at_prompt("Bot: ")


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process of its parent's death"
)
def test_the_editor_ends_with_a_program_that_was_killed(
    open_chat: Open, llm: Llm, editor: Editor
) -> None:
    chat = opened(open_chat, llm, editor, "/edit")
    process = editor.process(chat)
    os.kill(chat.child.pid, signal.SIGKILL)
    assert eventually(lambda: is_gone(process))


@WAYS
def test_an_editor_that_takes_the_file_away_is_told_in_a_line_and_the_chat_goes_on(
    way: str, open_chat: Open, llm: Llm
) -> None:
    chat = open_chat(*ASKS_LLM, EDITOR="rm", VISUAL="", **llm.environment)
    chat.at_prompt()
    chat.enter("a question")
    chat.shows("Answer 1.")
    chat.at_prompt()
    if way == "/edit":
        chat.enter("/edit")
    else:
        chat.press("ctrl-x", "ctrl-e")
    chat.shows("cannot edit with rm: No such file")
    chat.at_prompt()
    chat.enter("again")
    chat.shows("Answer 2.")


@pytest.mark.parametrize("plain", [False, True])
def test_an_edited_question_is_shown_before_its_answer(
    plain: bool, open_chat: Open, llm: Llm, tmp_path: Path
) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nprintf "a better one" > "$1"\n', encoding="utf-8")
    script.chmod(0o755)
    chat = open_chat(*ASKS_LLM, EDITOR=str(script), VISUAL="", plain=plain, **llm.environment)
    chat.at_prompt()
    chat.enter("a question")
    chat.shows("Answer 1.")
    chat.at_prompt()
    chat.enter("/edit")
    lines = chat.shows("You: a better one", "Answer 2.")
    assert lines.index("You: a better one") < lines.index("Bot: Answer 2.")
