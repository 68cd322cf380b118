"""OTLP over HTTP: the SDK's exporters, without their patience.

Owns how long a request may take and that it is made once: the gate looks again later, and a thread
that waits in retries is one that sends nothing. Imported by `otlp` when there is a collector.
Headers and certificates are read by the SDK from the standard variables.
"""

from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from chatbot.backends import is_loopback
from chatbot.telemetry.destination import Endpoint, Signal
from chatbot.telemetry.gate import Exporter

# The exporter's timeout is for all its tries together. It waits at least 0.8 s before the second one,
# so that this leaves it one, and a fresh connection for one that the collector has closed meanwhile.
# The time for the request itself is ours.
_NO_TIME_TO_RETRY_S = 0.5

_EXPORTERS: dict[Signal, Any] = {
    "traces": OTLPSpanExporter,
    "metrics": OTLPMetricExporter,
    "logs": OTLPLogExporter,
}


class Session(requests.Session):
    """A session whose requests take so long at most. To this machine it goes without a proxy."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._timeout_s = endpoint.timeout_s
        self.trust_env = not is_loopback(endpoint.host)

    def request(self, *arguments: Any, **more: Any) -> requests.Response:
        """Make a request."""
        more["timeout"] = self._timeout_s
        return super().request(*arguments, **more)


def exporter(endpoint: Endpoint, signal: Signal) -> Exporter:
    """Return the exporter of a signal."""
    made: Exporter = _EXPORTERS[signal](
        endpoint=endpoint.url,
        timeout=_NO_TIME_TO_RETRY_S,
        compression=Compression(endpoint.compression or "none"),
        session=Session(endpoint),
    )
    return made
