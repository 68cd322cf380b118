"""Servers that break, lie, fall silent and refuse: each gives one failure of the right kind."""

import asyncio
import contextlib
import gzip
import random
import socket
from typing import Any

import pytest

from chatbot.errors import FailureKind
from chatbot.messages import Cancel, Cancelled, Delta, Failed, Retrying, Sending
from chatbot.wire.format import MAX_LINE_BYTES, MAX_RESPONSE_BYTES
from chatbot.worker import call as call_room
from chatbot.worker import retry
from tests.actors.test_worker import KEY, KEYED, Room, settings_for, text_of
from tests.fake_llm import DEADLINE_S, END, FakeLlm, Gate, Script, Visit, nobody_listens, piece

SHORT: dict[str, Any] = {"read_timeout_s": 0.3}


async def cut(visit: Visit) -> None:
    await visit.begin()
    await visit.send(piece("half"))


async def cut_chunked(visit: Visit) -> None:
    await visit.begin(transfer_encoding="chunked")
    await visit.chunk(piece("half"))


async def cut_in_a_chunk(visit: Visit) -> None:
    await visit.begin(transfer_encoding="chunked")
    await visit.chunk(piece("half"))
    await visit.send(b"ffff\r\ndata: {")


async def cut_short_of_its_length(visit: Visit) -> None:
    await visit.begin(content_length="5000")
    await visit.send(piece("half"))


async def error_event(visit: Visit) -> None:
    await visit.begin()
    await visit.send(piece("half") + b'data: {"error":{"message":"the GPU is on fire"}}\n\n')


async def no_json(visit: Visit) -> None:
    await visit.begin()
    await visit.send(piece("half") + b"data: {]\n\n")


async def no_end(visit: Visit) -> None:
    await visit.begin(transfer_encoding="chunked")
    await visit.chunk(piece("half"))
    await visit.send(b"0\r\n\r\n")


async def silence(visit: Visit) -> None:
    await cut(visit)
    await visit.closed()


async def endless_line(visit: Visit) -> None:
    await cut(visit)
    await visit.send(b"data: " + b"x" * (MAX_LINE_BYTES + 100))
    await visit.closed()


