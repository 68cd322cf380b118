"""A turn, from the question to its end; and the list of models, which goes the same way."""

import msgspec

from chatbot.errors import FailureKind
from chatbot.messages.parts import (
    BackendName,
    CachePolicy,
    ChatMessage,
    Completion,
    Message,
    Target,
    Timing,
)


class Ask(Message, frozen=True):
    """From ui → store, by way of the dispatcher: save this message, look the answer up, get it answered.

    Self-contained, like the LLM APIs themselves: `history` is the conversation before `content`,
    so that a request can be repeated, redispatched, or answered without any store at all.
    `history_digest` is the digest of `history` (see `history.py`), which the sender has anyway; empty:
    to be computed. `stream` False asks for the terminal message only, without deltas. `replaces` is
    the request whose turn this one takes the place of. `traceparent` is the hop to the store;
    `turn_traceparent` the whole turn, under which the call and the saving of its answer come. `measured`
    asks for the `Timing` in the terminal message. `fan`: several are asked this at once; it is the request
    of the first of them, which is the one the conversation goes on with until another is picked.
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
    history_digest: bytes = b""
    replaces: str = ""
    measured: bool = False
    fan: str = ""


class Hit(msgspec.Struct, frozen=True, array_like=True):
    """A cached answer, its age in seconds, and the span of the call that generated it."""

    completion: Completion
    age_s: float
    call_traceparent: str = ""


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
    the request became ready to be sent, that is, was accepted; the worker draws the queue wait from it.
    The dispatcher tells the same as `ready_s`, by the supervisor's monotonic clock.
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
    ready_s: float | None = None
    measured: bool = False


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
    `duration_ms` are measured by the worker from the start of the call. `call_traceparent` is the span
    of the call that generated it: in another trace than this turn's, where another request paid for it.
    """

    request_id: str
    attempt: int
    completion: Completion
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    cached_age_s: float | None = None
    traceparent: str = ""
    call_traceparent: str = ""
    timing: Timing | None = None


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
    timing: Timing | None = None


class Cancelled(Message, frozen=True):
    """From worker or dispatcher → ui and store: stopped as asked, the socket is closed. Terminal."""

    request_id: str
    attempt: int
    text: str = ""
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    traceparent: str = ""
    timing: Timing | None = None


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


class ListModels(Message, frozen=True):
    """From ui → worker, by way of the dispatcher: which models has this backend?"""

    request_id: str
    backend: BackendName
    base_url: str = ""
    attempt: int = 0


class ModelsListed(Message, frozen=True):
    """From worker or dispatcher → ui: the names, sorted; or `error`, one line with its remedy, and its
    `kind` where somebody was asked."""

    request_id: str
    backend: BackendName
    names: tuple[str, ...] = ()
    error: str = ""
    attempt: int = 0
    kind: FailureKind | None = None


class ReadContext(Message, frozen=True):
    """From ui → worker, by way of the dispatcher: how many tokens of context has this model, as its server
    has it loaded just now?"""

    request_id: str
    backend: BackendName
    model: str
    base_url: str = ""
    attempt: int = 0


class ContextRead(Message, frozen=True):
    """From worker or dispatcher → ui: the context in tokens; None where the server does not tell, or could
    not be asked. Nobody waits for it."""

    request_id: str
    backend: BackendName
    model: str
    tokens: int | None = None
    attempt: int = 0
