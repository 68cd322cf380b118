import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.backends import WireFormat
from chatbot.errors import WireError
from chatbot.messages import Durations
from chatbot.wire import FORMATS
from chatbot.wire.format import (
    Event,
    Finished,
    Identified,
    Reasoning,
    Served,
    Text,
    TokenCount,
    Used,
    count_tokens,
    flatten_usage,
)
from tests.strategies_wire import RECORDED, captured, counts, cut, formats, parse, pieces


def sse(*events: Any) -> bytes:
    return b"".join(
        b"data: " + (e.encode() if isinstance(e, str) else json.dumps(e).encode()) + b"\n\n"
        for e in events
    )


def ndjson(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def openai_chunk(delta: Any = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c1", "model": "m", "choices": [choice], **more}


def openai_text(piece: str) -> dict[str, Any]:
    return openai_chunk({"content": piece})


def failure(wire_format: WireFormat, data: bytes) -> tuple[WireError, list[Event]]:
    """Return the error that parsing ends in, and the events before it."""
    parser = FORMATS[wire_format].parser()
    events: list[Event] = []
    with pytest.raises(WireError) as caught:  # noqa: PT012 - either of the two may raise
        for event in parser.feed(data):
            events.append(event)  # noqa: PERF402 - what came before the error must not be lost
        events += parser.close()
    return caught.value, events


# --- recorded streams


@pytest.mark.parametrize(
    ("name", "tokens", "reason", "start"),
    [
        ("llamacpp/openai_chat_stream", (25, 48), "length", "La femme d'"),
        ("llamacpp/openai_chat_stream_nousage", (None, None), "stop", "🌞 Hi there! 😊"),
        ("llamacpp/anthropic_messages_stream", (25, 32), "end_turn", "L'Albanie, la"),
        ("ollama-proxy/chat_stream", (11, 40), "stop", "The ocean is a vast, mysterious"),
    ],
)
def test_a_recorded_stream_is_understood(
    name: str, tokens: tuple[int | None, int | None], reason: str, start: str
) -> None:
    events = parse(RECORDED[name], [captured(name)])
    usage: dict[str, int] = {}
    for event in events:
        if isinstance(event, Used):
            usage.update(event.usage)
    assert isinstance(events[0], Identified)
    assert "".join(e.text for e in events if isinstance(e, Text)).startswith(start)
    assert count_tokens(usage) == tokens
    assert events[-1] == Finished(reason)
    assert sum(isinstance(e, Finished) for e in events) == 1


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_stream_gives_the_same_events_byte_by_byte(name: str) -> None:
    body = captured(name)
    single = [body[i : i + 1] for i in range(len(body))]
    assert parse(RECORDED[name], single) == parse(RECORDED[name], [body])


@given(st.sampled_from(list(RECORDED)), st.lists(st.integers(0, 20_000), max_size=12))
def test_a_recorded_stream_gives_the_same_events_at_any_split(name: str, at: list[int]) -> None:
    body = captured(name)
    assert parse(RECORDED[name], cut(body, at)) == parse(RECORDED[name], [body])


@given(st.sampled_from(list(RECORDED)), st.floats(0, 0.97))
def test_a_recorded_stream_that_is_cut_off_is_never_complete(name: str, share: float) -> None:
    body = captured(name)
    if RECORDED[name] == "openai":  # complete from the reason on
        body = body[: body.index(b'"finish_reason":"')]
    error, events = failure(RECORDED[name], body[: int(len(body) * share)])
    assert error.kind == "connection_lost"
    assert not any(isinstance(e, Finished) for e in events)


@pytest.mark.parametrize(
    ("name", "wire_format", "reason"),
    [
        ("llamacpp/openai_chat_nonstream", "openai", "length"),
        ("llamacpp/anthropic_messages_nonstream", "anthropic", "max_tokens"),
        ("ollama-proxy/chat_nonstream", "ollama", "stop"),
    ],
)
def test_a_recorded_answer_that_is_no_stream_is_understood(
    name: str, wire_format: WireFormat, reason: str
) -> None:
    events = FORMATS[wire_format].parse_whole(captured(name))
    assert [type(e) for e in events if not isinstance(e, Used)] == [
        Identified,
        Text,
        *([Served] if wire_format == "ollama" else []),
        Finished,
    ]
    assert any(isinstance(e, Used) for e in events)
    assert events[-1] == Finished(reason)


# --- both directions against each other


@given(formats, pieces, counts, st.sampled_from(["stop", "length"]))
def test_what_a_producer_writes_its_parser_reads(
    name: WireFormat, made: list[tuple[bool, str]], count: TokenCount, reason: str
) -> None:
    producer = FORMATS[name].producer("id1", "model-1", 1_700_000_000)
    stream = producer.begin(count.input_tokens)
    for thinking, piece in made:
        stream += producer.reasoning(piece) if thinking else producer.text(piece)
    stream += producer.end(reason, count)
    events = parse(name, [stream])
    said = [e for e in events if isinstance(e, Text | Reasoning)]
    assert said == [Reasoning(piece) if thinking else Text(piece) for thinking, piece in made]
    usage: dict[str, int] = {}
    for event in events:
        if isinstance(event, Used):
            usage.update(event.usage)
    assert count_tokens(usage) == (count.input_tokens, count.output_tokens)
    words = {"stop": "end_turn", "length": "max_tokens"} if name == "anthropic" else {}
    assert events[-1] == Finished(words.get(reason, reason))
    identified = Identified("" if name == "ollama" else "id1", "model-1")
    assert [e for e in events if isinstance(e, Identified)] == [identified]


@given(formats, pieces, counts)
def test_what_a_producer_writes_whole_its_format_reads(
    name: WireFormat, made: list[tuple[bool, str]], count: TokenCount
) -> None:
    text = "".join(piece for _, piece in made)
    producer = FORMATS[name].producer("id1", "model-1", 1_700_000_000)
    events = FORMATS[name].parse_whole(producer.whole(text, "stop", count))
    assert [e for e in events if isinstance(e, Text)] == ([Text(text)] if text else [])
    assert isinstance(events[-1], Finished)


@given(formats)
def test_a_producers_error_in_mid_stream_ends_the_answer_and_keeps_what_came(
    name: WireFormat,
) -> None:
    producer = FORMATS[name].producer("id1", "m", 0)
    stream = producer.begin(1) + producer.text("so far") + producer.error("out of memory")
    error, events = failure(name, stream + producer.end("stop", TokenCount(1, 1)))
    assert (error.kind, Text("so far") in events) == ("server_error", True)
    assert "out of memory" in str(error)


# --- anything may come


@given(formats, st.lists(st.binary(max_size=200), max_size=4))
def test_random_bytes_give_events_or_a_wire_error(name: WireFormat, parts: list[bytes]) -> None:
    with suppress(WireError):  # the one error it may raise
        parse(name, parts)


@given(
    st.sampled_from(list(RECORDED)),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 3), st.binary(max_size=12))),
)
def test_a_mutated_stream_gives_events_that_can_be_encoded_or_a_wire_error(
    name: str, mutations: list[tuple[int, int, bytes]]
) -> None:
    body = captured(name)
    for at, gone, put in mutations:
        at %= len(body) + 1
        body = body[:at] + put + body[at + gone :]
    with suppress(WireError):  # the one error it may raise
        for event in parse(RECORDED[name], [body]):
            repr(event).encode()


