import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.backends import WireFormat
from chatbot.errors import CallError, WireError
from chatbot.messages import ChatMessage, Target
from chatbot.wire import FORMATS
from chatbot.wire.ollama import OLLAMA
from tests.strategies_wire import captured, formats

USER = ChatMessage("user", "hello")


def build(name: WireFormat, stream: bool = True, key: str = "", **target: Any) -> Any:
    request = FORMATS[name].build_chat(Target("sim", "m1", **target), [USER], stream, key)
    return request, json.loads(request.body)


@pytest.mark.parametrize("name", FORMATS)
def test_a_request_is_never_asked_to_be_compressed_and_says_what_it_is(name: WireFormat) -> None:
    for request in (build(name)[0], FORMATS[name].build_models("")):
        assert request.headers["accept-encoding"] == "identity"
        assert request.path.startswith("/")
    assert build(name)[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", FORMATS)
def test_without_a_key_no_header_would_carry_one(name: WireFormat) -> None:
    for request in (build(name)[0], FORMATS[name].build_models("")):
        assert not {"authorization", "x-api-key"} & request.headers.keys()


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("ollama", "authorization", "Bearer k1"),
        ("openai", "authorization", "Bearer k1"),
        ("anthropic", "x-api-key", "k1"),
    ],
)
def test_a_key_is_in_its_header_only(name: WireFormat, header: str, value: str) -> None:
    for request in (build(name, key="k1")[0], FORMATS[name].build_models("k1")):
        assert request.headers[header] == value
        assert "k1" not in request.path
        assert b"k1" not in request.body


def test_anthropic_tells_its_version_and_always_a_limit() -> None:
    request, body = build("anthropic")
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert body["max_tokens"] == 1024
    assert build("anthropic", options={"max_tokens": 7})[1]["max_tokens"] == 7


def test_a_limit_goes_by_each_formats_name() -> None:
    options = {"max_tokens": 7, "seed": 1}
    assert build("ollama", options=options)[1]["options"] == {"num_predict": 7, "seed": 1}
    assert build("openai", options=options)[1]["max_tokens"] == 7


def test_ollamas_options_that_are_not_the_models_stand_beside_them() -> None:
    body = build("ollama", options={"think": False, "temperature": 0.5})[1]
    assert (body["think"], body["options"]) == (False, {"temperature": 0.5})


@pytest.mark.parametrize("name", FORMATS)
def test_no_option_can_replace_the_conversation(name: WireFormat) -> None:
    body = build(name, options={"model": "x", "messages": "y", "stream": False})[1]
    assert (body["model"], body["stream"]) == ("m1", True)
    assert body["messages"] == [{"role": "user", "content": "hello"}]


def test_the_system_prompt_goes_where_the_format_has_it() -> None:
    for name in ("ollama", "openai"):
        assert build(name, system="be kind")[1]["messages"][0] == {
            "role": "system",
            "content": "be kind",
        }
    body = build("anthropic", system="be kind")[1]
    assert (body["system"], len(body["messages"])) == ("be kind", 1)


def test_anthropic_is_sent_neither_system_roles_nor_empty_messages() -> None:
    history = [USER, ChatMessage("assistant", ""), ChatMessage("system", "now in French"), USER]
    target = Target("anthropic", "m1", "be kind")
    body = json.loads(
        FORMATS["anthropic"].build_chat(target, history, stream=True, api_key="").body
    )
    assert body["system"] == "be kind\n\nnow in French"
    assert [m["role"] for m in body["messages"]] == ["user", "user"]


def test_openai_asks_for_usage_with_a_stream_only() -> None:
    assert build("openai")[1]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in build("openai", stream=False)[1]
    assert build("ollama", stream=False)[1]["stream"] is False


@given(
    formats,
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(min_size=1)), max_size=4),
    st.booleans(),
    st.integers(1, 9999),
)
def test_what_a_client_builds_the_server_reads(
    name: WireFormat, said: list[tuple[Any, str]], stream: bool, limit: int
) -> None:
    history = [ChatMessage(role, f"x{content}") for role, content in said]
    target = Target("sim", "m1", "be kind", {"max_tokens": limit})
    request = FORMATS[name].parse_chat(FORMATS[name].build_chat(target, history, stream, "").body)
    system = [ChatMessage("system", request.system)] if request.system else []
    assert [*system, *request.messages] == [ChatMessage("system", "be kind"), *history]
    assert (request.model, request.stream, request.max_tokens) == ("m1", stream, limit)


@given(formats, st.binary(max_size=100))
def test_a_request_that_is_none_is_refused(name: WireFormat, body: bytes) -> None:
    with pytest.raises(CallError) as caught:
        FORMATS[name].parse_chat(body)
    assert (caught.value.kind, caught.value.status) == ("bad_request", 400)


