"""One answer being served: its pieces as they fall due, its faults, and the true times of its writes.

Piece k of an answer is due at a time counted from its beginning and not from the piece before it, so
lateness does not add up. A piece is never early; it is late by up to the timer's resolution, about a
millisecond. Where nothing has to be waited for, an answer leaves in one write.

With `truth` every write with content or reasoning says when it was made, in ns of
`time.perf_counter_ns`: `"sim_sent_ns":N`, in an SSE comment before the first event or as a field of
the first object. The first of them also has `"sim_arrived_ns":N`, when the request had come.
"""

import asyncio
import math
import time
from collections.abc import Callable

from chatbot.simserver.faults import Fault
from chatbot.simserver.frames import FrameCache, Frames
from chatbot.simserver.http1 import Exchange
from chatbot.simserver.model import Answer
from chatbot.simserver.places import Places
from chatbot.wire.format import ChatRequest, Format, Producer, TokenCount

_JSON = "application/json"
_BATCH_PIECES = 256
_FAULT_TEXT = "the simulated model has failed, as it was told to"


class Service:
    """What all answers of a server share. `served` counts those that were brought to their end."""

    def __init__(self, places: Places, truth: bool) -> None:
        self.places = places
        self.truth = truth
        self.frames = FrameCache()
        self.begun = 0
        self.served = 0


