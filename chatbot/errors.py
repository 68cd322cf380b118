"""Every error this program raises on purpose, and the exit codes of its processes.

    ChatbotError                the root: its text is one line for a person
    ├── UsageError              the command line or the configuration is wrong (exit 2)
    ├── StoreUnavailable        the database cannot be used; says why and what to do
    │   └── DatabaseDamaged     … for good: it is not to be tried again, or written to, until it is recovered
    ├── MessageTooLarge         a message does not fit into a frame between two processes
    └── CallError               an LLM call went wrong; carries the kind, for the retry policy
        └── WireError           the bytes of a response are not what its format promises

Foreign exceptions (`sqlite3.Error`, `aiohttp.ClientError`, `OSError` …) are translated into one of
these at the edge of the room that called the library. A subclass exists only where a caller
branches on it.
"""

from enum import IntEnum
from typing import Literal

FailureKind = Literal[
    "auth",  # 401, 403, or no key at all
    "bad_request",  # 400, 413, 422: the server understood and refused
    "busy",  # our own limit: too many requests in flight
    "connection_lost",  # the response broke off in its middle
    "internal",  # a defect of ours: the log has the details
    "malformed",  # the response is not what its format promises
    "model_not_found",  # 404, and it is the model that is missing
    "not_found",  # 404 without a word of a model: probably not the address of an API
    "poison",  # three workers died before they could send it
    "rate_limited",  # 429
    "server_error",  # 5xx, or an error event in mid-stream
    "timeout",  # silence for longer than the limits allow
    "unreachable",  # no connection could be made
]


class ExitCode(IntEnum):
    """How the program, and each of its processes, ends."""

    OK = 0
    TURN_FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


class ChatbotError(Exception):
    """Raised when something failed that a person can understand; `str()` is the whole line."""


class UsageError(ChatbotError):
    """Raised when an argument, a variable or the configuration file has a value we refuse."""


class StoreUnavailable(ChatbotError):
    """Raised when the database cannot be opened or written."""


class DatabaseDamaged(StoreUnavailable):
    """Raised when what stands in the database's file is wrong."""


class MessageTooLarge(ChatbotError):
    """Raised when a message is larger than a frame may be."""


class CallError(ChatbotError):
    """Raised when an LLM call fails.

    `kind` says what the caller may do about it; `status` is the HTTP status, if one came;
    `retry_after_s` is the server's own wish, in seconds; `should_retry` its explicit word on
    whether to try again (the header `x-should-retry`).
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry


class WireError(CallError):
    """Raised by a parser: malformed bytes, a broken-off stream, or an error event in the stream."""
