"""OTLP over gRPC: the SDK's exporters, without their patience and without a word to the terminal.

Owns that a call is made once, as `otlp_http` does. Imported by `otlp` when a gRPC collector was
chosen: the library takes 40 MB. Its C core writes what it has to say to file descriptor 2, past every
handler, and that is the person's terminal: from here on this process has none. Its own crashes are
logged, not printed, so that nothing is missed there.
"""

from typing import Any

from chatbot import host

host.silence_stderr()

import grpc  # noqa: E402 - silenced before it can say anything
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter  # noqa: E402
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: E402
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: E402

from chatbot.backends import is_loopback  # noqa: E402
from chatbot.telemetry.destination import Endpoint, Signal  # noqa: E402
from chatbot.telemetry.gate import Exporter  # noqa: E402

_EXPORTERS: dict[Signal, Any] = {
    "traces": OTLPSpanExporter,
    "metrics": OTLPMetricExporter,
    "logs": OTLPLogExporter,
}
# A set that is empty would mean the default one; no error has this code.
_RETRYABLE = (grpc.StatusCode.OK,)


def exporter(endpoint: Endpoint, signal: Signal) -> Exporter:
    """Return the exporter of a signal."""
    options: list[tuple[str, int]] = [
        # Channels to one address share their connection, and with it the pause after a failure: a new
        # exporter would have to wait for what an old one of another signal has met with.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0 if is_loopback(endpoint.host) else 1),
    ]
    compression = grpc.Compression.Gzip if endpoint.compression else grpc.Compression.NoCompression
    made: Exporter = _EXPORTERS[signal](
        endpoint=endpoint.base,
        insecure=endpoint.insecure,
        timeout=endpoint.timeout_s,
        compression=compression,
        channel_options=tuple(options),
        retryable_error_codes=_RETRYABLE,
    )
    return made
