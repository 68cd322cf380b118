"""What a person sees of a run: the live view and notices on stderr, the result on stdout."""

import os
import shutil
import sys
import time
from pathlib import Path

import msgspec

from chatbot.sanitize import one_line
from chatbot.settings import UiSettings
from chatbot.simulate import live
from chatbot.simulate.live_state import Live
from chatbot.simulate.painter import Painter
from chatbot.simulate.result import Result
from chatbot.simulate.screen import screen
from chatbot.simulation import Simulation

_FRAME_EVERY_S = 0.5
_LINE_EVERY_S = 5.0
_LONGEST_LINE = 100


class Display:
    """On a terminal the live view is painted over and over; elsewhere a line tells now and then."""

    def __init__(self, settings: UiSettings, simulation: Simulation) -> None:
        self._settings = settings
        self._out = Path(simulation.out)
        self._shows = simulation.live
        self._profiles = simulation.profile
        terminal = (
            self._shows and not settings.plain and not settings.is_dumb and sys.stderr.isatty()
        )
        self._painter = Painter(sys.stderr, shutil.get_terminal_size) if terminal else None
        self._due_at = time.perf_counter() + (0.0 if terminal else _LINE_EVERY_S)

    def is_due(self, now: float) -> bool:
        """Whether it is time for the next view; `now` is of `perf_counter`."""
        return self._shows and now >= self._due_at

    def show(self, state: Live) -> None:
        """Show how it goes."""
        now = time.perf_counter()
        if self._painter is not None:
            self._painter.paint(
                live.lines(state, self._painter.width, colour=self._settings.colour)
            )
            self._due_at = now + _FRAME_EVERY_S
        else:
            self._write(live.plain(state))
            self._due_at = now + _LINE_EVERY_S

    def say(self, text: str) -> None:
        """Say something in a line of its own."""
        line = f"chatbot: {one_line(text)}"
        if self._painter is not None:
            self._painter.say(line)
        else:
            self._write(line)

    def end(self, result: Result, written: list[str], fault: str) -> None:
        """Show the result, and where it was written."""
        if self._painter is not None:
            self._painter.close()
        if fault:
            self._write(f"chatbot: not everything could be written: {one_line(fault)}")
        try:
            sys.stdout.write(self._result(result) + "\n")
            sys.stdout.flush()
        except OSError as error:
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # for the flush at the end
            if not isinstance(error, BrokenPipeError):  # then whoever read it has seen enough
                self._write(f"chatbot: stdout: {error.strerror or error}")
        if written:
            self._write(f"written to {self._out}: {', '.join(written)}")

    def _result(self, result: Result) -> str:
        if self._settings.json:
            return msgspec.json.encode(result).decode()
        columns = shutil.get_terminal_size((_LONGEST_LINE, 24)).columns
        width = min(columns if sys.stdout.isatty() else _LONGEST_LINE, _LONGEST_LINE)
        shown = result if self._profiles else msgspec.structs.replace(result, processes=())
        return "\n".join(screen(shown, width))

    @staticmethod
    def _write(line: str) -> None:
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except OSError:
            pass  # there is nobody to tell
