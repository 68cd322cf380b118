"""A small chat behind the console, to be run in a terminal of its own: it says what it was told.

Its arguments are NAME=VALUE: `history` a file, `tail` how many of the lines that come are not finished,
`no_colour`, `under_way` a line of an answer that goes on from the start. What it does with a line is in `Chat`.
"""

import contextlib
import importlib
import json
import os
import queue
import random
import signal
import sys
import threading
import types
from collections.abc import Sequence
from typing import Any, NamedTuple

from chatbot.errors import ChatbotError, ExitCode
from chatbot.messages import Interrupt, Stop
from chatbot.ui.console.console import Console
from chatbot.ui.events import Left, Typed
from chatbot.ui.lines import Line, line
from chatbot.ui.live import Frame


class Candidate(NamedTuple):
    """One word to go on with."""

    text: str
    start: int
    display: str
    meta: str


WORDS = ("/help", "/history", "/quit", "/model")


def complete(before: str) -> Sequence[Candidate]:
    """Offer the words that begin like this."""
    return [
        Candidate(word, -len(before), word, f"meta of {word}")
        for word in WORDS
        if before and word.startswith(before)
    ]


class Growing:
    """Lines that come one by one; the last three are not finished."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._finished = 0

    def add(self, *added: Line) -> None:
        """Grow."""
        with self._lock:
            self._lines += added

    def frame(self, columns: int, rows: int) -> Frame:
        """Hand over all but the last ones."""
        del columns, rows
        with self._lock:
            until = max(len(self._lines) - TAIL, self._finished)
            finished = tuple(self._lines[self._finished : until])
            self._finished = until
            return Frame(finished, tuple(self._lines[until:]))

    def rest(self) -> tuple[Line, ...]:
        """Hand over the last ones."""
        with self._lock:
            rest = tuple(self._lines[self._finished :])
            self._finished = len(self._lines)
            return rest


class Told:
    """Frames as they are told, each of which is taken before the next is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._next: Frame = Frame()
        self._taken = threading.Event()

    def tell(self, frame: Frame) -> None:
        """Have this frame painted."""
        with self._lock:
            self._next = frame
            self._taken.clear()
        self._console.changed()
        assert self._taken.wait(10)

    def frame(self, columns: int, rows: int) -> Frame:
        """Hand it over."""
        del columns, rows
        with self._lock:
            frame, self._next = self._next, Frame((), self._next.tail)
            self._taken.set()
            return frame


def story(seed: int, frames: int) -> list[Frame]:
    """Return frames with few different lines, so that much of one is like the one before."""
    choice = random.Random(seed)
    texts = ("", "x", "same", "日本語 wide", "e\u0301 combined", "a longer line of text " * 3)
    styles = ("", "bold", "ansired reverse")

    def some(most: int) -> tuple[Line, ...]:
        return tuple(
            tuple(
                (choice.choice(styles), choice.choice(texts)) for _ in range(choice.randint(1, 2))
            )
            for _ in range(choice.randint(0, most))
        )

    return [Frame(some(4), some(6)) for _ in range(frames)]


OPTIONS = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
FRAMES = 40
TAIL = int(OPTIONS.get("tail", "3"))


class Chat:
    """The chat's thread: events in, lines out."""

    def __init__(self, inbox: "queue.SimpleQueue[Any]", console: Console) -> None:
        self._inbox = inbox
        self._console = console
        self._live: Growing | None = None

    def run(self) -> ExitCode:
        """Do what the events say, to the end."""
        if goes_on := OPTIONS.get("under_way"):
            self._live = Growing()
            self._live.add(line(goes_on))
            self._console.show(self._live)
        while True:
            event = self._inbox.get()
            match event:
                case Left(code):
                    self._console.write([line(f"left {int(code)}")])
                    return code
                case Stop():
                    return ExitCode.INTERRUPTED
                case Interrupt():
                    if not self._console.is_echo(event):
                        self._end(f"pressed {type(event).__name__}")
                case Typed(text, shown):
                    if not shown:
                        self._console.show_typed(text)
                    self._do(text)

    def _do(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        console = self._console
        match word:
            case "begin":
                self._live = Growing()
                console.busy()
                console.show(self._live)
                return
            case "grow" if self._live:
                first, _, number = rest.partition(" ")
                self._live.add(*(line(f"{first}{n}", "bold ansired") for n in range(int(number))))
                console.changed()
                return
            case "more" if self._live:
                self._live.add(line(rest))
                console.changed()
                return
            case "story":
                told = Told(console)
                console.show(told)
                for frame in story(int(rest), FRAMES):
                    told.tell(frame)
                console.show(None, [line("told")])
            case "same" if self._live:
                number, _, text = rest.partition(" ")
                self._live.add(*(line(text) for _ in range(int(number))))
                console.changed()
                return
            case "end":
                self._end("ended")
                return
            case "sure":
                console.ask("Sure? [y/N] ")
                return
            case "back":
                console.give_back(rest.split("|"))
            case "busy":
                console.busy()
                return
            case "edit":
                console.write([line(f"edited {console.edit(rest)!r}")])
            case "drawn":
                console.write_drawn([f"\x1b[32m{rest}\x1b[0m"])
            case "raise":
                raise ChatbotError(rest)
            case "break":
                console.show(
                    Broken(OSError(28, rest) if rest else ZeroDivisionError("nothing to draw"))
                )
            case "evil":
                console.write([(("ansired", rest.encode().decode("unicode_escape")),)])
            case _:
                console.write([line(f"said {text!r}")])
        console.ask("You: ")

    def _end(self, why: str) -> None:
        if self._live is not None:
            self._console.show(None, self._live.rest())
            self._live = None
        self._console.write([line(why)])
        self._console.ask("You: ")


class Broken:
    """Something live that cannot be drawn."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def frame(self, columns: int, rows: int) -> Frame:
        """Fail."""
        raise self._error


def _stand_in(name: str, **contents: object) -> None:
    with contextlib.suppress(ImportError):
        if hasattr(importlib.import_module(name), next(iter(contents))):
            return
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


class MemoryPast:
    def __init__(self, path: str) -> None:
        self.path = path

    def load(self) -> list[str]:
        if not os.path.exists(self.path):
            return []
        return [json.loads(text) for text in open(self.path)]

    def append(self, text: str) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(text) + "\n")

    def take_fault(self) -> str:
        return ""


def main() -> int:
    """Be the program."""
    _stand_in("chatbot.ui.console.past", Past=MemoryPast)
    _stand_in(
        "chatbot.ui.console.compose", is_open=lambda t: t.startswith('"""') and t.count('"""') % 2
    )
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda number, frame: inbox.put(Stop()))
    console = Console(
        inbox.put,
        colour="no_colour" not in OPTIONS,
        history_file=OPTIONS.get("history", ""),
        toolbar=lambda columns: line("[state]".ljust(columns), "reverse"),
        complete=complete,
    )
    try:
        console.open([line("=== banner ==="), line("")], "You: ")
        code = console.run(Chat(inbox, console).run)
    except ChatbotError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        return 1
    finally:
        console.close()
    return int(code)


if __name__ == "__main__":
    os._exit(main())  # as the program's processes end