class Serving:
    """Serves one answer, which `plan` makes when its turn has come; until then it waits for a place."""

    __slots__ = (
        "_arrived_s",
        "_begun_s",
        "_exchange",
        "_fault",
        "_first_s",
        "_frames",
        "_has_left",
        "_is_over",
        "_last",
        "_made",
        "_next",
        "_plan",
        "_producer",
        "_request",
        "_response_id",
        "_service",
        "_timer",
        "_waits",
        "_wire_format",
    )

    _made: Answer
    _producer: Producer
    _frames: Frames
    _last: int  # the pieces to be sent before the end, or before the fault

    def __init__(
        self,
        service: Service,
        exchange: Exchange,
        wire_format: Format,
        request: ChatRequest,
        plan: Callable[[], Answer],
        fault: Fault | None,
    ) -> None:
        service.begun += 1
        self._service = service
        self._exchange = exchange
        self._wire_format = wire_format
        self._request = request
        self._plan = plan
        self._fault = fault
        self._next = 0
        self._waits = False
        self._is_over = True  # nothing is to be sent: not yet, or no more
        self._has_left = False
        self._timer: asyncio.TimerHandle | None = None
        self._arrived_s = self._begun_s = self._first_s = exchange.request.arrived_ns / 1e9
        self._response_id = f"sim-{service.begun & 0xFFFFFFFF:08x}"

    def start(self) -> bool:
        """Take a place, or wait for one; False: there is no room to wait."""
        self._exchange.attach(self)
        has_entered = self._service.places.enter(self)
        self._waits = True
        return has_entered

    def begin(self) -> None:
        """Send what comes before the first piece; where that is due already, send all at once."""
        exchange, request = self._exchange, self._request
        if self._waits:
            self._begun_s = time.perf_counter()
        self._made = made = self._plan()
        created_s = int(time.time())
        self._producer = self._wire_format.producer(
            self._response_id, request.model, created_s, request.include_usage
        )
        if not request.stream:
            self._wait_or(made.length_s, self._send_whole)
            return
        total = len(made.reasoning) + len(made.pieces)
        self._last = self._fault.after(total) if self._fault else total
        self._frames = self._service.frames.get(
            self._wire_format,
            request.model,
            created_s,
            include_usage=request.include_usage,
            chunked=exchange.request.chunked,
            thinks=bool(made.reasoning),
        )
        self._is_over = False
        opening = exchange.stream_head(self._wire_format.stream_content_type)
        opening += exchange.frame(self._producer.begin(made.count.input_tokens))
        if made.first_s > 0 or exchange.paused:
            exchange.send(opening)
            opening = b""
        self._send_due(opening)

    def resume(self) -> None:
        """Send what has fallen due while the client did not read."""
        if self._timer is None and not self._is_over:
            self._send_due(b"")

    def cancel(self) -> None:
        """Stop generating, or waiting."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        self._leave()

    # --- the pieces

    def _send_due(self, opening: bytes) -> None:
        """Send the pieces that are due, in as few writes as the client's reading allows."""
        made, exchange = self._made, self._exchange
        self._timer = None
        while not exchange.paused:
            stop = min(self._next + _BATCH_PIECES, self._last)
            is_last = stop == self._last
            if not made.is_instant:
                elapsed_s = time.perf_counter() - self._begun_s
                due = self._next
                while due < stop and made.due_s(due) <= elapsed_s:
                    due += 1
                is_last = due == self._last and made.due_s(due - 1) <= elapsed_s
                stop = due
            if not self._send(opening, stop, is_last):
                return
            opening = b""
            due_s = made.due_s(self._next)
            if due_s > time.perf_counter() - self._begun_s:
                self._wait_or(due_s, self._go_on)
                return

    def _go_on(self) -> None:
        self._send_due(b"")

    def _send(self, opening: bytes, stop: int, is_last: bool) -> bool:
        """Send the pieces up to `stop`, and behind the last one what ends the answer, in one write.

        Return whether there is more to come.
        """
        begin, self._next = self._next, stop
        if not begin and stop:
            self._first_s = time.perf_counter()
        first, parts = self._cut(begin, stop)
        is_finished = is_last and self._end(parts)
        rest = self._frames.join(parts, self._response_id)
        if first:
            if self._service.truth:
                first = self._stamped(first, is_first=not begin)
            self._exchange.send(opening + self._exchange.frame(first) + rest)
        elif opening or rest:
            self._exchange.send(opening + rest)
        if is_finished:
            self._finish()
        elif self._is_over and self._fault and self._fault.kind == "disconnect":
            self._exchange.reset()
        return not self._is_over

    def _cut(self, begin: int, stop: int) -> tuple[bytes, list[bytes]]:
        """Return the first piece where it opens a block or is to be stamped, and the others as frames."""
        made, producer, frames, truth = (
            self._made,
            self._producer,
            self._frames,
            self._service.truth,
        )
        edge = len(made.reasoning)
        thoughts = made.reasoning[begin:stop]
        texts = made.pieces[max(begin - edge, 0) : max(stop - edge, 0)]
        first = b""
        if thoughts and (not begin or truth):
            first = producer.reasoning(thoughts[0])
            thoughts = thoughts[1:]
        parts = list(map(frames.reasoning.__getitem__, thoughts))
        if texts and (begin <= edge or truth):
            opened = producer.text(texts[0])
            texts = texts[1:]
            if first or parts:
                parts.append(self._exchange.frame(opened))
            else:
                first = opened
        parts += map(frames.text.__getitem__, texts)
        return first, parts

    def _stamped(self, first: bytes, *, is_first: bool) -> bytes:
        arrived = b'"sim_arrived_ns":%d,' % self._exchange.request.arrived_ns if is_first else b""
        sent_ns = time.perf_counter_ns()
        if first.startswith(b"{"):
            return b'{%b"sim_sent_ns":%d,%b' % (arrived, sent_ns, first[1:])
        return b':%b"sim_sent_ns":%d\n\n%b' % (arrived, sent_ns, first)

    def _end(self, parts: list[bytes]) -> bool:
        """Add what comes behind the last piece, or what goes wrong; whether the response is finished."""
        exchange, producer, fault = self._exchange, self._producer, self._fault
        if fault is None:
            parts.append(exchange.frame(producer.end(self._made.reason, self._count())))
            self._service.served += 1
        elif fault.kind == "error":
            parts.append(exchange.frame(producer.error(_FAULT_TEXT)))
        elif fault.kind == "malformed":
            line = producer.text(".")
            ending = line[len(line.rstrip(b"\n")) :]
            parts.append(exchange.frame(line.rstrip(b"}\n") + ending))
            self._fault = None  # and goes on as if nothing were
            total = len(self._made.reasoning) + len(self._made.pieces)
            if self._last == total:
                return self._end(parts)
            self._last = total
            return False
        elif fault.kind in ("disconnect", "stall"):
            self._is_over = True
            return False
        parts.append(exchange.last_frame())
        return True

    # --- the whole answer

    def _send_whole(self) -> None:
        """Answer who did not ask for a stream; what would go wrong in its middle does so with the whole."""
        made, exchange = self._made, self._exchange
        self._timer = None
        kind = self._fault.kind if self._fault else ""
        if kind == "stall":
            return
        if kind == "disconnect":
            exchange.reset()
            return
        status, text = 200, "".join(made.pieces)
        self._first_s = self._begun_s + made.first_s
        body = self._producer.whole(text, made.reason, self._count(), "".join(made.reasoning))
        if kind == "error":
            status, body = 500, self._wire_format.produce_error(500, _FAULT_TEXT)
        elif kind == "truncate":
            body = body[: len(body) // 2]
        elif kind == "malformed":
            body = body.rstrip(b"}")
        else:
            self._service.served += 1
        self._is_over = True
        self._leave()
        exchange.respond(status, _JSON, body)

    # --- the end

    def _count(self) -> TokenCount:
        """Return the tokens, and the durations as they were: waiting, until the first piece, and after it.

        None is 0, since a client may divide by it.
        """
        count = self._made.count
        return TokenCount(
            count.input_tokens,
            count.output_tokens,
            max(int((self._begun_s - self._arrived_s) * 1e9), 1),
            max(int((self._first_s - self._begun_s) * 1e9), 1),
            max(int((time.perf_counter() - self._first_s) * 1e9), 1),
            count.reasoning_tokens,
        )

    def _finish(self) -> None:
        self._is_over = True
        self._leave()
        self._exchange.finish()

    def _leave(self) -> None:
        if not self._has_left:
            self._has_left = True
            self._service.places.leave(self)

    def _wait_or(self, due_s: float, then: Callable[[], None]) -> None:
        """Call `then` when a moment of the answer has come: now, if it has.

        Event loops round to milliseconds, down as well: rounding up here keeps pieces from being early.
        """
        wait_s = self._begun_s + due_s - time.perf_counter()
        if wait_s <= 0:
            then()
            return
        rounded_s = math.ceil(wait_s * 1000) / 1000
        self._timer = asyncio.get_running_loop().call_later(rounded_s, then)
