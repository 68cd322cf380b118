"""What the measures are called where a person reads them, and which of them tell something new. Pure."""

from collections.abc import Mapping

from chatbot.simulate.result import Accuracy, Metric
from chatbot.simulate.text import rate, signed

# In the order in which they are shown: the two that count first, then what they are made of.
NAMES: dict[str, str] = {
    "ttft": "TTFT",
    "ttft_service": "  from sending",
    "ttfo": "TTFO",
    "ttfo_service": "  from sending",
    "tpot": "TPOT",
    "gap": "chunk gap",
    "latency": "latency",
    "latency_service": "  from sending",
    "server_total": "  server says",
    "server_prompt": "  server: prompt",
    "server_generate": "  server: output",
    "late": "asked late",
    "own_late": "  of it, our own",
    "waited": "  of it, no room",
    "pipeline": "pipeline",
    "connect": "connect",
    "headers": "headers",
    "commit": "commit",
    "session": "session",
}
SHOWN = tuple(name for name in NAMES if name not in ("ttfo_service", "connect", "headers"))
TITLES = {
    "ttft": "Time to first token",
    "ttft_service": "Time to first token, from sending",
    "ttfo": "Time to first output",
    "ttfo_service": "Time to first output, from sending",
    "tpot": "Time per output token",
    "gap": "Gap between chunks",
    "latency": "Latency",
    "latency_service": "Latency, from sending",
    "late": "Asked late",
    "own_late": "Asked late, our own part",
    "waited": "Asked late for want of room",
    "pipeline": "Pipeline",
    "connect": "Connecting",
    "headers": "Response head",
    "commit": "Until saved",
    "server_total": "Server: whole request",
    "server_prompt": "Server: prompt",
    "server_generate": "Server: generation",
    "session": "Session",
}
_AS = {"ttfo": "ttft", "ttfo_service": "ttft_service"}  # without reasoning they are the same
_WHERE = {"run": "in the run", "before": "calibrated before", "after": "calibrated after"}


def is_told_apart(name: str, metrics: Mapping[str, Metric]) -> bool:
    """Whether a measure was taken, and is not another one once more."""
    metric = metrics.get(name)
    if metric is None or not (metric.count or metric.failed):
        return False
    if name in ("own_late", "waited"):  # without a bound there is room at any time
        return bool(metrics.get("waited", metric).max)
    return name not in _AS or metric != metrics.get(_AS[name])


def accuracy_line(accuracy: Accuracy) -> str:
    """Return how far the client's clock readings are off, as a line."""
    error, lag, own = accuracy.ttft_error, accuracy.loop_lag, accuracy.own_share
    where = _WHERE[accuracy.where]
    if not accuracy.turns:
        return f"accuracy {where}: not known, no turn told the truth"
    return (
        f"accuracy {where}: TTFT from sending {signed(error.p50)} ms p50, {signed(error.p99)} ms p99,"
        f" from when due {signed(own.p50)} and {signed(own.p99)} ({accuracy.turns:,} turns at"
        f" {rate(accuracy.turns_per_s)}/s; loop lag {signed(lag.p99).removeprefix('+')} ms p99)"
    )
