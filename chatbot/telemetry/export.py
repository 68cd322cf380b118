"""Export: finished spans and collected metrics go to their files, and to a collector if there is one.

Owns the files' batches and the order of shutting down: the files are always drained first, the
network has what remains of its second. It never decides what is in a span. Called by the telemetry
process.

    span ────▶ BatchSpanProcessor ──▶ FileSpanExporter ────▶ extrachat_traces_process.log
        └────▶ Otlp
    metrics ──▶ MetricReader ───────▶ FileMetricExporter ──▶ extrachat_metrics_process.log
                            └───────▶ Otlp
"""

from collections.abc import Mapping, Sequence
from typing import IO, Any, cast

from opentelemetry.exporter.otlp.json.file.metric_exporter import FileMetricExporter
from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.otlp import Otlp

FILE_DELAY_MS = 500
METRIC_INTERVAL_MS = 10_000

_FILE_QUEUE = 8192
_BATCH = 512


def metric_interval_ms(environ: Mapping[str, str]) -> int:
    """Return the interval of `OTEL_METRIC_EXPORT_INTERVAL`, or 10 s where it holds no number."""
    text = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else METRIC_INTERVAL_MS


class CountingExporter(SpanExporter):
    """An exporter that counts what it was given, and whose shutdown may be called more than once."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.taken = 0
        self.lost = 0
        self.failing = False
        self._exporter = exporter
        self._closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Pass a batch on."""
        self.taken += len(spans)
        result = SpanExportResult.FAILURE if self._closed else self._exporter.export(spans)
        self.failing = result is not SpanExportResult.SUCCESS
        self.lost += len(spans) if self.failing else 0
        return result

    def shutdown(self) -> None:
        """Close the exporter: an export that waits to try again gives up."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is held back here."""
        del timeout_millis
        return True


class SpanQueue:
    """A BatchSpanProcessor that knows how much is waiting in it.

    The SDK's own drops the oldest without telling how many. Here a full queue either makes the
    caller wait (the file: the disk keeps up with what we can build) or refuses and counts.
    """

    def __init__(
        self, exporter: SpanExporter, limit: int, delay_ms: int, *, may_wait: bool
    ) -> None:
        self.exporter = CountingExporter(exporter)
        self.refused = 0
        self._given = 0
        self._limit = limit
        self._may_wait = may_wait
        self.processor = BatchSpanProcessor(
            self.exporter, limit, delay_ms, min(_BATCH, limit), export_timeout_millis=1000
        )

    @property
    def lost(self) -> int:
        """Spans refused by the queue, or given up by the exporter."""
        return self.refused + self.exporter.lost

    def add(self, span: ReadableSpan) -> None:
        """Queue a finished span."""
        if self._given - self.exporter.taken >= self._limit:
            if not self._may_wait:
                self.refused += 1
                return
            self.processor.force_flush()
        self._given += 1
        self.processor.on_end(span)


class EveryWay(MetricExporter):
    """One collection of the metrics for the file and for OTLP: they are the same to a digit, and are
    counted and collected once."""

    def __init__(self, file: FileMetricExporter, otlp: Otlp | None) -> None:
        super().__init__(
            preferred_temporality={
                Counter: AggregationTemporality.CUMULATIVE,
                Histogram: AggregationTemporality.CUMULATIVE,
            }
        )
        self._file = file
        self._otlp = otlp

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **more: Any
    ) -> MetricExportResult:
        """Write them to the file, and hand them to OTLP's thread."""
        result = self._file.export(metrics_data, timeout_millis, **more)
        if self._otlp is not None:
            self._otlp.add_metrics(metrics_data)
        return result

    def shutdown(self, timeout_millis: float = 30_000, **more: Any) -> None:
        """Close the file's exporter."""
        self._file.shutdown(timeout_millis, **more)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is held back here."""
        return self._file.force_flush(timeout_millis)


class Exports:
    """All the ways out for spans and metrics; `readers` are for the meter provider."""

    def __init__(
        self,
        environ: Mapping[str, str],
        trace_stream: RotatingFile,
        metric_stream: RotatingFile,
        otlp: Otlp | None,
    ) -> None:
        self.otlp = otlp
        # FileSpanExporter writes, flushes and asks for `closed`; IO[str] has two dozen methods more.
        self._spans = SpanQueue(
            FileSpanExporter(stream=cast("IO[str]", trace_stream)),
            _FILE_QUEUE,
            FILE_DELAY_MS,
            may_wait=True,
        )
        self._metric_reader = PeriodicExportingMetricReader(
            EveryWay(FileMetricExporter(stream=cast("IO[str]", metric_stream)), otlp),
            metric_interval_ms(environ),
            export_timeout_millis=1000,
        )
        self.readers: list[MetricReader] = [self._metric_reader]

    @property
    def collector(self) -> str:
        """Where OTLP goes just now; empty: nowhere."""
        return self.otlp.collector if self.otlp is not None else ""

    @property
    def lost(self) -> dict[str, int]:
        """What was lost so far, by the way out it was lost on. What no collector was there for is not
        lost: it is in the files."""
        lost = {"file": self._spans.lost}
        if self.otlp is not None:
            lost |= {f"otlp_{signal}": number for signal, number in self.otlp.lost.items()}
        return lost

    def add(self, span: ReadableSpan) -> None:
        """Queue a finished span for every way out."""
        self._spans.add(span)
        if self.otlp is not None:
            self.otlp.add_span(span)

    def shutdown_spans(self) -> None:
        """Drain the trace file, and begin to send by OTLP what is left."""
        if self.otlp is not None:
            self.otlp.begin_shutdown()
        self._spans.processor.shutdown()  # type: ignore[no-untyped-call]  # so in the SDK

    def shutdown_metrics(self) -> None:
        """Collect and write the metrics a last time; then give OTLP what remains of its second."""
        self._metric_reader.shutdown()
        if self.otlp is not None:
            self.otlp.finish_shutdown()