FIELDS = (
    *("error", "type", "id", "model", "choices", "delta", "message", "content", "usage", "index"),
    *("done", "text", "reasoning", "finish_reason", "content_block", "stop_reason", "eval_count"),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
event_types = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop"]
)


@given(formats, st.lists(st.tuples(json_values, event_types), max_size=4))
def test_any_json_gives_events_or_a_wire_error(
    name: WireFormat, sent: list[tuple[Any, str]]
) -> None:
    bodies = [v | {"type": v.get("type", kind)} if isinstance(v, dict) else v for v, kind in sent]
    stream = ndjson(*bodies) if name == "ollama" else sse(*bodies)
    with suppress(WireError):  # the one error it may raise
        parse(name, [stream])
    with suppress(WireError):
        FORMATS[name].parse_models(stream)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("field", ["message", "choices", "usage", "error", "type", "models"])
def test_json_nested_too_deeply_is_malformed(name: WireFormat, field: str) -> None:
    deep = b'{"type":"message_start","%b":' % field.encode() + b"[" * 50_000 + b"]" * 50_000 + b"}"
    error, _ = failure(name, (b"" if name == "ollama" else b"data: ") + deep + b"\n\n")
    assert error.kind == "malformed"
    with pytest.raises(WireError):
        FORMATS[name].parse_models(deep)


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("openai", b'data: {"choices":[{"delta":{"content":"a%bz"}}]}\n\ndata: [DONE]\n\n'),
        ("ollama", b'{"message":{"content":"a%bz"},"done":true}\n'),
        (
            "anthropic",
            b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a%bz"}}\n\n'
            b'data: {"type":"message_stop"}\n\n',
        ),
    ],
)
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"\uDC00", "\ufffd"),
        (rb"\ud800\ud83d\ude00", "\ufffd😀"),
        (rb"\\ud800\ud800", "\\ud800\ufffd"),
        (b"\xff", "\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
)
def test_text_that_is_not_unicode_is_mended(
    name: WireFormat, stream: bytes, sent: bytes, read: str
) -> None:
    assert Text(f"a{read}z") in parse(name, [stream % sent])


