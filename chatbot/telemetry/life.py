"""Life: which programs that share a log directory are alive.

Owns the lock that the telemetry process of a program holds until it ends, however it ends: a file
`telemetry.4711.lock`, by the pid of the program's supervisor. So whoever comes next knows at once
what the dead have left behind. Where a file system has no locks there is no such file, and what has
not been touched for a minute is of the dead. Called by `process`, and by `last` to judge.
"""

import os
import time
from pathlib import Path
from typing import IO

from chatbot import host
from chatbot.telemetry.files import open_private

_LIVING_S = 60.0
_WAIT_S = 0.5  # who looks at a lock has it for a moment


class Life:
    """That of this program, from the start of its telemetry process on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own = self._lock_of(os.getppid())
        self._file = self._hold()

    def is_over_for(self, left: Path) -> bool:
        """Whether the process is dead that has left a file `….PID.suffix`: its program is, or it was
        the predecessor in this one. Raises OSError when the file is gone."""
        numbers = [part for part in left.name.split(".") if part.isascii() and part.isdecimal()]
        lock = self._lock_of(int(numbers[-1])) if numbers else None
        if lock == self._own:  # we must not open it: closing it would give up what we hold
            return True
        if lock is not None and (held := _is_held(lock)) is not None:
            return not held
        return abs(time.time() - left.stat().st_mtime) >= _LIVING_S

    def bury(self) -> None:
        """Remove the locks of the dead; what they have left is taken."""
        for lock in self._directory.glob("telemetry.*.lock"):
            if lock != self._own and _is_held(lock) is False:
                lock.unlink(missing_ok=True)

    def end(self) -> None:
        """Give up the lock: what is still there is for anybody."""
        if self._file is not None:
            if host.RENAMES_WHAT_IS_OPEN:
                self._own.unlink(missing_ok=True)
            self._file.close()
            self._own.unlink(missing_ok=True)

    def _lock_of(self, pid: int) -> Path:
        return self._directory / f"telemetry.{pid}.lock"

    def _hold(self) -> IO[bytes] | None:
        until = time.monotonic() + _WAIT_S
        while time.monotonic() < until:
            try:
                file = open(self._own, "ab", opener=open_private)  # noqa: SIM115 - held to the end
            except OSError:  # a disk that takes nothing: the age of the files tells
                return None
            try:
                if not host.lock_range(file, 0, 1):  # somebody looks at it just now
                    time.sleep(0.001)
                elif self._own.exists() and os.path.samestat(
                    self._own.stat(), os.fstat(file.fileno())
                ):
                    return file
            except OSError:  # a file system without locks
                file.close()
                self._own.unlink(missing_ok=True)
                return None
            file.close()
        return None


def _is_held(lock: Path) -> bool | None:
    """Whether somebody holds a lock; None where that cannot be known."""
    try:
        with open(lock, "r+b") as file:
            if not host.lock_range(file, 0, 1):
                return True
    except OSError:
        return None
    try:
        lock.rename(lock)  # where nothing is ever locked, what is open cannot be renamed
    except PermissionError:
        return True
    except OSError:
        return None
    return False
