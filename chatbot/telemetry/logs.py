"""The two logs for people: `chatbot.log` (JSON, one event a line) and `chatbot_traces.log` (text).

Owns the form of their lines, and the route of the SDK's own complaints into the first. It never
writes to the terminal, and never writes debug records unless asked to. Called by the telemetry
process; `SdkLogHandler` by the `logging` module, in any thread.
"""

import functools
import json
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from chatbot.messages import AttributeValue, Level, LogRecord, SpanRecord
from chatbot.telemetry import redact
from chatbot.telemetry.files import RotatingFile
from chatbot.tracing import span_id_of, trace_id_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_NS = 253_402_300_799_999_999_999  # the end of the year 9999, the last that datetime knows
_COOLDOWN_S = 60.0
_are_plain_ids = re.compile(r"[0-9a-f]+ span=[0-9a-f]+ parent=(?:[0-9a-f]+|-)").fullmatch
_is_plain = re.compile(r"""[!#-<>-~]+""").fullmatch  # printable ASCII but for the blank, " and =
_encoder = msgspec.json.Encoder()


class LogFile:
    """`chatbot.log`."""

    def __init__(self, stream: RotatingFile, pid: int, *, debug: bool) -> None:
        self._stream = stream
        self._pid = pid
        self._debug = debug
        self.also: Callable[[LogRecord], None] = lambda _: None  # who else hears of our own events

    def add(self, record: LogRecord, process: str, pid: int) -> None:
        """Write a record; a debug record only when debugging."""
        if record.level == "debug" and not self._debug:
            return
        line = {
            "timestamp": iso_time(record.time_ns),
            "level": record.level,
            "event": record.event,
            "process": process,
            "pid": pid,
            "trace_id": trace_id_of(record.traceparent),
            "span_id": span_id_of(record.traceparent),
            "fields": record.fields,
        }
        self._stream.write(printable(_encoder.encode(line).decode()) + "\n")

    def own(self, level: Level, event: str, /, **fields: AttributeValue) -> None:
        """Write an event of the telemetry process itself.

        It takes no way through the supervisor, which may be gone: this process outlives the rest.
        """
        record = LogRecord(time.time_ns(), level, event, "", redact.attributes(fields))
        self.add(record, "telemetry", self._pid)
        self.also(record)


class TraceLog:
    """`chatbot_traces.log`."""

    def __init__(self, stream: RotatingFile) -> None:
        self._stream = stream

    def add(self, span: SpanRecord, process: str, pid: int, *, are_ids_valid: bool = False) -> None:
        """Write a line for a finished span, under the time of its end. `are_ids_valid`: somebody has
        looked at them already."""
        status = f"error {quoted(span.error)}" if span.error else "unset"
        ids = f"{span.trace_id} span={span.span_id} parent={span.parent_id or '-'}"
        if not (are_ids_valid or _are_plain_ids(ids)):
            ids = (
                f"{quoted(span.trace_id)} span={quoted(span.span_id)}"
                f" parent={quoted(span.parent_id or '-')}"
            )
        self._stream.write(
            f"{iso_time(span.end_ns)} span process={process} pid={pid} trace={ids}"
            f" name={_quoted_name(span.name)}"
            f" duration_ms={(span.end_ns - span.start_ns) / 1e6:.3f} status={status}\n"
        )

    def export(self, decision: str, /, **details: str | int) -> None:
        """Write a line for a decision about exporting, or for a failure of it."""
        listed = "".join(f" {key}={quoted(str(value))}" for key, value in details.items())
        self._stream.write(f"{iso_time(time.time_ns())} export {decision}{listed}\n")


class SdkLogHandler(logging.Handler):
    """What the SDK and its HTTP client complain about, as events `sdk` of our log.

    One message template is written at most once a minute, with the number of those left out:
    an exporter whose collector is down complains about every batch.
    """

    LOGGERS = ("opentelemetry", "urllib3", "requests", "py.warnings")

    def __init__(self, log: LogFile, traces: TraceLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._traces = traces
        self._written_at: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def attach(self) -> None:
        """Take over the loggers, so that none of them ever falls back to standard error."""
        for name in self.LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(self)
            logger.propagate = False
        logging.captureWarnings(True)  # noqa: FBT003 - its only parameter, and positional

    def quiet(self) -> None:
        """Write nothing more: the SDK complains about being shut down.

        The loggers are kept. A thread that still waits for a collector may complain until the
        process has ended, and a logger without a handler would do so on standard error.
        """
        self.setLevel(logging.CRITICAL + 1)
        logging.captureWarnings(False)  # noqa: FBT003 - its only parameter, and positional

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message, unless its like was written less than a minute ago."""
        key = (record.name, str(record.msg))
        now = time.monotonic()
        if now - self._written_at.get(key, float("-inf")) < _COOLDOWN_S:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        if len(self._written_at) > 1024:  # a template made of its own values; start over
            self._written_at.clear()
        self._written_at[key] = now
        message = _message_of(record)
        fields: dict[str, Any] = {"logger": record.name, "message": message}
        if left_out := self._left_out.pop(key, 0):
            fields["left_out"] = left_out
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = repr(record.exc_info[1])
        self._log.own("error" if record.levelno >= logging.ERROR else "warning", "sdk", **fields)
        self._traces.export("complaint", message=redact.text(message))


def _message_of(record: logging.LogRecord) -> str:
    """Return the message; an exception here would end the exporter's thread that complained."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # its arguments do not fit its template
        return str(record.msg)


def iso_time(time_ns: int) -> str:
    """Return ISO 8601 in UTC with microseconds; a time that no calendar has becomes its nearest."""
    seconds, rest_ns = divmod(min(max(time_ns, 0), _LAST_NS), 1_000_000_000)
    return f"{_iso_second(seconds)}.{rest_ns // 1000:06d}Z"


@functools.lru_cache(maxsize=64)  # the lines of a second stand together
def _iso_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def printable(line: str) -> str:
    """Return a line of JSON that no terminal can be driven by: every control character escaped.

    JSON itself leaves DEL, the C1 controls (0x9b begins an escape sequence) and the marks that
    turn the direction of text as they are.
    """
    if line.isprintable():
        return line
    return "".join(
        c if c.isprintable() else json.dumps(c)[1:-1] if c != "\x7f" else "\\u007f" for c in line
    )


def quoted(text: str) -> str:
    """Return the text as it is where it is one plain word, else as a JSON string."""
    if _is_plain(text):
        return text
    return printable(json.dumps(text, ensure_ascii=False))


_quoted_name = functools.lru_cache(maxsize=256)(quoted)  # there are few names of spans
