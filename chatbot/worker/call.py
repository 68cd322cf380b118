"""One LLM call: its attempts, the reading of its stream, and its one terminal message."""

import asyncio
import random

from chatbot.backends import Backend
from chatbot.errors import CallError
from chatbot.mailbox import Outbox
from chatbot.messages import (
    Answered,
    AttributeValue,
    Call,
    Cancelled,
    Failed,
    Retrying,
    Timing,
)
from chatbot.settings import WorkerSettings
from chatbot.tracing import Recorder, Span
from chatbot.wire import FORMATS, failures
from chatbot.worker import retry
from chatbot.worker.announcer import Announcer
from chatbot.worker.client import Client
from chatbot.worker.deadline import Deadline
from chatbot.worker.faults import FOREIGN
from chatbot.worker.lag import LagMeter
from chatbot.worker.reading import Reading
from chatbot.worker.record import Attempt
from chatbot.worker.redact import Redactor
from chatbot.worker.remedy import explain
from chatbot.worker.response import Response
from chatbot.worker.timing import Stopwatch

ERROR_BODY_BYTES = 64 * 1024
ERROR_BODY_S = 5.0

_QUEUE: dict[str, AttributeValue] = {"queue": "llm.requests"}


class LlmCall:
    """A call that is being made. `run` returns its terminal message, whatever happens to it."""

    def __init__(
        self,
        call: Call,
        backend: Backend,
        settings: WorkerSettings,
        client: Client,
        redact: Redactor,
        recorder: Recorder,
        outbox: Outbox,
        announcer: Announcer,
        meter: LagMeter,
    ) -> None:
        self._call = call
        self._backend = backend
        self._format = FORMATS[backend.wire_format]
        self._settings = settings
        self._client = client
        self._redact = redact
        self._recorder = recorder
        self._outbox = outbox
        self._announcer = announcer
        self._stopwatch = Stopwatch(meter) if call.measured else None
        self._reading = Reading(call, settings, outbox, self._stopwatch)
        self._is_answered = False  # a response with status 200 has begun: there is no way back
        self._call_traceparent = ""
        self._limit: Deadline | None = None

    async def run(self) -> Answered | Failed | Cancelled:
        """Make the call. A cancelled task returns `Cancelled`, after its socket is closed."""
        try:
            return await self._run()
        finally:
            if self._stopwatch is not None:
                self._stopwatch.stop()

    async def _run(self) -> Answered | Failed | Cancelled:
        call = self._call
        span = self._recorder.hop("process", "llm.requests", call.request_id, call.traceparent)
        with span.announce():
            self._record_wait(span)
            try:
                with Deadline(self._settings.total_timeout_s) as self._limit:
                    return await self._make(span)
            except CallError as error:
                failure = error
            except TimeoutError:
                limit = f"no end within {self._settings.total_timeout_s:g} s"
                failure = CallError("timeout", limit)
            except asyncio.CancelledError:
                span.set("cancelled", True)  # noqa: FBT003 - an attribute's value
                return Cancelled(
                    call.request_id,
                    call.attempt,
                    self._reading.answer.text,
                    self._reading.first_token_ms,
                    self._reading.elapsed_ms(),
                    timing=self._timing(),
                )
            partial = bool(self._reading.answer.text)
            line = explain(failure, self._backend, call.target.model, partial=partial)
            return self._failed(failure, line, span)

    async def _make(self, span: Span) -> Answered | Failed:
        if reason := self._backend.obstacle:
            return self._failed(CallError("auth", reason), reason, span)
        await self._attempt_until_done(span)
        completion = self._reading.answer.completion(self._call.target.model)
        return Answered(
            self._call.request_id,
            self._call.attempt,
            completion,
            self._reading.first_token_ms,
            self._reading.elapsed_ms(),
            call_traceparent=self._call_traceparent,
            timing=self._timing(),
        )

    async def _attempt_until_done(self, span: Span) -> None:
        call, retries = self._call, 0
        while True:
            try:
                await self._attempt(span, retries)
            except CallError as error:
                chance = random.random()  # noqa: S311 - it spreads retries, it guards nothing
                delay_s = retry.delay_s(error, retries, self._settings.max_retries, chance)
                if delay_s is None or self._is_answered:
                    raise
                failure = error
            else:
                return
            retries += 1
            backoff = self._recorder.span(
                "retry_backoff",
                parent=span.traceparent,
                attributes={"delay_s": delay_s, "reason": failure.kind},
            )
            self._recorder.log(
                "warning",
                "retrying",
                traceparent=span.traceparent,
                request_id=call.request_id,
                backend=self._backend.name,
                kind=failure.kind,
                status=failure.status or 0,
                delay_s=delay_s,
            )
            with backoff.announce():
                backend: dict[str, AttributeValue] = {"backend": self._backend.name}
                self._recorder.count("chatbot.retries", 1, backend, backoff.exemplar)
                self._recorder.flush()
                self._outbox.send(Retrying(call.request_id, call.attempt, delay_s, str(failure)))
                await asyncio.sleep(delay_s)

    async def _attempt(self, parent: Span, retries: int) -> None:
        """Send the request once and read its answer to the end. Raises CallError."""
        call, backend = self._call, self._backend
        server = self._client.server(backend)
        attempt = Attempt(self._recorder, call, backend, server, parent.traceparent, retries)
        self._call_traceparent = attempt.traceparent
        try:
            request = self._format.build_chat(
                call.target, call.messages, stream=True, api_key=backend.api_key
            )
            attempt.begin(request.method, server.base_url, request.path)
            if retries:  # it has been told; but its new spans have not
                self._recorder.flush(sums=False)
            else:
                await self._announcer.sending(call)
            if self._stopwatch is not None:
                self._stopwatch.sending()
            async with self._client.open(server, request, attempt.traceparent) as response:
                attempt.responded(response.status)
                await self._expect_success(response)
                self._is_answered = True
                await self._reading.read(response, self._format.parser(), attempt)
        except CallError as error:
            error.args = (self._redact(str(error)),)
            attempt.fail(str(error.status or error.kind), error.kind)  # what it said may be content
            raise
        except asyncio.CancelledError:  # by the deadline, or by who asked
            kind = "timeout" if self._limit is not None and self._limit.expired else "cancelled"
            attempt.fail(kind, kind)
            raise
        except BaseException as error:
            attempt.fail(type(error).__name__, type(error).__name__)
            raise
        finally:
            attempt.end(self._reading.answer)

    async def _expect_success(self, response: Response) -> None:
        """Raise the CallError that a response with an error status is, however its body ends."""
        if response.status == 200:
            return
        body = b""
        try:
            async with asyncio.timeout(ERROR_BODY_S):
                body = await response.read(ERROR_BODY_BYTES)
        except FOREIGN:
            pass  # the status has said enough
        raise failures.from_response(response.status, response.headers, body)

    def _failed(self, error: CallError, line: str, span: Span) -> Failed:
        span.set("error.type", error.kind)
        span.fail(error.kind)
        self._recorder.log(
            "warning",
            "call_failed",
            traceparent=span.traceparent,
            request_id=self._call.request_id,
            backend=self._backend.name,
            kind=error.kind,  # what the server said of it may be content
            status=error.status or 0,
        )
        return Failed(
            self._call.request_id,
            self._call.attempt,
            error.kind,
            line,
            error.status,
            self._reading.answer.text,
            self._reading.first_token_ms,
            self._reading.elapsed_ms(),
            timing=self._timing(),
        )

    def _timing(self) -> Timing | None:
        if self._stopwatch is None:
            return None
        return self._stopwatch.timing(self._reading.answer.served)

    def _record_wait(self, process: Span) -> None:
        call = self._call
        if call.queued_ns:
            wait_ns = max(process.start_ns - call.queued_ns, 0)
            exemplar = ""
            if process.is_recorded:
                wait = self._recorder.span(
                    "queue_wait", parent=call.traceparent, start_ns=call.queued_ns
                )
                wait.end(call.queued_ns + wait_ns)
                exemplar = wait.exemplar
            self._recorder.observe("chatbot.queue.wait", wait_ns / 1e6, _QUEUE, exemplar)
