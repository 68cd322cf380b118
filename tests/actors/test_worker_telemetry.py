"""What a worker records of its calls: spans, counters, histograms; and that no key is in them."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from chatbot.mailbox import Outbox
from chatbot.messages import (
    Answered,
    Call,
    Cancel,
    Cancelled,
    ChatMessage,
    Delta,
    Failed,
    ListModels,
    Measurement,
    Message,
    ModelsListed,
    Record,
    Report,
    Retrying,
    Sending,
    SpanRecord,
    SpanStarted,
    Target,
)
from chatbot.otel import Tracing
from chatbot.tracing import CLIENT, CONSUMER, INTERNAL, Recorder, trace_id_of
from chatbot.worker import process
from tests.actors.test_worker import KEY, PARENT, TRACE, Room, settings_for
from tests.fake_llm import DEADLINE_S, END, FakeLlm, Visit, piece

USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12,'
    b'"prompt_tokens_details":{"cached_tokens":3,"audio":true},'
    b'"completion_tokens_details":{"reasoning_tokens":2}}}\n\n'
)
ANTHROPIC = b"""event: message_start
data: {"type":"message_start","message":{"id":"msg_1","model":"claude-x","usage":{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":1000}}}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":6}}

event: message_stop
data: {"type":"message_stop"}

"""


CAPTURES = Path(__file__).parents[1] / "captures"
OPTIONS: Any = {
    "temperature": 0.5,
    "max_tokens": 48,
    "top_p": 0.9,
    "top_k": 40,
    "seed": 4,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "n": 1,
    "stop": "END",
}


async def with_usage(visit: Visit) -> None:
    await visit.request()
    before, done = END.split(b"data: [DONE]")
    await visit.respond(200, piece("hi") + before + USAGE + b"data: [DONE]" + done)


async def without_usage(visit: Visit) -> None:
    await visit.request()
    await visit.answer("hi")


def recorded(
    script: Any,
    backend: Any = "openai",
    tracing: Tracing = Tracing(),  # noqa: B008 - frozen
    **about: Any,
) -> tuple[Room, FakeLlm]:
    """Make one call to that script; return the room, stopped and read out, and the server."""
    with FakeLlm(script) as server, Room(settings_for(server.base_url), tracing) as room:
        room.ask(backend, **about)
    return room, server


def captured(name: str) -> Any:
    """Return a script that answers as a real server did."""
    _, _, body = (CAPTURES / name).read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.respond(200, body)

    return script


async def refused_once(visit: Visit) -> None:
    await visit.request()
    if visit.number:
        await visit.answer("hi")
    else:
        await visit.respond(503, b"busy", retry_after="0.01")


def about(record: Any) -> str:
    """Return what a record is, in short: of a message its kind, of a record its name."""
    if isinstance(record, SpanStarted):
        return f"{record.name} begins"
    return getattr(record, "name", "") or type(record).__name__


def values(measured: list[Measurement]) -> list[tuple[str, float]]:
    return [(m.name, m.value) for m in measured]


def test_the_client_span_has_what_the_conventions_ask_for() -> None:
    options: Any = {"temperature": 0.5, "max_tokens": 9, "top_p": 0.9, "seed": 4, "stop": "x"}
    room, server = recorded(with_usage, options=options)
    (span,) = room.spans("openai_api_call")
    attributes = dict(span.attributes)
    assert 0 <= attributes.pop("gen_ai.response.time_to_first_chunk") < 20  # type: ignore[operator]
    port = int(server.base_url.rpartition(":")[2])
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.conversation.id": "s",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 4,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.response.id": "r-1",
        "gen_ai.response.model": "m-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.full": f"{server.base_url}/chat/completions",
    }
    assert span.kind == CLIENT
    assert [event.name for event in span.events] == ["first_token"]
    assert not span.error


def test_the_spans_stand_in_the_callers_trace_and_the_request_carries_it_on() -> None:
    room, server = recorded(with_usage)
    (client,) = room.spans("openai_api_call")
    (process,) = room.spans("process llm.requests")
    assert process.kind == CONSUMER
    assert process.trace_id == client.trace_id == TRACE
    assert process.parent_id == PARENT[36:52]
    assert client.parent_id == process.span_id
    sent = server.requests[0].headers["traceparent"]
    assert sent == f"00-{TRACE}-{client.span_id}-01"


def test_the_wait_in_the_queue_is_drawn_from_when_it_was_queued() -> None:
    with FakeLlm(without_usage) as server, Room(settings_for(server.base_url)) as room:
        asked = (ChatMessage("user", "hello"),)
        call = Call("q", 1, "s", Target("openai", "m"), asked, queued_ns=12_345, traceparent=PARENT)
        room.send(call)
        room.end_of("q")
    (wait,), (process,) = room.spans("queue_wait"), room.spans("process llm.requests")
    assert (wait.start_ns, wait.kind, wait.parent_id) == (12_345, INTERNAL, PARENT[36:52])
    assert wait.end_ns == process.start_ns
    (measured,) = room.measured("chatbot.queue.wait")
    assert measured.value == pytest.approx((wait.end_ns - wait.start_ns) / 1e6)
    assert measured.traceparent[36:52] == wait.span_id


def test_without_a_trace_there_are_no_spans_and_no_header_but_all_measurements() -> None:
    room, server = recorded(with_usage, traceparent="")
    assert not [r for r in room.records if isinstance(r, SpanRecord)]
    assert "traceparent" not in server.requests[0].headers
    (duration,) = room.measured("http.client.request.duration")
    assert duration.traceparent == ""


def test_durations_are_measured_with_their_labels() -> None:
    room, server = recorded(with_usage)
    (http,) = room.measured("http.client.request.duration")
    assert http.attributes == {"backend": "openai", "http.response.status_code": 200}
    (operation,) = room.measured("gen_ai.client.operation.duration")
    assert operation.value == pytest.approx(http.value / 1000)
    assert operation.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-1",
        "server.address": "127.0.0.1",
        "server.port": int(server.base_url.rpartition(":")[2]),
    }
    (first,) = room.measured("gen_ai.client.operation.time_to_first_chunk")
    assert first.value <= operation.value
    (span,) = room.spans("openai_api_call")
    assert {http.traceparent[36:52], operation.traceparent[36:52]} == {span.span_id}


def test_every_integer_of_the_usage_is_counted() -> None:
    room, _ = recorded(with_usage)
    counted = [r for r in room.records if isinstance(r, Measurement) and "usage." in r.name]
    assert sorted(values(counted)) == [
        ("llm.usage.completion_tokens", 5),
        ("llm.usage.completion_tokens_details.reasoning_tokens", 2),
        ("llm.usage.prompt_tokens", 7),
        ("llm.usage.prompt_tokens_details.cached_tokens", 3),
        ("llm.usage.total_tokens", 12),
    ]
    assert {tuple(m.attributes.items()) for m in counted} == {(("backend", "openai"),)}
    tokens = room.measured("gen_ai.client.token.usage")
    assert {m.attributes["gen_ai.token.type"]: m.value for m in tokens} == {"input": 7, "output": 5}


def test_anthropics_input_counts_what_its_cache_read_and_wrote() -> None:
    async def script(visit: Visit) -> None:
        request = await visit.request()
        assert request.headers["x-api-key"] == KEY
        await visit.respond(200, ANTHROPIC)

    room, _ = recorded(script, "anthropic")
    (span,) = room.spans("anthropic_api_call")
    usage = {k: v for k, v in span.attributes.items() if k.startswith("gen_ai.usage.")}
    assert usage == {
        "gen_ai.usage.input_tokens": 1110,
        "gen_ai.usage.output_tokens": 6,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.cache_write.input_tokens": 1000,
        "gen_ai.usage.cache_creation.input_tokens": 1000,
    }
    assert room.measured("llm.usage.cache_creation.ephemeral_5m_input_tokens")[0].value == 1000
    (answered,) = [m for m in room.of("r0") if hasattr(m, "completion")]
    assert answered.completion.input_tokens == 1110


def test_usage_that_was_not_told_stays_unknown() -> None:
    room, _ = recorded(without_usage)
    (answered,) = [m for m in room.of("r0") if hasattr(m, "completion")]
    assert answered.completion.usage == {}
    assert answered.completion.input_tokens is None
    assert answered.completion.output_tokens is None
    assert not room.measured("gen_ai.client.token.usage")
    assert not [k for k in room.spans("openai_api_call")[0].attributes if "usage" in k]


def test_a_failure_names_its_type_in_the_span_and_in_the_labels() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.respond(404, b'{"error":{"message":"no such model"}}')

    room, _ = recorded(script, "grok")
    (span,) = room.spans("grok_api_call")
    assert span.attributes["gen_ai.provider.name"] == "x_ai"
    assert span.attributes["error.type"] == "404"
    assert span.error == "model_not_found"  # what the server said may repeat what it was asked
    (http,) = room.measured("http.client.request.duration")
    assert http.attributes == {
        "backend": "grok",
        "http.response.status_code": 404,
        "error.type": "404",
    }
    (parent,) = room.spans("process llm.requests")
    assert parent.error == "model_not_found"


def test_a_connection_that_is_lost_has_no_status_and_the_kind_as_its_type() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()

    room, _ = recorded(script)
    (span,) = room.spans("openai_api_call")
    assert span.attributes["error.type"] == "connection_lost"
    assert "http.response.status_code" not in span.attributes


def test_keys_and_contents_are_in_no_record() -> None:
    room, _ = recorded(with_usage, content="a secret of the heart")
    seen = repr(room.records)
    assert KEY not in seen
    assert "secret of the heart" not in seen
    assert KEY not in repr(room.messages)


@pytest.mark.parametrize(
    ("backend", "capture", "path", "told"),
    [
        (
            "openai",
            "llamacpp/openai_chat_stream.response.http",
            "/chat/completions",
            {
                "gen_ai.provider.name": "openai",
                "gen_ai.response.id": "chatcmpl-Hrh6LRQ8HEcYhDzwHnkXZ0JzJcpXDNJD",
                "gen_ai.response.model": "smollm2-135m",
                "gen_ai.response.finish_reasons": ("length",),
                "gen_ai.usage.input_tokens": 25,
                "gen_ai.usage.output_tokens": 48,
                "gen_ai.usage.cache_read.input_tokens": 0,
            },
        ),
        (
            "grok",
            "llamacpp/openai_chat_stream_nousage.response.http",
            "/chat/completions",
            {
                "gen_ai.provider.name": "x_ai",
                "gen_ai.response.id": "chatcmpl-WCbhYdcIbGuJb4W08Q898v5Z3COETgjK",
                "gen_ai.response.model": "smollm2-135m",
                "gen_ai.response.finish_reasons": ("stop",),
            },
        ),
        (
            "anthropic",
            "llamacpp/anthropic_messages_stream.response.http",
            "/v1/messages",
            {
                "gen_ai.provider.name": "anthropic",
                "gen_ai.response.id": "chatcmpl-adz8wNwyYSSlDp6TxXZvmUTkFr0Rgj8I",
                "gen_ai.response.model": "smollm2-135m",
                "gen_ai.response.finish_reasons": ("end_turn",),
                "gen_ai.usage.input_tokens": 25,
                "gen_ai.usage.output_tokens": 32,
                "gen_ai.usage.cache_read.input_tokens": 24,
            },
        ),
        (
            "ollama",
            "ollama-proxy/chat_stream.response.http",
            "/api/chat",
            {
                "gen_ai.provider.name": "ollama",
                "gen_ai.response.model": "local/smollm2-135m",
                "gen_ai.response.finish_reasons": ("stop",),
                "gen_ai.usage.input_tokens": 11,
                "gen_ai.usage.output_tokens": 40,
            },
        ),
    ],
)
def test_every_backends_span_is_complete_with_what_a_real_server_told(
    backend: str, capture: str, path: str, told: dict[str, Any]
) -> None:
    room, server = recorded(captured(capture), backend, options=OPTIONS)
    (span,) = room.spans(f"{backend}_api_call")
    attributes = dict(span.attributes)
    assert attributes.pop("gen_ai.response.time_to_first_chunk") is not None
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "s",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 48,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.seed": 4,
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.request.choice.count": 1,
        "gen_ai.request.stop_sequences": ("END",),
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": int(server.base_url.rpartition(":")[2]),
        "url.full": f"{server.base_url}{path}",
        **told,
    }
    measured = [r for r in room.records if isinstance(r, Measurement)]
    counted = {m.name: m.value for m in measured if m.name.startswith("llm.usage.")}
    if backend == "ollama":  # it has its own names for them
        assert counted == {"llm.usage.input_tokens": 11, "llm.usage.output_tokens": 40}


def test_what_is_asked_of_anthropic_by_default_is_in_its_span() -> None:
    async def script(visit: Visit) -> None:
        request = await visit.request()
        assert json.loads(request.body)["max_tokens"] == 1024
        await visit.respond(200, ANTHROPIC)

    room, _ = recorded(script, "anthropic")
    (span,) = room.spans("anthropic_api_call")
    assert span.attributes["gen_ai.request.max_tokens"] == 1024


def test_what_has_begun_is_in_the_pipe_before_the_first_network_byte() -> None:
    room, _ = recorded(without_usage)
    said = list(map(about, room.said))
    begun = said[: said.index("Sending")]
    assert [name for name in begun if "begins" in name] == [
        "process llm.requests begins",
        "openai_api_call begins",
    ]
    started, call = (r for r in room.records if isinstance(r, SpanStarted))
    assert (started.parent_id, call.parent_id) == (PARENT[36:52], started.span_id)
    assert call.attributes["http.request.method"] == "POST"


@pytest.mark.parametrize("end", [Answered, Failed, Cancelled])
def test_all_that_is_recorded_of_a_call_is_in_the_pipe_before_its_end(end: type) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        if end is Failed:
            await visit.respond(400, b"no")
        elif end is Answered:
            await visit.answer("hi")
        else:
            await visit.begin()
            await visit.send(piece("hi"))
            await visit.closed()

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        if end is Cancelled:
            room.wait_for(Delta, request_id)
            room.send(Cancel(request_id))
        assert isinstance(room.end_of(request_id), end)
    (place,) = (n for n, said in enumerate(room.said) if isinstance(said, end))
    behind = [r for r in room.said[place:] if isinstance(r, Record)]
    assert behind == []
    before = list(map(about, room.said[:place]))
    for name in ("http.client.request.duration", "openai_api_call", "process llm.requests"):
        assert name in before


def test_calls_that_end_together_are_reported_together_behind_what_they_measured() -> None:
    said: list[Message] = []

    class Pipe:
        def gather(self, message: Message) -> None:
            said.append(message)

        def gather_offered(self, report: Report) -> bool:
            said.append(report)
            return True

        def flush(self) -> None:
            if len(said) > 3:
                all_told.set()

    async def work(request_id: str) -> Message:
        await may_end.wait()
        if request_id == "c":
            await asyncio.sleep(0)  # it ends while the end of the others is being told
        recorder.count("c")
        return ModelsListed(request_id, "openai")

    async def run() -> None:
        worker = process.Worker(settings_for("http://127.0.0.1:9"), outbox, recorder)
        for request_id in ("a", "b", "c"):
            worker._begin(ListModels(request_id, "openai"), work(request_id))
        may_end.set()
        await asyncio.wait_for(all_told.wait(), DEADLINE_S)

    may_end, all_told, outbox = asyncio.Event(), asyncio.Event(), cast("Outbox", Pipe())
    recorder = Recorder("worker", 0, outbox.gather_offered)
    asyncio.run(run())
    report, *ends = said
    assert isinstance(report, Report)
    assert msgspec.msgpack.decode(report.payload, type=list[Record]) == [
        Measurement("c", "counter", 3, count=3)
    ]
    assert ends == [ModelsListed(request_id, "openai") for request_id in ("a", "b", "c")]


def test_where_no_span_is_recorded_nothing_goes_before_the_request() -> None:
    with FakeLlm(without_usage) as server, Room(settings_for(server.base_url)) as room:
        asked, unsampled = (ChatMessage("user", "hello"),), f"{PARENT[:-2]}00"
        target = Target("openai", "m")
        room.send(Call("q", 1, "s", target, asked, queued_ns=12_345, traceparent=unsampled))
        room.end_of("q")
    said = list(map(about, room.said))
    assert said.index("Sending") < said.index("chatbot.queue.wait") < said.index("Answered")


def test_a_backoff_is_announced_with_its_reason_and_each_attempt_has_its_span() -> None:
    room, _ = recorded(refused_once)
    first, second = room.spans("openai_api_call")
    assert (first.error, first.attributes["http.response.status_code"]) == ("server_error", 503)
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    (backoff,) = room.spans("retry_backoff")
    (retrying,) = (m for m in room.messages if isinstance(m, Retrying))
    assert backoff.attributes == {"delay_s": retrying.delay_s, "reason": "server_error"}
    said = list(map(about, room.said))
    assert said.index("openai_api_call") < said.index("Retrying")
    assert said.index("retry_backoff begins") < said.index("Retrying") < said.index("retry_backoff")
    assert said.count("openai_api_call begins") == 2
    assert sum(isinstance(m, Sending) for m in room.said) == 1
    (retry,) = room.measured("chatbot.retries")
    assert retry.traceparent[36:52] == backoff.span_id


CONTENTS = ("gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages")


def test_content_is_in_the_span_only_where_it_is_asked_for_and_only_when_it_has_ended() -> None:
    said: Any = {"content": "a secret of the heart", "system": "be kind"}
    room, _ = recorded(with_usage, tracing=Tracing(content=True), **said)
    (span,) = room.spans("openai_api_call")
    system, asked, answered = (json.loads(str(span.attributes[name])) for name in CONTENTS)
    assert system == [{"type": "text", "content": "be kind"}]
    question = {"type": "text", "content": "a secret of the heart"}
    assert asked == [{"role": "user", "parts": [question]}]
    answer = {"type": "text", "content": "hi"}
    assert answered == [{"role": "assistant", "parts": [answer], "finish_reason": "stop"}]
    for record in room.records:
        if record is not span:
            assert "secret" not in repr(record)
            assert "be kind" not in repr(record)
    room, _ = recorded(with_usage, **said)
    assert "secret" not in repr(room.records)
    assert "be kind" not in repr(room.records)


def test_tokens_beyond_what_a_message_can_carry_keep_no_call_from_its_end() -> None:
    most = 2**63 - 1

    async def script(visit: Visit) -> None:
        await visit.request()
        usage = {
            "input_tokens": most,
            "cache_read_input_tokens": most,
            "cache_creation_input_tokens": most,
            "output_tokens": 1,
        }
        start: dict[str, Any] = {
            "type": "message_start",
            "message": {"id": "m", "model": "x", "usage": usage},
        }
        text: dict[str, Any] = {
            "type": "content_block_delta",
            "delta": {"type": "text_delta", "text": "hi"},
        }
        events: list[dict[str, Any]] = [start, text, {"type": "message_stop"}]
        lines = (f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
        await visit.respond(200, "".join(lines).encode())

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        end = room.ask("anthropic")
    assert isinstance(end, Answered)
    assert end.completion.input_tokens == most


def test_a_deadline_is_no_cancellation() -> None:
    async def script(visit: Visit) -> None:
        await visit.begin()
        await visit.send(piece("half"))
        await visit.closed()

    with (
        FakeLlm(script) as server,
        Room(settings_for(server.base_url, total_timeout_s=0.3)) as room,
    ):
        room.ask()
    (span,) = room.spans("openai_api_call")
    assert (span.attributes["error.type"], span.error) == ("timeout", "timeout")


def test_a_retry_is_in_the_log_with_its_trace() -> None:
    room, _ = recorded(refused_once)
    (line,) = (record for record in room.logged() if record.event == "retrying")
    (process,) = room.spans("process llm.requests")
    assert (line.level, trace_id_of(line.traceparent)) == ("warning", process.trace_id)
    assert line.fields["status"] == 503
