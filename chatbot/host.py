"""The one place that knows which operating system this is.

Everything here has the same meaning on Linux, macOS and Windows, or says what it is instead.
"""

import contextlib
import errno
import gc
import multiprocessing
import os
import platform
import signal
import stat
import sys
from collections.abc import Coroutine, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import subprocess

T = TypeVar("T")

STOP_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)


# What a terminal or a shell sends to all of the program's processes: the supervisor decides.
SHELL_SIGNALS = tuple(number for number in STOP_SIGNALS if number != signal.SIGTERM)

# What Windows reports of a process that Ctrl-C ended: STATUS_CONTROL_C_EXIT of ntstatus.h.
_CONTROL_C_EXIT = 0xC000013A

RENAMES_WHAT_IS_OPEN = sys.platform != "win32"

_COLLECT_AFTER = 10_000

BINARY: int = getattr(os, "O_BINARY", 0)  # for `os.open`: no end of line is turned into another

_QUOTA = "/sys/fs/cgroup/cpu.max"  # of this control group, "max" or µs in so many µs: cgroups(7)

# A program that becomes another one (`in_foreground`): its arguments are the parent's id and a command.
# PR_SET_PDEATHSIG, prctl(2), outlives what is executed; a parent may have died before it stood.
_BECOME = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGHUP)
    if os.getppid() != int(parent):
        sys.exit(1)
try:
    os.execv(command[0], command)
except OSError as error:
    sys.exit(f"{command[0]}: {error.strerror}")
"""

KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)


@contextlib.contextmanager
def shell_signals_held() -> Iterator[None]:
    """Hold back what a terminal sends while a child is being started: it is born with it blocked.

    Ctrl-C and a terminal that closes reach every process of the program, and would kill a child
    that has not yet come to ignoring them. `let_shell_signals_in` ends this in the child; in the
    parent a signal that came meanwhile is delivered afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else the first start launches it, and changes the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SHELL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_shell_signals_in() -> None:
    """Unblock in a child what a terminal sends; it has decided what to do about it."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SHELL_SIGNALS)


def was_told_to_stop(exit_code: int) -> bool:
    """Whether a process ended by a signal that asks a program to stop, from its exit code."""
    return -exit_code in STOP_SIGNALS or exit_code == _CONTROL_C_EXIT


def die_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies (Linux).

    SIGKILL ends it even while it is stopped. Elsewhere there is only the end of file that every
    child sees on its inbox, when it runs.
    """
    if sys.platform == "linux":
        import ctypes

        parent = multiprocessing.parent_process()
        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG, prctl(2)
        if parent is not None and os.getppid() != parent.pid:  # it died before the request stood
            os._exit(1)


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a new event loop: uvloop where it exists."""
    import asyncio

    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def is_listening(address: str) -> bool:
    """Whether something on this machine takes connections at a base URL."""
    import socket

    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), 0.5).close()
    except OSError:
        return False
    return True


def reset_when_closed(sock: Any) -> None:
    """Have a TCP socket's end be a reset: whatever is still to be sent is thrown away."""
    import socket
    import struct

    form = "hh" if sys.platform == "win32" else "ii"  # struct linger: on, and for 0 seconds
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(form, 1, 0))


def raise_file_limit(wanted: int) -> int:
    """Let this process and its children have so many files and sockets open, as far as that is allowed.

    Return how many they may have; on Windows sockets are not counted, and it is the number asked for.
    """
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    for target in (
        min(wanted, most),
        min(wanted, most, 10_240),
    ):  # macOS: OPEN_MAX, whatever it says
        if target <= soft:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        except (OSError, ValueError):
            continue
        return target
    return soft


