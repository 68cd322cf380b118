"""One turn of a simulated session as it was measured: a line of turns.jsonl, and what follows from it. Pure.

All `_ns` are of the machine's monotonic clock; 0: it did not happen. A measure is None where the turn has none.
"""

from typing import Literal

import msgspec

Phase = Literal["before", "warmup", "run", "after"]
Status = Literal["answered", "failed", "cancelled", "interrupted", "lost"]


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one turn.

    `intended_ns` is when it was due, `asked_ns` when it went into the pipeline; those from `begun_ns` to
    `ended_ns` are `Timing`'s; `saved_ns` is when its end was known to be committed, `done_ns` when its terminal
    message was read. `status` lost: a process of the measurement itself was killed, so that its end is
    not known. `error` is a kind of failure, `message` its line. `phase` before and after are the
    calibration's, only those of the `run` count. `server_*_ns` are the durations that the server tells of itself.
    """

    session: int
    index: int
    phase: Phase
    status: Status
    intended_ns: int
    asked_ns: int
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
        stamps = [ns for ns in (self.first_reasoning_ns, self.first_content_ns) if ns]
        return min(stamps, default=0)
