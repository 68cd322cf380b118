"""`chatbot simulate --sweep sessions=1,8,64`: one run after another, each a whole program of its own.

So that no run finds the processes of the one before warm, or its memory full. Every run has a directory in that of the
sweep, which gets a table of all of them and a page at the end; also when it was stopped in between.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

import chatbot
from chatbot import host
from chatbot.cli import load, place, results
from chatbot.cli.common import read_config, refuse, text
from chatbot.errors import ExitCode, UsageError
from chatbot.simulate.result import Result
from chatbot.simulate.sweep import sweep_page, sweep_screen

_NAMES = ("sessions", "rate")
_MOST_POINTS = 64
_FORMAT = "chatbot-simulate-sweep"
_WIDTH = 100
_TOLD_AFTER_S = 3.0  # a run that was interrupted has mostly ended by then


class Point(msgspec.Struct, frozen=True):
    """One run of a sweep: its directory in that of the sweep, and its result."""

    label: str
    value: float
    exit_code: int
    result: Result


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """The form of sweep.json. `ended_early`: not all of the values were tried."""

    format: str = _FORMAT
    version: int = 1
    name: str
    values: tuple[float, ...]
    command: str
    ended_early: bool
    points: tuple[Point, ...]


def run_sweep(options: argparse.Namespace, argv: list[str], command: str) -> int:
    """Make the runs; return 0 when every one of them did well. Raises UsageError."""
    name, values = parse_sweep(text(options.sweep))
    options.out = options.out or place.new_name()
    kept = without(argv, ("--sweep", "--out", f"--{name}"))
    costs = [
        _check(options, name, value) for value in values
    ]  # before the first, which may take long
    _consent(options, name, values, [cost for cost in costs if cost is not None])
    place.make(options.out, logs=False)
    points: list[Point] = []
    runs = _Runs(quiet=options.json)
    with runs:
        for value in values:
            label = f"{name}={value}"
            out = os.path.join(options.out, label)
            if not options.json:
                sys.stderr.write(f"chatbot: {label} ({len(points) + 1} of {len(values)})\n")
            code = runs.run([*kept, f"--{name}", value, "--out", out])
            if os.path.exists(os.path.join(out, "result.json")):
                points.append(Point(label, float(value), code, results.read_result(out)))
            if runs.stopped or code == ExitCode.USAGE:
                break
    sweep = Sweep(
        name=name,
        values=tuple(map(float, values)),
        command=command,
        ended_early=len(points) < len(values) or runs.stopped,
        points=tuple(points),
    )
    return _report(Path(options.out), sweep, as_json=options.json, stopped=runs.stopped)


def parse_sweep(given: str) -> tuple[str, tuple[str, ...]]:
    """Read `sessions=1,8,64`. Raises UsageError."""
    name, _, rest = given.partition("=")
    values = tuple(part.strip() for part in rest.split(","))
    if name.strip() not in _NAMES or not rest:
        raise UsageError(
            f"argument --sweep: {given!r}: give sessions=… or rate=…, with values such as 1,8,64"
        )
    if len(values) > _MOST_POINTS or len(set(values)) < len(values):
        raise UsageError(
            f"argument --sweep: {given!r}: give at most {_MOST_POINTS} values, each of them once"
        )
    return name.strip(), values


def without(argv: list[str], names: tuple[str, ...]) -> list[str]:
    """Return the arguments without these options and their values."""
    kept: list[str] = []
    skips = False
    for argument in argv:
        if skips:
            skips = False
        elif argument in names:
            skips = True
        elif argument.partition("=")[0] not in names:
            kept.append(argument)
    return kept


def _consent(
    options: argparse.Namespace, name: str, values: tuple[str, ...], costs: list[load.Cost]
) -> None:
    """Say what all of the runs come to where that is money. Raises UsageError where nobody has agreed to it."""
    if not costs:
        return
    line = load.total(costs).line(f"{len(values)} runs ({name}={', '.join(values)}), in all ")
    if not options.yes:
        raise UsageError(f"{line}: give --yes to ask it")
    sys.stderr.write(f"chatbot: {line}\n")


def _check(options: argparse.Namespace, name: str, value: str) -> load.Cost | None:
    """Find the mistakes of a point before any is begun, and return what it costs. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value, re.ASCII):
        raise UsageError(f"argument --sweep: {name}={value}: this is no number")
    given = argparse.Namespace(**{**vars(options), name: value, "out": "out"})
    settings = load.settings(given, os.environ, read_config(options.config), "")
    if settings.ui.simulation is not None:
        most = load.most_in_flight(settings.ui.simulation)
        place.allow_files(settings.ui.simulation, most)
    return load.estimate(settings)


class _Runs:
    """Runs the program again and again. A signal to stop is for the run under way, which reports then."""

    def __init__(self, *, quiet: bool) -> None:
        self.stopped = False
        self._quiet = quiet
        self._process: subprocess.Popen[bytes] | None = None
        self._before: dict[int, Any] = {}
        self._later: threading.Timer | None = None

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # nohup stays nohup
                self._before[number] = before
                signal.signal(number, self._on_signal)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def run(self, argv: list[str]) -> int:
        """Return the exit code of one run."""
        command = [*this_program(Path(chatbot.__file__)), "simulate", *argv]
        stdout = subprocess.DEVNULL if self._quiet else None
        self._process = subprocess.Popen(command, stdout=stdout)  # noqa: S603 - this program
        if self.stopped:  # meanwhile
            host.pass_on(self._process, signal.SIGTERM)
        code = self._process.wait()
        if self._later is not None:
            self._later.cancel()
        return code

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as it is called
        """Pass it on, but for the first interrupt: a terminal sends that to the run too, and a second one would
        cut the run's end short. So it is waited for whether the run ends by itself."""
        process, is_first, self.stopped = self._process, not self.stopped, True
        if process is None:
            return
        if number == signal.SIGINT and is_first:
            self._later = threading.Timer(_TOLD_AFTER_S, host.pass_on, (process, number))
            self._later.daemon = True
            self._later.start()
        else:
            host.pass_on(process, number)


def this_program(package: Path) -> list[str]:
    """Return the command that starts the program of a package, given its `__init__.py`, in any directory: a
    checkout is found by its path, what is installed by its name."""
    checkout = package.resolve().parents[1]
    if all((checkout / name).is_file() for name in ("run.py", "pyproject.toml")):
        return [sys.executable, str(checkout / "run.py")]
    return [sys.executable, "-P", "-m", "chatbot"]  # -P: not a directory of that name that is here


def _report(out: Path, sweep: Sweep, *, as_json: bool, stopped: bool) -> int:
    if not sweep.points:
        return ExitCode.INTERRUPTED if stopped else refuse(f"{out}: no run came to a result")
    points = [(point.label, point.result) for point in sweep.points]
    links = [f"{point.label}/report.html" for point in sweep.points]
    encoded = msgspec.json.encode(sweep)
    try:
        (out / "sweep.json").write_bytes(encoded)
        (out / "sweep.html").write_text(sweep_page(points, links), encoding="utf-8")
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror or error}")
    columns = shutil.get_terminal_size((_WIDTH, 24)).columns
    shown = [encoded.decode()] if as_json else sweep_screen(points, min(columns, _WIDTH))
    code = results.write(shown)
    if stopped:
        return ExitCode.INTERRUPTED
    return max(code, sweep.ended_early, *(point.exit_code for point in sweep.points))
