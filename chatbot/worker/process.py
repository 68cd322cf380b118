"""The worker process: one event loop, a task per call.

    Call ──▶ Sending · Retrying · Delta… · Answered | Failed | Cancelled
    ListModels ──▶ ModelsListed
    ReadContext ──▶ ContextRead

Every call ends in exactly one terminal message, sent from one place, `Worker._report`.
"""

import asyncio
import contextlib
import logging
import os
import traceback
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, assert_never

import msgspec

from chatbot import host
from chatbot.actor import BEAT_EVERY_S
from chatbot.backends import Backend
from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    BackendName,
    Beat,
    Call,
    Cancel,
    Cancelled,
    ContextRead,
    Failed,
    ListModels,
    Message,
    ModelsListed,
    ReadContext,
    Ready,
    Stop,
    WorkerInbox,
)
from chatbot.settings import WorkerSettings
from chatbot.tracing import Recorder
from chatbot.worker.announcer import Announcer
from chatbot.worker.call import LlmCall
from chatbot.worker.client import Client
from chatbot.worker.context import read_context
from chatbot.worker.lag import LagMeter
from chatbot.worker.models import list_models
from chatbot.worker.redact import Redactor, redactor_for

INBOX = WorkerInbox
SETTINGS = WorkerSettings

_STOP_S = 0.5
_TRACEBACK_CHARS = 4000
_FRAMES = 8

_Asked = Call | ListModels | ReadContext


