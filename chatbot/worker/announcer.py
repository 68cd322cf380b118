"""What stands in the pipe before a request's first network byte, for all calls of one turn of the loop.

A call that is about to be sent waits here until it has been told. One write tells it of every call that
came in the same turn: the pipe's other end wakes up once for all of them.
"""

import asyncio

from chatbot.mailbox import Outbox
from chatbot.messages import Call, Sending
from chatbot.tracing import Recorder


class Announcer:
    """Tells of the calls that are about to be sent: if this process dies, the dispatcher can tell which
    of its calls may have been paid for. The spans that have begun go before, so that telemetry can end
    them."""

    def __init__(self, outbox: Outbox, recorder: Recorder) -> None:
        self._outbox = outbox
        self._recorder = recorder
        self._waiting: list[Sending] = []

    async def sending(self, call: Call) -> None:
        """Return when it stands in the pipe that this call is being sent."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append(Sending(call.request_id, call.attempt))
        # The loop runs what it is given in that order: the write, then the rest of this task.
        await asyncio.sleep(0)

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self._recorder.flush(sums=False, through=self._outbox.gather_offered)
        finally:
            self._outbox.send_now(*waiting)