async def endless_response(visit: Visit) -> None:
    await cut(visit)
    for _ in range(MAX_RESPONSE_BYTES // 65536 + 2):
        await visit.send(b": " + b"x" * 65533 + b"\n")
    await visit.closed()


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        (cut, "connection_lost", "middle of the answer"),
        (cut_chunked, "connection_lost", "cut off"),
        (cut_in_a_chunk, "connection_lost", "cut off"),
        (cut_short_of_its_length, "connection_lost", "cut off"),
        (error_event, "server_error", "the GPU is on fire"),
        (no_json, "malformed", "OPENAI_BASE_URL"),
        (no_end, "connection_lost", "middle of the answer"),
        (silence, "timeout", "went silent"),
        (endless_line, "malformed", "longer than 1 MiB"),
        (endless_response, "malformed", "larger than 16 MiB"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_breaks_in_mid_stream_keeps_the_text_and_is_never_sent_again(
    script: Script, kind: FailureKind, said: str
) -> None:
    async def after_request(visit: Visit) -> None:
        await visit.request()
        await script(visit)

    with FakeLlm(after_request) as server, Room(settings_for(server.base_url, **SHORT)) as room:
        request_id = room.call()
        failed = room.end_of(request_id)
        messages = room.of(request_id)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.text) == (kind, "half")
    assert said in failed.message
    assert_one_line(failed.message)
    assert [type(m) for m in messages] == [Sending, Delta, Failed]
    assert len(server.requests) == 1
    assert_logged_as_failed(room, failed)


def test_a_chunk_without_a_size_in_mid_stream_does_not_hang() -> None:
    gate = Gate()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin(transfer_encoding="chunked")
        await visit.chunk(piece("half"))
        await gate.passed()  # in the same read as the head, it would spoil the whole response
        await visit.send(b"not-hex\r\nxx\r\n")
        await visit.closed()

    with FakeLlm(script) as server, Room(settings_for(server.base_url, **SHORT)) as room:
        request_id = room.call()
        room.wait_for(Delta, request_id)
        gate.open()
        failed = room.end_of(request_id)
    assert failed.kind in ("timeout", "connection_lost")  # by whichever notices first
    assert failed.text == "half"
    assert len(server.requests) == 1


def test_a_reset_in_mid_stream_keeps_the_text() -> None:
    gate = Gate()

    async def script(visit: Visit) -> None:
        await visit.request()
        await cut(visit)
        await gate.passed()
        visit.reset()

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        room.wait_for(Delta, request_id)
        gate.open()
        failed = room.end_of(request_id)
    assert (failed.kind, failed.text) == ("connection_lost", "half")


def respond(data: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.send(data)

    return script


def respond_with(status: int, body: bytes = b"", **headers: str) -> Script:
    async def script(visit: Visit) -> None:
        await visit.respond(status, body, **headers)

    return script


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        (respond(b"SSH-2.0-OpenSSH_9.2\r\n"), "malformed", "not HTTP"),
        (respond(b"\x00\xff\x17garbage"), "malformed", "not HTTP"),
        (respond(b"HTTP/1.1 404 \xff\xfe\r\ncontent-length: 0\r\n\r\n"), "not_found", "404"),
        (respond(b""), "connection_lost", "closed the connection"),
        (respond_with(200), "connection_lost", "ask again"),
        (
            respond_with(200, gzip.compress(piece("x") + END), content_encoding="gzip"),
            "malformed",
            "compressed (gzip)",
        ),
        (respond_with(200, b"<html>", content_type="text/html; charset=x"), "malformed", "HTML"),
        (respond_with(302, location="http://127.0.0.1:1/"), "bad_request", "redirect"),
        (respond_with(307, location="/elsewhere"), "bad_request", "OPENAI_BASE_URL"),
        (respond_with(204), "bad_request", "204"),
        (respond_with(400, b'{"error":{"message":"bad option"}}'), "bad_request", "bad option"),
        (respond_with(401, b'{"error":{"message":"no"}}'), "auth", "OPENAI_API_KEY"),
        (respond_with(403), "auth", "OPENAI_API_KEY"),
        (respond_with(404, b'{"error":"no model m"}'), "model_not_found", "/models"),
        (respond_with(413), "bad_request", "/new-session"),
        (respond_with(501, x_should_retry="false"), "server_error", "try again later"),
        (respond_with(429, x_should_retry="false"), "rate_limited", "too many requests"),
        (respond_with(429, retry_after="61"), "rate_limited", "try again in 61 s"),
        (respond_with(503, retry_after="3600"), "server_error", "try again in 3600 s"),
    ],
)
def test_what_will_not_get_better_is_refused_at_once(
    script: Script, kind: FailureKind, said: str
) -> None:
    async def after_request(visit: Visit) -> None:
        await visit.request()
        await script(visit)

    with FakeLlm(after_request) as server, Room(settings_for(server.base_url, **SHORT)) as room:
        request_id = room.call()
        failed = room.end_of(request_id)
        messages = room.of(request_id)
    assert isinstance(failed, Failed)
    assert failed.kind == kind
    assert said in failed.message
    assert_one_line(failed.message)
    assert [type(m) for m in messages] == [Sending, Failed]
    assert len(server.requests) == 1
    assert_logged_as_failed(room, failed)


def test_silence_before_the_response_is_not_tried_again() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.closed()

    with FakeLlm(script) as server, Room(settings_for(server.base_url, **SHORT)) as room:
        failed = room.ask()
    assert failed.kind == "timeout"
    assert len(server.requests) == 1


