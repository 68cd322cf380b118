"""What the console may send to a terminal, in which sizes and kinds of it. With the real program in a real one."""

import re
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.system.llm import Llm

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.system.screen import KEYS, ChatScreen

Open = Callable[..., ChatScreen]
ASKS_LLM = ("--backend", "openai", "--model", "m-1", "--no-cache")

# Each asks a terminal for something that ours never does; what is left of them when made visible may stay.
ATTACKS = (
    "\x1b]0;owned\x07",
    "\x1b]2;owned\x1b\\",
    "\x1b]52;c;b3duZWQ=\x07",
    "\x1b]8;;http://owned.example\x1b\\",
    "\x1b[?1049h",
    "\x1b[?1000h",
    "\x1b[2J\x1b[3J",
    "\x1b[21t",
    "\x1bP$qm\x1b\\",
    "\x1bc",
    "\x9b2J",
    "\x9d0;owned\x9c",
    "\x0e",
    "\x05",
    "\x07",
    "\u202e",
)
_OURS = re.compile(
    r"\x1b\[[\d;]*m"  # SGR
    r"|\x1b\[[\d;]*[ABCDGHJKP@]"  # the cursor, and erasing
    r"|\x1b\[\?(?:1|7|12|25|2004|2026)[hl]"
    r"|\x1b\[\d* q"  # the cursor's shape
    r"|\x1b[=>]"
)


def only_ours(raw: str) -> None:
    """Fail when anything but our own sequences is in what was sent."""
    left = _OURS.sub("", raw)
    found = sorted(
        set(re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e].{0,12}", left))
    )
    assert not found, found


def in_pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_answer_and_its_thinking_cannot_drive_the_terminal(
    size: int, open_chat: Open, llm: Llm
) -> None:
    text = "Begin. " + " x ".join(ATTACKS) + "\n\n```\n" + "\n".join(ATTACKS) + "\n```\n\nEnd."
    llm.will(*in_pieces(text, size), thinking=in_pieces(text, size))
    chat = open_chat(*ASKS_LLM, **llm.environment)
    chat.at_prompt()
    chat.enter("attack")
    chat.shows("End.")
    chat.at_prompt()
    chat.enter("/thinking")
    chat.until_true(lambda: sum("End." in line for line in chat.everything) > 1)
    chat.press("ctrl-d")
    assert chat.ends() == 0
    assert chat.title == ""
    only_ours(chat.raw)


def test_names_titles_and_errors_cannot_drive_the_terminal_either(
    open_chat: Open, llm: Llm
) -> None:
    attack = "".join(ATTACKS)
    llm.will(status=400, body=f"Failed {attack} end of error")
    chat = open_chat("--backend", "openai", "--model", "m\x1b]0;owned\x07", **llm.environment)
    chat.at_prompt()
    chat.enter("hello")
    chat.shows("end of error")
    chat.at_prompt()
    llm.will("Fine.")
    chat.enter("again")
    chat.shows("Fine.")
    chat.at_prompt()
    chat.paste("/rename T\x1b]0;owned\x07itle")
    chat.press("enter")
    chat.enter("/sessions")
    chat.shows("itle")
    chat.at_prompt()
    chat.enter("/history")
    chat.until_true(lambda: sum("Fine." in line for line in chat.everything) > 1)
    chat.at_prompt()
    chat.press("ctrl-d")
    assert chat.ends() == 0
    assert chat.title == ""
    only_ours(chat.raw)


@pytest.mark.parametrize("how", [{"plain": True}, {"TERM": "dumb"}])
def test_without_a_console_not_one_escape_sequence_is_sent(
    how: dict[str, object], open_chat: Open, llm: Llm
) -> None:
    chat = open_chat(*ASKS_LLM, **how, **llm.environment)
    chat.at_prompt()
    llm.will("# A **bold** title\n\n```python\nreturn 1\n```\n")
    chat.enter("hello")
    chat.at_prompt("return 1")
    assert any("**bold**" in line for line in chat.lines)
    chat.enter("/help")
    chat.at_prompt("/export")
    chat.enter("/trace")
    chat.at_prompt("slowest: ")
    chat.press("ctrl-d")
    assert chat.ends() == 0
    assert "\x1b" not in chat.raw


