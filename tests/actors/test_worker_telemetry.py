"""What a worker records of its calls: spans, counters, histograms; and that no key is in them."""

from typing import Any

import pytest

from chatbot.messages import Call, ChatMessage, Measurement, SpanRecord, Target
from chatbot.tracing import CLIENT, CONSUMER, INTERNAL
from tests.actors.test_worker import KEY, PARENT, TRACE, Room, settings_for
from tests.fake_llm import END, FakeLlm, Visit, piece

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


async def with_usage(visit: Visit) -> None:
    await visit.request()
    before, done = END.split(b"data: [DONE]")
    await visit.respond(200, piece("hi") + before + USAGE + b"data: [DONE]" + done)


async def without_usage(visit: Visit) -> None:
    await visit.request()
    await visit.answer("hi")


def recorded(script: Any, backend: Any = "openai", **about: Any) -> tuple[Room, FakeLlm]:
    """Make one call to that script; return the room, stopped and read out, and the server."""
    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        room.ask(backend, **about)
    return room, server


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
        "gen_ai.response.id": "r-1",
        "gen_ai.response.model": "m-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "http.request.method": "POST",
        "http.response.status_code": 200,
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
    (wait,) = room.spans("queue_wait")
    assert (wait.start_ns, wait.kind, wait.parent_id) == (12_345, INTERNAL, PARENT[36:52])
    (measured,) = room.measured("chatbot.queue.wait")
    assert measured.value > 0


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