def cores(quota_file: str = _QUOTA) -> int:
    """Return how many processors this program may use: those it may run on, or a container's share of them."""
    if hasattr(os, "sched_getaffinity"):
        number = len(os.sched_getaffinity(0))
    else:
        number = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError), open(quota_file, encoding="ascii") as file:
        quota, period = (int(word) for word in file.read().split())  # no number: there is no limit
        number = min(number, max(-(-quota // max(period, 1)), 1))
    return number


def processor() -> str:
    """Return the name of the processor: Linux tells it in a file, the others by `platform`."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def pass_on(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a program that was started here a signal to stop. On Windows nothing is sent: the console tells
    every program in it."""
    if sys.platform != "win32":
        process.send_signal(number)


def collect_seldom() -> None:
    """Look for cycles of objects seldom, and never among what is loaded by now.

    Thousands of turns under way are many objects and no cycles: to walk through them again and
    again takes a tenth of a process's time.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])


def room_in_pipe(connection: Any) -> int:
    """Return how many bytes can surely be written to a pipe now without waiting for its reader.

    Linux tells of a pipe that nobody has to read from first; 0 is "perhaps none", and elsewhere always so.
    A write may begin a page of its own, so that only half of the room is counted on.
    """
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    unread = bytearray(4)
    try:
        fcntl.ioctl(connection.fileno(), termios.FIONREAD, unread)
        return 0 if any(unread) else fcntl.fcntl(connection.fileno(), fcntl.F_GETPIPE_SZ) // 2
    except OSError:  # closed, or no pipe
        return 0


def yield_to_who_runs() -> None:
    """Have this process, and those that it starts, not push another off its processor when they wake up.

    Under a full load every message would else interrupt whoever is at work, only to be the next to be
    interrupted. So work gathers, and only then: where a processor is free, nothing waits (Linux: sched(7)).
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # where it may not: everything works, only slower
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def silence_stderr() -> None:
    """Send what is written to file descriptor 2 nowhere, for good: also what C code writes there."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def lock_range(file: IO[bytes], start: int, length: int) -> bool:
    """Lock a range of an open file against other programs, until it is closed; False if one of them
    has it. On Windows nothing is locked: there, what somebody has open cannot be renamed."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock_range(file: IO[bytes], start: int, length: int) -> None:
    """Give back what `lock_range` has locked; nothing happens where nothing is."""
    if sys.platform != "win32":
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_UN, length, start)


def lock_whole(file: IO[bytes]) -> bool:
    """Lock an open file, of which nothing is read or written, against everybody else who opens it, until
    it is closed; False if one of them has it. Raises OSError where files cannot be locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def open_private(path: str, flags: int) -> int:
    """Open a file that its owner alone may read: whatever others might do with it is taken away.

    Raises OSError, also for what is no file: a pipe would keep whoever opens it.
    """
    descriptor = os.open(path, flags | BINARY | getattr(os, "O_NONBLOCK", 0), 0o600)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            if sys.platform != "win32" and stat.S_IMODE(mode) & 0o077:
                os.fchmod(descriptor, 0o600)
            return descriptor
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a file")


def copying_tools(environment: Mapping[str, str]) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return the programs that may put their standard input into the clipboard, the best first, each with
    the encoding it reads.

    On another machine, over SSH, only a display that was forwarded leads to the person's own clipboard;
    tmux knows its person's terminal (load-buffer -w, from 3.2 on).
    """
    tools: list[tuple[tuple[str, ...], str]] = []
    is_remote = "SSH_CONNECTION" in environment or "SSH_TTY" in environment
    if sys.platform == "darwin" and not is_remote:
        tools.append((("pbcopy",), "utf-8"))
    if sys.platform == "win32" and not is_remote:
        tools.append((("clip",), "utf-16-le"))
    if environment.get("WAYLAND_DISPLAY"):
        tools.append((("wl-copy",), "utf-8"))
    if sys.platform != "win32" and environment.get("DISPLAY"):
        tools.append((("xclip", "-selection", "clipboard"), "utf-8"))
        tools.append((("xsel", "--clipboard", "--input"), "utf-8"))
    if environment.get("TMUX"):
        tools.append((("tmux", "load-buffer", "-w", "-"), "utf-8"))
    return tuple(tools)


def sync_directory(directory: str) -> None:
    """Make new names outlive a loss of power; Windows has no call for it, and does so by itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Stdin:
    """The program's standard input, on its way to the process that reads it.

    `multiprocessing` gives its children an empty standard input. The supervisor never reads from
    its own, so it hands it over: pickled while the child is being started, put in place by `adopt`.
    """

    def __init__(self) -> None:
        self._fd = os.dup(0) if _is_open(0) else None
        self._handed_over: Any = None

    def adopt(self) -> None:
        """Make it this process's standard input: descriptor 0 and `sys.stdin`."""
        if self._handed_over is None:
            return
        fd = self._handed_over.detach()
        if sys.platform == "win32":
            import msvcrt

            fd = msvcrt.open_osfhandle(fd, os.O_RDONLY)
        os.dup2(fd, 0)
        os.close(fd)
        sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - to the end

    def __getstate__(self) -> dict[str, Any]:
        from multiprocessing import reduction

        handed_over = None
        if self._fd is not None:
            if sys.platform == "win32":
                import msvcrt

                handed_over = reduction.DupHandle(
                    msvcrt.get_osfhandle(self._fd), reduction.DUPLICATE_SAME_ACCESS
                )
            else:
                handed_over = reduction.DupFd(self._fd)
        return {"_fd": None, "_handed_over": handed_over}


class TerminalModes:
    """The modes the terminal had at the start, to be put back by whoever survives."""

    def __init__(self) -> None:
        self._saved: Any = None
        if sys.platform != "win32" and _is_open(0) and os.isatty(0):
            import termios

            self._saved = termios.tcgetattr(0)

    def restore(self, *, console: bool) -> None:
        """Put the modes back; does nothing where there was no terminal. `console`: one had it, which may have
        left more behind than modes."""
        if sys.platform == "win32" or self._saved is None:
            return
        import termios

        try:
            if os.tcgetpgrp(0) != os.getpgrp():  # the terminal is another program's now
                return
        except OSError:  # or nobody's
            return

        # A background process that sets modes is stopped by SIGTTOU unless it ignores it.
        # Nothing waits here for a terminal that does not read, as one does not after Ctrl-S.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with contextlib.suppress(termios.error):  # the terminal itself may be gone by now
            termios.tcsetattr(0, termios.TCSANOW, self._saved)
        with contextlib.suppress(OSError):  # likewise
            if console:
                self._end_what_was_begun()
        signal.signal(signal.SIGTTOU, before)

    @staticmethod
    def _end_what_was_begun() -> None:
        """End what the console does: a frame in its middle (2026), a hidden cursor, colours, lines that are not
        broken (7), bracketed paste (2004)."""
        terminal = os.open("/dev/tty", os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            os.write(terminal, b"\x1b[?2026l\x1b[?25h\x1b[0m\x1b[?7h\x1b[?2004l")
        finally:
            os.close(terminal)


class TypeAhead:
    """Has the terminal echo and keep what is typed, for whoever reads it in a moment, character by character.

    Ctrl-C still interrupts. Enter stays what it is on the keyboard, and is no end of a line. `early` is what
    was typed before this, in lines. On Windows the console keeps keys by itself.
    """

    def __init__(self) -> None:
        self.early = b""
        self._saved: Any = None
        if sys.platform == "win32":
            _let_sequences_through()
            return
        import fcntl
        import termios

        self._saved = termios.tcgetattr(0)
        modes = termios.tcgetattr(0)
        modes[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
        modes[3] &= ~termios.ICANON
        modes[6] = [*modes[6]]
        modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSANOW, modes)
        unread = bytearray(4)
        fcntl.ioctl(0, termios.FIONREAD, unread)
        if number := int.from_bytes(unread, sys.byteorder):
            self.early = os.read(0, number).replace(b"\n", b"\r")

    def restore(self) -> None:
        """Put the modes back; does nothing when the terminal is gone."""
        if sys.platform == "win32" or self._saved is None:
            return
        import termios

        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, self._saved)


def _let_sequences_through() -> None:
    """Have the console of Windows obey what is written to it, as other terminals do
    (https://learn.microsoft.com/en-us/windows/console/setconsolemode)."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        handle = msvcrt.get_osfhandle(1)
        mode = ctypes.c_uint32()
        if ctypes.windll.kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
            ctypes.windll.kernel32.SetConsoleMode(handle, mode.value | 0x0005)


def terminal_reflows() -> bool:
    """Whether the terminal breaks lines anew when its window becomes narrower: nearly all do. Xterm, the
    console of Linux and GNU screen cut them."""
    within_tmux = "TMUX" in os.environ
    return within_tmux or not (
        {"XTERM_VERSION", "STY"} & os.environ.keys() or os.environ.get("TERM") == "linux"
    )


def window() -> tuple[int, int]:
    """Return the columns and rows of the terminal now, whatever the environment says; 80 and 24 of none."""
    with contextlib.suppress(OSError):
        size = os.get_terminal_size(1)
        return size.columns or 80, size.lines or 24
    return 80, 24


def has_terminal() -> bool:
    """Whether this program is the one that the terminal, its standard input, listens to."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def terminal_is_anothers() -> bool:
    """Whether the terminal, the standard input, listens to another program by now: a shell, mostly, that was
    told of the supervisor's end. False where nobody can tell."""
    if sys.platform == "win32":
        return False
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:
        return False


def stop_group() -> None:
    """Stop all processes of this group, as Ctrl-Z does, until the shell has them go on; not on Windows."""
    if sys.platform != "win32":
        os.kill(0, signal.SIGTSTP)


def editor() -> list[str]:
    """Return the command of the person's editor: VISUAL, EDITOR, or what there usually is."""
    import shlex
    import shutil

    for variable in ("VISUAL", "EDITOR"):
        if words := shlex.split(os.environ.get(variable, ""), posix=sys.platform != "win32"):
            return words
    if sys.platform == "win32":
        return ["notepad"]
    return [next(filter(shutil.which, ("editor", "nano", "vim", "vi")), "vi")]


def in_foreground(command: list[str]) -> list[str]:
    """Return how to start a program that has the terminal for a while: Ctrl-C and a hang-up reach it, though
    this process ignores them, and on Linux it is told to hang up when this process dies.

    A small program does that, and becomes the other one: between a fork and what is executed nothing can be
    done safely beside other threads. Raises FileNotFoundError where there is no such program.
    """
    import shutil

    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    if sys.platform == "win32":
        return [program, *command[1:]]
    become = [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid())]
    return [*become, program, *command[1:]]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