def test_no_colour_means_none(open_chat: Open, llm: Llm) -> None:
    llm.will("# Title\n\nSome **bold** words.\n\n```python\nreturn 'x' + 1\n```\n\nEnd.")
    chat = open_chat(*ASKS_LLM, NO_COLOR="1", **llm.environment)
    chat.at_prompt()
    chat.enter("draw")
    chat.shows("End.")
    chat.at_prompt()
    chat.enter("/trace")
    chat.shows("slowest: ")
    assert chat.style_of("bold").bold
    chat.press("ctrl-d")
    assert chat.ends() == 0
    assert not chat.has_color


def test_with_colours_there_are_some(open_chat: Open, llm: Llm) -> None:
    llm.will("```python\nreturn 'x' + 1\n```\n\nEnd.")
    chat = open_chat(*ASKS_LLM, **llm.environment)
    chat.at_prompt()
    chat.enter("draw")
    chat.shows("End.")
    assert chat.has_color


def test_wide_characters_are_whole_and_wrapped_where_the_window_ends(
    open_chat: Open, llm: Llm
) -> None:
    chat = open_chat(*ASKS_LLM, columns=40, **llm.environment)
    chat.at_prompt()
    llm.will(*"日本語の長い文章" * 10, "\n\n", "e\u0301nd")
    chat.enter("こんにちは")
    chat.shows("énd")
    chat.at_prompt()
    assert llm.questions == ["こんにちは"]
    text = "".join(line.strip() for line in chat.everything)
    assert "日本語の長い文章" * 10 in text
    chat.type("語語")
    chat.until(lambda _: chat.is_at_prompt("語語"))
    assert chat.cursor[1] == len("You: ") + 4
    chat.press("left", "backspace")
    chat.until(lambda lines: lines[chat.input_line] == "You: 語")
    chat.press("ctrl-c")


def test_a_long_answer_scrolls_into_the_scrollback_once(open_chat: Open, llm: Llm) -> None:
    chat = open_chat(*ASKS_LLM, rows=12, **llm.environment)
    chat.at_prompt()
    wanted = [f"{number}. line of a list" for number in range(1, 201)]
    answer = llm.will(*(f"{line}\n" for line in wanted), held=True, rest=["\n\nEnd."])
    chat.enter("a list")
    chat.until(lambda lines: any("200. line" in line for line in lines))
    assert len(chat.lines) <= 12
    answer.go_on()
    chat.shows("End.")
    chat.at_prompt()
    numbers = [int(m[1]) for line in chat.everything if (m := re.search(r"(\d+)\. line of", line))]
    assert numbers == list(range(1, 201))


def test_the_window_may_change_its_size_in_mid_answer(open_chat: Open, llm: Llm) -> None:
    words = [f"word{number} " for number in range(300)]
    chat = open_chat(*ASKS_LLM, **llm.environment)
    chat.at_prompt()
    first = llm.will(*words[:150], held=True, rest=[*words[150:], "\n\nEnd."])
    chat.enter("go")
    chat.until(lambda lines: any("word149" in line for line in lines))
    for rows, columns in ((24, 60), (10, 33), (50, 140), (24, 60)):
        chat.resize(rows, columns)
        chat.until(lambda lines: "answering" in chat.toolbar and any("word149" in n for n in lines))
    first.go_on()
    chat.shows("End.")
    chat.at_prompt()
    found = [int(n) for line in chat.everything for n in re.findall(r"word(\d+)", line)]
    assert set(range(300)) <= set(found)
    # What was painted last is one piece, without a gap or a line twice.
    assert all(b - a == 1 for a, b in pairwise(found[-150:]))
    chat.enter("again")
    chat.shows("Answer 1.")
    chat.at_prompt()
    chat.press("ctrl-d")
    assert chat.ends() == 0


def test_a_very_small_window_is_no_reason_to_fail(open_chat: Open, llm: Llm) -> None:
    chat = open_chat(*ASKS_LLM, rows=4, columns=20, **llm.environment)
    chat.until(lambda _: chat.input_line >= 0)
    chat.enter("hello")
    chat.shows("Answer 1.")
    chat.type(KEYS["ctrl-d"])
    assert chat.ends() == 0
    assert "Traceback" not in chat.raw


def test_the_modes_of_the_terminal_are_on_while_it_chats(open_chat: Open) -> None:
    chat = open_chat()
    chat.at_prompt()
    assert chat.mode_is_on("2004")
    assert not chat.modes_are_as_before()
    chat.assert_never_driven()
    chat.press("ctrl-d")
    assert chat.ends() == 0
