"""Past traces, posted to an OTLP/HTTP endpoint as protobuf: `chatbot trace send`.

Owns the requests and what the other side says to them. It reads no file: lines of OTLP-JSON are handed in.
It runs in the process of the command line, without the SDK, its queues and its retries: a person waits, and
is told at once what went wrong. Protobuf, because not every receiver reads JSON.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import base64
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from chatbot.backends import is_loopback
from chatbot.errors import ChatbotError, UsageError
from chatbot.version import __version__

PATH = "/v1/traces"

_SPANS_AT_MOST = 512
_BYTES_AT_MOST = 2 * 1024 * 1024
_TIMEOUT_S = 30.0
_ANSWER_AT_MOST = 64 * 1024
_IDS = ("traceId", "spanId", "parentSpanId")


class Sent(NamedTuple):
    """What a request has come to: so many spans, and what the receiver rejected of them, and why."""

    spans: int
    rejected: int
    message: str


def endpoint(url: str) -> str:
    """Return the address to post to: a base address gets the path of traces. Raises UsageError."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            f"{url!r} is no address: give one such as http://localhost:4318, or all of it up to {PATH}"
        )
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{base}{'' if base.endswith(PATH) else PATH}{query}"


def headers_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, else of `OTEL_EXPORTER_OTLP_HEADERS`."""
    text = environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environ.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    pairs = (entry.split("=", 1) for entry in text.split(",") if "=" in entry)
    return {unquote(name.strip()): unquote(value.strip()) for name, value in pairs if name.strip()}


def send(lines: Iterable[bytes], url: str, headers: Mapping[str, str]) -> Iterator[Sent]:
    """Post lines of OTLP-JSON, several in one request; yield after each request.

    `url` is what `endpoint` has returned. Blocks for 30 s at most for each. Raises ChatbotError when one
    is not taken: what was yielded before has arrived.
    """
    opener = _opener(url)
    for request in _batches(lines):
        spans = _spans_in(request)
        answer = _post(opener, url, headers, request.SerializeToString())
        rejected, message = _partial_success(answer)
        yield Sent(spans, rejected, message)


def request_of(line: bytes) -> ExportTraceServiceRequest:
    """Return a line as a request. Raises ChatbotError where it is no OTLP-JSON.

    protobuf's own JSON has base64 where OTLP-JSON has hex.
    """
    try:
        whole: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        for source in whole.get("resourceSpans", ()):
            for scope in source.get("scopeSpans", ()):
                for span in scope.get("spans", ()):
                    for named in (span, *span.get("links", ())):
                        for key in _IDS:
                            if key in named:
                                named[key] = base64.b64encode(bytes.fromhex(named[key])).decode()
        request = ExportTraceServiceRequest()
        json_format.ParseDict(whole, request, ignore_unknown_fields=True)
    except (
        json_format.ParseError,
        msgspec.MsgspecError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise ChatbotError(f"a trace in the file cannot be sent: {error}") from error
    return request


def _batches(lines: Iterable[bytes]) -> Iterator[ExportTraceServiceRequest]:
    batch = ExportTraceServiceRequest()
    spans = size = 0
    for line in lines:
        request = request_of(line)
        more = _spans_in(request)
        if spans and (spans + more > _SPANS_AT_MOST or size + len(line) > _BYTES_AT_MOST):
            yield batch
            batch = ExportTraceServiceRequest()
            spans = size = 0
        batch.resource_spans.extend(request.resource_spans)
        spans += more
        size += len(line)
    if spans:
        yield batch


def _spans_in(request: ExportTraceServiceRequest) -> int:
    return sum(len(s.spans) for source in request.resource_spans for s in source.scope_spans)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, without its spans, and look like a success."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what opens the address: without a proxy on this machine, else by the usual variables."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _post(
    opener: urllib.request.OpenerDirector, url: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    own = {
        "Content-Type": "application/x-protobuf",
        "User-Agent": f"chatbot/{__version__}",
    }
    try:
        request = urllib.request.Request(url, body, {**headers, **own}, method="POST")  # noqa: S310 - http or https, by `endpoint`
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            return bytes(response.read(_ANSWER_AT_MOST))
    except urllib.error.HTTPError as error:
        with error:
            raise ChatbotError(f"{url} answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise ChatbotError(f"cannot reach {url}: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ChatbotError(f"cannot send to {url}: {error or type(error).__name__}") from error
    except ValueError as error:  # of a header; its value, which may be a key, is not told
        raise ChatbotError("OTEL_EXPORTER_OTLP_HEADERS holds what no header can be") from error


def _partial_success(answer: bytes) -> tuple[int, str]:
    """Return how many spans were rejected, and why; an answer that is none says nothing against it."""
    response = ExportTraceServiceResponse()
    try:
        response.ParseFromString(answer)
    except DecodeError:
        return 0, ""
    partial = response.partial_success
    return partial.rejected_spans, partial.error_message
