"""A limit on time that is moved with every read: one timer, set again only where it ran out too early.

`asyncio.timeout` sets its timer anew each time, which costs about as much as the read itself.
"""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Cancels the task in its `with` block when the time has come, and raises TimeoutError then.

    `when` is a time of the loop's clock; it may be moved, but not to before what it was.
    """

    __slots__ = ("_cancelling", "_loop", "_task", "_timer", "expired", "when")

    def __init__(self, within_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.when = self._loop.time() + within_s
        self.expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is kept for a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = self._loop.call_at(self.when, self._run_out)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if not self.expired:
            return
        was_ours = self._task.uncancel() <= self._cancelling
        if was_ours and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _run_out(self) -> None:
        if self._loop.time() < self.when:
            self._timer = self._loop.call_at(self.when, self._run_out)
            return
        self.expired = True
        self._task.cancel()
