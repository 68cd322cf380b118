"""OTLP over HTTP: the SDK's exporters, without their patience, and with a reason when they fail.

Owns how long a request may take and that it is made once: the gate looks again later, and a thread
that waits in retries is one that sends nothing. The reason holds nothing that an address or a header
may hide. Imported by `otlp` when there is a collector.
Headers and certificates are read by the SDK from the standard variables.
"""

import errno
import os
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from chatbot.backends import is_loopback
from chatbot.telemetry import redact
from chatbot.telemetry.destination import Endpoint, Signal
from chatbot.telemetry.gate import Exporter, NotTaken

# The exporter's timeout is for all its tries together. It waits at least 0.8 s before the second one,
# so that this leaves it one, and a fresh connection for one that the collector has closed meanwhile.
# The time for the request itself is ours.
_NO_TIME_TO_RETRY_S = 0.5

_LONGEST = 300

_EXPORTERS: dict[Signal, Any] = {
    "traces": OTLPSpanExporter,
    "metrics": OTLPMetricExporter,
    "logs": OTLPLogExporter,
}


class Session(requests.Session):
    """A session whose requests take so long at most, and that keeps why the last one failed. To this
    machine it goes without a proxy."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.failure: NotTaken | None = None
        self._endpoint = endpoint
        self.trust_env = not is_loopback(endpoint.host)

    def request(self, *arguments: Any, **more: Any) -> requests.Response:
        """Make a request."""
        more["timeout"] = self._endpoint.timeout_s
        try:
            response = super().request(*arguments, **more)
        except Exception as error:
            reason = _masked(_innermost(error), self._endpoint.url, more.get("headers") or {})
            self.failure = NotTaken(reason)
            if isinstance(error, requests.ConnectionError | requests.Timeout):
                raise
            raise requests.RequestException(reason) from None  # the SDK logs what it gets
        self.failure = _verdict(response.status_code)
        return response


class Outspoken:
    """The SDK's exporter, which says itself only that it failed, and its session, which knows why."""

    def __init__(self, exporter: Exporter, session: Session) -> None:
        self._exporter = exporter
        self._session = session

    def export(self, batch: Any, /) -> Enum:
        """Send. A redirection, which the SDK takes for a success, is none."""
        self._session.failure = None
        result = self._exporter.export(batch)
        if self._session.failure is not None:
            raise self._session.failure
        return result

    def shutdown(self) -> None:
        """Have whoever waits in `export` give up."""
        self._exporter.shutdown()


def exporter(endpoint: Endpoint, signal: Signal) -> Exporter:
    """Return the exporter of a signal. Raises OSError when there is no such certificate."""
    session = Session(endpoint)
    made: Exporter = _EXPORTERS[signal](
        endpoint=endpoint.url,
        timeout=_NO_TIME_TO_RETRY_S,
        compression=Compression(endpoint.compression or "none"),
        session=session,
    )
    if not endpoint.insecure:
        own = session.cert if isinstance(session.cert, tuple) else (session.cert,)
        for file in (session.verify, *own):
            if isinstance(file, str) and not os.path.exists(file):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)
    return Outspoken(made, session)


def _verdict(status: int) -> NotTaken | None:
    if 200 <= status < 300:
        return None
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    return NotTaken(f"HTTP {status} {phrase}".rstrip(), refused=400 <= status < 500)


def _innermost(error: Exception) -> str:
    """Return what has happened, without the wrappings of the libraries, which name the whole URL."""
    wrapped = error.args[0] if error.args else None
    return str(getattr(wrapped, "reason", None) or error)[:_LONGEST] or type(error).__name__


def _masked(text: str, url: str, headers: Mapping[str, str | bytes]) -> str:
    parts = urlsplit(url)
    values = [value for value in headers.values() if isinstance(value, str)]
    for secret in (parts.query, parts.username, parts.password, *values):
        if secret:
            text = text.replace(secret, redact.MASK).replace(repr(secret)[1:-1], redact.MASK)
    return text
