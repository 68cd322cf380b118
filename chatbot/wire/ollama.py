"""The Ollama format: newline-delimited JSON, one object per piece, the last with `done: true`.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md. An error can come as a line of its
own under a status of 200. `prompt_eval_count` is left out when the prompt was cached. Durations are in ns.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from chatbot.messages import ChatMessage, Durations, Options, Target
from chatbot.wire import failures, values
from chatbot.wire.format import (
    MOST_TOKENS,
    ChatRequest,
    Event,
    HttpRequest,
    Identified,
    Reasoning,
    Served,
    Text,
    TokenCount,
    Used,
    translate_options,
)
from chatbot.wire.lines import NdjsonDecoder
from chatbot.wire.stream import StreamParser, decode_event

_OPTION_NAMES = {"max_tokens": "num_predict"}
_OWN_REGISTRY = "registry.ollama.ai/"
_OWN_NAMESPACE = "library/"
_TOP_LEVEL_OPTIONS = frozenset({"format", "keep_alive", "think"})


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None


class _Line(msgspec.Struct, gc=False):
    error: Any = None
    model: str | None = None
    message: _Message | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None


class _Model(msgspec.Struct):
    name: str = ""
    model: str = ""


class _Models(msgspec.Struct):
    models: list[_Model] | None


class _Running(msgspec.Struct):
    name: str = ""
    model: str = ""
    context_length: Any = None


class _AllRunning(msgspec.Struct):
    models: list[_Running] | None


class _Request(msgspec.Struct):
    model: str
    messages: list[values.RequestMessage] = []
    stream: bool = True
    options: dict[str, Any] | None = None


_line = msgspec.json.Decoder(_Line)
_models = msgspec.json.Decoder(_Models)
_running = msgspec.json.Decoder(_AllRunning)
_request = msgspec.json.Decoder(_Request)


class OllamaFormat:
    """Implements `format.Format`."""

    chat_path = "/api/chat"
    models_path = "/api/tags"
    running_path = "/api/ps"
    stream_content_type = "application/x-ndjson"

    # --- the client's side

    def build_chat(
        self, target: Target, messages: Sequence[ChatMessage], stream: bool, api_key: str
    ) -> HttpRequest:
        """Build the request; `stream` is always told, since the server's default is true."""
        options = translate_options(target.options, _OPTION_NAMES)
        top_level = {k: v for k, v in options.items() if k in _TOP_LEVEL_OPTIONS}
        body: dict[str, object] = {
            **top_level,
            "model": target.model,
            "messages": values.with_system(target.system, messages),
            "stream": stream,
        }
        rest: Options = {k: v for k, v in options.items() if k not in _TOP_LEVEL_OPTIONS}
        if rest:
            body["options"] = rest
        accept = self.stream_content_type if stream else "application/json"
        headers = values.bearer_headers(api_key, accept) | {"content-type": "application/json"}
        return HttpRequest("POST", self.chat_path, headers, values.encode(body))

    def build_models(self, api_key: str) -> HttpRequest:
        """Build the request for the models that are pulled."""
        headers = values.bearer_headers(api_key, "application/json")
        return HttpRequest("GET", self.models_path, headers)

    def build_running(self, api_key: str) -> HttpRequest:
        """Build the request for the models that are loaded."""
        headers = values.bearer_headers(api_key, "application/json")
        return HttpRequest("GET", self.running_path, headers)

    def parser(self) -> "OllamaParser":
        """Return a parser for one streamed answer."""
        return OllamaParser()

    def parse_whole(self, body: bytes) -> list[Event]:
        """Read an answer that was not streamed: it is a stream of one line."""
        parser = OllamaParser()
        return [*parser.feed(body), *parser.close()]

    def parse_models(self, body: bytes) -> list[str]:
        """Return the names of the models. Raises WireError."""
        listed = decode_event(body, _models)
        return values.unique(model.name or model.model for model in listed.models or ())

    def parse_context(self, body: bytes, model: str) -> int | None:
        """Return how many tokens of context a model is loaded with; None where it is not loaded, or the
        server is older than `context_length` (July 2025). Raises WireError.

        Source: https://docs.ollama.com/api/ps. The server writes a name in its short form.
        """
        wanted = _short(model)
        for running in decode_event(body, _running).models or ():
            if wanted in (_short(running.name), _short(running.model)):
                tokens = running.context_length
                return tokens if type(tokens) is int and 0 < tokens <= MOST_TOKENS else None
        return None

    # --- the server's side

    def parse_chat(self, body: bytes) -> ChatRequest:
        """Read a request. Raises CallError("bad_request")."""
        request = values.decode_request(body, _request)
        limit = (request.options or {}).get("num_predict")
        return ChatRequest(
            request.model,
            values.read_messages(request.messages),
            request.stream,
            # -1 is "no limit", -2 "fill the context"
            max_tokens=limit if isinstance(limit, int) and limit >= 0 else None,
        )

    def producer(
        self, response_id: str, model: str, created_s: int, include_usage: bool = True
    ) -> "OllamaProducer":
        """Return a producer; the format has no response id, and always tells the usage."""
        del response_id, include_usage
        return OllamaProducer(model, created_s)

    def produce_models(self, names: Sequence[str], created_s: int) -> bytes:
        """Write the list of models; a name without a tag is given `:latest`."""
        tagged = [name if ":" in name else f"{name}:latest" for name in names]
        details = {"format": "gguf", "family": "sim", "families": ["sim"], "parent_model": ""}
        details |= {"parameter_size": "0B", "quantization_level": "none"}
        entry = {
            "modified_at": values.iso_time(created_s),
            "size": 0,
            "digest": "0" * 64,
            "details": details,
        }
        return values.encode({"models": [{"name": n, "model": n} | entry for n in tagged]})

    def produce_running(self, names: Sequence[str], context_length: int) -> bytes:
        """Write the list of the models that are loaded, with the context that all of them have."""
        tagged = [name if ":" in name else f"{name}:latest" for name in names]
        entry = {
            "size": 0,
            "digest": "0" * 64,
            "expires_at": "9999-12-31T23:59:59Z",
            "size_vram": 0,
            "context_length": context_length,
        }
        return values.encode({"models": [{"name": n, "model": n} | entry for n in tagged]})

    def produce_error(self, status: int, message: str) -> bytes:
        """Write the body of an error response."""
        del status
        return values.encode({"error": message})


