"""What a simulated server says of its own times, found in the bytes of its stream: pure.

A stamp is `"sim_arrived_ns":<digits>` or `"sim_sent_ns":<digits>`, in a comment of an event stream or in
a field of a line of JSON; anything but a digit stands behind it. Text inside of JSON cannot look like
one, since its quotes are escaped. Stamps are looked for in the bytes as they are read, before anybody
parses them: a stamp's lag is the time until the read that completed it.
"""

import re
import sys
from array import array

from chatbot.messages import Truth

MOST_LAGS = 100_000  # so that they fit into a message beside the longest answer

_STAMP = re.compile(rb'"sim_(arrived|sent)_ns":(\d{1,19})(?=\D)')
_BEGINNING = b'"sim_'
_LONGEST = len(b'"sim_arrived_ns":') + 19  # bytes that may wait for their end
_MOST_US = 2**32 - 1


def packed(numbers: "array[int]") -> bytes:
    """Return the numbers as unsigned 32-bit little-endian, on any machine."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def clipped_us(ns: int) -> int:
    """Return nanoseconds as the microseconds that 32 bits can hold."""
    return min(max(ns, 0) // 1000, _MOST_US)


class TruthScanner:
    """Takes each read of a stream, split anywhere."""

    __slots__ = ("_arrived_ns", "_first_ns", "_lags", "_last_ns", "_tail")

    def __init__(self) -> None:
        self._arrived_ns = self._first_ns = self._last_ns = 0
        self._lags: array[int] = array("I")
        self._tail = b""

    def scan(self, data: bytes, now_ns: int) -> None:
        """Note the stamps that these bytes complete; `now_ns` is when they were read."""
        data = self._tail + data
        end = 0
        start = data.find(_BEGINNING)  # a tenth of the time that the pattern takes to find nothing
        if start >= 0:
            for stamp in _STAMP.finditer(data, start):
                end = stamp.end()
                self._note(stamp[1], int(stamp[2]), now_ns)
        self._tail = data[max(end, len(data) - _LONGEST) :]

    def truth(self) -> Truth | None:
        """Return what was found; None: nothing, so that it is no simulated server."""
        if not self._arrived_ns and not self._first_ns:
            return None
        return Truth(self._arrived_ns, self._first_ns, self._last_ns, packed(self._lags))

    def _note(self, kind: bytes, ns: int, now_ns: int) -> None:
        if kind == b"arrived":
            self._arrived_ns = ns
            return
        self._first_ns = self._first_ns or ns
        self._last_ns = ns
        if len(self._lags) < MOST_LAGS:
            self._lags.append(clipped_us(now_ns - ns))
