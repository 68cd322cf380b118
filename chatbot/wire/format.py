"""What the wire formats have in common: the events of an answer, and the two sides of a format.

Pure: bytes in, events out, and back. A format is one module that offers both directions side by
side: the client's (`build_chat`, `Parser`, `parse_whole`, `parse_models`), used by the workers, and the server's (`parse_chat`, `Producer`, `produce_models`, `produce_error`), used by
the simulated server. `chatbot.wire.FORMATS` names them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from chatbot.messages import ChatMessage, Durations, Options, Target

MAX_LINE_BYTES = 1024 * 1024
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
MOST_TOKENS = 2**63 - 1  # more than a message can carry, or a database hold

_USAGE_VALUES = 64
_USAGE_PATH_CHARS = 200


class Text(msgspec.Struct, frozen=True, gc=False):
    """A piece of the visible answer, never empty."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's thinking, never empty."""

    text: str


class Identified(msgspec.Struct, frozen=True):
    """The response's own id and the model that really answers; either may be empty."""

    response_id: str
    model: str


class Used(msgspec.Struct, frozen=True):
    """Token usage as far as it is known: every integer by dotted path. Later ones overlay earlier."""

    usage: dict[str, int]


class Served(msgspec.Struct, frozen=True):
    """The server's own durations, where it tells them. They are no usage: nothing is counted by them."""

    durations: Durations


class Finished(msgspec.Struct, frozen=True):
    """The explicit end of the answer, with the server's own word for the reason (empty: it gave none).

    It comes exactly once, and nothing comes after it: usage that a server sends later than its
    reason (OpenAI) is waited for.
    """

    reason: str


Event = Text | Reasoning | Identified | Used | Served | Finished


class HttpRequest(msgspec.Struct, frozen=True):
    """A request without its base URL: `path` begins with a slash."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class ChatRequest(msgspec.Struct, frozen=True):
    """A chat request as a server reads it. `max_tokens` None: no limit was asked for.

    `include_usage` is the OpenAI format's `stream_options.include_usage`; the others always report.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    stream: bool
    system: str | None = None
    max_tokens: int | None = None
    include_usage: bool = True


class TokenCount(msgspec.Struct, frozen=True):
    """True usage and durations of a simulated answer, for a producer's last event.

    The `reasoning_tokens` are among the `output_tokens`.
    """

    input_tokens: int
    output_tokens: int
    load_ns: int = 0
    prompt_ns: int = 0
    generate_ns: int = 0
    reasoning_tokens: int = 0


class Parser(Protocol):
    """Turns the body of a streamed response, split anywhere, into events.

    `feed` and `close` raise WireError for malformed bytes and for an error event, and nothing else.
    `feed` is an iterator, to be read to its end, so that what came before an error is not lost
    with it. `close` is called when the body has ended, however it ended; it raises
    WireError("connection_lost") unless the format's explicit end was seen. What follows the end is
    ignored. A parser that has raised is of no further use.
    """

    def feed(self, data: bytes) -> Iterator[Event]: ...
    def close(self) -> list[Event]: ...


class Producer(Protocol):
    """Writes one answer as a server does; each method returns the bytes to send next.

    The reason of `end` and `whole` is `stop` or `length`, for which each format has its own word.
    `whole` is the body of the answer to a request that did not ask for a stream.
    """

    def begin(self, input_tokens: int) -> bytes: ...
    def text(self, piece: str) -> bytes: ...
    def reasoning(self, piece: str) -> bytes: ...
    def end(self, reason: str, count: TokenCount) -> bytes: ...
    def error(self, message: str) -> bytes: ...
    def whole(self, text: str, reason: str, count: TokenCount, reasoning: str = "") -> bytes: ...


class Format(Protocol):
    """A wire format: what its module offers.

    `build_chat` and `build_models` make the client's requests; `api_key` may be empty. `parse_whole`
    reads the body of an answer that is not a stream, `parse_models` the list of models; both raise
    WireError. `chat_path` and `models_path` are where a server offers it, with `/v1` where the
    format's base URL has it. `parse_chat` raises CallError("bad_request").
    """

    chat_path: str
    models_path: str
    stream_content_type: str

    def build_chat(
        self, target: Target, messages: Sequence[ChatMessage], stream: bool, api_key: str
    ) -> HttpRequest: ...
    def build_models(self, api_key: str) -> HttpRequest: ...
    def parser(self) -> Parser: ...
    def parse_whole(self, body: bytes) -> list[Event]: ...
    def parse_models(self, body: bytes) -> list[str]: ...

    def parse_chat(self, body: bytes) -> ChatRequest: ...
    def producer(
        self, response_id: str, model: str, created_s: int, include_usage: bool = True
    ) -> Producer: ...
    def produce_models(self, names: Sequence[str], created_s: int) -> bytes: ...
    def produce_error(self, status: int, message: str) -> bytes: ...


def flatten_usage(usage: object) -> dict[str, int]:
    """Return every integer at any depth under `usage` by its dotted path.

    A boolean is no integer, and neither is a float that is whole; what stands in a list has no name.
    Bounded against a hostile server: 64 values, paths of 200 characters, and only what 64 bits and a
    counter hold.

    >>> flatten_usage({"a": 1, "b": {"c": 2, "d": True}})
    {'a': 1, 'b.c': 2}
    """
    found: dict[str, int] = {}
    open_levels = [("", iter(usage.items()))] if isinstance(usage, dict) else []
    while open_levels and len(found) < _USAGE_VALUES:
        prefix, entries = open_levels[-1]
        entry = next(entries, None)
        if entry is None:
            open_levels.pop()
            continue
        path, value = f"{prefix}{entry[0]}", entry[1]
        if len(path) > _USAGE_PATH_CHARS:
            continue
        if isinstance(value, dict):
            open_levels.append((f"{path}.", iter(value.items())))
        elif type(value) is int and 0 <= value <= MOST_TOKENS:
            found[path] = value
    return found


def count_tokens(usage: Mapping[str, int]) -> tuple[int | None, int | None]:
    """Return the input and output tokens of a flattened usage, None where they are unknown.

    OpenAI calls them prompt and completion tokens. Anthropic's input tokens leave out those read
    from and written to its prompt cache, which the GenAI conventions count in.
    """
    read = usage.get("input_tokens", usage.get("prompt_tokens"))
    if read is not None:
        read += usage.get("cache_read_input_tokens", 0)
        read += usage.get("cache_creation_input_tokens", 0)
        read = min(read, MOST_TOKENS)
    return read, usage.get("output_tokens", usage.get("completion_tokens"))


def translate_options(options: Options, names: Mapping[str, str]) -> Options:
    """Return the options under the names a format gives them; unknown ones pass as they are."""
    return {names.get(key, key): value for key, value in options.items()}
