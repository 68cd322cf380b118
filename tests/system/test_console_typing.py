"""What a person types into the console: keys, editing, history, completion, typing ahead. All in a real terminal."""

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import eventually
from tests.system.llm import Llm

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.system.screen import ChatScreen, Screen

Open = Callable[..., ChatScreen]
ASKS_LLM = ("--backend", "openai", "--model", "m-1", "--no-cache")


@pytest.fixture
def chat(open_chat: Open, llm: Llm) -> ChatScreen:
    """The console, at its first prompt, with the scripted server."""
    opened = open_chat(*ASKS_LLM, **llm.environment)
    opened.at_prompt()
    return opened


def editor(directory: Path, text: str) -> dict[str, str]:
    """Return the variables for an editor that keeps what it was given, and replaces it by a text."""
    script = directory / "editor"
    script.write_text(
        f'#!/bin/sh\ncp "$1" "{directory}/given"\nprintf "%s" "{text}" > "$1"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    return {"EDITOR": str(script), "VISUAL": ""}


def leave(chat: ChatScreen) -> None:
    chat.press("ctrl-d")
    assert chat.ends() == 0
    assert chat.lines[-1] == "Goodbye!"


def is_asked(llm: Llm, chat: ChatScreen, *questions: str) -> None:
    """Wait until the server was asked these and no others, and its last answer is on the screen."""
    chat.until_true(lambda: len(llm.asked) >= len(questions) and bool(llm.said))
    chat.shows(llm.said[-1])
    chat.at_prompt()
    assert llm.questions == list(questions)


def test_the_console_looks_as_the_chat_of_old_above_a_line_of_state(open_chat: Open) -> None:
    chat = open_chat()
    lines = chat.at_prompt()
    assert lines[0] == "=== chatbot ==="
    assert lines[1].startswith("Session: session_1")
    assert lines[2:-1] == ["Backend: sim", "Type /help for commands, /quit to exit", "", "You:"]
    assert "sim" in chat.toolbar
    chat.enter("hello")
    chat.until(lambda lines: any(line.startswith("Bot: ") for line in lines))
    chat.at_prompt("You: hello")
    leave(chat)


def test_what_is_typed_before_the_console_is_there_is_not_lost(open_chat: Open, llm: Llm) -> None:
    chat = open_chat(*ASKS_LLM, **llm.environment)
    chat.enter("typed early")
    chat.shows("Answer 1.")
    is_asked(llm, chat, "typed early")
    leave(chat)


def test_ctrl_j_and_alt_enter_begin_a_new_line(chat: ChatScreen, llm: Llm) -> None:
    chat.type("one")
    chat.press("ctrl-j")
    chat.type("two")
    chat.press("alt-enter")
    chat.type("three")
    chat.shows("three")
    assert llm.asked == []
    chat.press("enter")
    is_asked(llm, chat, "one\ntwo\nthree")
    leave(chat)


def test_a_block_between_quotes_may_have_many_lines(chat: ChatScreen, llm: Llm) -> None:
    chat.enter('"""first')
    chat.enter("")
    chat.enter("third")
    chat.shows("third")
    assert llm.asked == []
    chat.enter('last"""')
    is_asked(llm, chat, "first\n\nthird\nlast")
    leave(chat)


def test_a_paste_of_many_lines_is_one_message_and_waits_for_enter(
    chat: ChatScreen, llm: Llm
) -> None:
    chat.paste("def f():\n    return 1\n/quit\nlast line")
    chat.shows("last line")
    assert llm.asked == []
    chat.press("enter")
    is_asked(llm, chat, "def f():\n    return 1\n/quit\nlast line")
    leave(chat)


def test_a_paste_cannot_press_keys_or_draw(chat: ChatScreen, llm: Llm) -> None:
    before = len(chat.raw)
    chat.paste("a\x03b\x1b]0;owned\x07c")
    chat.until(lambda lines: any(line.startswith("You: a") for line in lines))
    assert "\x1b]0;" not in chat.raw[before:]
    chat.press("enter")
    chat.until_true(lambda: len(llm.asked) == 1 and chat.is_at_prompt())
    assert chat.title == ""
    leave(chat)


def test_ctrl_c_clears_then_hints_then_leaves(chat: ChatScreen) -> None:
    chat.type("half a que")
    chat.until(lambda _: chat.is_at_prompt("half a que"))
    chat.press("ctrl-c")
    chat.at_prompt()
    assert not any("Ctrl-C again" in line for line in chat.everything)
    chat.press("ctrl-c")
    chat.shows("Ctrl-C again")
    chat.press("ctrl-c")
    assert chat.ends() == 130
    assert chat.lines[-1] == "Goodbye!"


def test_esc_at_a_prompt_harms_nothing(chat: ChatScreen, llm: Llm) -> None:
    chat.type("still here")
    chat.until(lambda _: chat.is_at_prompt("still here"))
    chat.press("esc")
    # A key that follows at once would be one with it, as Alt-Enter is.
    assert not eventually(lambda: chat.read() and not chat.is_at_prompt("still here"), 0.5)
    chat.press("enter")
    is_asked(llm, chat, "still here")
    leave(chat)


@pytest.mark.parametrize("word", ["exit", "quit", "/exit", "/quit", "/bye"])
def test_words_that_leave(word: str, chat: ChatScreen, llm: Llm) -> None:
    chat.enter(word)
    assert chat.ends() == 0
    assert llm.asked == []


def test_ctrl_d_deletes_where_there_is_text_and_leaves_where_there_is_none(
    chat: ChatScreen,
) -> None:
    chat.type("xab")
    chat.press("ctrl-a", "ctrl-d", "ctrl-e")
    chat.until(lambda _: chat.is_at_prompt("ab"))
    chat.press("backspace", "backspace")
    chat.at_prompt()
    leave(chat)


def test_ctrl_l_clears_the_screen_and_keeps_what_is_typed(chat: ChatScreen) -> None:
    chat.type("keep me")
    chat.until(lambda _: chat.is_at_prompt("keep me"))
    chat.press("ctrl-l")
    chat.until(lambda lines: lines[0] == "You: keep me")
    chat.press("ctrl-c")
    leave(chat)


def test_ctrl_x_ctrl_e_opens_the_editor_on_what_is_typed(
    open_chat: Open, llm: Llm, tmp_path: Path
) -> None:
    chat = open_chat(*ASKS_LLM, **editor(tmp_path, "from the editor"), **llm.environment)
    chat.at_prompt()
    chat.type("begun here")
    chat.press("ctrl-x", "ctrl-e")
    chat.until(lambda _: chat.is_at_prompt("from the editor"))
    assert (tmp_path / "given").read_text(encoding="utf-8").strip() == "begun here"
    assert llm.asked == []
    chat.press("enter")
    is_asked(llm, chat, "from the editor")
    leave(chat)


def test_edit_asks_the_last_question_again_as_it_was_edited(
    open_chat: Open, llm: Llm, tmp_path: Path
) -> None:
    chat = open_chat(*ASKS_LLM, **editor(tmp_path, "a better question"), **llm.environment)
    chat.at_prompt()
    chat.enter("a question")
    chat.shows("Answer 1.")
    chat.at_prompt()
    chat.enter("/edit")
    chat.shows("Answer 2.")
    is_asked(llm, chat, "a question", "a better question")
    assert (tmp_path / "given").read_text(encoding="utf-8").strip() == "a question"
    leave(chat)


def test_an_editor_that_is_not_there_is_named(open_chat: Open, llm: Llm) -> None:
    chat = open_chat(*ASKS_LLM, EDITOR="/nowhere/vi", VISUAL="", **llm.environment)
    chat.at_prompt()
    chat.type("kept")
    chat.press("ctrl-x", "ctrl-e")
    chat.shows("/nowhere/vi")
    chat.until(lambda _: chat.is_at_prompt("kept"))
    chat.press("ctrl-c")
    leave(chat)


# --- history ---------------------------------------------------------------------------------------


def test_what_was_typed_is_found_again_in_the_next_run(open_chat: Open, tmp_path: Path) -> None:
    first = open_chat()
    first.at_prompt()
    for question in ("where is the lantern", "who keeps the garden"):
        first.enter(question)
        first.shows(f"You: {question}")
        first.until(lambda lines: any(line.startswith("Bot: ") for line in lines))
        first.at_prompt()
    leave(first)
    second = open_chat()
    second.at_prompt()
    second.press("up")
    second.until(lambda _: second.is_at_prompt("who keeps the garden"))
    second.press("up")
    second.until(lambda _: second.is_at_prompt("where is the lantern"))
    second.press("down")
    second.until(lambda _: second.is_at_prompt("who keeps the garden"))
    second.press("ctrl-c")
    second.at_prompt()
    leave(second)
    kept = [path for path in tmp_path.rglob("*history*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert any("lantern" in path.read_text(encoding="utf-8") for path in kept)


def test_ctrl_r_searches_what_was_typed(chat: ChatScreen, llm: Llm) -> None:
    for number, question in enumerate(("where is the lantern", "who keeps the garden"), 1):
        chat.enter(question)
        chat.shows(f"Answer {number}.")
        chat.at_prompt()
    chat.press("ctrl-r")
    chat.type("lant")
    chat.until(lambda lines: any("where is the lantern" in line for line in lines[-3:]))
    chat.press("enter")
    chat.until(lambda lines: any(line == "You: where is the lantern" for line in lines[-2:]))
    if len(llm.asked) == 2:  # Enter took it; another one sends it
        chat.press("enter")
    is_asked(llm, chat, "where is the lantern", "who keeps the garden", "where is the lantern")
    leave(chat)


def test_two_chats_at_once_write_one_history(open_chat: Open) -> None:
    both = [open_chat(), open_chat()]
    for number, chat in enumerate(both):
        chat.at_prompt()
        chat.enter(f"from chat {number}")
        chat.until(lambda lines: any(line.startswith("Bot: ") for line in lines))
        chat.at_prompt()
    for chat in both:
        chat.press("ctrl-d")
        assert Screen.ends(chat) == 0  # the other one may still run
    third = open_chat()
    third.at_prompt()
    left = {"from chat 0", "from chat 1"}
    while left:
        third.press("up")
        left.remove(third.holds_one_of(*left))
    third.press("ctrl-c")
    third.at_prompt()
    leave(third)


# --- completion ------------------------------------------------------------------------------------


def test_tab_shows_which_commands_there_are(chat: ChatScreen) -> None:
    chat.type("/re")
    chat.press("tab")
    wanted = ("/regenerate", "/rename", "/resume")
    chat.until(lambda lines: all(any(word in line for line in lines) for word in wanted))


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("/regen", "/regenerate"),
        ("/switch ol", "/switch ollama"),
        ("/model lan", "/model lantern"),
        ("/switch openai:lan", "/switch openai:lantern"),
        ("/set temp", "/set temperature"),
    ],
)
def test_tab_completes_what_a_command_takes(typed: str, completed: str, chat: ChatScreen) -> None:
    chat.enter("/models")
    chat.shows("lantern")
    chat.at_prompt()
    chat.type(typed)
    chat.press("tab")
    chat.until(lambda lines: any(line.startswith(f"You: {completed}") for line in lines[-12:]))


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("/switch openai:lan", "/switch openai:lantern"), ("/fan sim,openai:lan", "/fan sim,openai:lantern"),
     ("/MODEL lan", "/MODEL lantern")],
)  # fmt: skip
def test_the_first_tab_knows_the_models_that_nobody_has_asked_for(
    typed: str, completed: str, chat: ChatScreen
) -> None:
    chat.type(typed)
    chat.press("tab")
    chat.until(lambda lines: any(line.startswith(f"You: {completed}") for line in lines))


