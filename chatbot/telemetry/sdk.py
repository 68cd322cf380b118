"""The OpenTelemetry half of the room, wired: records in, SDK spans and measurements out.

Owns the room's own counters, and the wiring of the rest. It reads no pipe and opens
no file. Called by `process`, which imports it only when the SDK is not switched off.
"""

import os
from collections.abc import Mapping

from chatbot.messages import AttributeValue, LogRecord, Measurement, Report, SpanRecord
from chatbot.telemetry.export import Exports
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.logs import LogFile, TraceLog
from chatbot.telemetry.metrics import Meters
from chatbot.telemetry.otlp import LogLine, Otlp
from chatbot.telemetry.spans import Resources, SpanBuilder, sampler


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
        self._trace_log = trace_log
        self._resources = resources = Resources(environ)
        self._builder = SpanBuilder(resources)
        self._is_sampled = sampler(environ)
        self._otlp = Otlp(environ, log, trace_log)
        self._exports = Exports(environ, span_stream, metric_stream, self._otlp)
        own = resources.of("telemetry", 0, os.getpid())
        log.also = lambda record: self._otlp.add_line(LogLine(record, own))
        self._otlp.announce()
        self._meters = Meters(resources.of_program(os.getpid()), self._exports.readers)
        self._lost_seen: dict[str, int] = {}

    def add_span(self, record: SpanRecord, source: Report) -> None:
        """Take a finished span: a line for it, and its export unless it is sampled out."""
        self._trace_log.add(record, source.role, source.pid)
        if self._is_sampled(record.trace_id):
            span = self._builder.build(record, source)
            if span is not None:
                self._exports.add(span)

    def add_log(self, record: LogRecord, source: Report) -> None:
        """Take a line of the log, which has it already, for the collector."""
        resource = self._resources.of(source.role, source.slot, source.pid)
        self._otlp.add_line(LogLine(record, resource))

    @property
    def collector(self) -> str:
        """Where OTLP goes just now; empty: nowhere."""
        return self._exports.collector

    def add_measurement(self, record: Measurement, source: Report) -> None:
        """Take a measurement; one that no instrument accepts is counted as dropped."""
        if reason := self._meters.add(record):
            self.dropped(1, f"measurement_{reason}", source.role)

    def dropped(self, number: int, reason: str, role: str) -> None:
        """Count records that were given up."""
        attributes: dict[str, AttributeValue] = {"reason": reason, "chatbot.process.role": role}
        self._meters.count("chatbot.telemetry.dropped", number, attributes)

    def write_failed(self, number: int, file: str) -> None:
        """Count writes that the disk refused."""
        self._meters.count("chatbot.telemetry.write_failures", number, {"file": file})

    def count_losses(self) -> None:
        """Bring the counters up to what the exports and the builder have lost since the last time."""
        losses = {f"export_{name}": lost for name, lost in self._exports.lost.items()}
        losses["malformed_span"] = self._builder.malformed
        for reason, lost in losses.items():
            new = lost - self._lost_seen.get(reason, 0)
            if new:
                self._lost_seen[reason] = lost
                self.dropped(new, reason, "telemetry")
                self._trace_log.export("lost", reason=reason, number=new)

    def close(self) -> None:
        """Drain the spans, count what was lost of them, then collect the metrics a last time."""
        self._exports.shutdown_spans()
        self.count_losses()
        self._exports.shutdown_metrics()