# --- OpenAI


def test_openai_is_complete_with_done_alone() -> None:
    assert parse("openai", [sse(openai_text("a"), "[DONE]")])[-1] == Finished("")


def test_openai_is_complete_with_a_reason_alone() -> None:
    assert parse("openai", [sse(openai_text("a"), openai_chunk({}, "stop"))])[-1] == Finished(
        "stop"
    )


def test_openai_usage_after_the_reason_is_waited_for() -> None:
    tail = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    events = parse("openai", [sse(openai_chunk({"content": "a"}, "stop"), tail, "[DONE]")])
    assert events[-2:] == [Used({"prompt_tokens": 3, "completion_tokens": 2}), Finished("stop")]


def test_openai_usage_may_come_with_choices_or_as_null_with_every_chunk() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    chunks = [openai_chunk({"content": "a"}, usage=None), openai_chunk({}, "stop", usage=usage)]
    events = parse("openai", [sse(*chunks, "[DONE]")])
    assert [e for e in events if isinstance(e, Used)] == [Used(usage)]


def test_openai_without_usage_leaves_it_unknown() -> None:
    events = parse("openai", [sse(openai_text("a"), "[DONE]")])
    assert not any(isinstance(e, Used) for e in events)
    assert count_tokens({}) == (None, None)


@pytest.mark.parametrize("delta", [None, {}, {"content": None}, {"content": ""}])
def test_openai_deltas_without_content_are_no_text(delta: Any) -> None:
    events = parse("openai", [sse(openai_chunk(delta), "[DONE]")])
    assert events == [Identified("c1", "m"), Finished("")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_openai_thinking_is_kept_apart(field: str) -> None:
    events = parse("openai", [sse(openai_chunk({field: "hm", "content": None}), "[DONE]")])
    assert Reasoning("hm") in events


def test_openai_a_second_choice_is_left_out() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "b"}}]}
    events = parse("openai", [sse(openai_text("a"), other, "[DONE]")])
    assert [e for e in events if isinstance(e, Text)] == [Text("a")]


@pytest.mark.parametrize(
    ("event", "kind", "said"),
    [
        ({"error": {"message": "boom", "type": "server_error"}}, "server_error", "boom"),
        ({"error": {"message": "slow", "type": "rate_limit_error"}}, "rate_limited", "slow"),
        ({"error": {"code": 400, "message": "no"}}, "bad_request", "no"),
        ({"error": "boom", "choices": "nonsense"}, "server_error", "boom"),
        ({"object": "error", "message": "old vllm"}, "server_error", "old vllm"),
        ({"error": {}}, "server_error", "no reason given"),
    ],
)
def test_openai_an_error_chunk_is_an_error(event: Any, kind: str, said: str) -> None:
    error, events = failure("openai", sse(openai_text("a"), event, "[DONE]"))
    assert (error.kind, said in str(error), Text("a") in events) == (kind, True, True)