class OllamaParser(StreamParser):
    """Implements `format.Parser`."""

    def __init__(self) -> None:
        super().__init__(NdjsonDecoder())

    def _read(self, payload: bytes) -> Sequence[Event]:
        line = decode_event(payload, _line)
        if line.error is not None and failures.is_error(line.error):
            raise failures.from_event(line.error)
        events: list[Event] = []
        if line.model and not self._identified:
            self._identified = True
            events.append(Identified("", line.model))
        if line.message is not None:
            if line.message.thinking:
                events.append(Reasoning(line.message.thinking))
            if line.message.content:
                events.append(Text(line.message.content))
        if line.done:
            counts = (("input_tokens", line.prompt_eval_count), ("output_tokens", line.eval_count))
            if usage := {k: n for k, n in counts if n is not None and 0 <= n < 2**63}:
                events.append(Used(usage))
            told = (
                line.total_duration,
                line.load_duration,
                line.prompt_eval_duration,
                line.eval_duration,
            )
            if any(told):
                durations = (n if n is not None and 0 <= n < 2**63 else 0 for n in told)
                events.append(Served(Durations(*durations)))
            events.append(self._finish(line.done_reason or ""))
        return events


class OllamaProducer:
    """Implements `format.Producer`."""

    def __init__(self, model: str, created_s: int) -> None:
        stem = values.encode({"model": model, "created_at": values.iso_time(created_s)})[:-1]
        self._stem = stem
        self._before_text = stem + b',"message":{"role":"assistant","content":'
        self._before_reasoning = stem + b',"message":{"role":"assistant","content":"","thinking":'

    def begin(self, input_tokens: int) -> bytes:
        """Nothing comes before the first piece."""
        del input_tokens
        return b""

    def text(self, piece: str) -> bytes:
        """Write a piece of the answer."""
        return self._before_text + values.encode(piece) + b'},"done":false}\n'

    def reasoning(self, piece: str) -> bytes:
        """Write a piece of thinking."""
        return self._before_reasoning + values.encode(piece) + b'},"done":false}\n'

    def end(self, reason: str, count: TokenCount) -> bytes:
        """Write the last line."""
        return self.whole("", reason, count) + b"\n"

    def error(self, message: str) -> bytes:
        """Write the line that ends a stream in its middle."""
        return values.encode({"error": message}) + b"\n"

    def whole(self, text: str, reason: str, count: TokenCount, reasoning: str = "") -> bytes:
        """Write the answer as one object."""
        message = {"role": "assistant", "content": text}
        if reasoning:
            message["thinking"] = reasoning
        rest = {
            "message": message,
            "done": True,
            "done_reason": reason,
            "total_duration": count.load_ns + count.prompt_ns + count.generate_ns,
            "load_duration": count.load_ns,
            "prompt_eval_count": count.input_tokens,
            "prompt_eval_duration": count.prompt_ns,
            "eval_count": count.output_tokens,
            "eval_duration": count.generate_ns,
        }
        return self._stem + b"," + values.encode(rest)[1:]


def _short(name: str) -> str:
    """Return a model's name without what goes without saying; no two models differ in case alone.

    >>> _short("registry.ollama.ai/library/Llama3:latest")
    'llama3'
    """
    short = name.casefold().removeprefix(_OWN_REGISTRY).removeprefix(_OWN_NAMESPACE)
    return short.removesuffix(":latest")


OLLAMA = OllamaFormat()