def main(
    settings: WorkerSettings, inbox: Inbox[WorkerInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Serve calls until a Stop comes; then cancel what still runs, and report it as cancelled."""
    worker = Worker(settings, outbox, recorder)
    with _libraries_logged_to(recorder, redactor_for(settings)):
        return host.run_async(worker.serve(inbox))


class Worker:
    """The tasks of one worker, by request id."""

    def __init__(self, settings: WorkerSettings, outbox: Outbox, recorder: Recorder) -> None:
        self._settings = settings
        self._outbox = outbox
        self._recorder = recorder
        self._redact = redactor_for(settings)
        self._client = Client(settings)
        self._announcer = Announcer(outbox, recorder)
        self._meter = LagMeter()
        self._tasks: dict[str, asyncio.Task[Message]] = {}
        self._ended: list[tuple[_Asked, asyncio.Task[Message]]] = []
        self._stopped = asyncio.Event()

    async def serve(self, inbox: Inbox[WorkerInbox]) -> ExitCode:
        """Take messages until Stop, beating every second from this same loop."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        inbox.subscribe(self._deliver_to(loop))
        self._outbox.send(Ready(os.getpid()))
        while not self._stopped.is_set():
            self._outbox.send(Beat())
            self._recorder.flush()
            try:
                async with asyncio.timeout(BEAT_EVERY_S):
                    await self._stopped.wait()
            except TimeoutError:
                continue
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_STOP_S)
        self._report_ended()
        await self._client.aclose()
        return ExitCode.OK

    def _deliver_to(self, loop: asyncio.AbstractEventLoop) -> Callable[[list[WorkerInbox]], None]:
        def deliver(batch: list[WorkerInbox]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: a last word came too late
                loop.call_soon_threadsafe(self._take, batch)

        return deliver

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        error = context.get("exception")
        # Not its message: that repeats what the callback was called with, a whole conversation.
        where = traceback.format_tb(error.__traceback__)[-_FRAMES:] if error is not None else []
        self._recorder.log(
            "error", "event_loop", error=type(error).__name__, traceback="".join(where)
        )

    def _take(self, batch: list[WorkerInbox]) -> None:
        for message in batch:
            if self._stopped.is_set():  # a call that is not begun now is given to another worker
                return
            match message:
                case Call():
                    self._begin(message, self._make_call(message))
                case ListModels():
                    self._begin(message, self._list_models(message))
                case ReadContext():
                    self._begin(message, self._read_context(message))
                case Cancel():
                    if task := self._tasks.get(message.request_id):
                        task.cancel()
                case Stop():
                    self._stopped.set()
                case _:
                    assert_never(message)

    def _begin(self, asked: _Asked, work: Coroutine[None, None, Message]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[asked.request_id] = task
        task.add_done_callback(partial(self._done, asked))

    def _done(self, asked: _Asked, task: asyncio.Task[Message]) -> None:
        """Have it reported how a task ended, together with those that end in the same turn of the loop."""
        del self._tasks[asked.request_id]
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._report_ended)
        self._ended.append((asked, task))

    def _report_ended(self) -> None:
        """Report how tasks ended: the one place that sends terminal messages.

        What was recorded of them goes before that: who has seen the end finds it in the totals, whatever
        becomes of this process.
        """
        ended, self._ended = self._ended, []
        try:
            self._recorder.flush(through=self._outbox.gather_offered)
        except Exception as defect:  # noqa: BLE001 - telemetry must not keep a call from its end
            self._log_defect(defect)
        for asked, task in ended:
            self._report(asked, task)
        self._outbox.flush()

    def _report(self, asked: _Asked, task: asyncio.Task[Message]) -> None:
        if task.cancelled():  # before its first step, so that nothing was sent
            self._outbox.gather(_cancelled(asked))
        else:
            error = task.exception()
            try:
                if error is None:
                    self._outbox.gather(task.result())
            except Exception as unsendable:  # noqa: BLE001 - whatever it is, the call must end
                error = unsendable
            if error is not None:  # a defect of ours costs its own call, not the others
                self._log_defect(error)
                self._outbox.gather(_broken(asked, error))

    def _log_defect(self, error: BaseException) -> None:
        trace = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
        redact = self._redact
        self._recorder.log("error", "crashed", error=redact(repr(error)), traceback=redact(trace))

    async def _make_call(self, call: Call) -> Message:
        backend = self._backend(call.target.backend, call.base_url)
        return await LlmCall(
            call,
            backend,
            self._settings,
            self._client,
            self._redact,
            self._recorder,
            self._outbox,
            self._announcer,
            self._meter,
        ).run()

    async def _list_models(self, message: ListModels) -> Message:
        backend = self._backend(message.backend, message.base_url)
        return await list_models(message, backend, self._client, self._redact)

    async def _read_context(self, message: ReadContext) -> Message:
        backend = self._backend(message.backend, message.base_url)
        return await read_context(message, backend, self._client, self._redact, self._recorder)

    def _backend(self, name: BackendName, base_url: str) -> Backend:
        """Return the backend; with a base URL, the one at that address (the simulated server's)."""
        backend = self._settings.backends[name]
        if not base_url:
            return backend
        return msgspec.structs.replace(backend, base_url=f"{base_url}/v1")


def _cancelled(asked: _Asked) -> Message:
    if isinstance(asked, ListModels):
        return ModelsListed(asked.request_id, asked.backend, (), "cancelled", asked.attempt)
    if isinstance(asked, ReadContext):
        return _no_context(asked)
    return Cancelled(asked.request_id, asked.attempt)


def _broken(asked: _Asked, error: BaseException) -> Message:
    said = f"internal error ({type(error).__name__}): the log has the details, try again"
    if isinstance(asked, ListModels):
        return ModelsListed(asked.request_id, asked.backend, (), said, asked.attempt)
    if isinstance(asked, ReadContext):
        return _no_context(asked)
    return Failed(asked.request_id, asked.attempt, "internal", said)


def _no_context(asked: ReadContext) -> Message:
    return ContextRead(asked.request_id, asked.backend, asked.model, None, asked.attempt)


class _ToRecorder(logging.Handler):
    """Hands the libraries' own warnings to the recorder; by themselves they would go to stderr."""

    def __init__(self, recorder: Recorder, redact: Redactor) -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder
        self._redact = redact

    def emit(self, record: logging.LogRecord) -> None:
        """Log it; the exception with it, if any, only by its name and text."""
        error = record.exc_info[1] if record.exc_info else None
        said = f"{record.getMessage()} {error!r}" if error else record.getMessage()
        self._recorder.log("warning", "library", logger=record.name, message=self._redact(said))


@contextlib.contextmanager
def _libraries_logged_to(recorder: Recorder, redact: Redactor) -> Iterator[None]:
    handler = _ToRecorder(recorder, redact)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
