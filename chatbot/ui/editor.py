"""The person's own editor, on a text."""

import asyncio
import os
import tempfile

from chatbot import host
from chatbot.errors import ChatbotError


def edit(text: str) -> str | None:
    """Do as `edited`, where nothing else goes on; blocks until the editor is closed."""
    return asyncio.run(edited(text))


async def edited(text: str) -> str | None:
    """Return the text as the person's editor left it; None: it is the same. The terminal is the editor's.

    Raises ChatbotError when there is no editor, or it failed.
    """
    try:
        command = host.editor()
    except ValueError as error:  # a quote that is not closed
        raise ChatbotError(f"VISUAL or EDITOR is no command: {error}") from error
    try:
        descriptor, path = tempfile.mkstemp(suffix=".md")  # for nobody else to read
    except OSError as error:
        raise ChatbotError(f"there is no place for a text to edit: {error.strerror}") from error
    try:
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n" if text else "")
        process = await asyncio.create_subprocess_exec(*command, path)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            raise
        if code:
            raise ChatbotError(f"the editor {command[0]} failed (exit code {code})")
        with open(path, encoding="utf-8", errors="replace") as file:
            changed = file.read().removesuffix("\n")
    except OSError as error:
        raise ChatbotError(
            f"cannot edit with {command[0]}: {error.strerror}; VISUAL or EDITOR names another"
        ) from error
    finally:
        os.unlink(path)
    return None if changed == text else changed
