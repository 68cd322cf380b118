"""What the files of a run say: what is known of one that was killed, or is over.

    run.json        what was asked, and when it began
    turns.jsonl     a line for each turn that has ended
    asked.tsv       what else is known while it goes; a tag begins each line, and tabs part its fields:

        stage       NUMBER  START_NS
        asked       STAGE  SESSION  INDEX  INTENDED_NS  PHASE  ASKED_NS  REQUEST_ID
        over        NUMBER  END_NS  DROPPED
        restarted   ROLE
        stopped     REASON
        not-saving  REASON
        used        ROLE  SLOT  PID  FIRST_CPU_S  CPU_S  RSS_MB  RESTARTS  SEEN_NS

asked.tsv is gone when the run is over and result.json is there. A line that broke off is no line. `journal` writes them.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from chatbot.errors import UsageError
from chatbot.messages import Target
from chatbot.simulate.machine import Used
from chatbot.simulate.schedule import Start
from chatbot.simulate.stages import Kind, is_of
from chatbot.simulate.turn import Turn
from chatbot.simulation import Simulation

RUN, TURNS, ASKED = "run.json", "turns.jsonl", "asked.tsv"
RESULT, REPORT, TABLE = "result.json", "report.html", "turns.csv"

T = TypeVar("T")
_ITEMS_A_BEAT = 10_000
_decode = msgspec.json.Decoder(Turn).decode


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of a run, which was `started` in Unix seconds."""

    program: str
    run_id: str
    started: float
    simulation: Simulation
    target: Target
    settings: dict[str, object] = {}


class Asked(msgspec.Struct, frozen=True):
    """A turn that was asked, in one of the stages of the run, by which request."""

    stage: int
    start: Start
    asked_ns: int
    request_id: str


class Over(msgspec.Struct, frozen=True):
    """The end of a stage, and how many turns were due and never asked."""

    end_ns: int
    dropped: int


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run that was begun: when each of its stages began, and was over; what was asked and
    has ended in all of them; who was restarted, why it was stopped and why nothing is saved, if so; what each
    process had used when they were last seen. `run` None: there is none, it begins."""

    run: Run | None = None
    begins: dict[int, int] = {}
    overs: dict[int, Over] = {}
    asked: tuple[Asked, ...] = ()
    ended: tuple[Turn, ...] = ()
    restarted: tuple[str, ...] = ()
    stopped: str = ""
    not_saving: str = ""
    used: tuple[Used, ...] = ()
    seen_ns: int = 0

    def turns(self, kind: Kind) -> list[Turn]:
        """Return the turns of a stage that have ended."""
        return [turn for turn in self.ended if is_of(turn, kind)]

    def open(self, kind: Kind) -> list[Asked]:
        """Return those that were asked and have not."""
        done = {(turn.session, turn.index) for turn in self.turns(kind)}
        return [
            each
            for each in self.asked
            if each.stage == kind.number and (each.start.session, each.start.index) not in done
        ]


def is_over(directory: Path) -> bool:
    """Whether the run in a directory came to its end, and has left its result."""
    asked = directory / ASKED
    is_closed = not asked.exists() or not asked.stat().st_size
    return is_closed and (directory / RESULT).exists()


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


def beating(items: Iterable[T], beat: Callable[[], None]) -> Iterator[T]:
    """Yield items, and call `beat` again and again: what there are many of takes long."""
    for number, item in enumerate(items):
        if not number % _ITEMS_A_BEAT:
            beat()
        yield item


def take_up(directory: Path, beat: Callable[[], None] = lambda: None) -> Past:
    """Return what there is of a run; nothing where it had not begun. `beat` is called again and again.
    Raises UsageError, OSError."""
    if not (directory / RUN).exists():
        return Past()
    notes = _Notes()
    if (directory / ASKED).exists():
        with open(directory / ASKED, encoding="utf-8", newline="\n") as file:
            for line in beating(file, beat):
                if line.endswith("\n"):
                    notes.take(*line[:-1].split("\t"))
    return Past(
        run=read_run(directory),
        begins=notes.begins,
        overs=notes.overs,
        asked=tuple(notes.asked),
        ended=tuple(beating(read_turns(directory), beat)),
        restarted=tuple(notes.restarted),
        stopped=notes.stopped,
        not_saving=notes.not_saving,
        used=tuple(notes.used.values()),
        seen_ns=notes.seen_ns,
    )


class _Notes:
    """The lines of asked.tsv, as they are read."""

    def __init__(self) -> None:
        self.begins: dict[int, int] = {}
        self.overs: dict[int, Over] = {}
        self.asked: list[Asked] = []
        self.restarted: list[str] = []
        self.stopped = self.not_saving = ""
        self.used: dict[int, Used] = {}  # by pid; the last line says the most
        self.seen_ns = 0

    def take(self, *fields: str) -> None:
        """Take one line; what is none of the known ones is passed over."""
        match fields:
            case "asked", stage, session, index, intended_ns, phase, asked_ns, request_id:
                start = Start(int(session), int(index), int(intended_ns), phase)  # type: ignore[arg-type] # as it was written
                self.asked.append(Asked(int(stage), start, int(asked_ns), request_id))
            case "stage", number, start_ns:
                self.begins[int(number)] = int(start_ns)
            case "over", number, end_ns, dropped:
                self.overs[int(number)] = Over(int(end_ns), int(dropped))
            case "restarted", role:
                self.restarted.append(role)
            case "stopped", reason:
                self.stopped = self.stopped or reason
            case "not-saving", reason:
                self.not_saving = reason
            case "used", role, slot, pid, first_s, cpu_s, rss_mb, restarts, seen_ns:
                self.used[int(pid)] = Used(
                    role,
                    int(slot),
                    int(pid),
                    float(first_s),
                    float(cpu_s),
                    float(rss_mb),
                    int(restarts),
                )
                self.seen_ns = int(seen_ns)
            case _:
                pass
