"""All that crosses a process boundary: one frozen struct per message, one union per inbox.

Commands are imperative (`Ask`, `Cancel`), facts are past participles (`Answered`, `Saved`), pieces
of a stream are nouns (`Delta`). They are encoded as MessagePack arrays by `mailbox.py` and decoded
straight into the union of the reader's inbox: a message that does not belong there is refused by
the decoder, not by an `if`.

    ui ──Ask──▶ store ──Accepted──▶ dispatcher ──Call──▶ worker ──Sending · Delta… · Answered──▶ ui
                                                                                        └──▶ store ──Saved──▶ ui

Times: `_ns` are Unix nanoseconds, `_s` and `_ms` durations. `traceparent` is the W3C header
(https://www.w3.org/TR/trace-context/) of the span a message continues; empty means "no trace".
"""

from typing import Literal

import msgspec

from chatbot.errors import FailureKind

BackendName = Literal["ollama", "anthropic", "grok", "openai", "sim"]
CachePolicy = Literal["use", "refresh", "off"]
Level = Literal["debug", "info", "warning", "error"]
MessageStatus = Literal["complete", "interrupted", "failed"]
Options = dict[str, int | float | str | bool]
ProcessRole = Literal["supervisor", "ui", "store", "worker", "telemetry", "sim-server"]
Role = Literal["user", "assistant", "system"]


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The root of everything in this file; the tag is the class name."""


# --- parts of messages -----------------------------------------------------------------------


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


class StoredMessage(msgspec.Struct, frozen=True, array_like=True):
    """A row of `messages`, as a loaded session brings it back."""

    role: Role
    content: str
    status: MessageStatus
    timestamp: float
    model: str = ""


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A row of `sessions`. `start_time` is in Unix seconds."""

    session_id: str
    title: str
    start_time: float
    backend: str
    model: str


# --- a turn ----------------------------------------------------------------------------------


class Ask(Message, frozen=True):
    """From ui → store, by way of the dispatcher: save this message, look the answer up, get it answered.

    Self-contained, like the LLM APIs themselves: `history` is the conversation before `content`,
    so that a request can be repeated, redispatched, or answered without any store at all.
    `stream` False asks for the terminal message only, without deltas. `traceparent` is the hop to the
    store; `turn_traceparent` the whole turn, under which the call and the saving of its answer come.
    """

    request_id: str
    session_id: str
    content: str
    target: Target
    history: tuple[ChatMessage, ...] = ()
    cache: CachePolicy = "use"
    stream: bool = True
    traceparent: str = ""
    turn_traceparent: str = ""


class Hit(msgspec.Struct, frozen=True, array_like=True):
    """A cached answer and its age in seconds."""

    completion: Completion
    age_s: float


class Accepted(Message, frozen=True):
    """From store → dispatcher: the user's message is committed; here is the cached answer, if any.

    `key` is the cache key (hex SHA-256) that makes identical requests one call; empty when the
    request must not share a call. On a hit the store has saved the answer too, in the same commit.
    """

    request_id: str
    key: str = ""
    hit: Hit | None = None


class Call(Message, frozen=True):
    """From dispatcher → worker: make this LLM call.

    `attempt` counts how often the dispatcher has given the request to a worker. `base_url` is set
    for a server whose address only the supervisor knows (the simulated one). `queued_ns` is when
    the request became ready to be sent; the worker draws the queue wait from it.
    """

    request_id: str
    attempt: int
    session_id: str
    target: Target
    messages: tuple[ChatMessage, ...]
    stream: bool = True
    base_url: str = ""
    queued_ns: int = 0
    traceparent: str = ""


class Sending(Message, frozen=True):
    """From worker → dispatcher: the first network byte of this attempt follows; it may be paid for."""

    request_id: str
    attempt: int


class Retrying(Message, frozen=True):
    """From worker → ui: the server refused before its first response byte; trying again in `delay_s`."""

    request_id: str
    attempt: int
    delay_s: float
    reason: str


class Delta(Message, frozen=True):
    """From worker → ui: a piece of the answer. Stale and repeated ones are dropped by the dispatcher."""

    request_id: str
    attempt: int
    seq: int
    text: str
    reasoning: bool = False


class Answered(Message, frozen=True):
    """From worker (or, on a cache hit, the dispatcher) → ui and store: the whole answer. Terminal.

    `cached_age_s` is None for an answer that was just generated. `first_token_ms` and
    `duration_ms` are measured by the worker from the start of the call.
    """

    request_id: str
    attempt: int
    completion: Completion
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    cached_age_s: float | None = None
    traceparent: str = ""


class Failed(Message, frozen=True):
    """From worker or dispatcher → ui and store: no (whole) answer. Terminal.

    `message` is one line for a person, with the remedy; `text` what had arrived until then.
    """

    request_id: str
    attempt: int
    kind: FailureKind
    message: str
    status: int | None = None
    text: str = ""
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    traceparent: str = ""


class Cancelled(Message, frozen=True):
    """From worker or dispatcher → ui and store: stopped as asked, the socket is closed. Terminal."""

    request_id: str
    attempt: int
    text: str = ""
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    traceparent: str = ""


class Interrupted(Message, frozen=True):
    """From dispatcher → ui and store: the worker died after it had begun to send. Terminal.

    The call may have been paid for, so nothing sends it again by itself. `text` is what had come.
    """

    request_id: str
    attempt: int
    reason: str
    text: str = ""
    traceparent: str = ""


Terminal = Answered | Failed | Cancelled | Interrupted


