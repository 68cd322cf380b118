"""The OpenTelemetry half of the room, wired: records in; spans, measurements and log lines out.

Owns the order of shutting down (the files are always drained first, the network has what remains of
its second) and the room's own counters. It reads no pipe and opens no file. Called by `process`, which
imports it only when the SDK is not switched off.

    SpanRecord ──▶ Judge ──┬─▶ SpanFile ───────▶ extrachat_traces_process.log
                           └─▶ Otlp
    Measurement ─▶ Meters ───▶ MetricFile ─┬───▶ extrachat_metrics_process.log
                                           └─▶ Otlp
    LogRecord ─────────────▶ Otlp
"""

import os
from collections.abc import Mapping

from chatbot.messages import AttributeValue, EncodedMeasurement, LogRecord, SpanRecord
from chatbot.telemetry import limits
from chatbot.telemetry.exemplars import choice
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.judge import Judge
from chatbot.telemetry.last import MetricFile, adopt, metric_interval_ms
from chatbot.telemetry.life import Life
from chatbot.telemetry.logs import LogFile, TraceLog
from chatbot.telemetry.metrics import Meters
from chatbot.telemetry.open import Source
from chatbot.telemetry.otlp import FinishedSpan, LogLine, Otlp
from chatbot.telemetry.resources import Resources
from chatbot.telemetry.spanfile import SpanFile

_EXPORT = "export_otlp_"


class Sdk:
    """Spans, metrics, and the way to a collector."""

    def __init__(
        self,
        environ: Mapping[str, str],
        span_stream: RotatingFile,
        metric_stream: RotatingFile,
        log: LogFile,
        trace_log: TraceLog,
        life: Life,
    ) -> None:
        self._trace_log = trace_log
        self._metric_stream = metric_stream
        self._resources = resources = Resources(environ)
        self._judge = Judge(limits.from_environment(environ))
        self._otlp = Otlp(environ, log, trace_log)
        self._span_file = SpanFile(span_stream, resources)
        interval_ms = metric_interval_ms(environ)
        chosen = choice(environ.get("OTEL_METRICS_EXEMPLAR_FILTER", ""), interval_ms)
        self._meters = Meters(resources.of_program(os.getpid()), chosen)
        self._metric_file = MetricFile(
            metric_stream, interval_ms, self._meters.collect, self._otlp.add_metrics
        )
        self._lost_seen: dict[str, int] = {}
        self._exported_seen: dict[str, int] = {}
        self.dropped_so_far = 0
        own = resources.of(Source("telemetry", 0, os.getpid()))
        log.also = lambda record: self._otlp.add_line(LogLine(record, own))
        self._otlp.announce()
        for name, error in adopt(metric_stream, life).items():
            if error:
                log.own("warning", "last_words_left", file=name, error=error)
            else:
                trace_log.export("adopted", file=name)

    @property
    def interval_s(self) -> float:
        """How long it is from one line of metrics to the next."""
        return self._metric_file.interval_s

    @property
    def collector(self) -> str:
        """Where OTLP goes just now; empty: nowhere."""
        return self._otlp.collector

    def add_span(self, record: SpanRecord, source: Source) -> None:
        """Take a finished span: a line for it, and its export."""
        judged = self._judge.judge(record)
        are_valid = judged is not None and judged.record.parent_id == record.parent_id
        self._trace_log.add(record, source.role, source.pid, are_ids_valid=are_valid)
        if judged is not None:
            self._span_file.add(judged, source)
            self._otlp.add_span(FinishedSpan(judged, self._resources.of(source)))

    def add_log(self, record: LogRecord, source: Source) -> None:
        """Take a line of the log, which has it already, for the collector."""
        self._otlp.add_line(LogLine(record, self._resources.of(source)))

    def add_measurement(self, record: EncodedMeasurement, source: Source) -> None:
        """Take a measurement; one that no instrument accepts is counted as dropped."""
        if reason := self._meters.add(record):
            self.dropped(1, f"measurement_{reason}", source.role)

    def dropped(self, number: int, reason: str, role: str) -> None:
        """Count records that were given up. Those that only a collector has missed are in the files,
        and in no one's way: they are in the metric alone."""
        if not reason.startswith(_EXPORT):
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
        self._span_file.write()

    def end_batch(self, now: float) -> None:
        """Write what has waited long enough, count what a batch has cost, and keep its sums where a
        successor finds them. `now` is monotonic."""
        self._span_file.write_due(now)
        self._count_losses()
        self._metric_file.write_due(now)
        if self._metric_file.keep(changed=self._meters.changed):
            self._meters.changed = False

    def _count_losses(self) -> None:
        """Bring the counters up to what was lost since the last time. What no collector was there for
        is not lost: it is in the files."""
        losses = {f"{_EXPORT}{name}": lost for name, lost in self._otlp.lost.items()}
        losses["malformed_span"] = self._judge.malformed
        losses["span_file"] = self._span_file.lost
        for reason, lost in losses.items():
            new = lost - self._lost_seen.get(reason, 0)
            if new:
                self._lost_seen[reason] = lost
                self.dropped(new, reason, "telemetry")
                self._trace_log.export("lost", reason=reason, number=new)
        exported = {"file": self._span_file.written, "otlp": self._otlp.sent_spans}
        for exporter, number in exported.items():
            if new := number - self._exported_seen.get(exporter, 0):
                self._exported_seen[exporter] = number
                self._meters.count("chatbot.telemetry.exported", new, {"exporter": exporter})

    def close(self) -> None:
        """Drain the spans, count what was lost of them, then collect the metrics a last time."""
        self._otlp.begin_shutdown()
        self._span_file.write()
        self._count_losses()
        self._metric_file.write()
        self._otlp.finish_shutdown()
        if not self._metric_stream.is_behind:
            self._metric_file.words.take_back()
