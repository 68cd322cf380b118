"""A program in a pseudo-terminal, what it has written there, and when. Linux and macOS only."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
ROWS, COLUMNS = 40, 100
PROMPT = b"You: "
_WITHIN_S = 60.0
_QUIET_S = 0.15


class Tty:
    """To be used in a `with`; at its end the program is killed. Times are of `time.perf_counter`."""

    def __init__(
        self, command: Sequence[str], directory: str, environment: Mapping[str, str]
    ) -> None:
        self._terminal, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.raw = bytearray()
        self.directory = directory
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environment),
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
            preexec_fn=_control,
        )
        os.close(side)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def send(self, text: str) -> float:
        """Press keys; return when."""
        pressed = time.perf_counter()
        os.write(self._terminal, text.encode())
        return pressed

    def until(self, wanted: bytes, since: int = 0) -> float:
        """Read until this was written after the byte `since`; return when."""
        deadline = time.perf_counter() + _WITHIN_S
        while wanted not in self.raw[since:]:
            if not self.read(0.05) and time.perf_counter() > deadline:
                raise TimeoutError(f"no {wanted!r} in {bytes(self.raw[-2000:])!r}")
        return time.perf_counter()

    def quiet(self) -> int:
        """Read until nothing comes any more; return how much has come by now."""
        while self.read(_QUIET_S):
            pass
        return len(self.raw)

    def read(self, within_s: float) -> bool:
        """Take what comes within a time; return whether there was anything."""
        if not select.select([self._terminal], [], [], within_s)[0]:
            return False
        try:
            self.raw += os.read(self._terminal, 65536)
        except OSError:  # the other side is closed
            return False
        return True

    def is_edited(self) -> bool:
        """Whether an editor of lines has taken over: the terminal itself no longer echoes."""
        return not termios.tcgetattr(self._terminal)[3] & termios.ECHO

    def end(self, *keys: str) -> None:
        """Press the keys that end it, one after the other, until it has ended."""
        deadline = time.perf_counter() + _WITHIN_S
        for key in cycle(keys):
            self.send(key)
            while self.read(_QUIET_S):
                pass
            if self.process.poll() is not None or time.perf_counter() > deadline:
                return

    def pid(self, role: str) -> int:
        """Return the pid of one of chatbot's processes, as its log has it."""
        deadline = time.perf_counter() + _WITHIN_S
        path = Path(self.directory) / "logs" / "chatbot.log"
        while time.perf_counter() < deadline:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            lines = [json.loads(n) for n in text.splitlines(keepends=True) if n.endswith("\n")]
            for line in reversed(lines):
                if line["event"] == "ready" and line["fields"]["role"] == role:
                    return int(line["fields"]["child_pid"])
            self.read(0.05)
        raise TimeoutError(f"no {role}")


def chatbot(directory: str, url: str, *arguments: str) -> Tty:
    """Start the interactive chat in a directory of its own, with the server at this URL."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    return Tty(command, directory, environment(directory, OPENAI_BASE_URL=f"{url}/v1"))


def environment(directory: str, **more: str) -> dict[str, str]:
    """Return an environment in which nobody's own settings count."""
    config = Path(directory) / "config.toml"
    config.touch()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    own = {"HOME": directory, "TERM": "xterm-256color", "CHATBOT_CONFIG": str(config)}
    return {**kept, **own, "PYTHONUTF8": "1", **more}


def _control() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