def test_an_error_that_is_null_is_none() -> None:
    assert parse("openai", [sse(openai_chunk({}, "stop", error=None))])[-1] == Finished("stop")
    assert parse("ollama", [ndjson({"error": None, "done": True})])[-1] == Finished("")


def test_what_follows_the_end_is_ignored() -> None:
    events = parse(
        "openai", [sse(openai_text("a"), "[DONE]", {"error": "late"}), b"data: junk\n\n"]
    )
    assert events[-1] == Finished("")


# --- Anthropic

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude",
        "content": [],
        "usage": {
            "input_tokens": 5,
            "cache_read_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 2},
            "output_tokens": 1,
            "service_tier": "standard",
        },
    },
}
STOP = {"type": "message_stop"}


def anthropic_delta(**delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def test_anthropic_usage_is_flattened_and_output_is_cumulative() -> None:
    deltas = [{"type": "message_delta", "delta": {}, "usage": {"output_tokens": n}} for n in (4, 9)]
    usage: dict[str, int] = {}
    for event in parse("anthropic", [sse(START, *deltas, STOP)]):
        if isinstance(event, Used):
            usage.update(event.usage)
    assert usage["cache_creation.ephemeral_5m_input_tokens"] == 2
    assert count_tokens(usage) == (12, 9)


def test_anthropic_thinking_is_kept_apart_and_signatures_are_left_out() -> None:
    deltas = [
        anthropic_delta(type="thinking_delta", thinking="hm"),
        anthropic_delta(type="signature_delta", signature="xx"),
        anthropic_delta(type="text_delta", text="yes"),
    ]
    events = parse("anthropic", [sse(START, *deltas, STOP)])
    assert [e for e in events if isinstance(e, Text | Reasoning)] == [Reasoning("hm"), Text("yes")]


@pytest.mark.parametrize(
    "event", [{"type": "ping"}, {"type": "from_the_future", "delta": "odd", "usage": 1}, {}]
)
def test_anthropic_pings_and_unknown_events_are_ignored(event: Any) -> None:
    events = parse("anthropic", [sse(START, event, STOP)])
    assert events == parse("anthropic", [sse(START, STOP)])


def test_anthropic_is_not_complete_with_a_stop_reason_alone() -> None:
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": None}
    assert failure("anthropic", sse(START, delta))[0].kind == "connection_lost"
    assert failure("anthropic", sse(START, delta, "[DONE]"))[0].kind == "connection_lost"
    assert parse("anthropic", [sse(START, delta, STOP)])[-1] == Finished("end_turn")


@pytest.mark.parametrize(
    ("stream", "kind", "said"),
    [
        (
            sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            "server_error",
            "Overloaded",
        ),
        (sse({"error": {"code": 500, "message": "openai shaped"}}), "server_error", "openai"),
        (sse({"type": "error"}), "server_error", "error"),
        (b"event: error\ndata: plain words\n\n", "server_error", "plain words"),
    ],
)
def test_anthropic_an_error_event_is_an_error_in_any_shape(
    stream: bytes, kind: str, said: str
) -> None:
    error, events = failure("anthropic", sse(START) + stream + sse(STOP))
    assert (error.kind, said in str(error)) == (kind, True)
    assert Identified("msg_1", "claude") in events


# --- Ollama


def test_ollama_thinking_is_kept_apart_and_counts_may_be_missing() -> None:
    lines = [
        {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm"}},
        {"model": "m", "message": {"content": "yes"}, "done": False},
        {"model": "m", "message": None, "done": True, "done_reason": "stop", "eval_count": 2},
    ]
    assert parse("ollama", [ndjson(*lines)]) == [
        Identified("", "m"),
        Reasoning("hm"),
        Text("yes"),
        Used({"output_tokens": 2}),
        Finished("stop"),
    ]


def test_ollamas_own_durations_are_told_and_are_no_usage() -> None:
    events = parse("ollama", [captured("ollama-proxy/chat_stream")])
    assert [e for e in events if isinstance(e, Used | Served)] == [
        Used({"input_tokens": 11, "output_tokens": 40}),
        Served(Durations(total_ns=446_331_303, generate_ns=446_337_843)),
    ]
    told = {"total_duration": 9, "load_duration": 1, "prompt_eval_duration": 3, "eval_duration": 5}
    [served] = [
        e for e in parse("ollama", [ndjson({"done": True, **told})]) if isinstance(e, Served)
    ]
    assert served.durations == Durations(9, 1, 3, 5)
    odd = {"total_duration": -1, "load_duration": 2**70, "eval_duration": 4}
    assert Served(Durations(generate_ns=4)) in parse("ollama", [ndjson({"done": True, **odd})])
    assert parse("ollama", [ndjson({"done": True})]) == [Finished("")]


def test_ollama_an_error_line_in_mid_stream_is_an_error() -> None:
    lines = [{"message": {"content": "a"}}, {"error": "model runner has unexpectedly stopped"}]
    error, events = failure("ollama", ndjson(*lines))
    assert (error.kind, events) == ("server_error", [Text("a")])
    assert "runner" in str(error)


def test_ollama_a_last_line_without_its_end_is_read() -> None:
    assert parse("ollama", [b'{"message":{"content":"a"},"done":true}'])[-1] == Finished("")


def test_ollama_is_not_complete_without_done() -> None:
    assert failure("ollama", ndjson({"message": {"content": "a"}}))[0].kind == "connection_lost"


# --- shapes


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_body_is_a_lost_connection(name: WireFormat) -> None:
    assert failure(name, b"")[0].kind == "connection_lost"


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("openai", sse([])),
        ("openai", sse("junk")),
        ("openai", sse({"choices": [{"delta": {"content": 5}}]})),
        ("openai", sse({"choices": {"delta": {}}})),
        ("anthropic", sse([])),
        ("anthropic", sse({"type": "message_start"})),
        ("anthropic", sse({"type": "content_block_delta", "delta": "x"})),
        ("ollama", ndjson([])),
        ("ollama", ndjson({"eval_count": "12"})),
        ("ollama", b"Internal Server Error\n"),
    ],
)
def test_a_wrong_shape_is_malformed(name: WireFormat, stream: bytes) -> None:
    assert failure(name, stream)[0].kind == "malformed"


