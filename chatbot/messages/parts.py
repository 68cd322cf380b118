"""What messages are made of: names, and the structs that stand inside of them."""

from typing import Literal

import msgspec

BackendName = Literal["ollama", "anthropic", "grok", "openai", "sim"]
CachePolicy = Literal["use", "refresh", "off"]
Level = Literal["debug", "info", "warning", "error"]
MessageStatus = Literal["complete", "interrupted", "failed"]
Options = dict[str, int | float | str | bool]
ProcessRole = Literal["supervisor", "ui", "store", "worker", "telemetry", "sim-server"]
Role = Literal["user", "assistant", "system"]


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The root of everything in this file; the tag is the class name."""


class ChatMessage(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a conversation, as the LLM sees it."""

    role: Role
    content: str


class Target(msgspec.Struct, frozen=True, array_like=True):
    """What is asked: the backend, its model, and all that changes the answer besides the messages."""

    backend: BackendName
    model: str
    system: str | None = None
    options: Options = {}


class Completion(msgspec.Struct, frozen=True, array_like=True):
    """A finished answer, as it is shown, saved and cached.

    `usage` holds every integer under the response's usage object, by dotted path; it is empty when
    the server reported none, and then `input_tokens` and `output_tokens` are None: unknown, not 0.
    """

    text: str
    model: str = ""
    finish_reason: str = ""
    reasoning: str = ""
    response_id: str = ""
    usage: dict[str, int] = {}
    input_tokens: int | None = None
    output_tokens: int | None = None


class Truth(msgspec.Struct, frozen=True, array_like=True):
    """What the simulated server said of its own times, in ns of the same clock as `Timing` where it runs on the
    same machine: when the request had arrived, when the first and the last piece with content were sent.

    `lags` holds, for each write of the server that was stamped, how long it took to be read by the worker:
    µs, as unsigned 32-bit little-endian numbers.
    """

    arrived_ns: int
    first_ns: int = 0
    last_ns: int = 0
    lags: bytes = b""


class Durations(msgspec.Struct, frozen=True, array_like=True):
    """How long a server says that it took, in ns: the whole request, and of that the loading of the model, the
    reading of the prompt and the generating. 0: it did not say, or not at all."""

    total_ns: int = 0
    load_ns: int = 0
    prompt_ns: int = 0
    generate_ns: int = 0


class Timing(msgspec.Struct, frozen=True, array_like=True):
    """When what happened in a call that was asked to be measured: ns of `time.perf_counter_ns`, the clock
    that all processes of a machine share. 0: it did not happen.

    Stamped when bytes arrive, before they are parsed. `begun_ns` is when the worker took the call up; all
    others are of the last of its `attempts`: `sent_ns` just before the request is handed to the HTTP client,
    `connected_ns` when it had a connection (a new one or one that was kept), `headers_ns` when the head of
    the response was read, `first_byte_ns` of its body, the first reasoning, the first visible content, the
    last of either, and the end of the stream.

    A chunk is a piece of content or reasoning, as the server cut it; `chunks` counts them, and `gaps`
    holds the time between each and the one before it, 0 for those that came in one read: µs, as
    unsigned 32-bit little-endian numbers, one less than there are chunks. `lag_us` is the longest
    that the worker's event loop was late meanwhile. `served` is what the server says of its own times.
    """

    begun_ns: int
    sent_ns: int = 0
    connected_ns: int = 0
    headers_ns: int = 0
    first_byte_ns: int = 0
    first_reasoning_ns: int = 0
    first_content_ns: int = 0
    last_content_ns: int = 0
    ended_ns: int = 0
    attempts: int = 0
    chunks: int = 0
    gaps: bytes = b""
    lag_us: int = 0
    truth: Truth | None = None
    served: Durations | None = None

    @property
    def first_ns(self) -> int:
        """When the first content or reasoning came; 0: none did."""
        stamps = [ns for ns in (self.first_reasoning_ns, self.first_content_ns) if ns]
        return min(stamps, default=0)


class StoredMessage(msgspec.Struct, frozen=True, array_like=True):
    """A row of `messages`, as a loaded session brings it back; the columns are in `schema.sql`.

    A turn is two of them with one `request_id`. `fan` is the first request of those that were asked the same at
    once, its siblings; of these only the picked one is `active`: a part of the conversation.
    """

    role: Role
    content: str
    status: MessageStatus
    timestamp: float
    model: str = ""
    id: int = 0
    request_id: str = ""
    backend: str = ""
    finish_reason: str | None = None
    reasoning: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_token_ms: float | None = None
    duration_ms: float | None = None
    cached: bool = False
    error: str | None = None
    trace_id: str | None = None
    fan: str = ""
    active: bool = True


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A row of `sessions`, with what it was asked with last. Times are in Unix seconds.

    `messages` counts those of the conversation as it stands: undone and replaced ones are left out.
    """

    session_id: str
    title: str
    start_time: float
    backend: str
    model: str
    system: str | None = None
    options: Options = {}
    messages: int = 0
    last_time: float = 0.0


class SearchHit(msgspec.Struct, frozen=True, array_like=True):
    """A message that was found. `matches` are the places of the words in the snippet, as (start, end)
    in characters; the snippet is one line, cut out around them.
    """

    session_id: str
    title: str
    message_id: int
    role: Role
    timestamp: float
    snippet: str
    matches: tuple[tuple[int, int], ...] = ()


class CacheStats(msgspec.Struct, frozen=True, array_like=True):
    """The SQLite level of the answer cache. `hits` and `misses` count the saved answers: those that
    came from the cache, and those that were generated although they could have."""

    entries: int
    size_bytes: int
    limit_bytes: int
    oldest_age_s: float | None
    hits: int
    misses: int


class ProcessStatus(msgspec.Struct, frozen=True, array_like=True):
    """One process as the supervisor sees it. `queued` messages wait for it, `in_flight` requests are
    with it (workers only), and it was started again `restarts` times. `state`: starting, ready,
    stopping, or waiting (for its next start)."""

    role: ProcessRole
    slot: int
    pid: int
    state: str
    age_s: float
    queued: int = 0
    in_flight: int = 0
    restarts: int = 0


class WorkStatus(msgspec.Struct, frozen=True, array_like=True):
    """The requests since the start: `waiting` for a worker, ended by kind, and the latencies of the
    last ones that were answered (median, 95th percentile, in ms; None before the first).

    `unsaved` messages wait for a store. `dropped` telemetry records were given up; `collector` is
    where OTLP goes, empty: nowhere. `not_recording` says why there is no telemetry and will be none.
    """

    waiting: int = 0
    in_flight: int = 0
    answered: int = 0
    cached: int = 0
    failed: int = 0
    stopped: int = 0
    first_token_ms: tuple[float, float] | None = None
    duration_ms: tuple[float, float] | None = None
    unsaved: int = 0
    dropped: int = 0
    collector: str = ""
    not_recording: str = ""
