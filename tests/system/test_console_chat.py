"""Turns and commands in the console, as a person sees them: the whole program in a real terminal."""

import base64
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.fakes import eventually
from tests.system.conftest import Chatbot
from tests.system.llm import Llm

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.system.screen import COLUMNS, ChatScreen, Screen

Open = Callable[..., ChatScreen]
ASKS_LLM = ("--backend", "openai", "--model", "m-1", "--no-cache")
TWO_BLOCKS = (
    "Here are two:\n\n",
    "```python\nprint('one')\n",
    "```\n\nand\n\n```sh\necho ",
    "two\n```\n\nThat is all.",
)


@pytest.fixture
def chat(open_chat: Open, llm: Llm) -> ChatScreen:
    """The console, at its first prompt, with the scripted server."""
    opened = open_chat(*ASKS_LLM, **llm.environment)
    opened.at_prompt()
    return opened


def ask(chat: ChatScreen, question: str, answer: str) -> list[str]:
    """Ask, and wait until the answer is there, and the prompt below it; return all lines."""
    before = sum(answer in line for line in chat.everything)
    chat.enter(question)
    chat.until_true(lambda: sum(answer in line for line in chat.everything) > before)
    chat.at_prompt()
    return chat.everything


def command(chat: ChatScreen, line: str, *shows: str) -> list[str]:
    """Give a command, and wait for what it shows below it; return the lines from there."""
    chat.enter(line)
    found: list[str] = []

    def below() -> bool:
        lines = chat.everything
        places = [i for i, text in enumerate(lines) if text == f"You: {line}"]
        found[:] = lines[places[-1] + 1 :] if places else []
        return bool(places) and all(any(text in n for n in found) for text in shows)

    chat.until_true(below)
    return found


def leave(chat: ChatScreen) -> None:
    chat.at_prompt()
    chat.press("ctrl-d")
    assert chat.ends() == 0
    assert "Goodbye!" in chat.lines  # what could not be saved is told below it


def copied(chat: ChatScreen) -> list[str]:
    """Return what was put into the clipboard, by the terminal's own sequence (OSC 52)."""
    found = re.findall(r"\x1b\]52;[a-z]*;([A-Za-z0-9+/=]*)(?:\x07|\x1b\\)", chat.raw)
    return [base64.b64decode(text).decode() for text in found]


# --- commands --------------------------------------------------------------------------------------


def test_help_lists_the_commands_and_a_mistyped_one_has_its_nearest(chat: ChatScreen) -> None:
    command(chat, "/help", "/copy", "/edit", "/fan", "/pick", "/thinking", "/stats", "/undo")
    chat.at_prompt()
    command(chat, "/?", "/copy")
    chat.at_prompt()
    command(chat, "/regenrate", "did you mean /regenerate?")
    leave(chat)


def test_copy_puts_the_last_answer_and_its_code_into_the_clipboard(
    chat: ChatScreen, llm: Llm
) -> None:
    llm.will(*TWO_BLOCKS)
    ask(chat, "two blocks", "That is all.")
    chat.enter("/copy")
    chat.until_true(lambda: len(copied(chat)) == 1)
    chat.enter("/copy code")
    chat.until_true(lambda: len(copied(chat)) == 2)
    chat.enter("/copy code 1")
    chat.until_true(lambda: len(copied(chat)) == 3)
    answer, last, first = copied(chat)
    assert answer == "".join(TWO_BLOCKS)
    assert last.strip() == "echo two"
    assert first.strip() == "print('one')"
    chat.enter("/copy code 3")
    chat.at_prompt("/copy code 3")
    assert len(copied(chat)) == 3
    leave(chat)


def test_regenerate_asks_again_and_undo_takes_back(chat: ChatScreen, llm: Llm) -> None:
    ask(chat, "one", "Answer 1.")
    ask(chat, "/regenerate", "Answer 2.")
    ask(chat, "/undo", "/undo")
    ask(chat, "two", "Answer 3.")
    assert [[m["content"] for m in body["messages"]] for body in llm.asked] == [
        ["one"],
        ["one"],
        ["two"],
    ]
    leave(chat)


