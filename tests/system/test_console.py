"""The console in a real terminal: every key, what stands where, and the terminal's modes afterwards."""

import contextlib
import re
import signal
import sys
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from chatbot.ui.lines import plain
from tests.fakes import eventually
from tests.system.program import ROOT, clean_environment

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

import termios

import pexpect
import psutil
import pyte

from tests.system.console_room import FRAMES, story

CTRL_C, CTRL_D, CTRL_E, CTRL_J, CTRL_L = "\x03", "\x04", "\x05", "\x0a", "\x0c"
CTRL_R, CTRL_X, CTRL_Z, ESC, TAB = "\x12", "\x18", "\x1a", "\x1b", "\t"
UP, DOWN, ALT_ENTER, BACKSPACE = "\x1b[A", "\x1b[B", "\x1b\r", "\x7f"
PASTE, PASTE_END = "\x1b[200~", "\x1b[201~"
WITHIN_S = 15.0
ROWS, COLUMNS = 24, 80
STATE = "[state]"
PROMPT = "You:"
BUSY = "   >"


class Terminal(pyte.HistoryScreen):
    """One that takes what is erased from its first cell on for a window that is cleared, and keeps it in the
    scrollback, as tmux does."""

    def erase_in_display(self, how: int = 0, *args: Any, **private: Any) -> None:
        if not how and not self.cursor.x and not self.cursor.y:
            self.history.top.extend(
                copy(self.buffer[y]) for y in range(len(_trimmed(self.display)))
            )
        super().erase_in_display(how, *args, **private)


class Window:
    """The program in a terminal of its own, and what that terminal shows."""

    def __init__(
        self, *options: str, command: tuple[str, ...] = (), cwd: Path = ROOT, **environment: str
    ) -> None:
        self.screen = Terminal(COLUMNS, ROWS, history=20_000)
        self._stream = pyte.Stream(self.screen)
        self.raw = ""
        program = command or (sys.executable, "-m", "tests.system.console_room", *options)
        self.child: Any = pexpect.spawn(
            program[0],
            list(program[1:]),
            cwd=str(cwd),
            # pyte cuts lines where others break them, as xterm does
            env=clean_environment(TERM="xterm-256color", XTERM_VERSION="pyte", **environment),
            encoding="utf-8",
            dimensions=(ROWS, COLUMNS),
        )
        self.child.delaybeforesend = None
        self.modes = termios.tcgetattr(self.child.child_fd)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the space at the ends of lines and below the last."""
        return _trimmed(self.screen.display)

    @property
    def all_lines(self) -> list[str]:
        """What has scrolled away, and what is on the screen."""
        gone = [
            "".join(row[x].data for x in range(self.screen.columns))
            for row in self.screen.history.top
        ]
        return _trimmed([*gone, *self.screen.display])

    @property
    def cursor(self) -> tuple[int, int]:
        """The cursor's column, and its row counted from the last line on the screen: -1 is the last."""
        return self.screen.cursor.x, self.screen.cursor.y - len(self.lines)

    def type(self, *keys: str) -> None:
        """Press keys."""
        self.child.send("".join(keys))

    def until(self, holds: Callable[[list[str]], bool]) -> list[str]:
        """Read until the screen's lines satisfy a condition; return them."""
        assert eventually(lambda: self.read() and holds(self.lines), WITHIN_S), "\n".join(
            self.lines
        )
        return self.lines

    def shows(self, *last: str) -> list[str]:
        """Wait until these are the last lines above the line of state."""
        return self.until(lambda lines: lines[-1 - len(last) :] == [*last, STATE])

    def ends(self) -> int:
        """Read to the end; return the exit code. The terminal is as it was before."""
        assert eventually(lambda: not self.read(), WITHIN_S), self.lines
        self.child.wait()
        assert self.is_as_before()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)

    def is_as_before(self) -> bool:
        """Whether the terminal echoes and edits as before, shows its cursor, and takes pastes as they come."""
        private = re.findall(r"\x1b\[\?(25|2004|2026|7|1049)([hl])", self.raw)
        last = dict(private)
        return bool(
            termios.tcgetattr(self.child.child_fd) == self.modes
            and last.get("25", "h") == "h"
            and last.get("7", "h") == "h"
            and last.get("2004", "l") == "l"
            and last.get("2026", "l") == "l"
            and "1049" not in last
        )

    def resize(self, columns: int, rows: int) -> None:
        """Make the window so large."""
        self.read()
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def read(self) -> bool:
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

    def close(self) -> None:
        """End it, whatever it does."""
        self.child.close(force=True)


