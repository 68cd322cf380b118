"""Where a run of `chatbot simulate` puts its files, and whether it may open as many as it needs."""

import os
import time
from pathlib import Path

from chatbot import host
from chatbot.errors import UsageError
from chatbot.simulate.prompts import turns_of
from chatbot.simulation import Simulation

_PARENT = "simulations"
_SPARE_FILES = 256
BOUND = (
    "at most {:,} turns are under way at once, since no more open files are allowed: what is due beyond that waits; "
    "raise that (ulimit -n), or give --max-concurrency"
)


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


def allow_files(simulation: Simulation, most: int) -> int:
    """Have so many connections allowed, in this process and all that it starts.

    Return how many turns there may be under way at once where an open load that has no bound may come to more of them
    than are allowed; 0: as many as there will be. Raises UsageError where a bound was given that is too high.
    """
    is_bounded = simulation.sessions or simulation.max_concurrency
    if not is_bounded:  # twice as many as are expected: arrivals at random may be more
        most = min(most, 2 * turns_of(simulation))
    wanted = most + _SPARE_FILES
    allowed = host.raise_file_limit(wanted)
    if allowed >= wanted:
        return 0
    if is_bounded:
        raise UsageError(
            f"argument --sessions: {most:,} turns at once need {wanted:,} open files, and {allowed:,} are "
            "allowed: raise that (ulimit -n), or give --max-concurrency"
        )
    return max(allowed - min(_SPARE_FILES, allowed // 2), 1)
