"""The telemetry process: takes the reports of all processes and spreads their records.

Owns the wiring of this room and its counters. It never measures, never routes, and never lets a bad
record or a failing disk end it: both are counted (`chatbot.telemetry.*`) and logged. The supervisor
starts it and hands it every process's reports; it is the last child to be stopped. Where the
supervisor is killed it still writes down all that it was sent, and then leaves.

Everything in a batch is on the disk before the next batch is taken, spans within half a second, and
the sums of the metrics within a second: that is all that a kill can lose.
"""

import contextlib
import gc
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import msgspec

from chatbot.actor import batches
from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    EncodedMeasurement,
    EncodedRecord,
    Flush,
    Flushed,
    FromTelemetry,
    LogRecord,
    Notice,
    ProcessEnded,
    Ready,
    Report,
    SpanRecord,
    SpanStarted,
    Stop,
    Taken,
    TelemetryInbox,
    TelemetryStatus,
)
from chatbot.settings import (
    LOG_FILE,
    METRIC_FILE,
    SPAN_FILE,
    TRACE_LOG_FILE,
    TelemetrySettings,
)
from chatbot.telemetry import redact, variables
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.life import Life
from chatbot.telemetry.logs import LogFile, SdkLogHandler, TraceLog
from chatbot.telemetry.open import PROGRAM_KILLED, OpenSpans, Source, end, source_of
from chatbot.telemetry.openfile import SUFFIX as OPEN_SUFFIX
from chatbot.telemetry.openfile import OpenFile, announced_in, claimed
from chatbot.tracing import Recorder

if TYPE_CHECKING:
    from chatbot.telemetry.sdk import Sdk

INBOX = TelemetryInbox
SETTINGS = TelemetrySettings

_TELL_EVERY_S = 1.0
_IN_HAND = 64  # messages at once
_LOOK_EVERY_S = 0.5  # whether something has waited long enough to be written
# A span becomes some hundred small objects on its way into its file, and none of them is in a cycle.
# With the usual thresholds the collector takes as much time to look at them as making them takes.
_COLLECT_AT = (50_000, 20, 50)

_records = msgspec.msgpack.Decoder(list[EncodedRecord])
_record = msgspec.msgpack.Decoder(EncodedRecord)
_raw_records = msgspec.msgpack.Decoder(list[msgspec.Raw])


def main(
    settings: TelemetrySettings,
    inbox: Inbox[TelemetryInbox],
    outbox: Outbox,
    recorder: Recorder,
) -> ExitCode:
    """Run until told to stop. Raises ChatbotError when the log directory cannot be written."""
    telemetry = Telemetry(settings, outbox.send)
    gc.freeze()  # what has been imported is here to stay
    gc.set_threshold(*_COLLECT_AT)
    outbox.send(Ready(os.getpid()))
    in_order = False
    for batch in batches(inbox, outbox, recorder, telemetry.look_every_s):
        stopping = _take_in_hand(telemetry, outbox, batch)
        if stopping:
            in_order = any(isinstance(each, Stop) and each is not inbox.parting for each in batch)
            while rest := inbox.take(0):  # what had arrived behind the Stop
                _take_in_hand(telemetry, outbox, rest)
            break
    telemetry.close(in_order=in_order)
    return ExitCode.OK


def _take_in_hand(telemetry: "Telemetry", outbox: Outbox, batch: list[TelemetryInbox]) -> bool:
    """Work through a batch, a few messages at once; return whether it held a Stop.

    They are this process's own from the moment it says so: should it die of them, the next one is not
    given them again, and what it has not yet taken is not lost.
    """
    stopping = False
    for first in range(0, max(len(batch), 1), _IN_HAND):
        part = batch[first : first + _IN_HAND]
        reports = sum(isinstance(message, Report | ProcessEnded) for message in part)
        if reports:
            outbox.send_now(Taken(reports))
        stopping = telemetry.take(part) or stopping
    return stopping