def _trimmed(rows: list[str]) -> list[str]:
    shown = [row.rstrip() for row in rows]
    while shown and not shown[-1]:
        shown.pop()
    return shown


def _rows_of(line: str) -> list[str]:
    screen = pyte.Screen(COLUMNS, 4)
    pyte.Stream(screen).feed(line)
    return _trimmed(screen.display)


Begin = Callable[..., Window]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begin programs that end with the test."""
    with contextlib.ExitStack() as stack:

        def window(*options: str, **more: Any) -> Window:
            begun = Window(*options, **more)
            stack.callback(begun.close)
            return begun

        yield window


@pytest.fixture
def window(begin: Begin) -> Window:
    """A program that waits at its prompt."""
    begun = begin()
    begun.shows(PROMPT)
    return begun


# --- sending, and editing ------------------------------------------------------------------------


def test_a_line_is_sent_with_enter_and_stands_above_what_is_said_to_it(window: Window) -> None:
    assert window.lines[0] == "=== banner ==="
    window.type("hello\r")
    window.shows("You: hello", "said 'hello'", PROMPT)
    assert window.cursor == (5, -2)


@pytest.mark.parametrize("newline", [CTRL_J, ALT_ENTER])
def test_a_new_line_in_the_input(window: Window, newline: str) -> None:
    window.type("one", newline, "two")
    window.shows("You: one", "... two")
    window.type("\r")
    window.shows("You: one", "... two", r"said 'one\ntwo'", PROMPT)


def test_enter_begins_a_new_line_in_a_block_that_is_open(window: Window) -> None:
    window.type('"""one\r')
    window.shows('You: """one', "...")
    window.type('two"""\r')
    window.until(lambda lines: 'said \'"""one\\ntwo"""\'' in lines)


def test_a_paste_is_not_sent_before_enter(window: Window) -> None:
    window.type(PASTE, "one\rtwo\rthree", PASTE_END)
    window.shows("You: one", "... two", "... three")
    window.type("\r")
    window.until(lambda lines: r"said 'one\ntwo\nthree'" in lines)


def test_a_long_paste_scrolls_in_half_of_the_window(window: Window) -> None:
    window.type(PASTE, "\r".join(f"line {n}" for n in range(500)), PASTE_END)
    lines = window.until(lambda lines: lines[-2:] == ["... line 499", STATE])
    assert sum(line.startswith("... line") for line in lines) == ROWS // 2
    window.type("\r")
    window.until(lambda lines: lines[-2:] == [PROMPT, STATE])
    window.read()
    assert "... line 250" in window.all_lines


def test_wide_characters_are_edited_where_they_stand(window: Window) -> None:
    window.type("日本語x")
    window.until(lambda lines: window.cursor[0] == 5 + 6 + 1)
    window.type(BACKSPACE, BACKSPACE)
    window.until(lambda lines: window.cursor[0] == 5 + 4)
    window.type("\r")
    window.until(lambda lines: "said '日本'" in lines)


def test_tab_offers_and_completes(window: Window) -> None:
    window.type("/h", TAB)
    window.until(lambda lines: any("/help" in line and "meta of" in line for line in lines))
    window.type(TAB, TAB)
    window.until(lambda lines: any(line == "You: /history" for line in lines))
    window.type(ESC)
    window.shows("You: /h")
    window.type(BACKSPACE, "m", TAB)
    window.shows("You: /model")


