"""OTLP over gRPC: the SDK's exporters, without their patience, with a reason when they fail, and
without a word to the terminal.

Owns that a call is made once, as `otlp_http` does. Imported by `otlp` when a gRPC collector was
chosen: the library takes 40 MB. Its C core writes what it has to say to file descriptor 2, past every
handler, and that is the person's terminal: from here on this process has none. Its own crashes are
logged, not printed, so that nothing is missed there.
"""

import itertools
import logging
import threading
from enum import Enum
from typing import Any

from chatbot import host

host.silence_stderr()

import grpc  # noqa: E402 - silenced before it can say anything
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter  # noqa: E402
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: E402
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: E402

from chatbot.backends import is_loopback  # noqa: E402
from chatbot.telemetry.destination import Endpoint, Signal  # noqa: E402
from chatbot.telemetry.gate import Exporter, NotTaken  # noqa: E402

_EXPORTERS: dict[Signal, Any] = {
    "traces": OTLPSpanExporter,
    "metrics": OTLPMetricExporter,
    "logs": OTLPLogExporter,
}
# A set that is empty would mean the default one; no error has this code.
_RETRYABLE = (grpc.StatusCode.OK,)
# Whoever answers so is there, and will not have it.
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
}
_LONGEST = 300


class Ear(logging.Filter):
    """Hears why an exporter fails: it tells that to its logger only. It logs in the thread that
    exports, and so each thread hears its own.

    A filter, since it comes before the SDK's own, which lets nothing through that is said again."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what is said; let it pass."""
        self._heard.record = record
        return True

    def listen(self) -> None:
        """Forget what was heard so far."""
        self._heard.record = None

    def verdict(self) -> NotTaken | None:
        """Return what was heard."""
        record: logging.LogRecord | None = self._heard.record
        if record is None:
            return None
        arguments = record.args if isinstance(record.args, tuple) else ()
        for code, details in itertools.pairwise(arguments):
            if isinstance(code, grpc.StatusCode):
                return NotTaken(f"{code.name}: {details}"[:_LONGEST], refused=code in _REFUSALS)
        return NotTaken(record.getMessage()[:_LONGEST])


_ear = Ear()
logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").filters.insert(0, _ear)


class Outspoken:
    """The SDK's exporter, which says itself only that it failed."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def export(self, batch: Any, /) -> Enum:
        """Send."""
        _ear.listen()
        result = self._exporter.export(batch)
        if result.name != "SUCCESS" and (error := _ear.verdict()) is not None:
            raise error
        return result

    def shutdown(self) -> None:
        """Have whoever waits in `export` give up."""
        self._exporter.shutdown()


def exporter(endpoint: Endpoint, signal: Signal) -> Exporter:
    """Return the exporter of a signal. Raises ValueError when a certificate cannot be read."""
    proxy = ("grpc.enable_http_proxy", 0 if is_loopback(endpoint.host) else 1)
    compression = grpc.Compression.Gzip if endpoint.compression else grpc.Compression.NoCompression
    _ear.listen()
    made: Exporter = _EXPORTERS[signal](
        endpoint=endpoint.base,
        insecure=endpoint.insecure,
        timeout=endpoint.timeout_s,
        compression=compression,
        channel_options=(proxy,),
        retryable_error_codes=_RETRYABLE,
    )
    if (error := _ear.verdict()) is not None:
        raise ValueError(str(error))
    return Outspoken(made)
