"""OTLP: spans and metrics over the network, to a collector.

Owns the HTTP exporters and their end: an unreachable collector costs at most a second at exit, and
nothing before. It never touches the files. Imported by the telemetry process, only when an endpoint
is configured, because its libraries take longer to load than all the rest of the room.
"""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan

from chatbot.backends import is_loopback
from chatbot.telemetry.export import SpanQueue, metric_interval_ms

SHUTDOWN_S = 1.0

_QUEUE = 2048
_DELAY_MS = 1000


class Otlp:
    """The exporters of the signals that have a destination. Headers, certificates, compression and
    timeout are read by the SDK from the standard variables of this process.
    """

    def __init__(self, environ: Mapping[str, str], traces_url: str, metrics_url: str) -> None:
        self.readers: list[MetricReader] = []
        self._spans: SpanQueue | None = None
        self._metrics: OTLPMetricExporter | None = None
        self._closed = False
        self._closing: list[threading.Thread] = []
        self._deadline = 0.0
        self._collector = traces_url or metrics_url
        self._urls = {url for url in (traces_url, metrics_url) if url}
        if traces_url:
            self._spans = SpanQueue(
                OTLPSpanExporter(endpoint=traces_url), _QUEUE, _DELAY_MS, may_wait=False
            )
        if metrics_url:
            self._metrics = OTLPMetricExporter(endpoint=metrics_url)
            self.readers.append(
                PeriodicExportingMetricReader(
                    self._metrics, metric_interval_ms(environ), export_timeout_millis=1000
                )
            )

    @property
    def collector(self) -> str:
        """Where spans or else metrics go."""
        return self._collector

    @property
    def lost(self) -> int:
        """Spans that did not fit the queue, or that the collector did not take."""
        return self._spans.lost if self._spans else 0

    def add(self, span: ReadableSpan) -> None:
        """Queue a span, if spans have a destination."""
        if self._spans is not None:
            self._spans.add(span)

    def begin_shutdown(self) -> None:
        """Begin to send the spans that are left; to a collector that is down, give up now."""
        self._deadline = time.monotonic() + SHUTDOWN_S
        failing = self._spans is not None and self._spans.exporter.failing
        if failing or any(_is_deserted(url) for url in self._urls):
            self._close_exporters()
        if self._spans is not None:
            self._end_in_thread(self._spans.processor.shutdown)

    def finish_shutdown(self) -> None:
        """Send the metrics a last time, wait until the second is over, then have all give up."""
        for reader in self.readers:
            self._end_in_thread(reader.shutdown)
        for thread in self._closing:
            thread.join(max(self._deadline - time.monotonic(), 0.0))
        if any(thread.is_alive() for thread in self._closing):
            self._close_exporters()

    def _end_in_thread(self, shutdown: Callable[[], object]) -> None:
        thread = threading.Thread(target=shutdown, name="otlp-shutdown", daemon=True)
        thread.start()
        self._closing.append(thread)

    def _close_exporters(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._spans is not None:
            self._spans.exporter.shutdown()
        if self._metrics is not None:
            self._metrics.shutdown()


def _is_deserted(url: str) -> bool:
    """Whether nobody listens there: certain only of this machine, where the answer comes at once.

    Other hosts are never looked up for this: a name server that is down takes longer than we have.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not is_loopback(host):
        return False
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=0.1).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # busy, or something else that a second may help with
        return False
    return False
