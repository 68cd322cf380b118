"""Where a run of `chatbot simulate` puts its files, and whether it may open as many as it needs."""

import os
import time
from pathlib import Path

from chatbot import host
from chatbot.errors import UsageError
from chatbot.simulation import Simulation

_PARENT = "simulations"
_SPARE_FILES = 256


def new_name(parent: str = _PARENT) -> str:
    """Return the path of a directory that is not there, called by the time."""
    name = os.path.join(parent, time.strftime("%Y-%m-%d_%H-%M-%S"))
    path, number = name, 1
    while os.path.exists(path):
        number += 1
        path = f"{name}_{number}"
    return path


def make(out: str, *, logs: bool = True) -> None:
    """Make the directory of a run, which must be new or empty; `logs`: and one for logs in it. Raises UsageError."""
    path = Path(out)
    try:
        path.mkdir(parents=True, exist_ok=True)
        used = next(path.iterdir(), None)
        if used is None and logs:
            (path / "logs").mkdir()
    except OSError as error:
        raise UsageError(f"argument --out: {out}: {error.strerror or error}") from error
    if used is not None:
        raise UsageError(f"argument --out: {out}: it is not empty, give a new directory")


def allow_files(simulation: Simulation, most: int) -> None:
    """Have so many connections allowed, in this process and all that it starts. Raises UsageError."""
    wanted = most + _SPARE_FILES
    allowed = host.raise_file_limit(wanted)
    is_bounded = simulation.sessions or simulation.max_concurrency
    if allowed < wanted and is_bounded:
        raise UsageError(
            f"argument --sessions: {most:,} turns at once need {wanted:,} open files, and {allowed:,} are "
            "allowed: raise that (ulimit -n), or give --max-concurrency"
        )
