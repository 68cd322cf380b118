"""A program in a terminal of its own: what it shows, what it keeps in its scrollback, which keys it is sent,
and in which modes it leaves the terminal.

The terminal answers no question: nothing may wait for where the cursor is. Not for Windows.
"""

import contextlib
import json
import os
import re
import termios
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pexpect
import psutil
import pyte
from pyte.modes import DECTCEM

from tests.fakes import eventually
from tests.system.conftest import Chatbot

WITHIN_S = 30.0
ROWS, COLUMNS = 40, 100
SCROLLBACK = 50_000  # lines

KEYS = {
    "ctrl-a": "\x01",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
    "ctrl-e": "\x05",
    "ctrl-j": "\n",
    "ctrl-l": "\x0c",
    "ctrl-r": "\x12",
    "ctrl-x": "\x18",
    "ctrl-z": "\x1a",
    "tab": "\t",
    "shift-tab": "\x1b[Z",
    "enter": "\r",
    "alt-enter": "\x1b\r",
    "esc": "\x1b",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
}

_MODE = re.compile(r"\x1b\[\?([\d;]+)([hl])")
_ALTERNATE = {"47", "1047", "1049"}
_MOUSE = {"9", "1000", "1001", "1002", "1003", "1005", "1006", "1015", "1016"}
_FOCUS, _PASTE, _SYNCHRONIZED, _CURSOR = "1004", "2004", "2026", "25"
_QUESTIONS = ("\x1b[6n", "\x1b[5n", "\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[>0c")


class _Emulator(pyte.HistoryScreen):
    """One that keeps what leaves it at the top when it gets smaller, as terminals do."""

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        rows = lines or self.lines
        over = max(0, self.cursor.y + 1 - rows)
        below, self.cursor.y = self.cursor.y, self.lines - 1
        for _ in range(over):
            self.index()
        self.cursor.y = below - over
        for gone in range(rows, self.lines):  # empty, since they are below the cursor
            self.buffer.pop(gone, None)
        self.lines = rows
        super().resize(rows, columns)
        self.cursor.x = min(self.cursor.x, self.columns - 1)

    def text(self, row: Mapping[int, Any]) -> str:
        """Return a row as text; a wide character has its second column for itself."""
        cells = (row[column].data for column in range(self.columns))
        return "".join(cells).rstrip()


