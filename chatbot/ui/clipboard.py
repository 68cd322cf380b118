"""The clipboard of the person's own machine: by a program of the desktop, or else through the terminal.

Never reads what is in it. A program gets two seconds: one that waits for a display that is gone must not
keep the chat waiting, which is why no library does this here.
"""

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping

from chatbot import host
from chatbot.errors import ChatbotError

_PATIENCE_S = 2.0
_MOST_BASE64 = 100_000  # bytes of it: what terminals agree to take is not much more

Write = Callable[[str], None]


def copy(
    text: str, write_raw: Write | None = None, environment: Mapping[str, str] = os.environ
) -> str:
    """Put text into the clipboard, and say in what way, for the person.

    `write_raw` writes to the terminal as it is: all it is given is a sequence made here, with the text in
    base64; None where there is no terminal that knows such things. Blocks for up to two seconds for each
    program that is tried. Raises ChatbotError when there is no way.
    """
    tried: list[str] = []
    for command, encoding in host.copying_tools(environment):
        program = shutil.which(command[0], path=environment.get("PATH"))
        if program is None:
            continue
        if _fed([program, *command[1:]], text.encode(encoding, "replace"), environment):
            return f"with {command[0]}"
        tried.append(command[0])
    failed = f" ({' and '.join(tried)} failed)" if tried else ""
    if write_raw is None:
        raise ChatbotError(
            f"cannot copy: there is no clipboard that can be reached from here{failed}; "
            "/export writes to a file"
        )
    sequence = osc52(text, in_tmux=bool(environment.get("TMUX")))
    if not sequence:
        raise ChatbotError(
            f"cannot copy: {len(text.encode(errors='replace'))} bytes are too much for a terminal"
            f"{failed}; install wl-copy, xclip or xsel, or write it to a file with /export"
        )
    write_raw(sequence)
    return "through the terminal, if it allows that (OSC 52)"


def osc52(text: str, *, in_tmux: bool = False) -> str:
    """Return the sequence that has a terminal take a text into its clipboard; empty where it is too long.

    xterm's control sequences, "Manipulate Selection Data":
    https://invisible-island.net/xterm/ctlseqs/ctlseqs.html. What goes through tmux is wrapped, with each
    escape doubled: https://github.com/tmux/tmux/wiki/FAQ.
    """
    encoded = base64.b64encode(text.encode(errors="replace")).decode()
    if len(encoded) > _MOST_BASE64:
        return ""
    sequence = f"\x1b]52;c;{encoded}\x07"
    return f"\x1bPtmux;\x1b{sequence}\x1b\\" if in_tmux else sequence


def _fed(command: list[str], data: bytes, environment: Mapping[str, str]) -> bool:
    """Run a program with data as its input; return whether all went well.

    In a session of its own: some stay, to serve what was copied, and must outlive a Ctrl-C here. They
    would also keep a pipe open, so that nothing they say is read.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a fixed name, found on the person's PATH
            command,
            input=data,
            env=dict(environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
