"""What is known of a run while it goes: what the live view shows. Pure.

`stats.Stats.live` makes it, about once a second; `live.py` turns it into lines.
"""

from typing import Literal

import msgspec

from chatbot.simulate.result import Value

Stage = Literal["ramp", "warm-up", "run"]


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a run at one instant.

    The counts are of all turns so far, with those of the ramp and the warm-up; `failed` are all that have
    ended without an answer, `failures` the same by kind, the most frequent first. The rates (`_per_s`) are
    over the last whole second, the percentiles over the last 5 s, in ms: None where nothing ended in them,
    "inf" where the percentile lies among the failed turns. TTFT and latency count from when a turn was due.

    `rates` (answered a second) and `ttfts` (its median in ms) have one value for each of the last whole seconds, at
    most 60, the newest last. `progress` is the share of the run that is over, from 0 to 1, None where it
    is not known.
    """

    elapsed_s: float
    stage: Stage = "run"
    progress: float | None = None
    asked: int = 0
    answered: int = 0
    failed: int = 0
    in_flight: int = 0
    sessions: int = 0
    sessions_completed: int = 0
    asked_per_s: float = 0.0
    answered_per_s: float = 0.0
    failed_per_s: float = 0.0
    output_tokens_per_s: float = 0.0
    chunks_per_s: float = 0.0
    ttft_p50: Value = None
    ttft_p95: Value = None
    latency_p50: Value = None
    latency_p95: Value = None
    failures: dict[str, int] = {}
    rates: tuple[float, ...] = ()
    ttfts: tuple[Value, ...] = ()
