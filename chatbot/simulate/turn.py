"""One turn of a simulated session as it was measured: a line of turns.jsonl, and what follows from it. Pure.

All `_ns` are of the machine's monotonic clock; 0: it did not happen. A measure is None where the turn has none.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

_NS_PER_US = 1000

Phase = Literal["before", "warmup", "run", "after"]
Status = Literal["answered", "failed", "cancelled", "interrupted", "lost"]

# The kind of failure of a turn that the server had not answered when the run had long been over.
UNFINISHED = "unfinished"


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one turn.

    `intended_ns` is when it was due, `ready_ns` when there was room for it too (`schedule.Start`), `asked_ns` when
    it went into the pipeline; those from `begun_ns` to
    `ended_ns` are `Timing`'s; `saved_ns` is when its end was known to be committed, `done_ns` when its terminal
    message was read. `status` interrupted or lost: a process of the measurement itself was killed, so that
    its end is not known. `error` is a kind of failure, `message` its line. `phase` before and after are the
    calibration's, only those of the `run` count. `server_*_ns` are the durations that the server tells of itself.
    """

    session: int
    index: int
    phase: Phase
    status: Status
    intended_ns: int
    asked_ns: int
    ready_ns: int = 0
    begun_ns: int = 0
    sent_ns: int = 0
    connected_ns: int = 0
    headers_ns: int = 0
    first_byte_ns: int = 0
    first_reasoning_ns: int = 0
    first_content_ns: int = 0
    last_content_ns: int = 0
    ended_ns: int = 0
    done_ns: int = 0
    saved_ns: int = 0
    error: str = ""
    message: str = ""
    http_status: int | None = None
    attempts: int = 0
    chunks: int = 0
    gaps_us: list[int] = []
    input_tokens: int | None = None
    output_tokens: int | None = None
    lag_us: int = 0
    server_total_ns: int = 0
    server_load_ns: int = 0
    server_prompt_ns: int = 0
    server_generate_ns: int = 0
    true_arrived_ns: int = 0
    true_first_ns: int = 0
    true_last_ns: int = 0
    true_lags_us: list[int] = []

    @property
    def first_ns(self) -> int:
        """When the first content or reasoning came; 0: none did."""
        reasoning_ns, content_ns = self.first_reasoning_ns, self.first_content_ns
        if reasoning_ns and content_ns:
            return min(reasoning_ns, content_ns)
        return reasoning_ns or content_ns

    @property
    def end_ns(self) -> int:
        """When it ended, as exactly as is known: at the end of the stream, or when that was heard of."""
        return self.ended_ns or self.done_ns or self.asked_ns

    @property
    def is_failure(self) -> bool:
        """Whether it never ended as far as whoever waits is concerned. One that was cancelled would have; of
        one that was lost or interrupted nothing is known: they are in no percentile."""
        return self.status == "failed"


Measure = Callable[[Turn], int | None]


def ttft(turn: Turn) -> int | None:
    """Return the time to the first token, from when the turn was due."""
    return _between(turn.intended_ns, turn.first_ns)


def ttft_service(turn: Turn) -> int | None:
    """Return the time to the first token, from the sending."""
    return _between(turn.sent_ns, turn.first_ns)


def ttfo(turn: Turn) -> int | None:
    """Return the time to the first visible content, from when the turn was due."""
    return _between(turn.intended_ns, turn.first_content_ns)


def ttfo_service(turn: Turn) -> int | None:
    """Return the time to the first visible content, from the sending."""
    return _between(turn.sent_ns, turn.first_content_ns)


def tpot(turn: Turn) -> int | None:
    """Return the time per output token after the first; chunks count where the server tells no tokens."""
    count = turn.chunks if turn.output_tokens is None else turn.output_tokens
    first_ns = turn.first_ns
    if count < 2 or not first_ns or not turn.last_content_ns:
        return None
    return max(turn.last_content_ns - first_ns, 0) // ((count - 1) * _NS_PER_US)


def latency(turn: Turn) -> int | None:
    """Return the time to the end of the answer, from when the turn was due."""
    return _between(turn.intended_ns, turn.ended_ns)


def latency_service(turn: Turn) -> int | None:
    """Return the time to the end of the answer, from the sending."""
    return _between(turn.sent_ns, turn.ended_ns)


def late(turn: Turn) -> int | None:
    """Return how late it went into the pipeline."""
    return _between(turn.intended_ns, turn.asked_ns)


def own_late(turn: Turn) -> int | None:
    """Return how late it went into the pipeline although there was room for it."""
    return _between(turn.ready_ns, turn.asked_ns)


def waited(turn: Turn) -> int | None:
    """Return how long it waited for room."""
    return _between(turn.intended_ns, turn.ready_ns)


def before_sending(turn: Turn) -> int | None:
    """Return what the client itself took from when it was due until the sending; None after a retry."""
    if turn.attempts > 1:
        return None
    return _between(turn.ready_ns or turn.intended_ns, turn.sent_ns)


def pipeline(turn: Turn) -> int | None:
    """Return the time in the pipeline until the sending; None after a retry: the attempts before the last are
    not the pipeline's."""
    return None if turn.attempts > 1 else _between(turn.asked_ns, turn.sent_ns)


def connect(turn: Turn) -> int | None:
    """Return the time from the sending until there was a connection."""
    return _between(turn.sent_ns, turn.connected_ns)


def headers(turn: Turn) -> int | None:
    """Return the time from the sending until the head of the response."""
    return _between(turn.sent_ns, turn.headers_ns)


def commit(turn: Turn) -> int | None:
    """Return the time from the end of the stream until the answer was known to be saved."""
    return _between(turn.ended_ns, turn.saved_ns)


def _between(from_ns: int, to_ns: int) -> int | None:
    """Return a time in µs; None where one of its ends did not happen."""
    if not from_ns or not to_ns:
        return None
    return (to_ns - from_ns) // _NS_PER_US if to_ns > from_ns else 0


# What is measured of one turn, in µs, by the names of `result.DEFINITIONS`: all but `gap`, of which a turn has
# many (`gaps_us`), and `session`, which is of several turns.
MEASURES: dict[str, Measure] = {
    "ttft": ttft,
    "ttft_service": ttft_service,
    "ttfo": ttfo,
    "ttfo_service": ttfo_service,
    "tpot": tpot,
    "latency": latency,
    "latency_service": latency_service,
    "late": late,
    "own_late": own_late,
    "waited": waited,
    "pipeline": pipeline,
    "connect": connect,
    "headers": headers,
    "commit": commit,
    "server_total": lambda turn: _told(turn.server_total_ns),
    "server_prompt": lambda turn: _told(turn.server_prompt_ns),
    "server_generate": lambda turn: _told(turn.server_generate_ns),
}


# Those that are known of a turn whatever has become of it.
ALWAYS = ("late", "own_late", "waited")


def _told(duration_ns: int) -> int | None:
    return duration_ns // _NS_PER_US if duration_ns else None
