"""Writes the files of a run as it goes, so that one that is killed leaves what is known; `past` reads them.

    run.json · turns.jsonl · asked.tsv              as it goes; the last is removed at the end
    result.json · report.html · turns.csv           at the end

What was written outlives the process. When no more can be written (the disk is full), the run goes on and the reason is
kept: what is measured is in memory, too.
"""

import contextlib
import csv
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from chatbot import host
from chatbot.errors import ChatbotError
from chatbot.sanitize import one_line
from chatbot.simulate.machine import Used
from chatbot.simulate.past import (
    ASKED,
    RESULT,
    RUN,
    TABLE,
    TURNS,
    Asked,
    Over,
    Run,
    beating,
    read_turns,
)
from chatbot.simulate.turn import MEASURES, Turn

_BLOCK = 1 << 16

_encode = msgspec.json.Encoder().encode


class Journal:
    """Writes the lines of a run; `flush` writes what has gathered, in one call for each file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fault = ""
        self._turns: list[bytes] = []
        self._notes: list[str] = []
        self._files = {name: _append(directory / name) for name in (TURNS, ASKED)}

    def begin(self, run: Run) -> None:
        """Write what was asked."""
        self._save(RUN, to_text(run).encode())

    def begin_stage(self, number: int, start_ns: int) -> None:
        """Note when a stage begins."""
        self._note("stage", number, start_ns)

    def end_stage(self, number: int, over: Over) -> None:
        """Note when it is over."""
        self._note("over", number, over.end_ns, over.dropped)

    def restarted(self, role: str) -> None:
        """Note that a process was started again."""
        self._note("restarted", role)

    def stopped(self, reason: str) -> None:
        """Note why the run ends early."""
        self._note("stopped", _plain(reason))

    def not_saving(self, reason: str) -> None:
        """Note why nothing is saved from here on."""
        self._note("not-saving", _plain(reason))

    def used(self, processes: Iterable[Used], seen_ns: int) -> None:
        """Note what the processes have used by now."""
        for each in processes:
            self._note("used", *msgspec.structs.astuple(each), seen_ns)

    def asked(self, asked: Asked) -> None:
        """Note that a turn was asked."""
        start = asked.start
        self._notes.append(
            f"asked\t{asked.stage}\t{start.session}\t{start.index}\t{start.intended_ns}"
            f"\t{start.phase}\t{asked.asked_ns}\t{asked.request_id}\n"
        )

    def ended(self, turn: Turn) -> None:
        """Note what became of it."""
        self._turns.append(_encode(turn))

    def flush(self) -> None:
        """Write all that has gathered: before what is asked is sent, or a kill between the two would leave
        turns that nobody knows of.

        What has ended comes first: what follows upon it (the next turn, the next stage) must not be
        known without it. It was asked long before.
        """
        if self._turns:
            self._write(TURNS, b"\n".join([*self._turns, b""]))
            self._turns.clear()
        if self._notes:
            self._write(ASKED, "".join(self._notes).encode())
            self._notes.clear()

    def finish(self, files: dict[str, str], beat: Callable[[], None]) -> list[str]:
        """Write the files of the end; return the names of those that could be written. `beat` is called
        again and again meanwhile."""
        self.flush()
        written = [name for name, content in files.items() if self._save(name, content.encode())]
        if not self.fault and self._save_table(beat):
            written.append(TABLE)
        for file in self._files.values():
            os.close(file)
        if RESULT in written:  # else it can be reported later
            with contextlib.suppress(OSError):  # it does no harm
                (self.directory / ASKED).unlink()
        return written

    def _note(self, *fields: object) -> None:
        self._notes.append("\t".join(map(str, fields)) + "\n")

    def _write(self, name: str, data: bytes) -> None:
        if self.fault:
            return
        try:
            while data:
                data = data[os.write(self._files[name], data) :]
        except OSError as error:
            self.fault = f"{self.directory / name}: {error.strerror or error}"

    def _save(self, name: str, data: bytes) -> bool:
        """Write a file whole, or leave it as it was."""
        path = self.directory / name
        unfinished = path.with_suffix(".part")
        try:
            unfinished.write_bytes(data)
            os.replace(unfinished, path)
        except OSError as error:
            self.fault = self.fault or f"{path}: {error.strerror or error}"
            with contextlib.suppress(OSError):
                unfinished.unlink()
            return False
        return True

    def _save_table(self, beat: Callable[[], None]) -> bool:
        path = self.directory / TABLE
        try:
            with open(path, "w", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                table.writerow([*_COLUMNS, *(f"{name}_ms" for name in MEASURES)])
                for turn in beating(read_turns(self.directory), beat):
                    table.writerow(_row(turn))
        except OSError as error:
            self.fault = f"{path}: {error.strerror or error}"
            return False
        return True


_COLUMNS = tuple(
    field for field in Turn.__struct_fields__ if field not in ("gaps_us", "true_lags_us")
)


def _row(turn: Turn) -> Iterable[object]:
    for name in _COLUMNS:
        yield getattr(turn, name)
    for measure in MEASURES.values():
        value_us = measure(turn)
        yield None if value_us is None else value_us / 1000


def to_text(value: object) -> str:
    """Return JSON that a person can read, too."""
    return msgspec.json.format(_encode(value), indent=1).decode() + "\n"


def _plain(reason: str) -> str:
    return one_line(reason).replace("\t", " ")


def _append(path: Path) -> int:
    """Open a file for writing at its end. A last line that a kill has torn is cut off."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | host.BINARY, 0o600)
        end = os.lseek(file, 0, os.SEEK_END)
        os.ftruncate(file, _last_line_end(file, end))
    except OSError as error:
        raise ChatbotError(f"{path}: cannot be written: {error.strerror or error}") from error
    return file


def _last_line_end(file: int, size: int) -> int:
    """Return where the last whole line of a file ends."""
    while size:
        begin = max(size - _BLOCK, 0)
        os.lseek(file, begin, os.SEEK_SET)
        at = os.read(file, size - begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        size = begin
    return 0
