"""Past traces, posted to an OTLP/HTTP endpoint as protobuf: `chatbot trace send`.

Owns the requests and what the other side says to them. It reads no file: lines of OTLP-JSON are handed in.
It runs in the process of the command line, without the SDK and its queues: a person waits, and is told what
goes wrong, and that a receiver which is busy is asked again. Protobuf, because not every receiver reads JSON.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import base64
import email.utils
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from chatbot.sanitize import one_line
from chatbot.version import __version__

PATH = "/v1/traces"

_SPANS_AT_MOST = 512
_BYTES_AT_MOST = 2 * 1024 * 1024
_TIMEOUT_S = 30.0
_ANSWER_AT_MOST = 64 * 1024
_IDS = ("traceId", "spanId", "parentSpanId")

_BUSY = (429, 502, 503, 504)  # what the specification has asked again; all else is for good
_GIVES_UP_AFTER_S = 60.0
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 15.0


class Sent(NamedTuple):
    """What a request has come to: so many spans, and what the receiver rejected of them, and why."""

    spans: int
    rejected: int
    message: str


class Address(NamedTuple):
    """Where to post to. `shown` is for a person: a password or a key in the address is not in it."""

    url: str
    shown: str
    headers: dict[str, str]


class Clock(NamedTuple):
    """Time, for the waits: a test has another."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep  # Ctrl-C ends it


def endpoint(url: str) -> Address:
    """Return the address to post to: a base address gets the path of traces, and a name and a password
    in it become a header. Raises UsageError."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            f"{url.rpartition('@')[2].partition('?')[0]!r} is no address: give one such as"
            f" http://localhost:4318, or all of it up to {PATH}"
        )
    user, has_user, host = parts.netloc.rpartition("@")
    base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
    shown = f"{base}{'' if base.endswith(PATH) else PATH}"
    headers: dict[str, str] = {}
    if has_user:
        name, _, password = user.partition(":")
        pair = f"{unquote(name)}:{unquote(password)}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return Address(f"{shown}?{parts.query}" if parts.query else shown, shown, headers)


def headers_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, else of `OTEL_EXPORTER_OTLP_HEADERS`."""
    text = environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environ.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    pairs = (entry.split("=", 1) for entry in text.split(",") if "=" in entry)
    return {unquote(name.strip()): unquote(value.strip()) for name, value in pairs if name.strip()}


def send(
    lines: Iterable[bytes],
    to: Address,
    headers: Mapping[str, str],
    waits: Callable[[str], None],
    clock: Clock = Clock(),  # noqa: B008 - frozen
) -> Iterator[Sent]:
    """Post lines of OTLP-JSON, several in one request; yield after each request.

    Blocks for 30 s at most for each try; a receiver that is busy is asked again for 60 s, and `waits` is
    told why before each wait. Raises ChatbotError when a request is not taken: what was yielded before has
    arrived.
    """
    opener = _opener(to.url)
    for request in _batches(lines):
        spans = _spans_in(request)
        answer = _insist(opener, to, headers, request.SerializeToString(), waits, clock)
        rejected, message = _partial_success(answer)
        yield Sent(spans, rejected, message)


def wait_s(number: int, retry_after: str, now: float) -> float:
    """Return how long to wait after so many tries: what the receiver asks for (seconds, or a date), else
    twice as long each time. Pure, and without chance: there is one sender, and it sends one at a time."""
    doubled = min(_FIRST_WAIT_S * 2.0 ** (number - 1), _LONGEST_WAIT_S)
    asked = retry_after.strip()
    if asked.isascii() and asked.isdecimal() and len(asked) < 10:
        return max(float(asked), _FIRST_WAIT_S)
    try:
        return max(email.utils.parsedate_to_datetime(asked).timestamp() - now, _FIRST_WAIT_S)
    except (ValueError, TypeError, OverflowError):
        return doubled


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


class _Busy(ChatbotError):
    """Raised when the receiver has no time just now."""

    def __init__(self, line: str, status: int, retry_after: str) -> None:
        super().__init__(line)
        self.status = status
        self.retry_after = retry_after


def _insist(
    opener: urllib.request.OpenerDirector,
    to: Address,
    headers: Mapping[str, str],
    body: bytes,
    waits: Callable[[str], None],
    clock: Clock,
) -> bytes:
    """Post, and again while the receiver is busy. Raises ChatbotError, also where it is so for too long
    or asks for more patience than there is."""
    gives_up_at = clock.monotonic() + _GIVES_UP_AFTER_S
    number = 0
    while True:
        try:
            return _post(opener, to, headers, body)
        except _Busy as error:
            number += 1
            pause_s = wait_s(number, error.retry_after, clock.wall())
            if clock.monotonic() + pause_s > gives_up_at:
                raise
            waits(f"it answers {error.status}")
            clock.sleep(pause_s)


def _post(
    opener: urllib.request.OpenerDirector, to: Address, headers: Mapping[str, str], body: bytes
) -> bytes:
    own = {
        "Content-Type": "application/x-protobuf",
        "User-Agent": f"chatbot/{__version__}",
    }
    try:
        all_headers = {**headers, **to.headers, **own}
        request = urllib.request.Request(to.url, body, all_headers, method="POST")  # noqa: S310 - http or https, by `endpoint`
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            return bytes(response.read(_ANSWER_AT_MOST))
    except urllib.error.HTTPError as error:
        with error:
            line = one_line(f"{to.shown} answers {error.code} {error.reason}")
            if error.code not in _BUSY:
                raise ChatbotError(line) from error
            retry_after = error.headers.get("Retry-After") or ""
            raise _Busy(line, error.code, retry_after) from error
    except urllib.error.URLError as error:
        raise ChatbotError(one_line(f"cannot reach {to.shown}: {error.reason}")) from error
    except (OSError, http.client.IncompleteRead) as error:
        why = str(error) or type(error).__name__
        raise ChatbotError(one_line(f"cannot send to {to.shown}: {why}")) from error
    except http.client.HTTPException as error:  # its text would be what was answered
        raise ChatbotError(
            f"{to.shown} does not answer in HTTP/1.1: is it a gRPC port (4317)? trace send needs HTTP (4318)"
        ) from error
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
