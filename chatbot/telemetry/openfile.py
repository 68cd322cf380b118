"""The table of open spans, kept where the next telemetry process finds it.

A killed telemetry process would take with it what was announced to it, and a span whose process is
killed afterwards would never be ended. So the table is written to a small file next to the trace file,
at most once a second, only when it has changed, and only while something is open for longer than a
second: usually there is none. It is replaced as a whole, so that no kill tears it.

    extrachat_traces_process.log.4711.open    by the pid of the program's supervisor

Who follows in the same program takes it over; that of a dead program is taken by a later start, which
ends its spans. It may be a second old: what stands in the trace file already is left out.
Called by `process`.
"""

import os
from pathlib import Path

import msgspec

from chatbot.messages import SpanStarted
from chatbot.settings import SPAN_FILE
from chatbot.telemetry.files import open_private
from chatbot.telemetry.open import OpenSpans, Source

SUFFIX = ".open"

_WRITE_EVERY_S = 1.0
_LASTS_NS = 1_000_000_000
_TOUCH_EVERY_S = 15.0
_BYTES_AT_MOST = 1024 * 1024
_TAIL_BYTES = 4 * 1024 * 1024

Announced = tuple[Source, SpanStarted]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Announced])


class OpenFile:
    """The file of this program. `now` is of a clock that never goes back, `now_ns` of that of the
    spans."""

    def __init__(self, directory: Path, spans: OpenSpans) -> None:
        self.path = directory / f"{SPAN_FILE}.{os.getppid()}{SUFFIX}"
        self._spans = spans
        self._tried_at = float("-inf")
        self._is_there = self.path.exists()
        self._changes = -1

    def keep(self, now: float, now_ns: int) -> None:
        """Bring the file up to the table, if it is time. Raises OSError; then it is tried again."""
        since_ns = self._spans.since_ns()
        if since_ns is None or now_ns - since_ns < _LASTS_NS:
            self.take_back()
        elif self._changes != self._spans.changes:
            if now - self._tried_at >= _WRITE_EVERY_S:
                self._tried_at = now
                self._write()
                self._changes = self._spans.changes
        elif now - self._tried_at >= _TOUCH_EVERY_S:
            self._tried_at = now
            os.utime(self.path)  # whose they are lives

    def take_back(self) -> None:
        """Remove the file: there is nothing to be said of. Raises OSError."""
        if self._is_there:
            self.path.unlink(missing_ok=True)
            self._is_there = False
            self._changes = -1

    def _write(self) -> None:
        parts: list[msgspec.Raw] = []
        size = 0
        for announced in self._spans.newest_first():
            part = _encoder.encode(announced)
            size += len(part)
            if size > _BYTES_AT_MOST:
                break
            parts.append(msgspec.Raw(part))
        fresh = self.path.with_name(self.path.name + ".tmp")
        with open(fresh, "wb", opener=open_private) as file:
            file.write(_encoder.encode(parts[::-1]))
        fresh.replace(self.path)
        self._is_there = True


def announced_in(path: Path) -> list[Announced]:
    """Return the spans that a file says were open, and of which no end stands in the trace file next
    to it. Nothing is in a file that is none of ours. Raises OSError."""
    try:
        announced = _decoder.decode(path.read_bytes())
    except msgspec.DecodeError:
        return []
    ended = _tail_of(path.with_name(SPAN_FILE)) if announced else b""
    return [each for each in announced if _mark_of(each[1]) not in ended]


def _mark_of(span: SpanStarted) -> bytes:
    """Return what stands in the trace file only where that span is, not where others link to it."""
    return f'"spanId":"{span.span_id}","status"'.encode()


def claimed(path: Path) -> Path:
    """Return the new name of a dead program's file, which is ours now. Raises FileNotFoundError when
    another program was faster."""
    ours = path.with_name(f"{path.name.removesuffix(SUFFIX)}.{os.getppid()}{SUFFIX}")
    path.rename(ours)
    return ours


def _tail_of(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""
