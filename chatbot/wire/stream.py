"""The frame of every format's parser: payloads in order, errors first, one explicit end.

A format adds how a payload is read; what holds for all of them is here, once: an event named
`error` is one, nothing follows the end, and a body that stops without its end was cut off.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from chatbot.errors import WireError
from chatbot.wire import failures, values
from chatbot.wire.format import Event, Finished
from chatbot.wire.lines import NdjsonDecoder, SseDecoder

T = TypeVar("T")


class StreamParser(ABC):
    """Implements `format.Parser` over a format's `_read`."""

    def __init__(self, payloads: SseDecoder | NdjsonDecoder) -> None:
        self._payloads = payloads
        self._identified = False
        self._finished = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that these bytes complete. Raises WireError."""
        if self._finished:
            return
        events: list[Event] = []
        read = self._read
        try:
            for name, payload in self._payloads.feed(data):
                events += read(payload) if not name else self._take(name, payload)
                if self._finished:
                    break  # type: ignore[unreachable] # `_read` has set it meanwhile
        except WireError:
            yield from events
            raise
        yield from events  # all at once: to be woken up for each would double what reading it costs

    def close(self) -> list[Event]:
        """Return what the end of the body completes. Raises WireError unless the answer is whole."""
        events: list[Event] = []
        if not self._finished:
            try:
                for name, payload in self._payloads.close():
                    events += self._take(name, payload)
            except WireError as error:
                if error.kind != "malformed":
                    raise
                # Half a line is what a cut leaves behind: judged below, by whether the end was seen.
        if not self._finished:
            events += self._end_of_body()
        if not self._finished:
            raise WireError(
                "connection_lost", "the connection was lost in the middle of the answer"
            )
        return events

    @abstractmethod
    def _read(self, payload: bytes) -> Sequence[Event]:
        """Return the events of one payload. Raises WireError."""

    def _end_of_body(self) -> list[Event]:
        """Return the end, for a format that has already told it in other words."""
        return []

    def _finish(self, reason: str) -> Finished:
        self._finished = True
        return Finished(reason)

    def _take(self, name: str, payload: bytes) -> Sequence[Event]:
        if name == "error":
            raise failures.from_payload(payload)
        return self._read(payload)


def decode_event(payload: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode an event. Raises WireError: the error it reports, even if all else in it is malformed."""
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_broken(payload, decoder)


def _decode_broken(payload: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return values.decode(payload, decoder)  # what can be mended is
    except WireError:
        if (reported := failures.find_error(payload)) is not None:
            raise reported from None
        raise
