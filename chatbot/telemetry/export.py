"""Export: finished spans and collected metrics go to their files, and to a collector if there is one.

Owns the batches, their threads and the order of shutting down: the files are always drained, the
network gets a second at most. It never decides what is in a span. Called by the telemetry process.

    span ──▶ BatchSpanProcessor ──▶ FileSpanExporter ──▶ extrachat_traces_process.log
        └──▶ BatchSpanProcessor ──▶ OTLP (`otlp`, imported only with an endpoint)
"""

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.last import MetricFile

if TYPE_CHECKING:
    from chatbot.telemetry.otlp import Otlp

FILE_DELAY_MS = 500
METRIC_INTERVAL_MS = 10_000

_FILE_QUEUE = 8192
_BATCH = 512


class Destination(NamedTuple):
    """Where a signal goes by OTLP: a whole URL, or the reason why it goes nowhere."""

    url: str = ""
    refused: str = ""


def destination(environ: Mapping[str, str], signal: str) -> Destination:
    """Return where `traces` or `metrics` go, by the standard variables; pure.

    Only a variable that is set leads anywhere. The general one gets `/v1/<signal>` appended, the
    signal's own is taken as it is.
    """
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    general = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    url = own or (f"{general.rstrip('/')}/v1/{signal}" if general else "")
    if not url:
        return Destination()
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        port = parts.port
    except ValueError:
        valid, port = False, None
    if not valid:
        return Destination(refused=f"{own or general!r} is not an http:// or https:// URL")
    protocol = (
        environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
        or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or ("grpc" if port == 4317 else "http/protobuf")
    ).strip()
    if protocol != "http/protobuf":
        return Destination(
            refused=f"protocol {protocol} is not supported, use http/protobuf on port 4318"
        )
    return Destination(url)


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


class Exports:
    """All the ways out for spans and metrics; `readers` are for the meter provider."""

    def __init__(
        self,
        environ: Mapping[str, str],
        trace_stream: RotatingFile,
        metric_stream: RotatingFile,
        otlp: "Otlp | None",
    ) -> None:
        self.otlp = otlp
        # FileSpanExporter writes, flushes and asks for `closed`; IO[str] has two dozen methods more.
        self._spans = SpanQueue(
            FileSpanExporter(stream=cast("IO[str]", trace_stream)),
            _FILE_QUEUE,
            FILE_DELAY_MS,
            may_wait=True,
        )
        self.metric_file = MetricFile(metric_stream, metric_interval_ms(environ))
        self.readers: list[MetricReader] = [self.metric_file]
        if otlp is not None:
            self.readers += otlp.readers

    @property
    def lost(self) -> dict[str, int]:
        """Spans lost so far, by the way out they were lost on."""
        by_exporter = {"file": self._spans.lost}
        if self.otlp is not None:
            by_exporter["otlp"] = self.otlp.lost
        return by_exporter

    def add(self, span: ReadableSpan) -> None:
        """Queue a finished span for every way out."""
        self._spans.add(span)
        if self.otlp is not None:
            self.otlp.add(span)

    @property
    def collector(self) -> str:
        """Where OTLP goes just now; empty: nowhere."""
        return self.otlp.collector if self.otlp is not None else ""

    @property
    def written(self) -> int:
        """Spans that the trace file was given so far."""
        return self._spans.exporter.taken - self._spans.exporter.lost

    def flush_files(self) -> None:
        """Have all spans that were added written to the trace file."""
        self._spans.processor.force_flush()

    def shutdown_spans(self) -> None:
        """Drain the trace file, and begin to send by OTLP what is left."""
        if self.otlp is not None:
            self.otlp.begin_shutdown()
        self._spans.processor.shutdown()  # type: ignore[no-untyped-call]  # so in the SDK

    def shutdown_metrics(self) -> None:
        """Collect and write the metrics a last time; then give OTLP what remains of its second."""
        self.metric_file.shutdown()
        if self.otlp is not None:
            self.otlp.finish_shutdown()