class Telemetry:
    """The files and, unless it is switched off, the SDK behind them."""

    def __init__(self, settings: TelemetrySettings, tell: Callable[[FromTelemetry], None]) -> None:
        directory = Path(settings.log_dir)
        self._tell = tell
        self._open_spans = OpenSpans()
        self._told = TelemetryStatus()
        self._told_at = float("-inf")
        self._log_stream = RotatingFile(directory / LOG_FILE)
        self._streams = [self._log_stream]
        self._failures_seen: dict[Path, int] = {}
        self._lost_seen: dict[Path, int] = {}
        self._failing: set[Path] = set()
        self._log = LogFile(self._log_stream, os.getpid(), debug=settings.debug)
        self._sdk: Sdk | None = None
        self._debug = settings.debug
        environ, wrong = variables.cleaned(settings.environ)
        for each in wrong:
            self._log.own("warning", "wrong_variable", **each._asdict())
        if environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
            streams = [
                RotatingFile(directory / name) for name in (TRACE_LOG_FILE, SPAN_FILE, METRIC_FILE)
            ]
            self._streams += streams
            trace_log = TraceLog(streams[0])
            self._sdk_log = SdkLogHandler(self._log, trace_log)
            self._sdk_log.attach()
            _put_right(settings.environ, environ)
            self._life = Life(directory)
            self._sdk = _open_sdk(environ, streams[1], streams[2], self._log, trace_log, self._life)
            self._open_file = OpenFile(directory, self._open_spans)
            self._adopt_spans(self._sdk, streams[1], self._life)
            self._life.bury()

    @property
    def look_every_s(self) -> float:
        """How often it is to be asked to `take`, if only to see what it is time for."""
        return min(_LOOK_EVERY_S, self._sdk.interval_s) if self._sdk else _LOOK_EVERY_S

    def take(self, batch: list[TelemetryInbox]) -> bool:
        """Spread a batch and put it on the disk; return whether it held a Stop."""
        stopping = False
        for message in batch:
            match message:
                case Report():
                    self._spread(message)
                case ProcessEnded():
                    self._end_spans_of(message)
                case Flush(request_id):
                    if self._sdk is not None:
                        self._sdk.flush()
                    self._flush()
                    self._tell(Flushed(request_id))
                case Stop():
                    stopping = True
                case _:
                    assert_never(message)
        now = time.monotonic()
        if self._sdk is not None:
            self._sdk.end_batch(now)
        self._flush()
        if self._sdk is not None:
            self._keep_open_spans(self._sdk, now)
            self._tell_status(self._sdk, now)
        return stopping

    def close(self, *, in_order: bool) -> None:
        """Drain everything into the files and close them. Nobody will tell any more how the spans
        that are still open have ended. `in_order`: the supervisor has said that it is over."""
        if self._sdk is not None:
            for source, span in self._open_spans.end_all(time.time_ns(), in_order=in_order):
                self._sdk.add_span(span, source)
            self._sdk_log.quiet()
            self._sdk.close()
        self._flush()
        if self._sdk is not None:
            with contextlib.suppress(OSError):  # a later start takes them away
                self._open_file.take_back()
                self._life.end()
        for stream in self._streams:
            stream.close()

    def _end_spans_of(self, ended: ProcessEnded) -> None:
        how = redact.text(ended.how)
        for span in self._open_spans.end_of(source_of(ended), ended.time_ns, how):
            if self._sdk is not None:
                self._sdk.add_span(span, source_of(ended))

    def _adopt_spans(self, sdk: "Sdk", stream: RotatingFile, life: Life) -> None:
        """Take over what the predecessor knew to be open, and end what dead programs have left."""
        own = self._open_file.path
        for path in sorted(own.parent.glob(f"{SPAN_FILE}.*{OPEN_SUFFIX}*")):
            try:
                if not life.is_over_for(path):
                    continue
                if path == own:
                    for source, span in announced_in(path):
                        self._open_spans.began(span, source)
                    continue
                if path.suffix == OPEN_SUFFIX:
                    path = claimed(path)
                    known_ns = path.stat().st_mtime_ns
                    for source, span in announced_in(path):
                        sdk.add_span(end(span, known_ns, PROGRAM_KILLED), source)
                    sdk.flush()
                    stream.flush()
                if not stream.is_behind:
                    path.unlink()
            except FileNotFoundError:  # another program was faster
                continue
            except OSError as error:
                self._log.own("warning", "open_spans_left", file=path.name, error=str(error))

    def _keep_open_spans(self, sdk: "Sdk", now: float) -> None:
        try:
            self._open_file.keep(now, time.time_ns())
        except OSError:  # it is tried again
            sdk.write_failed(1, self._open_file.path.name)

    def _tell_status(self, sdk: "Sdk", now: float) -> None:
        status = TelemetryStatus(sdk.dropped_so_far, sdk.collector)
        if status != self._told and now - self._told_at >= _TELL_EVERY_S:
            self._told, self._told_at = status, now
            self._tell(status)

    def _spread(self, report: Report) -> None:
        source = source_of(report)
        if report.dropped:
            self._dropped(report.dropped, "queue_full", source)
        records = self._decode(report, source)
        is_measured = all(type(record) is EncodedMeasurement for record in records)
        if not is_measured and redact.suspects(report.payload):
            records = [redact.record(record) for record in records]
        sdk = self._sdk
        for record in records:
            match record:
                case SpanRecord():
                    if sdk is not None:
                        self._open_spans.ended(record.span_id, source)
                        sdk.add_span(record, source)
                case EncodedMeasurement():
                    if sdk is not None:
                        sdk.add_measurement(record, source)
                case SpanStarted():
                    if sdk is not None:
                        self._open_spans.began(record, source)
                case LogRecord():
                    self._log.add(record, report.role, report.pid)
                    if sdk is not None and (record.level != "debug" or self._debug):
                        sdk.add_log(record, source)
                case _:
                    assert_never(record)

    def _decode(self, report: Report, source: Source) -> list[EncodedRecord]:
        """Return the records of a report; of a malformed one those that can be read."""
        try:
            return _records.decode(report.payload)
        except msgspec.DecodeError as error:
            records, bad = _salvage(report.payload)
            self._dropped(bad, "malformed", source)
            self._log.own(
                "warning", "report_malformed", role=report.role, records=bad, error=str(error)
            )
            return records

    def _dropped(self, number: int, reason: str, source: Source) -> None:
        if self._sdk is not None:
            self._sdk.dropped(number, reason, source.role)

    def _flush(self) -> None:
        """Put every stream on the disk; tell once when one begins to fail, and when it is over."""
        for stream in self._streams:
            stream.flush()
            failures = stream.failures - self._failures_seen.get(stream.path, 0)
            self._failures_seen[stream.path] = stream.failures
            lost = stream.dropped_lines - self._lost_seen.get(stream.path, 0)
            self._lost_seen[stream.path] = stream.dropped_lines
            if self._sdk is not None and failures:
                self._sdk.write_failed(failures, stream.path.name)
            if self._sdk is not None and lost:
                self._sdk.lines_lost(lost, stream.path.name)
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


def _put_right(given: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Give the SDK, which reads the environment of its process by itself, what it can read."""
    for name, value in given.items():
        if name not in environ:
            os.environ.pop(name, None)
        elif environ[name] != value:
            os.environ[name] = environ[name]


def _open_sdk(
    environ: Mapping[str, str],
    spans: RotatingFile,
    metrics: RotatingFile,
    log: LogFile,
    trace_log: TraceLog,
    life: Life,
) -> "Sdk":
    # Imported here: it takes 100 ms, and nothing of it is used when it is switched off.
    from chatbot.telemetry.sdk import Sdk

    return Sdk(environ, spans, metrics, log, trace_log, life)


def _salvage(payload: bytes) -> tuple[list[EncodedRecord], int]:
    """Return the records that can be read one by one, and how many cannot (at least one)."""
    try:
        parts = _raw_records.decode(payload)
    except msgspec.DecodeError:  # not even an array: nobody knows how many there were
        return [], 1
    records: list[EncodedRecord] = []
    bad = 0
    for part in parts:
        try:
            records.append(_record.decode(part))
        except msgspec.DecodeError:
            bad += 1
    return records, bad
