"""A text in the person's own editor."""

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile

from chatbot.errors import ChatbotError


def command() -> list[str]:
    """Return the editor of $VISUAL or $EDITOR, or one that the system is sure to have."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    if named.strip():
        return shlex.split(named, posix=sys.platform != "win32")
    return ["notepad"] if sys.platform == "win32" else ["vi"]


def edit(text: str) -> str | None:
    """Have a text edited, in a file that only its owner may read; None: it was left as it is. It blocks
    until the editor is closed, which has the terminal until then. Raises ChatbotError."""
    argv = command()
    number, path = tempfile.mkstemp(prefix="chatbot-", suffix=".md")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        try:
            code = subprocess.run([*argv, path], check=False).returncode  # noqa: S603 - the person's own choice
        except OSError as error:
            raise ChatbotError(
                f"cannot start the editor {argv[0]!r}: {error.strerror}; set VISUAL or EDITOR to another"
            ) from error
        if code:
            raise ChatbotError(f"the editor {argv[0]!r} ended with {code}: nothing was changed")
        with open(path, encoding="utf-8", errors="replace") as file:
            edited = file.read().removesuffix("\n")
    except OSError as error:
        raise ChatbotError(f"cannot edit in a file: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return None if edited == text.removesuffix("\n") else edited
