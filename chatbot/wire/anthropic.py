"""The Anthropic format: named server-sent events, from `message_start` to `message_stop`.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming. The type inside the data is
what counts, the event's name repeats it. Unknown types must be ignored, `ping` comes anywhere, and
usage is told in two places: the input with the start, the output so far with `message_delta`.
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

VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 1024

_REASONS = {"stop": "end_turn", "length": "max_tokens"}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class _Block(msgspec.Struct, gc=False):
    """A content block, or a delta; `type` says which of the texts it has."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    stop_reason: str | None = None


class _Message(msgspec.Struct, gc=False):
    type: str | None = None
    error: Any = None
    id: str | None = None
    model: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: dict[str, Any] | None = None


class _Event(msgspec.Struct, gc=False):
    """Untyped below the type: an event that is not known may hold anything, and is ignored."""

    type: str | None = None
    error: Any = None
    message: Any = None
    content_block: Any = None
    delta: Any = None
    usage: Any = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] | None


class _Request(msgspec.Struct):
    model: str
    max_tokens: int
    messages: list[values.RequestMessage]
    system: values.Content = None
    stream: bool | None = False


_event = msgspec.json.Decoder(_Event)
_message = msgspec.json.Decoder(_Message)
_models = msgspec.json.Decoder(_Models)
_request = msgspec.json.Decoder(_Request)


class AnthropicFormat:
    """Implements `format.Format`."""

    chat_path = "/v1/messages"
    models_path = "/v1/models"
    stream_content_type = "text/event-stream"

    # --- the client's side

    def build_chat(
        self, target: Target, messages: Sequence[ChatMessage], stream: bool, api_key: str
    ) -> HttpRequest:
        """Build the request.

        The API knows no system role and refuses empty messages: system messages move into
        `system`, and messages without text are left out.
        """
        system = [target.system] if target.system else []
        system += [m.content for m in messages if m.role == "system"]
        body: dict[str, object] = {
            "max_tokens": DEFAULT_MAX_TOKENS,
            **target.options,
            "model": target.model,
            "messages": [
                {"role": m.role, "content": m.content}
                for m in messages
                if m.role != "system" and m.content.strip()
            ],
            "stream": stream,
        }
        if system:
            body["system"] = "\n\n".join(system)
        accept = self.stream_content_type if stream else "application/json"
        headers = _headers(api_key, accept) | {"content-type": "application/json"}
        return HttpRequest("POST", self.chat_path, headers, values.encode(body))

    def build_models(self, api_key: str) -> HttpRequest:
        """Build the request for the list of models; 1,000 is the largest page, 20 the default."""
        return HttpRequest("GET", "/v1/models?limit=1000", _headers(api_key, "application/json"))

    def parser(self) -> "AnthropicParser":
        """Return a parser for one streamed answer."""
        return AnthropicParser()

    def parse_whole(self, body: bytes) -> list[Event]:
        """Read an answer that was not streamed. Raises WireError."""
        return AnthropicParser().read_whole(body)

    def parse_models(self, body: bytes) -> list[str]:
        """Return the ids of the models. Raises WireError."""
        return values.unique(model.id for model in decode_event(body, _models).data or ())

    # --- the server's side

    def parse_chat(self, body: bytes) -> ChatRequest:
        """Read a request. Raises CallError("bad_request")."""
        request = values.decode_request(body, _request)
        if request.max_tokens < 1:
            raise CallError("bad_request", "max_tokens: must be at least 1", status=400)
        messages = values.read_messages(request.messages)
        if any(m.role == "system" for m in messages):
            raise CallError("bad_request", 'messages: Unexpected role "system"', status=400)
        return ChatRequest(
            request.model,
            messages,
            bool(request.stream),
            system=values.read_content(request.system) or None,
            max_tokens=request.max_tokens,
        )

    def producer(
        self, response_id: str, model: str, created_s: int, include_usage: bool = True
    ) -> "AnthropicProducer":
        """Return a producer; the format has no time in it, and always tells the usage."""
        del created_s, include_usage
        return AnthropicProducer(response_id, model)

    def produce_models(self, names: Sequence[str], created_s: int) -> bytes:
        """Write the list of models, as one page."""
        created = values.iso_time(created_s)
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": created}
            for name in names
        ]
        page = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
        return values.encode({"data": data, "has_more": False} | page)

    def produce_error(self, status: int, message: str) -> bytes:
        """Write the body of an error response."""
        kind = _ERROR_TYPES.get(status, "api_error")
        return values.encode({"type": "error", "error": {"type": kind, "message": message}})