def test_the_history_is_kept_and_searched(begin: Begin, tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text('"first of all"\n"last time"\n')
    window = begin(f"history={path}")
    window.shows(PROMPT)
    window.type("new\r")
    window.shows("You: new", "said 'new'", PROMPT)
    assert eventually(lambda: path.read_text().endswith('"new"\n'))
    window.type(UP)
    window.shows("You: new")
    window.type(UP)
    window.shows("You: last time")
    window.type(DOWN, DOWN)
    window.shows(PROMPT)
    window.type(CTRL_R, "of")
    window.until(lambda lines: "I-search backward: of" in lines and "You: first of all" in lines)
    window.type("\r")
    window.shows("You: first of all")
    window.type("\r")
    window.until(lambda lines: "said 'first of all'" in lines)


def test_an_answer_to_a_question_is_no_history(window: Window) -> None:
    window.type("before\r")
    window.shows("You: before", "said 'before'", PROMPT)
    window.type("sure\r")
    window.shows("Sure? [y/N]")
    window.type("y\r")
    window.shows("Sure? [y/N] y", "said 'y'", PROMPT)
    window.type(UP)
    window.shows("You: sure")


@pytest.mark.parametrize("key", [CTRL_C, ESC])
def test_a_question_that_is_not_answered_stays_to_be_read(window: Window, key: str) -> None:
    window.type("sure\r")
    window.shows("Sure? [y/N]")
    window.type("ye", key)
    window.shows("You: sure", "Sure? [y/N]", "pressed Pressed", PROMPT)


def test_ctrl_l_empties_the_window(window: Window) -> None:
    window.type("one\r")
    window.shows("You: one", "said 'one'", PROMPT)
    window.type("two", CTRL_L)
    window.until(lambda lines: lines == ["You: two", STATE])
    assert window.cursor == (8, -2)


def test_nothing_of_the_window_is_doubled_in_the_scrollback(begin: Begin) -> None:
    window = begin("tail=100")
    window.shows(PROMPT)
    wide = "x" * (COLUMNS + 20)
    window.type("begin\r", "grow a 50\r", f"more {wide}\r")
    window.until(lambda lines: "a49" in lines)
    window.type("end\r")
    window.shows("ended", PROMPT)
    window.resize(COLUMNS - 10, ROWS)
    window.until(lambda lines: lines[-1].startswith(STATE))
    lines = window.all_lines
    assert [line for line in lines if line[:1] == "a"] == [f"a{n}" for n in range(50)]
    assert sum(line.startswith(STATE) for line in lines) == 1


# --- leaving, and interrupting --------------------------------------------------------------------


def test_ctrl_d_leaves_at_an_empty_line_only(window: Window) -> None:
    window.type("ab", "\x01", CTRL_D)
    window.shows("You: b")
    window.type(CTRL_D, CTRL_D)
    assert window.ends() == 0
    assert window.lines[-1] == "left 0"
    assert (window.screen.cursor.x, window.screen.cursor.y) == (0, len(window.lines))


def test_ctrl_c_clears_then_hints_then_leaves(window: Window) -> None:
    window.type("text", CTRL_C)
    window.shows(PROMPT)
    window.type(CTRL_C)
    window.shows("(Ctrl-C again, or Ctrl-D, leaves)", PROMPT)
    window.type(CTRL_C)
    assert window.ends() == 130


@pytest.mark.parametrize("key", [CTRL_C, ESC])
def test_ctrl_c_and_esc_stop_what_is_going_on(window: Window, key: str) -> None:
    window.type("begin\r", "grow a 5\r", "typed")
    window.shows("a2", "a3", "a4", f"{BUSY} typed")
    window.type(key)
    window.shows("a4", "pressed Pressed", "You: typed")


@pytest.mark.parametrize("key", [CTRL_C, ESC])
def test_what_goes_on_from_the_start_is_stopped_too(begin: Begin, key: str) -> None:
    window = begin("under_way=half of it")
    window.shows("half of it", BUSY)
    window.type(key)
    window.shows("half of it", "pressed Pressed", PROMPT)


def test_esc_at_the_prompt_is_harmless_and_alt_keys_still_work(window: Window) -> None:
    window.type("one two", ESC)
    window.shows("You: one two")
    window.type(ESC + "b", "x")
    window.shows("You: one xtwo")


def test_a_signal_from_elsewhere_is_a_ctrl_c(window: Window) -> None:
    window.type("text")
    window.shows("You: text")
    window.child.kill(signal.SIGINT)
    window.shows(PROMPT)


# --- while an answer streams ------------------------------------------------------------------------


def test_finished_lines_stand_once_in_the_scrollback(window: Window) -> None:
    window.type("begin\r")
    for step in range(20):
        window.type(f"grow s{step}n 10\r")
    window.type("end\r")
    window.until(lambda lines: "ended" in lines)
    grown = [line for line in window.all_lines if re.fullmatch(r"s\d+n\d+", line)]
    assert grown == [f"s{step}n{n}" for step in range(20) for n in range(10)]


def test_lines_that_are_all_the_same_are_all_there(window: Window) -> None:
    window.type("begin\r", "same 3 p\r")
    window.shows("p", "p", "p", BUSY)
    window.type("same 2 p\r")
    window.shows("You: same 2 p", "p", "p", "p", "p", "p", BUSY)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_the_frames_what_is_finished_is_written_once(window: Window, seed: int) -> None:
    window.type(f"story {seed}\r")
    window.shows("told", PROMPT)
    told = window.all_lines[3 : window.all_lines.index("told")]
    wanted = [plain(line).rstrip() for frame in story(seed, FRAMES) for line in frame.finished]
    rows = [row for line in wanted for row in (_rows_of(line) or [""])]
    assert [normalize("NFC", row) for row in told] == [normalize("NFC", row) for row in rows]


def test_what_is_typed_ahead_is_sent_and_shown_when_it_is_taken(window: Window) -> None:
    window.type("busy\r")
    window.shows("You: busy", BUSY)
    window.type("ahead\r")
    window.shows("You: ahead", "said 'ahead'", PROMPT)


def test_a_tail_higher_than_the_window_keeps_its_end(begin: Begin) -> None:
    window = begin("tail=100")
    window.shows(PROMPT)
    window.type("begin\r", "grow a 60\r")
    window.shows(*(f"a{n}" for n in range(60 - ROWS + 2, 60)), BUSY)
    window.type("end\r")
    window.until(lambda lines: "ended" in lines)
    assert [line for line in window.all_lines if re.fullmatch(r"a\d+", line)] == [
        f"a{n}" for n in range(60)
    ]


def test_a_tail_that_becomes_shorter_leaves_nothing_behind(begin: Begin) -> None:
    window = begin("tail=100")
    window.shows(PROMPT)
    window.type("begin\r", "more 日本語 a long line of some text\r", "more x\r")
    window.until(lambda lines: lines[-3:] == ["x", BUSY, STATE])
    window.type("end\r")
    window.until(lambda lines: lines[-3:] == ["ended", PROMPT, STATE])


@pytest.mark.parametrize("columns", [30, 120])
def test_a_window_that_is_resized_while_lines_come(window: Window, columns: int) -> None:
    window.type("begin\r", "grow a 10\r", "some text that is typed")
    window.until(lambda lines: lines[-3:-1] == ["a9", f"{BUSY} some text that is typed"])
    window.resize(columns, ROWS)
    window.until(lambda lines: lines[-1].startswith(STATE))
    window.type("!")
    window.until(lambda lines: any("typed!" in line for line in lines))
    window.type("\x15", "grow b 2\r", "end\r")
    window.until(lambda lines: "ended" in lines)
    seen = [line for line in window.lines if re.fullmatch(r"[ab]\d+", line)]
    assert seen == [*(f"a{n}" for n in range(10)), "b0", "b1"]


def test_lines_from_the_chat_come_above_the_input(window: Window) -> None:
    window.type("begin\r", "grow a 4\r")
    window.shows("a1", "a2", "a3", BUSY)
    window.type("draft")
    window.shows("a3", f"{BUSY} draft")
    assert window.cursor == (10, -2)


def test_texts_are_given_back_before_what_is_typed(window: Window) -> None:
    window.type("back one|two\r")
    window.shows("You: one", "...", "... two")
    window.type("\r")
    window.until(lambda lines: r"said 'one\n\ntwo'" in lines)


def test_commands_are_not_given_back_but_told(window: Window) -> None:
    window.type("back one|/quit|/rename it\r")
    window.shows("(not done: /quit, /rename it)", "You: one")
    window.type("\r")
    window.shows("said 'one'", PROMPT)


def test_nothing_that_is_shown_drives_the_terminal(window: Window) -> None:
    window.type(r"evil \x1b[2J\x1b]0;title\x07\x9b31m" + "\r")
    window.until(lambda lines: any("␛[2J" in line for line in lines))
    assert window.screen.title == ""
    assert "\x1b[2J" not in window.raw


def test_nothing_that_is_pasted_drives_the_terminal(window: Window) -> None:
    window.type(PASTE, "a\u202eb\u009b31mc\x1b]0;d", PASTE_END)
    window.until(lambda lines: any(line.endswith("^[]0;d") for line in lines))
    window.type("\r")
    window.until(lambda lines: any(line.startswith("said") for line in lines))
    assert not {"\u202e", "\u009b"} & set(window.raw)
    assert window.screen.title == ""


def test_what_was_drawn_elsewhere_keeps_its_colours(window: Window) -> None:
    window.type("drawn green\r")
    window.until(lambda lines: "green" in lines)
    assert "\x1b[32mgreen\x1b[0m" in window.raw


def test_without_colour_none_is_sent(begin: Begin) -> None:
    window = begin("no_colour=1")
    window.shows(PROMPT)
    window.type("begin\r", "grow a 10\r", "end\r", "/h", TAB)
    window.until(lambda lines: any("/help" in line for line in lines))
    codes = {
        code for found in re.findall(r"\x1b\[([\d;]*)m", window.raw) for code in found.split(";")
    }
    assert codes <= {"", "0", "1", "2", "7"}


# --- before anybody reads ---------------------------------------------------------------------------


def test_what_is_typed_while_the_program_loads_arrives(begin: Begin) -> None:
    window = begin()
    window.until(lambda lines: PROMPT in lines)
    window.type("early\r", PASTE, "pasted\rlines", PASTE_END)
    window.shows("said 'early'", "You: pasted", "... lines")
    assert sum("early" in line for line in window.lines) == 2


def test_what_was_typed_before_the_program_could_see_it_arrives(begin: Begin) -> None:
    window = begin()
    window.type("very early\n")
    window.until(lambda lines: "said 'very early'" in lines)


def test_ctrl_c_while_the_program_loads_is_one_at_an_empty_line(begin: Begin) -> None:
    window = begin()
    window.until(lambda lines: PROMPT in lines)
    window.type("text", CTRL_C)
    window.shows("(Ctrl-C again, or Ctrl-D, leaves)", PROMPT)
    window.type(CTRL_C)
    assert window.ends() == 130


# --- how it ends ----------------------------------------------------------------------------------


def test_an_exception_of_the_chat_ends_the_program_with_its_line(window: Window) -> None:
    window.type("raise it is over\r")
    assert window.ends() == 1
    assert window.lines[-1] == "it is over"


def test_a_frame_that_cannot_be_drawn_ends_the_program_with_a_line(window: Window) -> None:
    window.type("break\r")
    assert window.ends() == 1
    assert "nothing to draw" in window.lines[-1]
    assert not any("Traceback" in line for line in window.lines)


def test_an_error_of_the_system_that_is_no_hang_up_ends_the_program_with_a_line(
    window: Window,
) -> None:
    window.type("break no room\r")
    assert window.ends() == 1
    assert "no room" in window.lines[-1]


def test_sigterm_ends_it_with_the_modes_restored(window: Window) -> None:
    window.type("begin\r", "grow a 5\r")
    window.shows("a2", "a3", "a4", BUSY)
    window.child.kill(signal.SIGTERM)
    assert window.ends() == 130
    assert "a4" in window.lines


def test_a_terminal_that_hangs_up_ends_it(begin: Begin) -> None:
    window = begin()
    window.shows(PROMPT)
    window.child.ptyproc.fileobj.close()
    process = psutil.Process(window.child.pid)
    assert eventually(lambda: process.status() == psutil.STATUS_ZOMBIE, WITHIN_S)
    assert window.child.wait() == 0


# --- others on the terminal -------------------------------------------------------------------------


def _editor(directory: Path, script: str) -> str:
    path = directory / "editor.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def test_the_input_is_edited_with_the_persons_editor(begin: Begin, tmp_path: Path) -> None:
    script = 'stat -c "%a" "$1" > mode; case "$1" in *.md) echo more >> "$1";; esac'
    editor = _editor(tmp_path, f"cd {tmp_path}; {script}")
    window = begin(VISUAL=editor)
    window.shows(PROMPT)
    window.type("text", CTRL_X, CTRL_E)
    window.shows("You: text", "... more")
    assert (tmp_path / "mode").read_text() == "600\n"
    window.type("\r")
    window.until(lambda lines: r"said 'text\nmore'" in lines)


def test_the_chat_has_a_text_edited(begin: Begin, tmp_path: Path) -> None:
    window = begin(VISUAL="", EDITOR=_editor(tmp_path, 'echo changed > "$1"'))
    window.shows(PROMPT)
    window.type("edit question\r")
    window.shows("You: edit question", "edited 'changed'", PROMPT)


def test_an_editor_has_the_terminal_for_itself(begin: Begin, tmp_path: Path) -> None:
    window = begin(VISUAL=_editor(tmp_path, 'echo name?; read name; echo "$name" > "$1"'))
    window.shows(PROMPT)
    window.type("edit question\r")
    window.until(lambda lines: lines[-1] == "name?")
    window.type("Ann\r")
    window.shows("edited 'Ann'", PROMPT)


@pytest.mark.parametrize(
    ("editor", "says"), [("/no/such/editor", "cannot edit"), ("false", "failed")]
)
def test_an_editor_that_fails_is_told_in_a_line(begin: Begin, editor: str, says: str) -> None:
    window = begin(VISUAL=editor)
    window.shows(PROMPT)
    window.type("edit question\r")
    window.shows("edited None", PROMPT)
    assert sum(says in line for line in window.lines) == 1


def test_ctrl_z_stops_it_and_it_comes_back_whole(begin: Begin) -> None:
    window = begin(command=("/bin/bash", "--norc", "--noprofile", "-i"), PS1="shell> ")
    window.until(lambda lines: lines[-1:] == ["shell>"])
    window.type(f"{sys.executable} -m tests.system.console_room\r")
    window.shows(PROMPT)
    window.type("begin\r", "grow a 5\r", "draft")
    window.shows("a2", "a3", "a4", f"{BUSY} draft")
    window.type(CTRL_Z)
    window.until(lambda lines: "Stopped" in "".join(lines) and lines[-1] == "shell>")
    window.type("echo usable\r")
    window.until(lambda lines: "usable" in lines)
    window.type("fg\r")
    window.shows("a2", "a3", "a4", f"{BUSY} draft")
    window.type("!")
    window.shows("a4", f"{BUSY} draft!")
    window.type("\x15", "end\r", CTRL_D)
    window.until(lambda lines: "left 0" in lines and lines[-1] == "shell>")
