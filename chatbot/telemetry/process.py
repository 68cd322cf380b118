"""The telemetry process: takes the reports of all processes and spreads their records.

Owns the wiring of this room and its counters. It never measures, never routes, and never lets a bad
record or a failing disk end it: both are counted (`chatbot.telemetry.*`) and logged. The supervisor
starts it and hands it every process's reports; it is the last child to be stopped.

Everything in a batch is on the disk before the next batch is taken, spans within half a second, and
metrics at every interval: that is all that a kill can lose.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import msgspec

from chatbot.actor import batches
from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Flush,
    Flushed,
    FromTelemetry,
    LogRecord,
    Measurement,
    Notice,
    ProcessEnded,
    Ready,
    Record,
    Report,
    SpanRecord,
    SpanStarted,
    Stop,
    TelemetryInbox,
)
from chatbot.settings import (
    LOG_FILE,
    METRIC_FILE,
    SPAN_FILE,
    TRACE_LOG_FILE,
    TelemetrySettings,
)
from chatbot.telemetry import redact
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.logs import LogFile, SdkLogHandler, TraceLog
from chatbot.tracing import Recorder

if TYPE_CHECKING:
    from chatbot.telemetry.sdk import Sdk

INBOX = TelemetryInbox
SETTINGS = TelemetrySettings

_records = msgspec.msgpack.Decoder(list[Record])
_record = msgspec.msgpack.Decoder(Record)
_raw_records = msgspec.msgpack.Decoder(list[msgspec.Raw])


def main(
    settings: TelemetrySettings,
    inbox: Inbox[TelemetryInbox],
    outbox: Outbox,
    recorder: Recorder,
) -> ExitCode:
    """Run until told to stop. Raises ChatbotError when the log directory cannot be written."""
    telemetry = Telemetry(settings, outbox.send)
    outbox.send(Ready(os.getpid()))
    for batch in batches(inbox, outbox, recorder):
        stopping = telemetry.take(batch)
        if stopping:
            while rest := inbox.take(0):  # what had arrived behind the Stop
                telemetry.take(rest)
            break
    telemetry.close()
    return ExitCode.OK


class Telemetry:
    """The files and, unless it is switched off, the SDK behind them."""

    def __init__(self, settings: TelemetrySettings, tell: Callable[[FromTelemetry], None]) -> None:
        directory = Path(settings.log_dir)
        self._tell = tell
        self._log_stream = RotatingFile(directory / LOG_FILE)
        self._streams = [self._log_stream]
        self._failures_seen: dict[Path, int] = {}
        self._failing: set[Path] = set()
        self._log = LogFile(self._log_stream, os.getpid(), debug=settings.debug)
        self._sdk: Sdk | None = None
        self._debug = settings.debug
        if settings.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
            streams = [
                RotatingFile(directory / name) for name in (TRACE_LOG_FILE, SPAN_FILE, METRIC_FILE)
            ]
            self._streams += streams
            trace_log = TraceLog(streams[0])
            self._sdk_log = SdkLogHandler(self._log, trace_log)
            self._sdk_log.attach()
            self._sdk = _open_sdk(settings, streams[1], streams[2], self._log, trace_log)

    def take(self, batch: list[TelemetryInbox]) -> bool:
        """Spread a batch and put it on the disk; return whether it held a Stop."""
        stopping = False
        for message in batch:
            match message:
                case Report():
                    self._spread(message)
                case ProcessEnded():
                    pass
                case Flush(request_id):
                    self._flush()
                    self._tell(Flushed(request_id))
                case Stop():
                    stopping = True
                case _:
                    assert_never(message)
        if self._sdk is not None:
            self._sdk.count_losses()
        self._flush()
        return stopping

    def close(self) -> None:
        """Drain everything into the files and close them."""
        if self._sdk is not None:
            self._sdk_log.quiet()
            self._sdk.close()
        self._flush()
        for stream in self._streams:
            stream.close()

    def _spread(self, report: Report) -> None:
        if report.dropped:
            self._dropped(report.dropped, "queue_full", report)
        records = self._decode(report)
        if redact.suspects(report.payload):
            records = [redact.record(record) for record in records]
        for record in records:
            match record:
                case LogRecord():
                    self._log.add(record, report.role, report.pid)
                    if self._sdk is not None and (record.level != "debug" or self._debug):
                        self._sdk.add_log(record, report)
                case SpanStarted():
                    pass
                case SpanRecord():
                    if self._sdk is not None:
                        self._sdk.add_span(record, report)
                case Measurement():
                    if self._sdk is not None:
                        self._sdk.add_measurement(record, report)
                case _:
                    assert_never(record)

    def _decode(self, report: Report) -> list[Record]:
        """Return the records of a report; of a malformed one those that can be read."""
        try:
            return _records.decode(report.payload)
        except msgspec.DecodeError as error:
            records, bad = _salvage(report.payload)
            self._dropped(bad, "malformed", report)
            self._log.own(
                "warning", "report_malformed", role=report.role, records=bad, error=str(error)
            )
            return records

    def _dropped(self, number: int, reason: str, report: Report) -> None:
        if self._sdk is not None:
            self._sdk.dropped(number, reason, report.role)

    def _flush(self) -> None:
        """Put every stream on the disk; tell once when one begins to fail, and when it is over."""
        for stream in self._streams:
            stream.flush()
            failures = stream.failures - self._failures_seen.get(stream.path, 0)
            self._failures_seen[stream.path] = stream.failures
            if failures and self._sdk is not None:
                self._sdk.write_failed(failures, stream.path.name)
            if failures and stream.path not in self._failing:
                self._failing.add(stream.path)
                self._log.own("error", "write_failed", file=stream.path.name, error=stream.error)
                if len(self._failing) == 1:  # the others fail for the same reason
                    said = f"cannot write {stream.path} ({stream.error})"
                    self._tell(Notice(f"{said}: logs and traces are lost until it can be written"))
            elif not failures and stream.path in self._failing:
                self._failing.remove(stream.path)
                self._log.own(
                    "warning",
                    "write_recovered",
                    file=stream.path.name,
                    lost_lines=stream.dropped_lines,
                )
        self._log_stream.flush()


def _open_sdk(
    settings: TelemetrySettings,
    spans: RotatingFile,
    metrics: RotatingFile,
    log: LogFile,
    trace_log: TraceLog,
) -> "Sdk":
    # Imported here: it takes 100 ms, and nothing of it is used when it is switched off.
    from chatbot.telemetry.sdk import Sdk

    return Sdk(settings.environ, spans, metrics, log, trace_log)


def _salvage(payload: bytes) -> tuple[list[Record], int]:
    """Return the records that can be read one by one, and how many cannot (at least one)."""
    try:
        parts = _raw_records.decode(payload)
    except msgspec.DecodeError:  # not even an array: nobody knows how many there were
        return [], 1
    records: list[Record] = []
    bad = 0
    for part in parts:
        try:
            records.append(_record.decode(part))
        except msgspec.DecodeError:
            bad += 1
    return records, bad
