"""What a run was measured on, and what its processes used: processor time and memory, by psutil."""

import contextlib
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

import msgspec
import psutil

from chatbot import host
from chatbot.messages import ProcessStatus
from chatbot.simulate.result import Machine, Process

_LIBRARIES = ("aiohttp", "httptools", "msgspec", "uvloop")
_MB = 1024 * 1024


def describe() -> Machine:
    """Return what this is."""
    libraries: dict[str, str] = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):  # uvloop, on Windows
            libraries[name] = version(name)
    return Machine(
        os=f"{platform.system()} {platform.release()}",
        cpu=host.processor(),
        cores=host.cores(),
        memory_mb=psutil.virtual_memory().total // _MB,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries=libraries,
    )


class Used(msgspec.Struct):
    """What one process has used: of its processor time only what came after it was first seen."""

    role: str
    slot: int
    pid: int
    first_cpu_s: float
    cpu_s: float
    rss_mb: float
    restarts: int = 0


def read_process(pid: int) -> tuple[float, float] | None:
    """Return the processor time that a process has used, in s, and its memory, in MB; None: it has died."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss / _MB
    except psutil.NoSuchProcess:
        return None


class Usage:
    """The processes by pid, dead ones too, as they were last seen. `begin` counts from now on."""

    def __init__(self, read: Callable[[int], tuple[float, float] | None] = read_process) -> None:
        self._read = read
        self._used: dict[int, Used] = {}

    def take_up(self, used: Iterable[Used]) -> None:
        """Go on from what was seen by another process."""
        self._used = {each.pid: each for each in used}

    @property
    def used(self) -> tuple[Used, ...]:
        """What each has used."""
        return tuple(self._used.values())

    def begin(self, processes: Iterable[ProcessStatus]) -> None:
        """Forget what was used until now."""
        self._used.clear()
        self.look(processes)

    def look(self, processes: Iterable[ProcessStatus]) -> None:
        """Read what they have used. One that was started after `begin` counts from its start."""
        began = bool(self._used)
        for status in processes:
            found = self._read(status.pid)
            if found is None:  # it has died since it was listed
                continue
            cpu_s, rss_mb = found
            used = self._used.get(status.pid)
            if used is None:
                used = self._used[status.pid] = Used(
                    status.role, status.slot, status.pid, 0.0 if began else cpu_s, cpu_s, rss_mb
                )
            used.cpu_s = cpu_s
            used.rss_mb = max(used.rss_mb, rss_mb)
            used.restarts = status.restarts

    def processes(self, turns: int) -> tuple[Process, ...]:
        """Return what each used, and for each of so many turns."""
        return tuple(
            Process(
                role=used.role,
                slot=used.slot,
                pid=used.pid,
                cpu_s=round(used.cpu_s - used.first_cpu_s, 3),
                cpu_us_per_turn=round((used.cpu_s - used.first_cpu_s) / turns * 1e6, 1)
                if turns
                else None,
                rss_mb=round(used.rss_mb, 1),
                restarts=used.restarts,
            )
            for used in self._used.values()
        )