class Screen:
    """A command in a terminal of its own, and what that terminal shows. `close` it always.

    `plain`: the program has no console, and its last line is where the person types.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: str,
        environment: Mapping[str, str],
        rows: int = ROWS,
        columns: int = COLUMNS,
        plain: bool = False,
    ) -> None:
        self._directory = directory
        self._plain = plain
        self._screen = _Emulator(columns, rows, history=SCROLLBACK)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""
        with (
            warnings.catch_warnings()
        ):  # of a fork beside a server's thread: an exec follows at once
            warnings.simplefilter("ignore", DeprecationWarning)
            self.child: Any = pexpect.spawn(
                command[0],
                list(command[1:]),
                cwd=directory,
                env=dict(environment),
                encoding="utf-8",
                codec_errors="backslashreplace",
                dimensions=(rows, columns),
            )
        self.child.delaybeforesend = None
        self.modes = termios.tcgetattr(self.child.child_fd)

    # --- what is there to be seen

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the space at the ends of lines and below the last."""
        shown = [self._screen.text(self._screen.buffer[row]) for row in range(self._screen.lines)]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def scrollback(self) -> list[str]:
        """What has left the screen at its top, oldest first."""
        return [self._screen.text(row) for row in self._screen.history.top]

    @property
    def everything(self) -> list[str]:
        """The scrollback and the screen, as one would scroll through them."""
        return self.scrollback + self.lines

    @property
    def cursor(self) -> tuple[int, int]:
        """Where the cursor is: row and column, from 0."""
        return self._screen.cursor.y, self._screen.cursor.x

    @property
    def title(self) -> str:
        """The title of its window."""
        return str(self._screen.title)

    @property
    def is_cursor_shown(self) -> bool:
        """Whether the cursor can be seen."""
        return DECTCEM in self._screen.mode

    @property
    def columns(self) -> int:
        """The width of the terminal now."""
        return int(self._screen.columns)

    @property
    def input_line(self) -> int:
        """The row of the line that begins with the prompt, from the bottom of the screen; -1: none."""
        for row in range(len(self.lines) - 1, -1, -1):
            if self.lines[row].startswith("You:"):
                return row
        return -1

    @property
    def toolbar(self) -> str:
        """The line of state, at the bottom."""
        return self.lines[-1] if self.lines else ""

    @property
    def has_color(self) -> bool:
        """Whether anything was ever sent in a colour."""
        return bool(_colours(self.raw))

    def style_of(self, text: str) -> Any:
        """Return how the first character of a text is drawn, where it stands on the screen last."""
        for row in range(self._screen.lines - 1, -1, -1):
            column = self._screen.text(self._screen.buffer[row]).find(text)
            if column >= 0:
                return self._screen.buffer[row][column]
        raise AssertionError(f"{text!r} is not on the screen: {self.lines}")

    # --- waiting

    def until(self, holds: Callable[[list[str]], bool]) -> list[str]:
        """Read until the screen's lines satisfy a condition; return them."""
        assert eventually(lambda: self.read() and holds(self.lines), WITHIN_S), self._seen()
        return self.lines

    def until_true(self, holds: Callable[[], bool]) -> None:
        """Read until something holds, be it of the screen or not."""
        assert eventually(lambda: self.read() and holds(), WITHIN_S), self._seen()

    def shows(self, *texts: str) -> list[str]:
        """Read until each of these is somewhere on the screen or in the scrollback; return all lines."""
        self.until_true(lambda: all(any(t in line for line in self.everything) for t in texts))
        return self.everything

    def at_prompt(self, after: str = "") -> list[str]:
        """Wait for an empty prompt, below a line that holds `after`."""
        return self.until(lambda lines: self.is_at_prompt() and _above(lines, after))

    def is_at_prompt(self, typed: str = "") -> bool:
        """Whether the last prompt holds what was typed and no more, with the cursor behind it: in the
        last line where it is plain, else above the toolbar."""
        lines = self.lines
        row = len(lines) - (1 if self._plain else 2)
        wanted = f"You: {typed}".rstrip()
        return 0 <= row == self.cursor[0] and lines[row] == wanted

    def holds_one_of(self, *texts: str) -> str:
        """Wait until one of these is what is typed at the prompt; return it."""
        found: list[str] = []

        def look(_: list[str]) -> bool:
            found[:] = [text for text in texts if self.is_at_prompt(text)]
            return bool(found)

        self.until(look)
        return found[0]

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

    # --- the person's hands

    def type(self, text: str) -> None:
        """Press keys, as they are sent."""
        self.child.send(text)

    def press(self, *names: str) -> None:
        """Press keys by their names."""
        self.type("".join(KEYS[name] for name in names))

    def enter(self, text: str) -> None:
        """Type a line, and Enter. The console takes a burst as keys, so it may be typed at once."""
        self.type(text + KEYS["enter"])

    def paste(self, text: str) -> None:
        """Paste, as a terminal does it where bracketed paste is on."""
        assert self.mode_is_on(_PASTE)
        self.type(f"\x1b[200~{text}\x1b[201~")

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size."""
        self.read()
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    # --- the end, and modes

    def ends(self) -> int:
        """Read to the end; return the exit code. The terminal must be as it was."""
        assert eventually(lambda: not self.read(), WITHIN_S), self._seen()
        code: int | None = self.child.wait()
        self.assert_modes_restored()
        return -int(self.child.signalstatus) if code is None else code

    def close(self) -> None:
        """End it, whatever it does."""
        self.child.close(force=True)

    def modes_are_as_before(self) -> bool:
        """Whether the terminal echoes and edits as it did before."""
        return bool(termios.tcgetattr(self.child.child_fd) == self.modes)

    def mode_is_on(self, mode: str) -> bool:
        """Whether a private mode (ECMA-48 `CSI ? … h`) was switched on last."""
        state = False
        for modes, how in _MODE.findall(self.raw):
            if mode in modes.split(";"):
                state = how == "h"
        return state

    def assert_modes_restored(self) -> None:
        """Fail unless the terminal is as a shell wants it, and was never driven away from its scrollback."""
        assert self.modes_are_as_before(), "the terminal's own modes are not as before"
        self.assert_never_driven()
        assert self.is_cursor_shown, "the cursor is hidden"
        assert not self.mode_is_on(_SYNCHRONIZED), "synchronized output was not ended"
        assert not self.mode_is_on(_PASTE), "bracketed paste is still on"
        assert not self.mode_is_on(_FOCUS), "focus is still reported"
        style = self._screen.cursor.attrs
        assert style == self._screen.default_char, f"what comes next is drawn as {style}"

    def assert_never_driven(self) -> None:
        """Fail when the alternate screen, the mouse, or an answer of the terminal's was ever asked for."""
        used = {mode for modes, _ in _MODE.findall(self.raw) for mode in modes.split(";")}
        switched = {
            mode
            for modes, how in _MODE.findall(self.raw)
            if how == "h"
            for mode in modes.split(";")
        }
        assert not used & _ALTERNATE, "the alternate screen was used"
        assert not switched & _MOUSE, "the mouse was captured"
        assert not any(question in self.raw for question in _QUESTIONS), "the terminal was asked"

    # --- its processes

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the program's log that have this event."""
        path = os.path.join(self._directory, "logs", "chatbot.log")
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return []
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
        return [line for line in lines if line["event"] == event]

    def pid(self, role: str, *, after: int = 0) -> int:
        """Return the pid of a process of this role, as the log has it: the newest, not `after`."""
        found: list[int] = []

        def look() -> bool:
            self.read()
            ready = [line["fields"] for line in self.log_lines("ready")]
            found[:] = [fields["child_pid"] for fields in ready if fields["role"] == role]
            return bool(found) and found[-1] != after

        assert eventually(look, WITHIN_S), self._seen()
        return found[-1]

    def ui_pid(self, *, after: int = 0) -> int:
        """Return the pid of the terminal process."""
        return self.pid("ui", after=after)

    def descendants(self) -> list[psutil.Process]:
        """Return every process that it has started and that still lives."""
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.child.pid).children(recursive=True)
        return found

    def _seen(self) -> str:
        return "\n".join(("", *self.scrollback[-20:], "-" * 20, *self.lines, "-" * 20))