def test_flattened_usage_is_bounded() -> None:
    deep: dict[str, Any] = {"n": 1}
    for _ in range(50_000):
        deep = {"d": deep}
    assert flatten_usage({"a": deep, "b": 2}) == {"b": 2}
    assert flatten_usage({"a": 2**63, "b": -1, "c": True, "d": "4", "e": 1.5, "f": 3}) == {"f": 3}
    assert flatten_usage({"a": [1, {"b": 2}], "c": None, "d": 4.0}) == {}
    assert len(flatten_usage({str(n): n for n in range(1000)})) == 64
    assert flatten_usage({"x" * 201: 1, "y" * 200: 2}) == {"y" * 200: 2}


USAGE = st.recursive(
    st.integers(-(2**70), 2**70) | st.booleans() | st.floats() | st.none() | st.text(max_size=3),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.sampled_from("abc"), USAGE, max_size=3))
def test_every_integer_at_any_depth_is_found_by_its_path_and_nothing_else(
    usage: dict[str, Any],
) -> None:
    def at(path: str) -> Any:
        value: Any = usage
        for key in path.split("."):
            value = value[key]
        return value

    def integers(value: Any) -> int:
        if isinstance(value, dict):
            return sum(map(integers, value.values()))
        return not isinstance(value, bool) and isinstance(value, int) and 0 <= value < 2**63

    found = flatten_usage(usage)
    assert all(type(value) is int and at(path) == value for path, value in found.items())
    assert len(found) == min(integers(usage), 64)