def test_tab_completes_sessions_by_their_titles(chat: ChatScreen) -> None:
    chat.enter("hello")
    chat.shows("Answer 1.")
    chat.at_prompt()
    chat.enter("/rename Lantern talk")
    chat.shows("Lantern talk")
    chat.at_prompt()
    chat.enter("/new")
    chat.at_prompt("session")
    session = next(n for n in chat.everything if n.startswith("Session: ")).split("_")[-1]
    chat.type("/resume Lan")
    chat.press("tab")
    chat.until(lambda lines: any(line.startswith(f"You: /resume {session}") for line in lines))
    chat.press("enter")
    chat.until_true(lambda: sum("Answer 1." in line for line in chat.everything) == 2)
    chat.at_prompt()
    leave(chat)


# --- typing ahead ----------------------------------------------------------------------------------


def test_a_line_typed_while_an_answer_streams_is_asked_after_it(chat: ChatScreen, llm: Llm) -> None:
    first = llm.will("The first", held=True, rest=[" ends."])
    chat.enter("one")
    chat.shows("The first")
    chat.enter("two")
    chat.until(lambda _: "1 queued" in chat.toolbar)
    chat.type("three, half")
    chat.until(lambda lines: any("three, half" in line for line in lines))
    assert llm.questions == ["one"]
    first.go_on()
    chat.shows("The first ends.", "Answer 1.")
    chat.until(lambda _: chat.is_at_prompt("three, half"))
    assert llm.questions == ["one", "two"]
    order = [n for n in chat.everything if n.startswith(("You: one", "Bot: ", "You: two"))]
    assert [line.split(" ")[1] for line in order] == ["one", "The", "two", "Answer"]
    chat.press("ctrl-c")
    chat.at_prompt()
    leave(chat)


@pytest.mark.parametrize("key", ["ctrl-c", "esc"])
def test_what_was_queued_is_given_back_when_the_answer_is_cancelled(
    key: str, chat: ChatScreen, llm: Llm
) -> None:
    llm.will("The first", held=True)
    chat.enter("one")
    chat.shows("The first")
    chat.enter("queued")
    chat.until(lambda lines: any("queued" in line for line in lines))
    chat.press(key)
    chat.shows("(cancelled")
    chat.until(lambda _: chat.is_at_prompt("queued"))
    assert llm.questions == ["one"]
    chat.press("enter")
    is_asked(llm, chat, "one", "queued")
    leave(chat)
