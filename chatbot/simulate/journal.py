"""The files of a run, written as it goes: what a run that is killed leaves, and where it is taken up again.

    run.json        what was asked, and when it began
    turns.jsonl     a line for each turn that has ended
    asked.tsv       a line for each turn that was asked; removed at the end
    result.json · report.html · turns.csv      at the end

What was written outlives the process. A line that broke off is no line. When no more can be written (the disk is
full), the run goes on and the reason is kept: what is measured is in memory, too.
"""

import contextlib
import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from chatbot import host
from chatbot.errors import ChatbotError, UsageError
from chatbot.messages import Target
from chatbot.simulate.schedule import Start
from chatbot.simulate.turn import MEASURES, Turn
from chatbot.simulation import Simulation

RUN, TURNS, ASKED = "run.json", "turns.jsonl", "asked.tsv"
RESULT, REPORT, TABLE = "result.json", "report.html", "turns.csv"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Turn).decode


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of a run, which was `started` in Unix seconds."""

    program: str
    run_id: str
    started: float
    simulation: Simulation
    target: Target


class Asked(msgspec.Struct, frozen=True):
    """A turn that was asked, in one of the stages of the run, by which request."""

    stage: int
    start: Start
    asked_ns: int
    request_id: str


class Past(msgspec.Struct, frozen=True):
    """What is known of a run that is taken up again: the stage that it was in, when that began, and what
    was asked and has ended in all of them. `run` None: there is none, it begins."""

    run: Run | None = None
    stage: int = -1
    start_ns: int = 0
    asked: tuple[Asked, ...] = ()
    ended: tuple[Turn, ...] = ()


class Journal:
    """Writes the lines of a run; `flush` writes what has gathered, in one call for each file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fault = ""
        self._turns: list[bytes] = []
        self._asked: list[str] = []
        self._files = {name: _append(directory / name) for name in (TURNS, ASKED)}

    def begin(self, run: Run) -> None:
        """Write what was asked."""
        self._save(RUN, to_text(run).encode())

    def begin_stage(self, number: int, start_ns: int) -> None:
        """Note when a stage begins."""
        self._asked.append(f"{number}\t{start_ns}\n")

    def asked(self, asked: Asked) -> None:
        """Note that a turn was asked."""
        start = asked.start
        self._asked.append(
            f"{asked.stage}\t{start.session}\t{start.index}\t{start.intended_ns}\t{start.phase}"
            f"\t{asked.asked_ns}\t{asked.request_id}\n"
        )

    def ended(self, turn: Turn) -> None:
        """Note what became of it."""
        self._turns.append(_encode(turn))

    def flush(self) -> None:
        """Write what has gathered."""
        if self._asked:  # first: a turn that has ended must have been asked
            self._write(ASKED, "".join(self._asked).encode())
            self._asked.clear()
        if self._turns:
            self._write(TURNS, b"\n".join([*self._turns, b""]))
            self._turns.clear()

    def finish(self, files: dict[str, str]) -> list[str]:
        """Write the files of the end; return the names of those that could be written."""
        self.flush()
        written = [name for name, content in files.items() if self._save(name, content.encode())]
        if not self.fault and self._save_table():
            written.append(TABLE)
        for file in self._files.values():
            os.close(file)
        with contextlib.suppress(OSError):  # it does no harm
            (self.directory / ASKED).unlink()
        return written

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

    def _save_table(self) -> bool:
        path = self.directory / TABLE
        try:
            with open(path, "w", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                table.writerow([*_COLUMNS, *(f"{name}_ms" for name in MEASURES)])
                for turn in read_turns(self.directory):
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


def _append(path: Path) -> int:
    """Open a file for writing at its end, behind a line's end: a kill may have torn the last line."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | host.BINARY, 0o600)
        if size := os.lseek(file, 0, os.SEEK_END):
            os.lseek(file, size - 1, os.SEEK_SET)
            if os.read(file, 1) != b"\n":
                os.write(file, b"\n")
    except OSError as error:
        raise ChatbotError(f"{path}: cannot be written: {error.strerror or error}") from error
    return file


def read_run(directory: Path) -> Run:
    """Return what was asked of the run in a directory. Raises UsageError where there is none."""
    path = directory / RUN
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}; this is no run's directory"
        ) from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: it cannot be read: {error}") from error


def read_turns(directory: Path) -> Iterator[Turn]:
    """Yield the turns that have ended; lines that are torn are passed over. Raises OSError."""
    with open(directory / TURNS, "rb") as file:
        for line in file:
            with contextlib.suppress(msgspec.MsgspecError):
                yield _decode(line)


def take_up(directory: Path) -> Past:
    """Return what there is of a run; nothing where it had not begun. Raises UsageError, OSError."""
    if not (directory / RUN).exists():
        return Past()
    stage, start_ns = -1, 0
    asked: list[Asked] = []
    with open(directory / ASKED, encoding="utf-8") as file:
        for line in file:
            fields = line.rstrip("\n").split("\t")
            if not line.endswith("\n"):
                break
            if len(fields) == 2:
                stage, start_ns = int(fields[0]), int(fields[1])
            elif len(fields) == 7:
                asked.append(_asked(fields))
    turns = tuple(read_turns(directory))
    return Past(read_run(directory), stage, start_ns, tuple(asked), turns)


def _asked(fields: list[str]) -> Asked:
    number, session, index, intended_ns, phase, asked_ns, request_id = fields
    start = Start(int(session), int(index), int(intended_ns), phase)  # type: ignore[arg-type] # as it was written
    return Asked(int(number), start, int(asked_ns), request_id)