class ChatScreen(Screen):
    """The chat in a terminal of its own. At its end nothing may be left behind."""

    def __init__(
        self,
        chatbot: Chatbot,
        *arguments: str,
        rows: int = ROWS,
        columns: int = COLUMNS,
        plain: bool = False,
        **environment: Any,
    ) -> None:
        self._chatbot = chatbot
        own = {"TERM": "xterm-256color", "HOME": str(chatbot.directory), **environment}
        super().__init__(
            chatbot.command(*arguments, *(["--plain"] if plain else [])),
            directory=str(chatbot.directory),
            environment=chatbot.environment(**own),
            rows=rows,
            columns=columns,
            plain=plain or own["TERM"] == "dumb",
        )

    def ends(self) -> int:
        """Like that of every screen, and nothing may run on."""
        code = super().ends()
        self._chatbot.must_be_gone()
        return code


class Shell(Screen):
    """An interactive bash without anybody's start-up files, and with the prompt `$ `."""

    def __init__(self, directory: str, environment: Mapping[str, str]) -> None:
        own = {"TERM": "xterm-256color", **environment, "PS1": "$ ", "HOME": directory}
        bash = ["bash", "--norc", "--noprofile", "-i"]
        super().__init__(bash, directory=directory, environment=own)

    def at_shell(self, after: str = "") -> list[str]:
        """Wait for its prompt, below a line that holds `after`."""
        return self.until(lambda lines: lines[-1:] == ["$"] and _above(lines, after))

    def run(self, command: str, shows: str) -> list[str]:
        """Run a command; return the lines that are on the screen, one with `shows`, at the next prompt."""
        self.enter(command)
        return self.at_shell(shows)


def _colours(raw: str) -> list[str]:
    """Return the parameters of all SGR sequences that choose a colour (30–49, 90–107)."""
    found = []
    for parameters in re.findall(r"\x1b\[([\d;]*)m", raw):
        numbers = [int(number or 0) for number in parameters.split(";")]
        if any(30 <= n <= 38 or 40 <= n <= 48 or 90 <= n <= 107 for n in numbers):
            found.append(parameters)
    return found


def _above(lines: Iterable[str], text: str) -> bool:
    return any(text in line for line in lines)
