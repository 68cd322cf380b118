"""What a session has used: `/stats`. Pure."""

import msgspec

from chatbot.messages import StoredMessage, Target


class Used(msgspec.Struct, frozen=True):
    """What one model did in this session. `unknown` answers may have used tokens which nobody reported; `cost` is
    in dollars, of the known ones; None without a price. `seconds` is the generating of `timed_tokens`."""

    target: Target
    answers: int = 0
    cached: int = 0
    failed: int = 0
    interrupted: int = 0
    unknown: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    timed_tokens: int = 0
    seconds: float = 0.0
    first_token_ms: tuple[float, ...] = ()
    cost: float | None = None


class Stats(msgspec.Struct, frozen=True):
    """A session's sums, by model in the order of their first answer."""

    session_id: str
    used: tuple[Used, ...] = ()


def of_messages(session_id: str, messages: tuple[StoredMessage, ...]) -> Stats:
    """Return the sums over a session's messages."""
    raise NotImplementedError((session_id, messages))
