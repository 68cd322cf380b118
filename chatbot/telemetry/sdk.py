"""The OpenTelemetry half of the room, wired: records in, SDK spans and measurements out.

Owns the choice where things are exported to, and the room's own counters. It reads no pipe and opens
no file. Called by `process`, which imports it only when the SDK is not switched off.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chatbot.messages import AttributeValue, Measurement, SpanRecord
from chatbot.telemetry import limits
from chatbot.telemetry.export import Exports, destination, metric_interval_ms
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.last import adopt
from chatbot.telemetry.logs import LogFile, TraceLog
from chatbot.telemetry.metrics import Meters
from chatbot.telemetry.open import Source
from chatbot.telemetry.spans import Resources, SpanBuilder

if TYPE_CHECKING:
    from chatbot.telemetry.otlp import Otlp


class Sdk:
    """Spans, metrics and their exports."""

    def __init__(
        self,
        environ: Mapping[str, str],
        span_stream: RotatingFile,
        metric_stream: RotatingFile,
        log: LogFile,
        trace_log: TraceLog,
    ) -> None:
        self._log = log
        self._trace_log = trace_log
        resources = Resources(environ)
        self._builder = SpanBuilder(resources, limits.from_environment(environ))
        self._metric_stream = metric_stream
        self._exports = Exports(environ, span_stream, metric_stream, self._open_otlp(environ))
        self._meters = Meters(
            resources.of_program(os.getpid()), self._exports.readers, metric_interval_ms(environ)
        )
        self._lost_seen: dict[str, int] = {}
        self._written_seen = 0
        self.dropped_so_far = 0
        for name, error in adopt(metric_stream, self._exports.metric_file.words.path).items():
            if error:
                log.own("warning", "last_words_left", file=name, error=error)
            else:
                trace_log.export("adopted", file=name)

    @property
    def collector(self) -> str:
        """Where OTLP goes just now; empty: nowhere."""
        return self._exports.collector

    def add_span(self, record: SpanRecord, source: Source) -> None:
        """Take a finished span: a line for it, and its export."""
        self._trace_log.add(record, source.role, source.pid)
        span = self._builder.build(record, source)
        if span is not None:
            self._exports.add(span)

    def add_measurement(self, record: Measurement, source: Source) -> None:
        """Take a measurement; one that no instrument accepts is counted as dropped."""
        if reason := self._meters.add(record):
            self.dropped(1, f"measurement_{reason}", source.role)

    def dropped(self, number: int, reason: str, role: str) -> None:
        """Count records that were given up."""
        self.dropped_so_far += number
        attributes: dict[str, AttributeValue] = {"reason": reason, "chatbot.process.role": role}
        self._meters.count("chatbot.telemetry.dropped", number, attributes)

    def write_failed(self, number: int, file: str) -> None:
        """Count writes that the disk refused."""
        self._meters.count("chatbot.telemetry.write_failures", number, {"file": file})

    def lines_lost(self, number: int, file: str) -> None:
        """Count lines that a disk which refused for too long has cost."""
        self._meters.count("chatbot.telemetry.lost_lines", number, {"file": file})

    def flush(self) -> None:
        """Have all spans so far in their file."""
        self._exports.flush_files()

    def end_batch(self) -> None:
        """Count what a batch has cost, and keep its sums where a successor finds them."""
        self._count_losses()
        self._meters.flush()
        if self._exports.metric_file.keep(changed=self._meters.changed):
            self._meters.changed = False

    def _count_losses(self) -> None:
        """Bring the counters up to what the exports and the builder have lost since the last time."""
        losses = {f"export_{name}": lost for name, lost in self._exports.lost.items()}
        losses["malformed_span"] = self._builder.malformed
        for reason, lost in losses.items():
            new = lost - self._lost_seen.get(reason, 0)
            if new:
                self._lost_seen[reason] = lost
                self.dropped(new, reason, "telemetry")
                self._trace_log.export("lost", reason=reason, number=new)
        written = self._exports.written
        if written != self._written_seen:
            new, self._written_seen = written - self._written_seen, written
            self._meters.count("chatbot.telemetry.exported", new, {"exporter": "file"})

    def close(self) -> None:
        """Drain the spans, count what was lost of them, then collect the metrics a last time."""
        self._exports.shutdown_spans()
        self._count_losses()
        self._meters.flush()
        self._exports.shutdown_metrics()
        if not self._metric_stream.is_behind:
            self._exports.metric_file.words.take_back()

    def _open_otlp(self, environ: Mapping[str, str]) -> "Otlp | None":
        """Return the network's exporters if a signal has a destination; tell what was decided."""
        urls: dict[str, str] = {}
        for signal in ("traces", "metrics"):
            to = destination(environ, signal)
            urls[signal] = to.url
            if to.refused:
                self._log.own("warning", "otlp_refused", signal=signal, reason=to.refused)
            self._trace_log.export(
                "decision", signal=signal, otlp=to.url or to.refused or "no endpoint is set"
            )
        if not any(urls.values()):
            return None
        # Imported here: only with an endpoint is it worth the time that its libraries take to load.
        from chatbot.telemetry.otlp import Otlp

        try:
            return Otlp(environ, urls["traces"], urls["metrics"])
        except (ImportError, OSError, RuntimeError, ValueError) as error:  # its variables are wrong
            self._log.own("error", "otlp_refused", reason=str(error))
            return None
