"""The reading of one answer's stream: bytes in, the answer and its deltas out, within the limits on
silence."""

import asyncio
import contextlib
import time

from chatbot.errors import CallError, WireError
from chatbot.mailbox import Outbox
from chatbot.messages import Call, Delta
from chatbot.settings import WorkerSettings
from chatbot.wire.format import Parser
from chatbot.worker.answer import Answer
from chatbot.worker.deadline import Deadline
from chatbot.worker.faults import FOREIGN
from chatbot.worker.record import Attempt
from chatbot.worker.response import Response
from chatbot.worker.timing import Stopwatch

END_OF_BODY_S = (
    1.0  # how long the end of the body is waited for, so that the connection can be kept
)


class Reading:
    """What is read of a call's answer. A response that has begun is the call's last, so there is one."""

    def __init__(
        self, call: Call, settings: WorkerSettings, outbox: Outbox, stopwatch: Stopwatch | None
    ) -> None:
        self.answer = Answer(is_streamed=call.stream)
        self.first_token_ms: float | None = None
        self._call = call
        self._settings = settings
        self._outbox = outbox
        self._stopwatch = stopwatch
        self._seq = 0
        self._pieces = 0
        self._started = time.perf_counter()

    def elapsed_ms(self) -> float:
        """Return the time since the call began, in ms."""
        return (time.perf_counter() - self._started) * 1000

    async def read(self, response: Response, parser: Parser, attempt: Attempt) -> None:
        """Read the stream. Raises CallError, also when no content comes for too long."""
        response.refuse_foreign()
        settings, answer = self._settings, self.answer
        clock = asyncio.get_running_loop().time
        deadline = Deadline(min(settings.read_timeout_s, settings.content_timeout_s))
        content_due = clock() + settings.content_timeout_s
        try:
            with deadline:
                while data := await response.receive():
                    now = clock()
                    if self._take(parser, data, attempt):
                        content_due = now + settings.content_timeout_s
                    if answer.finished:
                        break
                    deadline.when = min(now + settings.read_timeout_s, content_due)
            if not answer.finished:
                self._close(parser, attempt)
        except FOREIGN as error:
            with contextlib.suppress(WireError):  # the reason may have come, if not the last mark
                self._close(parser, attempt)
            if answer.finished:
                return
            if deadline.expired:
                raise _silence(settings, deadline.when == content_due) from error
            raise
        await response.drain(END_OF_BODY_S)

    def _take(self, parser: Parser, data: bytes, attempt: Attempt) -> bool:
        """Take in what one read brought; return whether there was content in it.

        What came before an error in the same read is kept.
        """
        try:
            self.answer.take_all(parser.feed(data))
        finally:
            has_content = self._pass_on(attempt)
        return has_content

    def _close(self, parser: Parser, attempt: Attempt) -> None:
        for event in parser.close():
            self.answer.take(event)
        self._pass_on(attempt)

    def _pass_on(self, attempt: Attempt) -> bool:
        call, answer = self._call, self.answer
        if self._stopwatch is not None:
            self._stopwatch.parsed(answer.texts, answer.thoughts)
            if answer.finished:
                self._stopwatch.ended()
        pieces = answer.texts + answer.thoughts
        if pieces == self._pieces:
            return False
        self._pieces = pieces
        if self.first_token_ms is None:
            self.first_token_ms = self.elapsed_ms()
            attempt.first_chunk()
        if call.stream:
            for piece, reasoning in answer.fresh():
                self._outbox.send(Delta(call.request_id, call.attempt, self._seq, piece, reasoning))
                self._seq += 1
        return True


def _silence(settings: WorkerSettings, despite_bytes: bool) -> CallError:
    if despite_bytes:
        said = f"nothing but keep-alives for {settings.content_timeout_s:g} s"
    else:
        said = f"not a byte for {settings.read_timeout_s:g} s"
    return CallError("timeout", said)
