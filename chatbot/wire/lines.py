"""Incremental splitters: bytes in any pieces → lines → payloads. They know nothing of JSON.

Lines end at LF, CRLF or CR and nowhere else: a splitter for text would also cut JSON at U+2028 and
U+0085. Both caps exist because the other end may be anything that listens on the port: an endless
line, or a flood of pings and comments, ends in WireError("malformed"). However the bytes are cut,
the same lines come out before the same error.

Source of the event stream format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import Iterable, Iterator

from chatbot.errors import WireError
from chatbot.wire.format import MAX_LINE_BYTES, MAX_RESPONSE_BYTES

_BOM = b"\xef\xbb\xbf"
_LF = 0x0A
_CR = 0x0D


class LineSplitter:
    """Cuts bytes into lines without their ends."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._after_cr = False  # the line is out already; an LF that follows belongs to its end
        self._total = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that these bytes complete. Raises WireError beyond a cap."""
        self._total += len(data)
        excess = self._total - MAX_RESPONSE_BYTES
        if excess > 0:
            data = data[:-excess] if excess < len(data) else b""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if data:
            yield from self._split(data)
        if excess > 0:
            raise WireError(
                "malformed",
                f"the response is larger than {MAX_RESPONSE_BYTES // 2**20} MiB, giving it up",
            )

    def passes(self, data: bytes) -> bool:
        """Whether these bytes are whole lines, ended by LF alone, after whole lines; if so, they count as
        taken. Servers write that way: it spares their bytes the splitting that anything else needs."""
        if (
            self._partial
            or self._after_cr
            or not data.endswith(b"\n")
            or len(data) > MAX_LINE_BYTES
            or self._total + len(data) > MAX_RESPONSE_BYTES
            or b"\r" in data
        ):
            return False
        self._total += len(data)
        return True

    def close(self) -> bytes:
        """Return what stands after the last line end; empty if nothing does."""
        rest = bytes(self._partial)
        self._partial.clear()
        return rest

    def _split(self, data: bytes) -> Iterator[bytes]:
        lines = data.splitlines()  # bytes.splitlines knows LF, CRLF and CR only
        self._after_cr = data[-1] == _CR
        tail = b"" if self._after_cr or data[-1] == _LF else lines.pop()
        if self._partial and lines:
            lines[0] = bytes(self._partial) + lines[0]
            self._partial.clear()
        for line in lines:
            if len(line) > MAX_LINE_BYTES:
                raise _line_too_long()
            yield line
        self._partial += tail
        if len(self._partial) > MAX_LINE_BYTES:
            raise _line_too_long()


class NdjsonDecoder:
    """Yields the lines that are not blank, each as a payload without an event name."""

    def __init__(self) -> None:
        self._lines = LineSplitter()

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the payloads that these bytes complete. Raises WireError beyond a cap."""
        for line in self._lines.feed(data):
            if line.strip():
                yield "", line

    def close(self) -> Iterator[tuple[str, bytes]]:
        """Yield the last line, where it has no end."""
        line = self._lines.close()
        if line.strip():
            yield "", line


class SseDecoder:
    """Yields (event name, data) of an event stream; ids, retry times and comments are left out."""

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._at_start = True
        self._event = ""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[tuple[str, bytes]]:
        """Yield the events that these bytes complete. Raises WireError beyond a cap."""
        goes_on = self._data or self._event or (self._at_start and data.startswith(_BOM))
        if goes_on or not self._lines.passes(data):
            return self._take_lines(self._lines.feed(data))
        self._at_start = False
        lines = data.split(b"\n")
        lines.pop()
        if any(lines[1::2]) or len(lines) % 2:  # not every event is one line
            return self._take_lines(lines)
        events: list[tuple[str, bytes]] = []
        for line in lines[::2]:
            if line.startswith(b"data: "):
                events.append(("", line[6:]))
            else:
                events += self._take_lines((line, b""))
        return events

    def close(self) -> Iterator[tuple[str, bytes]]:
        """Yield the last event, where no blank line ends it.

        The standard discards it; but servers do close right after `data: [DONE]`.
        """
        line = self._lines.close()
        if line:
            self._take(line)
        if self._data:
            yield self._dispatch()

    def _take_lines(self, lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
        for line in lines:
            if line:
                self._take(line)
            elif self._data:
                yield self._dispatch()
            else:
                self._event = ""
                self._at_start = False

    def _take(self, line: bytes) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._event = value.removeprefix(b" ").decode("utf-8", "replace")

    def _dispatch(self) -> tuple[str, bytes]:
        event = self._event, b"\n".join(self._data)
        self._event, self._data = "", []
        return event


def _line_too_long() -> WireError:
    return WireError(
        "malformed", f"a line of the response is longer than {MAX_LINE_BYTES // 2**20} MiB"
    )
