"""The result of a run: the form of result.json. Pure.

`version` grows when a field changes its meaning or goes; fields may be added. Durations are in ms where the
name says so, in seconds with `_s`. A percentile is None where the sample is too small for it, and "inf" where it
lies among the turns that failed: they never ended, as far as whoever waits is concerned.
"""

from typing import Literal

import msgspec

from chatbot.errors import UsageError

FORMAT = "chatbot-simulate"
VERSION = 1

Value = float | Literal["inf"] | None
VerdictName = Literal["VALID", "CLIENT-LIMITED", "SERVER-LIMITED", "NO-VERDICT"]

# What is measured, in the order in which it is shown → its definition. In ms.
DEFINITIONS: dict[str, str] = {
    "ttft": "first content or reasoning, from when the turn was due (response time)",
    "ttft_service": "first content or reasoning, from when the request was sent; after a retry, the last time",
    "ttfo": "first visible content, from when the turn was due",
    "ttfo_service": "first visible content, from when the request was sent; after a retry, the last time",
    "tpot": "(last content - first) / (output tokens - 1)",
    "gap": "between a chunk and the one before it; not a token's time where chunks carry several",
    "latency": "end of the answer, from when the turn was due (response time)",
    "latency_service": "end of the answer, from when the request was sent; after a retry, the last time",
    "late": "from when the turn was due until it went into the pipeline; of every turn",
    "own_late": "what the client is to blame for of that: from when there was room for the turn, too; of every turn",
    "waited": "what it is not to blame for: from when the turn was due until there was room for it; of every turn",
    "pipeline": "from the pipeline's entry until the request was sent: accepted, saved, given to a worker; not of retries",
    "connect": "from the sending until there was a connection",
    "headers": "from the sending until the head of the response",
    "commit": "from the end of the stream until the answer was known to be saved",
    "server_total": "the server's own duration of the request",
    "server_prompt": "the server's own duration of reading the prompt",
    "server_generate": "the server's own duration of generating",
    "session": "from when a session's first turn was due until the end of its last",
}


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution in ms. `failed` turns count in the percentiles, as infinite; not in mean and extremes.

    `intervals` has 95 % confidence intervals of some percentiles, by name (`p50`, …). `histogram` has
    the counts by the lower bound of their bucket in µs, in ascending order; a bucket is 1/1024 of its power of two wide, at
    least 1 µs.
    """

    count: int
    failed: int = 0
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    p50: Value = None
    p90: Value = None
    p95: Value = None
    p99: Value = None
    p99_9: Value = None
    intervals: dict[str, tuple[Value, Value]] = {}
    histogram: dict[int, int] = {}


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the measured turns: `asked` = answered + failed + cancelled + interrupted + lost.

    `by_kind` counts all that were not answered, by kind. `interrupted` and `lost`: a process of the measurement itself
    was killed, so that their end is not known. `unfinished`: failed, since they had not ended when the run had
    long been over. `late`: asked more than 10 ms after they were due;
    `dropped`: due, but never asked, since there was no room until the end. `unmeasured` ones were asked in the warm-up.
    """

    asked: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    interrupted: int = 0
    lost: int = 0
    by_kind: dict[str, int] = {}
    saved: int = 0
    late: int = 0
    dropped: int = 0
    unfinished: int = 0
    retries: int = 0
    unmeasured: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    chunks: int = 0
    sessions_begun: int = 0
    sessions_completed: int = 0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Rates per second over a time that began so long after the run did. `good` turns met every SLO."""

    from_s: float
    to_s: float
    asked: float = 0.0
    answered: float = 0.0
    failed: float = 0.0
    good: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    chunks: float = 0.0


class SloResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the asked turns met one SLO."""

    metric: str
    limit_ms: float
    met: int
    asked: int


class ByTurn(msgspec.Struct, frozen=True, kw_only=True):
    """The turns with one index in their session, from 0. A prefix cache shows here."""

    index: int
    asked: int
    answered: int
    input_tokens: float | None
    ttft: Metric
    latency: Metric


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One interval of the timeline. `in_flight` and `sessions` are those at its end."""

    at_s: float
    width_s: float
    asked: int = 0
    answered: int = 0
    failed: int = 0
    in_flight: int = 0
    sessions: int = 0
    output_tokens: int = 0
    ttft_p50: Value = None
    ttft_p95: Value = None
    latency_p50: Value = None
    latency_p95: Value = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The turns that failed in one way, with the line of the first of them."""

    kind: str
    count: int
    http_status: int | None = None
    example: str = ""


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """The client's own error, against a server that tells the truth.

    `where`: `run` (every turn of it), or the calibration `before` or `after`. `ttft_error` is the client's
    `ttft_service` less the server's; `own_share` is what the client added to `ttft`, which counts from
    when the turn was due: from when there was room for it until the sending, and that error (in the run of a server
    that does not tell: only until the sending); `chunk_lag` from the sending of a chunk to its reading; `loop_lag` the longest
    that a worker's event loop was late in a turn. In ms.
    """

    where: Literal["run", "before", "after"]
    turns: int
    turns_per_s: float
    ttft_true: Metric
    ttft_error: Metric
    chunk_lag: Metric
    loop_lag: Metric
    own_share: Metric = Metric(count=0)


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """What a process used in the measured time; `restarts` counts those that were started again."""

    role: str
    slot: int
    pid: int
    cpu_s: float
    cpu_us_per_turn: float | None
    rss_mb: float
    restarts: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the figures are the server's: with the reasons, one line each. NO-VERDICT: it was ended before
    there was an answer."""

    name: VerdictName
    reasons: tuple[str, ...] = ()


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What it ran on."""

    os: str
    cpu: str
    cores: int
    memory_mb: int
    python: str
    libraries: dict[str, str] = {}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a run. `ended_early` says why, where it did; `settings` are the simulation's, the
    server's and the pipeline's; `started` is in Unix seconds. `requested_rate` is turns a second, None for a closed loop.
    """

    format: str = FORMAT
    version: int = VERSION
    program: str = ""
    run_id: str
    started: float
    wall_s: float
    ended_early: str = ""
    command: str = ""
    backend: str
    model: str
    seed: int
    settings: dict[str, object] = {}
    machine: Machine
    definitions: dict[str, str] = {}
    verdict: Verdict
    totals: Totals
    requested_rate: float | None = None
    achieved_rate: float = 0.0
    whole: Window
    steady: Window
    slos: tuple[SloResult, ...] = ()
    metrics: dict[str, Metric] = {}
    by_turn: tuple[ByTurn, ...] = ()
    timeline: tuple[Moment, ...] = ()
    failures: tuple[Failure, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    processes: tuple[Process, ...] = ()
    restarts: dict[str, int] = {}
    not_saving: str = ""
    telemetry_dropped: int = 0
    warnings: tuple[str, ...] = ()


def decode(data: bytes, name: str) -> Result:
    """Read a result.json called `name`. Raises UsageError where it is none, or of a newer form."""
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.DecodeError:  # not JSON, or of another shape
        raise UsageError(
            f"{name}: this is no result of a simulation; give its result.json"
        ) from None
    if head.format != FORMAT:
        raise UsageError(f"{name}: this is no result of a simulation; give its result.json")
    if head.version > VERSION:
        raise UsageError(
            f"{name}: version {head.version} of the result is newer than this program, which reads {VERSION}; "
            "update it"
        )
    try:
        return msgspec.json.decode(data, type=Result)
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: the result is damaged: {error}") from None


class _Head(msgspec.Struct, frozen=True):
    """What tells a result from other JSON, whatever its version."""

    format: str = ""
    version: int = 0
