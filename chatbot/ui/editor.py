"""The person's own editor, on a text. It never outlives who waits for it."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable

from chatbot import host
from chatbot.errors import ChatbotError

_ENDS_WITHIN_S = 1.0  # after it was told to


class Blocking:
    """An editor where nothing else goes on: `edit` returns when it is closed, or stopped."""

    def __init__(self) -> None:
        self._is_stopped = False
        self._cancel: Callable[[], object] | None = None

    def edit(self, text: str) -> str | None:
        """Do as `edited`; None also once it was stopped."""
        try:
            return asyncio.run(self._edit(text))
        except asyncio.CancelledError:
            return None

    def stop(self) -> None:
        """End the editor that is open, and let no other begin. From a signal handler, or any thread."""
        self._is_stopped = True
        if (cancel := self._cancel) is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has just ended
                cancel()

    async def _edit(self, text: str) -> str | None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return None if self._is_stopped else await edited(text)
        finally:
            self._cancel = None


async def edited(text: str) -> str | None:
    """Return the text as the person's editor left it; None: it is the same. The terminal is the editor's.

    Cancelled, it ends the editor first. Raises ChatbotError when there is no editor, or it failed.
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
        if code := await _run(host.in_foreground([*command, path])):
            raise ChatbotError(f"the editor {command[0]} failed (exit code {code})")
        with open(path, encoding="utf-8", errors="replace") as file:
            changed = file.read().removesuffix("\n")
    except OSError as error:
        raise ChatbotError(
            f"cannot edit with {command[0]}: {error.strerror}; VISUAL or EDITOR names another"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):  # the editor took it away
            os.unlink(path)
    return None if changed == text else changed


async def _run(command: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(*command)
    ended = asyncio.ensure_future(process.wait())
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            if not (await asyncio.wait((ended,), timeout=_ENDS_WITHIN_S))[0]:
                process.kill()
        await ended
        raise