def test_the_system_prompt_and_options_are_set_shown_and_sent(chat: ChatScreen, llm: Llm) -> None:
    command(chat, "/system You are a lantern.")
    chat.at_prompt()
    command(chat, "/set temperature 0.5")
    chat.at_prompt()
    command(chat, "/show", "You are a lantern.", "temperature", "0.5", "m-1", "openai")
    ask(chat, "hello", "Answer 1.")
    assert llm.asked[-1]["messages"][0] == {"role": "system", "content": "You are a lantern."}
    assert llm.asked[-1]["temperature"] == 0.5
    command(chat, "/system -")
    command(chat, "/set temperature -")
    ask(chat, "hello", "Answer 2.")
    assert "temperature" not in llm.asked[-1]
    assert [m["role"] for m in llm.asked[-1]["messages"]] == ["user", "assistant", "user"]
    leave(chat)


def test_models_and_aliases_are_switched_to(open_chat: Open, llm: Llm, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[aliases]\nfast = "openai:lantern"\n', encoding="utf-8")
    chat = open_chat("--backend", "sim", **llm.environment)
    chat.at_prompt()
    command(chat, "/switch fast", "lantern")
    chat.until(lambda _: "lantern" in chat.toolbar)
    ask(chat, "hello", "Answer 1.")
    command(chat, "/model m-2", "m-2")
    ask(chat, "hello", "Answer 2.")
    assert [body["model"] for body in llm.asked] == ["lantern", "m-2"]
    command(chat, "/switch nobody", "nobody", "fast")
    leave(chat)


def test_stats_count_what_the_session_has_used(chat: ChatScreen, llm: Llm) -> None:
    llm.will("One.", read=11, written=5)
    llm.will("Two.", read=31, written=6)
    ask(chat, "one", "One.")
    ask(chat, "two", "Two.")
    for name in ("/stats", "/tokens", "/cost"):
        shown = "\n".join(command(chat, name, "m-1", "42", "11"))
        assert "$0" not in shown  # a price that is not known is not nothing
    leave(chat)


def test_top_is_live_until_a_key_ends_it(chat: ChatScreen) -> None:
    ask(chat, "hello", "Answer 1.")
    store = chat.pid("store")
    chat.enter("/top")
    chat.until(lambda lines: any(f" {store} " in line for line in lines))
    assert any("restarts" in line and "memory" in line for line in chat.lines)
    os.kill(store, signal.SIGKILL)
    after = chat.pid("store", after=store)
    chat.until(lambda lines: any(f" {after} " in line for line in lines))
    chat.press("esc")
    chat.at_prompt()
    ask(chat, "again", "Answer 2.")
    leave(chat)


def test_a_trace_is_drawn_in_the_width_of_the_terminal_and_with_colours(chat: ChatScreen) -> None:
    ask(chat, "hi", "Answer 1.")
    lines = command(chat, "/trace", "slowest: ")
    rows = [line for line in lines if " ui " in line or " store " in line]
    assert len(rows) > 5
    assert {len(line) for line in rows} == {COLUMNS}
    assert "\x1b[32m" in chat.raw
    leave(chat)


# --- an answer -------------------------------------------------------------------------------------


def test_an_answer_is_drawn_as_markdown_with_its_code_highlighted(
    chat: ChatScreen, llm: Llm
) -> None:
    llm.will("# A title\n\n", "Some **bold", "** words.\n\n```python\nreturn 1\n", "```\n\nDone.")
    lines = ask(chat, "draw", "Done.")
    assert not any("**" in line or "# A title" in line for line in lines)
    assert chat.style_of("bold words").bold
    assert not chat.style_of("words.").bold
    assert chat.style_of("return 1").fg != chat.style_of("Done.").fg
    leave(chat)


def test_a_footer_tells_what_an_answer_took(open_chat: Open, llm: Llm, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[prices."openai:m-1"]\ninput = 1000\noutput = 2000\n', encoding="utf-8"
    )
    chat = open_chat("--backend", "openai", "--model", "m-1", **llm.environment)
    chat.at_prompt()
    llm.will("A priced answer.", read=100, written=50)
    chat.enter("how much")
    chat.shows("A priced answer.", "$0.20")
    footer = next(line for line in chat.everything if "$0.20" in line)
    for part in ("m-1", "50", "first token"):
        assert part in footer
    chat.enter("/new")
    chat.at_prompt("session")
    chat.enter("how much")
    chat.shows("cached ")
    assert len(llm.asked) == 1
    leave(chat)


def test_thinking_is_folded_and_shown_when_asked_for(chat: ChatScreen, llm: Llm) -> None:
    thoughts = "Let me see.\nIt is a long story.\nSo the answer is four.\n"
    llm.will("Four.", thinking=thoughts.splitlines(keepends=True))
    lines = ask(chat, "two and two", "Four.")
    assert not any("It is a long story." in line for line in lines)
    assert any("thought" in line.lower() for line in lines)
    command(chat, "/thinking", "Let me see.", "It is a long story.")
    leave(chat)


# --- the end of an answer --------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ctrl-c", "esc"])
def test_an_answer_is_cancelled_when_its_server_was_left_and_what_came_is_kept(
    key: str, chat: ChatScreen, llm: Llm
) -> None:
    answer = llm.will("Half", " an", " answer", held=True)
    chat.enter("tell me")
    chat.shows("Half an answer")
    chat.press(key)
    chat.shows("(cancelled; ")
    assert eventually(answer.left.is_set)
    ask(chat, "go on", "Answer 1.")
    said = [(m["role"], m["content"]) for m in llm.asked[-1]["messages"]]
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert said[1][1].startswith("Half an answer")
    leave(chat)


def test_nothing_is_called_cancelled_while_the_server_is_still_connected(
    open_chat: Open, llm: Llm
) -> None:
    answer = llm.will("Half an answer", held=True)
    chat = open_chat(*ASKS_LLM, "--workers", "1", **llm.environment)
    chat.at_prompt()
    chat.enter("tell me")
    chat.shows("Half an answer")
    worker = chat.pid("worker")
    os.kill(worker, signal.SIGSTOP)
    try:
        chat.press("ctrl-c")
        chat.until(lambda lines: any("stopping" in line for line in lines))
        assert not any("(cancelled" in line for line in chat.everything)
        assert not answer.left.is_set()
    finally:
        os.kill(worker, signal.SIGCONT)
    chat.shows("(cancelled; ")
    assert eventually(answer.left.is_set)
    leave(chat)


def test_a_cancelled_answer_is_never_cached(open_chat: Open, llm: Llm) -> None:
    llm.will("Half", held=True)
    chat = open_chat("--backend", "openai", "--model", "m-1", **llm.environment)
    chat.at_prompt()
    chat.enter("tell me")
    chat.shows("Half")
    chat.press("ctrl-c")
    chat.shows("(cancelled")
    ask(chat, "/regenerate", "Answer 1.")
    assert llm.questions == ["tell me", "tell me"]
    leave(chat)


def test_a_server_that_fails_is_told_in_a_line_and_the_chat_goes_on(
    chat: ChatScreen, llm: Llm
) -> None:
    llm.will(status=400, body='{"error": {"message": "no such lantern"}}')
    ask(chat, "hello", "no such lantern")
    ask(chat, "again", "Answer 1.")
    leave(chat)


# --- state -----------------------------------------------------------------------------------------


def test_the_line_of_state_tells_session_backend_model_and_restarts(
    open_chat: Open, llm: Llm
) -> None:
    chat = open_chat(*ASKS_LLM, "--workers", "1", **llm.environment)
    chat.at_prompt()
    ask(chat, "hello", "Answer 1.")
    assert "openai" in chat.toolbar
    assert "m-1" in chat.toolbar
    (session,) = [line.split("_")[-1] for line in chat.everything if line.startswith("Session: ")]
    assert session.split()[0] in chat.toolbar
    assert "restart" not in chat.toolbar
    worker = chat.pid("worker")
    os.kill(worker, signal.SIGKILL)  # and no key is pressed
    chat.until(lambda _: "restart" in chat.toolbar and "1" in chat.toolbar)
    chat.shows("worker process restarted: killed by signal 9")
    chat.at_prompt("worker process restarted")
    ask(chat, "again", "Answer 2.")
    leave(chat)


def test_the_line_of_state_tells_that_nothing_is_saved(open_chat: Open, llm: Llm) -> None:
    chat = open_chat(*ASKS_LLM, "--db", "config.toml/chat.db", **llm.environment)
    chat.at_prompt()
    ask(chat, "hello", "Answer 1.")
    chat.shows("not saving: ")
    chat.until(lambda _: "NOT SAVING" in chat.toolbar)
    leave(chat)


def test_a_context_that_the_server_cuts_is_told(open_chat: Open, llm: Llm) -> None:
    llm.context_length = 4096
    chat = open_chat("--backend", "ollama", "--model", "m-1", "--no-cache", **llm.environment)
    chat.at_prompt()
    llm.will("Short.", read=40, written=5)
    lines = ask(chat, "a short question", "Short.")
    assert not any("context" in line for line in lines[:-1])
    chat.until(lambda _: "context 45 of 4k" in chat.toolbar)
    for number in range(1, 13):  # more and more is sent; what was read of it stays where it is
        llm.will(f"Long {number}.", read=min(700 * number, 4090), written=5)
        chat.paste("many words of a long story " * 100)
        ask(chat, "", f"Long {number}.")
    chat.shows("its context of 4,096 tokens is too short")
    leave(chat)


# --- several at once -------------------------------------------------------------------------------


ALL = ("Alpha says so.", "Beta says so.", "Gamma says so.")


def fan_out(chat: ChatScreen, llm: Llm) -> list[str]:
    """Ask three at once; return what is on the screen while their answers stream, and wait for their ends."""
    held = [
        llm.will(f"{text} says", held=True, rest=[" so."], model=model)
        for model, text in (("m-1", "Alpha"), ("m-2", "Beta"), ("lantern", "Gamma"))
    ]
    chat.enter("/fan openai:m-1,openai:m-2,openai:lantern who are you")
    lines = chat.shows("Alpha says", "Beta says", "Gamma says")
    for answer in held:
        answer.go_on()
    chat.shows(*ALL, "/pick N")
    chat.at_prompt("/pick N")
    return lines


def test_several_are_asked_side_by_side_and_one_is_picked(open_chat: Open, llm: Llm) -> None:
    chat = open_chat(*ASKS_LLM, columns=140, **llm.environment)
    chat.at_prompt()
    lines = fan_out(chat, llm)
    assert any(all(name in n for name in ("Alpha", "Beta", "Gamma")) for n in lines)
    chat.enter("/pick 2")
    chat.at_prompt("/pick 2")
    ask(chat, "go on", "Answer 1.")
    assert [m["content"] for m in llm.asked[-1]["messages"]] == [
        "who are you",
        "Beta says so.",
        "go on",
    ]
    leave(chat)


def test_picked_answers_and_their_siblings_are_there_after_a_resume(
    chat: ChatScreen, llm: Llm, open_chat: Open
) -> None:
    fan_out(chat, llm)
    chat.enter("/pick 2")
    chat.at_prompt("/pick 2")
    leave(chat)
    again = open_chat(*ASKS_LLM, "--continue", **llm.environment)
    again.shows(*ALL)
    again.at_prompt()
    ask(again, "go on", "Answer 1.")
    assert [m["content"] for m in llm.asked[-1]["messages"]][1] == "Beta says so."
    leave(again)


def test_in_a_narrow_window_several_answers_stand_below_each_other(
    open_chat: Open, llm: Llm
) -> None:
    chat = open_chat(*ASKS_LLM, columns=60, **llm.environment)
    chat.at_prompt()
    lines = fan_out(chat, llm)
    assert not any("Alpha says" in n and "Beta says" in n for n in lines + chat.everything)
    leave(chat)


# --- who survives what -----------------------------------------------------------------------------


def test_a_killed_console_comes_back_with_its_conversation(chat: ChatScreen) -> None:
    ask(chat, "hello", "Answer 1.")
    pid = chat.ui_pid()
    os.kill(pid, signal.SIGKILL)
    chat.ui_pid(after=pid)
    chat.until_true(lambda: sum("Answer 1." in line for line in chat.everything) == 2)
    chat.at_prompt()
    assert chat.everything.count("=== chatbot ===") == 2  # not behind the prompt of the other
    ask(chat, "typing works", "Answer 2.")
    leave(chat)


def test_a_console_killed_in_mid_answer_comes_back_and_shows_all_of_it(
    chat: ChatScreen, llm: Llm
) -> None:
    answer = llm.will("Half", held=True, rest=[" The end."])
    chat.enter("hello")
    chat.shows("Half")
    pid = chat.ui_pid()
    os.kill(pid, signal.SIGKILL)
    chat.ui_pid(after=pid)
    answer.go_on()
    chat.shows("Half The end.")
    leave(chat)


@pytest.mark.parametrize("key", ["ctrl-c", "esc"])
def test_an_answer_in_which_the_console_was_killed_can_be_stopped(
    key: str, chat: ChatScreen, llm: Llm
) -> None:
    llm.will("Half", held=True)
    chat.enter("hello")
    chat.shows("Half")
    pid = chat.ui_pid()
    os.kill(pid, signal.SIGKILL)
    chat.ui_pid(after=pid)
    chat.until_true(lambda: sum("Half" in line for line in chat.everything) == 2)
    chat.press(key)
    chat.shows("(cancelled")
    leave(chat)


@pytest.mark.parametrize("whom", ["the program", "its console"])
def test_sigterm_leaves_at_once(whom: str, chat: ChatScreen) -> None:
    chat.type("half a que")
    pid = chat.child.pid if whom == "the program" else chat.ui_pid()
    os.kill(pid, signal.SIGTERM)
    assert chat.ends() == 130
    assert "Traceback" not in chat.raw


def test_a_killed_supervisor_is_told_where_no_shell_has_the_terminal_yet(
    chatbot: Chatbot, llm: Llm
) -> None:
    environment = chatbot.environment(
        TERM="xterm-256color", HOME=str(chatbot.directory), **llm.environment
    )
    script = ["sh", "-c", '"$@"; read rest', "sh"]  # has no jobs: the group keeps the terminal
    screen = Screen(
        [*script, *chatbot.command(*ASKS_LLM)],
        directory=str(chatbot.directory),
        environment=environment,
    )
    try:
        screen.at_prompt()
        screen.ui_pid()
        [supervisor] = psutil.Process(screen.child.pid).children()
        supervisor.kill()
        screen.shows("--continue goes on")
        assert not any("Goodbye" in line for line in screen.everything)
        screen.press("enter")
        screen.ends()
        chatbot.must_be_gone()
    finally:
        screen.close()


# --- the bell --------------------------------------------------------------------------------------


def test_the_bell_rings_once_for_each_answer_and_for_nothing_else(
    open_chat: Open, llm: Llm, tmp_path: Path
) -> None:
    config = tmp_path / "bell.toml"
    config.write_text("bell = true\n", encoding="utf-8")
    chat = open_chat(*ASKS_LLM, "--config", str(config), **llm.environment)
    chat.at_prompt()
    command(chat, "/help", "/undo")
    chat.at_prompt()
    assert chat.raw.count("\a") == 0
    for number in (1, 2):
        ask(chat, f"question {number}", f"Answer {number}.")
        command(chat, "/show", "Said so far")
        chat.at_prompt()
        assert chat.raw.count("\a") == number
    leave(chat)


def test_without_a_console_or_the_setting_no_bell_rings(
    open_chat: Open, llm: Llm, tmp_path: Path
) -> None:
    config = tmp_path / "bell.toml"
    config.write_text("bell = true\n", encoding="utf-8")
    plain = open_chat(*ASKS_LLM, "--config", str(config), plain=True, **llm.environment)
    for number, chat in enumerate((plain, open_chat(*ASKS_LLM, **llm.environment)), 1):
        chat.at_prompt()
        chat.enter("a question")
        chat.shows(f"Answer {number}.")
        chat.at_prompt()
        assert "\a" not in chat.raw
