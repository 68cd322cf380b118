"""Past traces as OTLP requests: what arrives, where it goes to, and what the other side may say."""

import json
import socketserver
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from chatbot.errors import ChatbotError, UsageError
from chatbot.telemetry.send import Clock, endpoint, headers_of, request_of, send
from tests.fake_llm import nobody_listens
from tests.unit.test_traces_spans import SPAN, TRACE, line, span

EPOCH = 1767225600.0  # the first second of 2026


def never(why: str) -> None:
    """Nothing is to be waited for; where it is, the clock has something to say about it."""


class Collector(ThreadingHTTPServer):
    """Takes requests, and answers them as it is told."""

    def __init__(self, status: int, body: bytes, retry_after: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.retry_after = status, body, retry_after
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[Any] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest.FromString(body)
        found = [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        self.server.spans.append(found)
        self.server.paths.append(self.path)
        self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(self.server.status)
        self.send_header("location", "/elsewhere")
        if self.server.retry_after:
            self.send_header("retry-after", self.server.retry_after)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""


@contextmanager
def collector(status: int = 200, body: bytes = b"", retry_after: str = "") -> Iterator[Collector]:
    server = Collector(status, body, retry_after)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_request_holds_what_the_line_holds() -> None:
    whole = span(
        parentSpanId="ef" * 8,
        attributes=[{"key": "n", "value": {"intValue": "9007199254740993"}}],
        links=[{"traceId": "12" * 16, "spanId": "34" * 8}],
        status={"code": 2, "message": "refused"},
        newer="field",
    )
    request = request_of(line(whole, **{"service.name": {"stringValue": "chatbot-ui"}}))
    (source,) = request.resource_spans
    (read,) = source.scope_spans[0].spans
    assert source.resource.attributes[0].value.string_value == "chatbot-ui"
    assert (read.trace_id.hex(), read.span_id.hex(), read.parent_span_id.hex()) == (
        *(TRACE, SPAN),
        "ef" * 8,
    )
    assert (read.links[0].trace_id.hex(), read.links[0].span_id.hex()) == ("12" * 16, "34" * 8)
    assert (read.kind, read.start_time_unix_nano, read.status.code) == (3, 1, 2)
    assert read.attributes[0].value.int_value == 9007199254740993


def test_many_lines_become_few_requests_and_every_span_arrives() -> None:
    lines = [line(*[span(spanId=f"{n:08x}{k:08x}") for k in range(100)]) for n in range(12)]
    with collector() as server:
        sent = list(send(lines, endpoint(server.url), {"x-key": "k"}, never))
    assert [s.spans for s in sent] == [500, 500, 200]
    assert len({s.span_id for batch in server.spans for s in batch}) == 1200
    assert set(server.paths) == {"/v1/traces"}
    assert server.headers[0]["x-key"] == "k"
    assert server.headers[0]["content-type"] == "application/x-protobuf"


def test_what_the_receiver_rejects_is_told() -> None:
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
    body = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    with collector(body=body) as server:
        (sent,) = send([line(span())], endpoint(server.url), {}, never)
    assert sent == (1, 1, "too old")


@pytest.mark.parametrize("status", [302, 400, 404, 500])
def test_a_refusal_and_a_redirection_are_failures(status: int) -> None:
    with collector(status) as server, pytest.raises(ChatbotError, match=str(status)):
        list(send([line(span())], endpoint(server.url), {}, never))
    assert len(server.paths) == 1


class Hours:
    """A clock that only waiting moves on; `then` is done in each wait."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.waited: list[float] = []
        self.why: list[str] = []
        self._then = then

    def clock(self) -> Clock:
        return Clock(lambda: sum(self.waited), lambda: EPOCH + sum(self.waited), self._sleep)

    def _sleep(self, for_s: float) -> None:
        self.waited.append(for_s)
        self._then()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_receiver_is_asked_again_until_it_takes_it(status: int) -> None:
    lines = [line(*[span(spanId=f"{n:08x}{k:08x}") for k in range(400)]) for n in range(2)]
    with collector(status) as server:

        def recover() -> None:
            server.status = 200 if len(hours.waited) == 3 else status

        hours = Hours(recover)
        sent = send(lines, endpoint(server.url), {}, hours.why.append, hours.clock())
        assert [s.spans for s in sent] == [400, 400]
    assert hours.waited == [1, 2, 4]
    assert hours.why == [f"it answers {status}"] * 3
    assert [len(batch) for batch in server.spans] == [400] * 5


def test_a_receiver_that_stays_busy_is_given_up_after_a_minute() -> None:
    hours = Hours()
    with collector(503) as server, pytest.raises(ChatbotError, match="answers 503"):
        list(send([line(span())], endpoint(server.url), {}, never, hours.clock()))
    assert 45 <= sum(hours.waited) <= 60
    assert len(server.paths) == len(hours.waited) + 1


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [
        ("7", 7),
        ("Thu, 01 Jan 2026 00:00:09 GMT", 9),
        ("Thu, 01 Jan 2026 00:00:00 -0000", 1),  # by now
        ("0", 1),
        ("-5", 1),
        ("soon", 1),
        ("", 1),
    ],
)
def test_the_wait_is_what_the_receiver_asks_for(retry_after: str, waited: float) -> None:
    with collector(503, retry_after=retry_after) as server:
        hours = Hours(lambda: setattr(server, "status", 200))
        list(send([line(span())], endpoint(server.url), {}, hours.why.append, hours.clock()))
    assert hours.waited == [waited]


def test_a_receiver_that_asks_for_too_much_patience_is_given_up_at_once() -> None:
    hours = Hours()
    with collector(503, retry_after="61") as server, pytest.raises(ChatbotError, match="503"):
        list(send([line(span())], endpoint(server.url), {}, never, hours.clock()))
    assert hours.waited == []


@contextmanager
def answering(first: bytes) -> Iterator[str]:
    """A port that answers whoever comes with these bytes, and hangs up."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (each := self.rfile.readline()) and each != b"\r\n":
                pass
            self.wfile.write(first)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


# What an HTTP/2 server sends first: its settings.
@pytest.mark.parametrize(
    "first", [b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0", b"HTTP/2.0 200 OK\r\n"]
)
def test_a_grpc_port_is_told_in_words(first: bytes) -> None:
    with answering(first) as url, pytest.raises(ChatbotError) as raised:
        list(send([line(span())], endpoint(url), {}, never))
    assert "gRPC port (4317)" in str(raised.value)
    assert str(raised.value).isprintable()


def test_what_the_receiver_says_cannot_drive_a_terminal() -> None:
    with (
        answering(b"HTTP/1.1 400 \x1b[2J\x9b31m\r\ncontent-length: 0\r\n\r\n") as url,
        pytest.raises(ChatbotError, match="answers 400") as raised,
    ):
        list(send([line(span())], endpoint(url), {}, never))
    assert str(raised.value).isprintable()


def test_a_name_and_a_password_become_a_header_and_neither_they_nor_a_key_are_shown() -> None:
    with collector(400) as server:
        url = server.url.replace("//", "//us%40er:p%3Aw@") + "/x?key=1"
        with pytest.raises(ChatbotError) as raised:
            list(send([line(span())], endpoint(url), {"authorization": "other"}, never))
    assert server.paths == ["/x/v1/traces?key=1"]
    assert server.headers[0]["authorization"] == f"Basic {b64encode(b'us@er:p:w').decode()}"
    shown = f"{server.url}/x/v1/traces"
    assert str(raised.value).startswith(f"{shown} answers 400")
    assert endpoint(url).shown == shown
    with pytest.raises(UsageError) as refused:
        endpoint("ftp://user:secret@host/x?key=secret")
    assert "secret" not in str(refused.value)


def test_nobody_there_is_one_line() -> None:
    with nobody_listens() as url, pytest.raises(ChatbotError, match="cannot reach") as raised:
        list(send([line(span())], endpoint(url), {}, never))
    assert "\n" not in str(raised.value)


def test_a_header_that_is_none_does_not_tell_its_value() -> None:
    with collector() as server, pytest.raises(ChatbotError) as raised:
        list(send([line(span())], endpoint(server.url), {"authorization": "secret\nx"}, never))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "posted_to"),
    [
        ("http://host:4318", "http://host:4318/v1/traces"),
        ("http://host:4318/", "http://host:4318/v1/traces"),
        ("http://host/v1/traces", "http://host/v1/traces"),
        ("https://host/otlp/v1/traces/", "https://host/otlp/v1/traces"),
        ("https://host/otlp?x=1", "https://host/otlp/v1/traces?x=1"),
    ],
)
def test_a_base_address_gets_the_path_of_traces(url: str, posted_to: str) -> None:
    assert endpoint(url).url == posted_to


@pytest.mark.parametrize(
    "url", ["", "host:4318", "ftp://h", "http://", "http://h:x", "http://h/ü\n"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        endpoint(url)


def test_headers_come_from_the_standard_variables() -> None:
    general = {"OTEL_EXPORTER_OTLP_HEADERS": "a=1, b=x%20y%3D ,broken,=z"}
    assert headers_of(general) == {"a": "1", "b": "x y="}
    assert headers_of({**general, "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "c=3"}) == {"c": "3"}
    assert headers_of({}) == {}


@pytest.mark.parametrize(
    "bad", [b"{", b"[]", json.dumps({"resourceSpans": [7]}).encode(), line(span(traceId="xyz"))]
)
def test_a_line_that_is_no_trace_is_told(bad: bytes) -> None:
    with pytest.raises(ChatbotError, match="cannot be sent"):
        request_of(bad)