class Checkpoint(Message, frozen=True):
    """From dispatcher → store: the answer so far, so that it outlives whatever dies next."""

    request_id: str
    text: str


class Saved(Message, frozen=True):
    """From store → ui: the terminal of this request is committed."""

    request_id: str


class Cancel(Message, frozen=True):
    """From ui → worker, by way of the dispatcher: stop this request and close its socket."""

    request_id: str


# --- sessions and models ---------------------------------------------------------------------


class Load(Message, frozen=True):
    """From ui → store: bring back this session, or the latest one when `session_id` is None."""

    request_id: str
    session_id: str | None = None


class Loaded(Message, frozen=True):
    """From store → ui: the session and its latest messages in order; `session` None if there is none.

    `truncated` says that older messages were left out to stay inside a frame. `error` is set when
    the store could not look.
    """

    request_id: str
    session: Session | None = None
    messages: tuple[StoredMessage, ...] = ()
    truncated: bool = False
    error: str = ""


class ListModels(Message, frozen=True):
    """From ui → worker, by way of the dispatcher: which models has this backend?"""

    request_id: str
    backend: BackendName
    base_url: str = ""
    attempt: int = 0


class ModelsListed(Message, frozen=True):
    """From worker or dispatcher → ui: the names, sorted; or `error`, one line with its remedy."""

    request_id: str
    backend: BackendName
    names: tuple[str, ...] = ()
    error: str = ""
    attempt: int = 0


# --- the life of a process -------------------------------------------------------------------


class Ready(Message, frozen=True):
    """From any child → supervisor: set up, working. `address` is where the sim-server listens."""

    pid: int
    address: str = ""


class Beat(Message, frozen=True):
    """From any child's work loop → supervisor: still turning."""


class Resigned(Message, frozen=True):
    """From any child → supervisor: cannot start, or cannot go on; why, in one line with the remedy.

    It ends after that, and is not started again: the next one would only say the same.
    """

    reason: str


class Stop(Message, frozen=True):
    """From supervisor → any child: drain, then exit."""


class Leaving(Message, frozen=True):
    """From ui → supervisor: the user is done; end the program with this exit code."""

    exit_code: int


class Interrupt(Message, frozen=True):
    """From supervisor → ui: the supervisor was sent SIGINT (the terminal sends it to both)."""


class ProcessRestarted(Message, frozen=True):
    """From supervisor → ui: a process died and was started again."""

    role: ProcessRole
    slot: int
    reason: str


class NotSaving(Message, frozen=True):
    """From supervisor → ui: the store is gone for good, why; the chat goes on without it."""

    reason: str


class Notice(Message, frozen=True):
    """From supervisor or telemetry → ui: one line that the user should know."""

    text: str


# --- telemetry -------------------------------------------------------------------------------

AttributeValue = str | int | float | bool | tuple[str, ...]


class SpanEvent(msgspec.Struct, frozen=True, array_like=True):
    """A named moment inside a span."""

    name: str
    time_ns: int
    attributes: dict[str, AttributeValue] = {}


class SpanRecord(Message, frozen=True):
    """A finished span. Ids are lower-case hex (32 and 16 digits); `parent_id` is empty for a root.

    `kind` is OTLP's number less one, as in the SDK: 0 internal, 1 server, 2 client, 3 producer,
    4 consumer. `error` empty means status UNSET. `links` are traceparents.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, AttributeValue] = {}
    events: tuple[SpanEvent, ...] = ()
    links: tuple[str, ...] = ()
    error: str = ""


class LogRecord(Message, frozen=True):
    """One line of the log: `event` is a fixed name, the rest is in `fields`."""

    time_ns: int
    level: Level
    event: str
    traceparent: str = ""
    fields: dict[str, AttributeValue] = {}


class Measurement(Message, frozen=True):
    """One value for the meter: a `counter` adds it up, a `histogram` sorts it into its buckets."""

    name: str
    instrument: Literal["counter", "histogram"]
    value: int | float
    attributes: dict[str, AttributeValue] = {}
    traceparent: str = ""


Record = SpanRecord | LogRecord | Measurement


class Report(Message, frozen=True):
    """From any process → telemetry: records, still encoded, so that the supervisor only passes them on.

    `payload` is a MessagePack array of `Record`; `dropped` counts the records that were given up
    since the last report because the way was full.
    """

    role: ProcessRole
    slot: int
    pid: int
    payload: bytes
    dropped: int = 0


# --- the inboxes -----------------------------------------------------------------------------

UiInbox = (
    Retrying
    | Delta
    | Answered
    | Failed
    | Cancelled
    | Interrupted
    | Saved
    | Loaded
    | ModelsListed
    | ProcessRestarted
    | NotSaving
    | Notice
    | Interrupt
    | Stop
)
StoreInbox = Ask | Answered | Failed | Cancelled | Interrupted | Checkpoint | Load | Stop
WorkerInbox = Call | Cancel | ListModels | Stop
TelemetryInbox = Report | Stop
SimServerInbox = Stop

FromUi = Ask | Cancel | Load | ListModels | Leaving
FromStore = Accepted | Saved | Loaded
FromWorker = Sending | Retrying | Delta | Answered | Failed | Cancelled | ModelsListed
FromAny = Ready | Beat | Resigned | Report
SupervisorInbox = (
    Ask
    | Cancel
    | Load
    | ListModels
    | Leaving
    | Accepted
    | Saved
    | Loaded
    | Sending
    | Retrying
    | Delta
    | Answered
    | Failed
    | Cancelled
    | ModelsListed
    | Ready
    | Beat
    | Resigned
    | Report
)
