"""The OpenAI format, which Grok speaks too: server-sent events without names, then `[DONE]`.

Source: https://platform.openai.com/docs/api-reference/chat/streaming. The client's base URL has
`/v1` in it. Servers differ: content may be null, usage may be null in every chunk, come together
with choices, after the reason, or never; thinking is `reasoning_content` or `reasoning`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from chatbot.errors import CallError, WireError
from chatbot.messages import ChatMessage, Target
from chatbot.wire import failures, values
from chatbot.wire.format import (
    ChatRequest,
    Event,
    HttpRequest,
    Identified,
    Reasoning,
    Text,
    TokenCount,
    Used,
    flatten_usage,
)
from chatbot.wire.lines import SseDecoder
from chatbot.wire.stream import StreamParser, decode_event

_ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
}


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    error: Any = None
    object: str | None = None
    message: Any = None
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] | None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct):
    model: str
    messages: list[values.RequestMessage]
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_models = msgspec.json.Decoder(_Models)
_request = msgspec.json.Decoder(_Request)


class OpenAiFormat:
    """Implements `format.Format`."""

    chat_path = "/v1/chat/completions"
    models_path = "/v1/models"
    stream_content_type = "text/event-stream"

    # --- the client's side

    def build_chat(
        self, target: Target, messages: Sequence[ChatMessage], stream: bool, api_key: str
    ) -> HttpRequest:
        """Build the request; options pass through under their own names."""
        body: dict[str, object] = {
            **target.options,
            "model": target.model,
            "messages": values.with_system(target.system, messages),
            "stream": stream,
        }
        if stream:  # refused without a stream
            body["stream_options"] = {"include_usage": True}
        accept = self.stream_content_type if stream else "application/json"
        headers = values.bearer_headers(api_key, accept) | {"content-type": "application/json"}
        return HttpRequest("POST", "/chat/completions", headers, values.encode(body))

    def build_models(self, api_key: str) -> HttpRequest:
        """Build the request for the list of models."""
        return HttpRequest("GET", "/models", values.bearer_headers(api_key, "application/json"))

    def parser(self) -> "OpenAiParser":
        """Return a parser for one streamed answer."""
        return OpenAiParser()

    def parse_whole(self, body: bytes) -> list[Event]:
        """Read an answer that was not streamed. Raises WireError."""
        return OpenAiParser().read_whole(body)

    def parse_models(self, body: bytes) -> list[str]:
        """Return the ids of the models. Raises WireError."""
        return values.unique(model.id for model in decode_event(body, _models).data or ())

    # --- the server's side

    def parse_chat(self, body: bytes) -> ChatRequest:
        """Read a request. Raises CallError("bad_request")."""
        request = values.decode_request(body, _request)
        limit = request.max_completion_tokens
        if limit is None:
            limit = request.max_tokens
        if limit is not None and limit < 1:
            raise CallError("bad_request", "max_tokens must be at least 1", status=400)
        wanted = request.stream_options
        return ChatRequest(
            request.model,
            values.read_messages(request.messages),
            bool(request.stream),
            max_tokens=limit,
            include_usage=wanted is not None and wanted.include_usage,
        )

    def producer(
        self, response_id: str, model: str, created_s: int, include_usage: bool = True
    ) -> "OpenAiProducer":
        """Return a producer; a stream tells the usage only if `include_usage`."""
        return OpenAiProducer(response_id, model, created_s, include_usage)

    def produce_models(self, names: Sequence[str], created_s: int) -> bytes:
        """Write the list of models."""
        entry = {"object": "model", "created": created_s, "owned_by": "sim"}
        return values.encode({"object": "list", "data": [{"id": name} | entry for name in names]})

    def produce_error(self, status: int, message: str) -> bytes:
        """Write the body of an error response."""
        kind, code = _ERROR_TYPES.get(status, ("server_error", None))
        if status == 404 and "model" not in message:
            code = None
        error = {"message": message, "type": kind, "param": None, "code": code}
        return values.encode({"error": error})


class OpenAiParser(StreamParser):
    """Implements `format.Parser`. The end is `[DONE]`, or the end of the body after a reason."""

    def __init__(self) -> None:
        super().__init__(SseDecoder())
        self._reason: str | None = None

    def read_whole(self, body: bytes) -> list[Event]:
        """Return the events of an answer that was not streamed. Raises WireError."""
        events = self._read_chunk(decode_event(body, _chunk))
        if self._reason is None:
            raise WireError("malformed", "the response is not what its format promises: no answer")
        return [*events, self._finish(self._reason)]

    def _read(self, payload: bytes) -> Sequence[Event]:
        if not payload.startswith(b"{") and payload.strip() == b"[DONE]":
            return [self._finish(self._reason or "")]
        return self._read_chunk(decode_event(payload, _chunk))

    def _end_of_body(self) -> list[Event]:
        return [] if self._reason is None else [self._finish(self._reason)]

    def _read_chunk(self, chunk: _Chunk) -> list[Event]:
        if chunk.error is not None and failures.is_error(chunk.error):
            raise failures.from_event(chunk.error)
        if chunk.object == "error":
            raise failures.from_event(chunk.message)
        events: list[Event] = []
        if not self._identified and (chunk.id or chunk.model):
            self._identified = True
            events.append(Identified(chunk.id or "", chunk.model or ""))
        for choice in chunk.choices or ():
            if choice.index:  # a second answer, asked for with the option `n`
                continue
            if (delta := choice.delta or choice.message) is not None:
                thinking = delta.reasoning_content or delta.reasoning
                if thinking and isinstance(thinking, str):
                    events.append(Reasoning(thinking))
                if text := delta.content or delta.refusal:
                    events.append(Text(text))
            if choice.finish_reason:
                self._reason = choice.finish_reason
        if chunk.usage and (usage := flatten_usage(chunk.usage)):
            events.append(Used(usage))
        return events


class OpenAiProducer:
    """Implements `format.Producer`."""

    def __init__(self, response_id: str, model: str, created_s: int, include_usage: bool) -> None:
        self._base = {"id": response_id, "created": created_s, "model": model}
        self._include_usage = include_usage
        stem = values.encode(self._base | {"object": "chat.completion.chunk"})[:-1]
        self._stem = b"data: " + stem
        self._before_delta = self._stem + b',"choices":[{"index":0,"delta":'
        self._before_text = self._before_delta + b'{"content":'
        # With usage asked for, every chunk but the last carries it as null.
        self._close = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._after_text = b'},"finish_reason":null}]' + self._close

    def begin(self, input_tokens: int) -> bytes:
        """Write the first chunk, which has the role only."""
        del input_tokens
        delta = b'{"role":"assistant","content":""},"finish_reason":null}]'
        return self._before_delta + delta + self._close

    def text(self, piece: str) -> bytes:
        """Write a piece of the answer."""
        return self._before_text + values.encode(piece) + self._after_text

    def reasoning(self, piece: str) -> bytes:
        """Write a piece of thinking."""
        before = self._before_delta + b'{"reasoning_content":'
        return before + values.encode(piece) + self._after_text

    def end(self, reason: str, count: TokenCount) -> bytes:
        """Write the reason, the usage if it was asked for, and `[DONE]`."""
        last = self._before_delta + b'{},"finish_reason":' + values.encode(reason) + b"}]"
        last += self._close
        if self._include_usage:
            last += self._stem + b',"choices":[],"usage":' + values.encode(_usage(count)) + b"}\n\n"
        return last + b"data: [DONE]\n\n"

    def error(self, message: str) -> bytes:
        """Write the chunk that ends a stream in its middle."""
        error = {"message": message, "type": "server_error", "param": None, "code": None}
        return b"data: " + values.encode({"error": error}) + b"\n\n"

    def whole(self, text: str, reason: str, count: TokenCount, reasoning: str = "") -> bytes:
        """Write the answer as one object."""
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if reasoning:
            message["reasoning_content"] = reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        rest = {"object": "chat.completion", "choices": [choice], "usage": _usage(count)}
        return values.encode(self._base | rest)


def _usage(count: TokenCount) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": count.input_tokens,
        "completion_tokens": count.output_tokens,
        "total_tokens": count.input_tokens + count.output_tokens,
    }
    if count.reasoning_tokens:
        usage["completion_tokens_details"] = {"reasoning_tokens": count.reasoning_tokens}
    return usage


OPENAI = OpenAiFormat()