@pytest.mark.parametrize("name", FORMATS)
def test_a_request_nested_too_deeply_is_refused(name: WireFormat) -> None:
    with pytest.raises(CallError, match="deep"):
        FORMATS[name].parse_chat(
            b'{"model":"m","max_tokens":1,"messages":[],"options":'
            b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}}"
        )


def test_content_may_come_in_parts_of_text_only() -> None:
    body: dict[str, Any] = {"model": "m", "max_tokens": 1}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body["messages"] = [{"role": "user", "content": parts}]
    for name in ("openai", "anthropic"):
        request = FORMATS[name].parse_chat(json.dumps(body).encode())
        assert request.messages == (ChatMessage("user", "ab"),)
    parts[0]["type"] = "image"
    with pytest.raises(CallError, match="image"):
        FORMATS["openai"].parse_chat(json.dumps(body).encode())


def test_anthropic_needs_a_limit_and_refuses_a_system_role() -> None:
    with pytest.raises(CallError, match="max_tokens"):
        FORMATS["anthropic"].parse_chat(b'{"model":"m","messages":[]}')
    with pytest.raises(CallError, match="system"):
        FORMATS["anthropic"].parse_chat(
            b'{"model":"m","max_tokens":1,"messages":[{"role":"system","content":"x"}]}'
        )


@given(formats, st.lists(st.text(min_size=1).map(lambda n: f"{n}:1"), unique=True, max_size=5))
def test_the_list_of_models_is_read_as_it_was_written(name: WireFormat, names: list[str]) -> None:
    wire_format = FORMATS[name]
    assert wire_format.parse_models(wire_format.produce_models(names, 0)) == names


def test_recorded_lists_of_models_are_understood() -> None:
    for name in FORMATS.values():
        assert name.parse_models(captured("llamacpp/models")) == ["smollm2-135m"]
    tags = FORMATS["ollama"].parse_models(captured("ollama-proxy/tags"))
    assert (tags[0], tags[-1]) == ("openai/gpt-4o", "local/smollm2-135m")


# --- the context that a model is loaded with -----------------------------------------------------


def loaded(*models: dict[str, Any]) -> bytes:
    return json.dumps({"models": list(models)}).encode()


def test_the_loaded_models_are_asked_for_like_all_models() -> None:
    request = OLLAMA.build_running("k1")
    assert (request.method, request.path, request.body) == ("GET", "/api/ps", b"")
    assert request.headers["authorization"] == "Bearer k1"
    assert request.headers["accept-encoding"] == "identity"
    assert "authorization" not in OLLAMA.build_running("").headers


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("llama3", "llama3:latest"),
        ("llama3:latest", "llama3:latest"),
        ("Llama3:8B", "llama3:8b"),
        ("registry.ollama.ai/library/llama3:8b", "llama3:8b"),
        ("library/llama3", "llama3:latest"),
        ("hf.co/someone/model:Q4_K_M", "hf.co/someone/model:Q4_K_M"),
        ("sim?chunks=lognormal:40,0.5", "sim?chunks=lognormal:40,0.5"),
    ],
)
@pytest.mark.parametrize("field", ["name", "model"])
def test_the_context_is_that_of_the_model_under_any_way_to_write_its_name(
    asked: str, told: str, field: str
) -> None:
    others = [
        {"name": f"{told}x", "context_length": 1},
        {"model": "llama3:70b", "context_length": 2},
    ]
    body = loaded(*others, {field: told, "context_length": 8192, "size_vram": 5})
    assert OLLAMA.parse_context(body, asked) == 8192


@pytest.mark.parametrize(
    "body",
    [
        loaded(),
        b'{"models":null}',
        loaded({"name": "other:latest", "context_length": 4096}),
        loaded({"name": "llama3:latest"}),  # a server from before there was such a field
        *[
            loaded({"name": "llama3:latest", "context_length": value})
            for value in (0, -1, "4096", 4096.0, None, True, [4096], 2**70)
        ],
    ],
)
def test_what_is_not_told_is_not_known(body: bytes) -> None:
    assert OLLAMA.parse_context(body, "llama3") is None


@given(st.binary(max_size=200) | st.builds(loaded, st.dictionaries(st.text(), st.integers())))
def test_any_other_bytes_raise_our_one_error_or_nothing(body: bytes) -> None:
    with contextlib.suppress(WireError):
        assert OLLAMA.parse_context(body, "llama3") is None


@given(st.lists(st.sampled_from(["a", "b:1", "c?x=y"]), unique=True), st.integers(1, 2**40))
def test_a_context_is_read_as_it_was_written(names: list[str], tokens: int) -> None:
    body = OLLAMA.produce_running(names, tokens)
    for name in ("a", "b:1", "c?x=y", "d"):
        assert OLLAMA.parse_context(body, name) == (tokens if name in names else None)