class AnthropicParser(StreamParser):
    """Implements `format.Parser`."""

    def __init__(self) -> None:
        super().__init__(SseDecoder())
        self._reason = ""

    def read_whole(self, body: bytes) -> list[Event]:
        """Return the events of an answer that was not streamed. Raises WireError."""
        message = decode_event(body, _message)
        if message.type == "error" or failures.is_error(message.error):
            raise failures.from_payload(body)
        if message.content is None:
            raise WireError("malformed", "the response is not what its format promises: no answer")
        events = self._read_start(message)
        for block in message.content:
            events += _read_block(block)
        return [*events, self._finish(message.stop_reason or "")]

    def _read(self, payload: bytes) -> Sequence[Event]:
        if payload.strip() == b"[DONE]":  # some proxies add OpenAI's end; it is not this format's
            return []
        event = decode_event(payload, _event)
        if event.type == "error" or failures.is_error(event.error):
            raise failures.from_payload(payload)
        match event.type:
            case "content_block_delta":
                return _read_block(values.convert(event.delta, _Block))
            case "content_block_start":
                return _read_block(values.convert(event.content_block, _Block))
            case "message_start":
                return self._read_start(values.convert(event.message, _Message))
            case "message_delta":
                delta = values.convert(event.delta, _Block)
                self._reason = delta.stop_reason or self._reason
                usage = flatten_usage(event.usage)
                return [Used(usage)] if usage else []
            case "message_stop":
                return [self._finish(self._reason)]
            case _:  # ping, content_block_stop, and what is yet to be invented
                return []

    def _read_start(self, message: _Message) -> list[Event]:
        events: list[Event] = []
        if not self._identified and (message.id or message.model):
            self._identified = True
            events.append(Identified(message.id or "", message.model or ""))
        if usage := flatten_usage(message.usage):
            events.append(Used(usage))
        return events


class AnthropicProducer:
    """Implements `format.Producer`."""

    def __init__(self, response_id: str, model: str) -> None:
        self._base = {"id": response_id, "type": "message", "role": "assistant", "model": model}
        self._index = -1
        self._open: str = ""
        self._before_piece = b""

    def begin(self, input_tokens: int) -> bytes:
        """Write the start of the message, and a ping as the real server does."""
        usage = {"input_tokens": input_tokens, "output_tokens": 0}
        rest: dict[str, Any] = {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        start = _named("message_start", {"message": self._base | rest})
        return start + _named("ping", {})

    def text(self, piece: str) -> bytes:
        """Write a piece of the answer."""
        before = b"" if self._open == "text" else self._open_block("text")
        return before + self._before_piece + values.encode(piece) + b"}}\n\n"

    def reasoning(self, piece: str) -> bytes:
        """Write a piece of thinking."""
        before = b"" if self._open == "thinking" else self._open_block("thinking")
        return before + self._before_piece + values.encode(piece) + b"}}\n\n"

    def end(self, reason: str, count: TokenCount) -> bytes:
        """Write the reason, the usage, and the end of the message."""
        delta = {"stop_reason": _REASONS.get(reason, reason), "stop_sequence": None}
        usage = {"output_tokens": count.output_tokens}
        last = self._close_block() + _named("message_delta", {"delta": delta, "usage": usage})
        return last + _named("message_stop", {})

    def error(self, message: str) -> bytes:
        """Write the event that ends a stream in its middle."""
        return _named("error", {"error": {"type": "overloaded_error", "message": message}})

    def whole(self, text: str, reason: str, count: TokenCount, reasoning: str = "") -> bytes:
        """Write the answer as one object."""
        content = [{"type": "text", "text": text}] if text else []
        if reasoning:
            content.insert(0, {"type": "thinking", "thinking": reasoning, "signature": ""})
        rest: dict[str, Any] = {
            "content": content,
            "stop_reason": _REASONS.get(reason, reason),
            "stop_sequence": None,
            "usage": {"input_tokens": count.input_tokens, "output_tokens": count.output_tokens},
        }
        return values.encode(self._base | rest)

    def _open_block(self, kind: str) -> bytes:
        closed = self._close_block()
        self._index += 1
        self._open = kind
        block: dict[str, str] = {"type": kind, kind: ""}
        if kind == "thinking":
            block["signature"] = ""
        self._before_piece = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"%b_delta","%b":' % (self._index, kind.encode(), kind.encode())
        )
        start = _named("content_block_start", {"index": self._index, "content_block": block})
        return closed + start

    def _close_block(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _named("content_block_stop", {"index": self._index})


def _headers(api_key: str, accept: str) -> dict[str, str]:
    headers = values.base_headers(accept) | {"anthropic-version": VERSION}
    if api_key:
        headers["x-api-key"] = api_key
    return headers


def _read_block(block: _Block) -> list[Event]:
    match block.type:
        case "text" | "text_delta":
            return [Text(block.text)] if block.text else []
        case "thinking" | "thinking_delta":
            return [Reasoning(block.thinking)] if block.thinking else []
        case _:  # signatures, tool use, citations
            return []


def _named(kind: str, fields: dict[str, Any]) -> bytes:
    data = values.encode({"type": kind} | fields)
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


ANTHROPIC = AnthropicFormat()