def test_pings_do_not_pass_for_content() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        await visit.send(piece("half"))
        while not visit.reader.at_eof():
            await visit.send(b": ping\n\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(visit.reader.read(1), 0.02)

    limits: dict[str, Any] = {"read_timeout_s": 5.0, "content_timeout_s": 0.3}
    with FakeLlm(script) as server, Room(settings_for(server.base_url, **limits)) as room:
        failed = room.ask()
    assert (failed.kind, failed.text) == ("timeout", "half")
    assert "keep-alives" in failed.message


def test_content_extends_the_limit_on_silence() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        for _ in range(8):
            await visit.send(piece("x"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(visit.reader.read(1), 0.1)
        await visit.send(END)

    limits: dict[str, Any] = {"content_timeout_s": 0.4}
    with FakeLlm(script) as server, Room(settings_for(server.base_url, **limits)) as room:
        assert room.ask().completion.text == "x" * 8


def test_the_whole_call_has_a_limit_too() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await cut(visit)
        await visit.closed()

    with (
        FakeLlm(script) as server,
        Room(settings_for(server.base_url, total_timeout_s=0.3)) as room,
    ):
        failed = room.ask()
    assert (failed.kind, failed.text) == ("timeout", "half")
    assert "no end within 0.3 s" in failed.message
    (span,) = room.spans("process llm.requests")
    assert span.error == "timeout"


def test_an_answer_is_whole_when_the_connection_breaks_after_its_reason() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin(transfer_encoding="chunked")
        await visit.chunk(piece("whole") + END.removesuffix(b"data: [DONE]\n\n"))

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        answered = room.ask()
    assert answered.completion.text == "whole"
    assert answered.completion.finish_reason == "stop"


def test_an_answer_that_is_too_long_to_be_kept_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.worker.answer.MAX_CHARS", 10)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        for _ in range(4):
            await visit.send(piece("four"))
        await visit.closed()

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        failed = room.ask()
    assert (failed.kind, failed.text) == ("malformed", "fourfour")


def test_a_long_conversation_arrives_whole() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.answer("ok")

    content = "0123456789" * 300_000
    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert room.ask(content=content).completion.text == "ok"
    (request,) = server.requests
    assert content.encode() in request.body
    assert "transfer-encoding" not in request.headers


def test_a_refusal_before_the_request_is_read_does_not_hang() -> None:
    gate = Gate()

    async def script(visit: Visit) -> None:
        await visit.reader.readexactly(10)
        visit.stop_reading()
        await visit.respond(413)
        await gate.passed()

    with (
        FakeLlm(script, receive_buffer=4096) as server,
        Room(settings_for(server.base_url)) as room,
    ):
        failed = room.ask(content="x" * 3_900_000)
        gate.open()
    assert failed.status == 413


def test_an_answer_that_has_begun_is_never_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatbot.worker.retry.delay_s", lambda *_: 0.001)  # says yes to anything

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()  # the head is enough: nothing of the body ever comes

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        assert isinstance(room.end_of(request_id), Failed)
        assert [type(m) for m in room.of(request_id)] == [Sending, Failed]
    assert len(server.requests) == 1


# --- retries ---------------------------------------------------------------------------------


def refuse_once(status: int, **headers: str) -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        if visit.number == 0:
            await visit.respond(status, b'{"error":{"message":"not now"}}', **headers)
        else:
            await visit.answer("at last")

    return script


@pytest.mark.parametrize(
    "script",
    [
        refuse_once(408, retry_after_ms="1"),
        refuse_once(409, retry_after_ms="1"),
        refuse_once(429, retry_after="0.001"),
        refuse_once(500, retry_after_ms="1"),
        refuse_once(503, retry_after_ms="1", retry_after="99"),
        refuse_once(529, retry_after_ms="1"),
        refuse_once(400, retry_after_ms="1", x_should_retry="true"),
    ],
)
def test_a_refusal_that_may_pass_is_tried_again(script: Script) -> None:
    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        assert room.end_of(request_id).completion.text == "at last"
        messages = room.of(request_id)
    assert [type(m) for m in messages[:3]] == [Sending, Retrying, Delta]
    retrying = messages[1]
    assert isinstance(retrying, Retrying)
    assert retrying.delay_s == 0.001
    assert "not now" in retrying.reason
    assert text_of(messages) == "at last"


def test_a_server_that_goes_on_refusing_is_asked_three_times() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.respond(503, retry_after_ms="1")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        failed = room.end_of(request_id)
        assert [type(m) for m in room.of(request_id)] == [Sending, Retrying, Retrying, Failed]
    assert (failed.kind, failed.status) == ("server_error", 503)
    assert len(server.requests) == 3
    first, second, third = room.spans("openai_api_call")
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert third.attributes["http.request.resend_count"] == 2
    assert {s.attributes["error.type"] for s in (first, second, third)} == {"503"}
    (parent,) = room.spans("process llm.requests")
    assert {s.parent_id for s in (first, second, third)} == {parent.span_id}
    assert [s.parent_id for s in room.spans("retry_backoff")] == [parent.span_id] * 2
    assert [m.attributes for m in room.measured("chatbot.retries")] == [{"backend": "openai"}] * 2


def test_a_refusal_whose_body_is_cut_or_never_comes_is_still_that_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_room, "ERROR_BODY_S", 0.1)

    async def script(visit: Visit) -> None:
        await visit.request()
        head = b"HTTP/1.1 503 Busy\r\ncontent-length: 100\r\nretry-after-ms: 1\r\n\r\n"
        if visit.number < 2:
            await visit.send(head + b"cut")
            if visit.number == 1:
                await visit.closed()
        else:
            await visit.answer("at last")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert room.ask().completion.text == "at last"


def test_a_connection_that_cannot_be_made_is_tried_again_elsewhere_than_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # To the worker this address is another machine's, so that "refused" may pass.
    monkeypatch.setattr("chatbot.settings.Backend.is_loopback", property(lambda self: False))
    monkeypatch.setattr("chatbot.worker.retry.delay_s", _soon)
    with nobody_listens() as url, Room(settings_for(url)) as room:
        request_id = room.call()
        failed = room.end_of(request_id)
        assert [type(m) for m in room.of(request_id)] == [Sending, Retrying, Retrying, Failed]
    assert failed.kind == "unreachable"


def test_localhost_where_nobody_listens_is_hopeless_under_both_its_addresses() -> None:
    with nobody_listens() as url:
        port = url.rpartition(":")[2]
        with Room(settings_for(f"http://localhost:{port}")) as room:
            request_id = room.call()
            failed = room.end_of(request_id)
            assert [type(m) for m in room.of(request_id)] == [Sending, Failed]
    assert failed.kind == "unreachable"
    assert "connection refused" in failed.message


def test_a_refusal_by_a_server_that_is_answering_others_may_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatbot.worker.retry.delay_s", _soon)
    gate = Gate()

    async def script(visit: Visit) -> None:
        await visit.request()
        await cut(visit)
        server.listen_no_more()
        await gate.passed()
        await visit.send(END)

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        first = room.call()
        assert gate.reached.wait(DEADLINE_S)
        room.wait_for(Delta, first)
        second = room.call()
        assert room.end_of(second).kind == "unreachable"
        assert [type(m) for m in room.of(second)] == [Sending, Retrying, Retrying, Failed]
        gate.open()
        assert room.end_of(first).completion.text == "half"


def test_a_connection_that_takes_too_long_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.worker.retry.delay_s", _soon)
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fill the queue of those that wait to be accepted
            filler = waiting.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        with Room(settings_for(url, connect_timeout_s=0.1)) as room:
            request_id = room.call()
            failed = room.end_of(request_id)
            assert [type(m) for m in room.of(request_id)] == [Sending, Retrying, Retrying, Failed]
    assert failed.kind == "unreachable"
    assert "time limit" in failed.message


def test_a_cancel_while_connecting_ends_the_call() -> None:
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        with Room(settings_for(f"http://127.0.0.1:{full.getsockname()[1]}")) as room:
            request_id = room.call()
            room.wait_for(Sending, request_id)
            room.send(Cancel(request_id))
            assert isinstance(room.end_of(request_id), Cancelled)


# --- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", ["", "x" * 280, "x" * 285])
@pytest.mark.parametrize("status", [401, 503, 200])
def test_a_key_that_the_server_echoes_is_seen_nowhere(lead: str, status: int) -> None:
    body = b'{"error":{"message":"%b Incorrect API key provided: %b."}}' % (
        lead.encode(),
        KEY.encode(),
    )

    async def script(visit: Visit) -> None:
        request = await visit.request()
        assert KEY in request.headers["authorization"]
        if status == 200:
            body_of_stream = b"data: " + body + b"\n\n"
            await visit.respond(200, body_of_stream, content_type="text/event-stream")
        else:
            await visit.respond(status, body, retry_after_ms="1")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        failed = room.ask()
    assert isinstance(failed, Failed)
    for seen in (repr(room.messages), repr(room.records)):
        assert KEY[:13] not in seen
    assert room.spans("openai_api_call")[0].error


# --- whatever else a server may send ---------------------------------------------------------


def test_no_garbage_makes_anything_but_one_terminal() -> None:
    dice = random.Random(20)
    good = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n"
    )
    body = piece("some text") + END
    good += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    def spoil(data: bytes) -> bytes:
        spoilt = bytearray(data)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(spoilt))
            match dice.randrange(3):
                case 0:
                    spoilt[at] = dice.randrange(256)
                case 1:
                    del spoilt[at : at + dice.randint(1, 30)]
                case _:
                    spoilt.insert(at, dice.randrange(256))
        return bytes(spoilt)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(spoil(good))

    count = 300
    limits: dict[str, Any] = {"read_timeout_s": 2.0, "max_retries": 0}
    with FakeLlm(script) as server, Room(settings_for(server.base_url, **limits)) as room:
        ids = [room.call() for _ in range(count)]
        ends = [room.end_of(request_id) for request_id in ids]
    assert not [e for e in ends if isinstance(e, Failed) and e.kind == "internal"]
    assert not [r for r in room.logged() if r.event in ("crashed", "event_loop")], room.logged()


def assert_logged_as_failed(room: Room, failed: Failed) -> None:
    """The log has that and nothing else: in the call's trace, and without what the server said."""
    (line,) = room.logged()
    assert (line.level, line.event) == ("warning", "call_failed")
    (span,) = room.spans("process llm.requests")
    assert line.traceparent == f"00-{span.trace_id}-{span.span_id}-01"
    assert line.fields == {
        "request_id": failed.request_id,
        "backend": KEYED,
        "kind": failed.kind,
        "status": failed.status or 0,
    }


def assert_one_line(message: str) -> None:
    assert "\n" not in message
    assert "Traceback" not in message
    assert "Error(" not in message
    assert len(message) < 500


def _soon(error: Any, retries: int, max_retries: int, chance: float) -> float | None:
    del chance
    retryable = retry._is_retryable(error) and retries < max_retries
    return 0.001 if retryable else None
