"""Exemplars: for each bucket of a histogram, for each counter, one of the last measurements whose trace
is known.

Owns which of them are kept, and for how long one is shown: until it is older than one and a half
intervals. So every line of the file has those of its time, though the metrics are collected more often
than they are written (`last`), and an idle program does not repeat the same ones for ever. Called by
`points`.

The filter: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#exemplarfilter
"""

from typing import NamedTuple

from opentelemetry.sdk.metrics import Exemplar

from chatbot.telemetry.judge import is_valid
from chatbot.tracing import is_sampled, span_id_of, trace_id_of

_SHOWN_FOR = 1.5  # intervals


class Choice(NamedTuple):
    """Which measurements are exemplars, and for how many ns each is shown."""

    filter: str = "trace_based"
    shown_for_ns: int = 15_000_000_000


def choice(filter_: str, interval_ms: int) -> Choice:
    """Return what `OTEL_METRICS_EXEMPLAR_FILTER` chooses; without a word, those in a sampled trace."""
    return Choice(filter_ or "trace_based", round(interval_ms * 1_000_000 * _SHOWN_FOR))


class _Seen(NamedTuple):
    value: int | float
    time_ns: int
    traceparent: str


class Reservoir:
    """The last measurement in each bucket; without buckets there is one, 0."""

    __slots__ = ("_choice", "_seen")

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._seen: dict[int, _Seen] = {}

    def offer(self, bucket: int, value: float, traceparent: str, time_ns: int) -> None:
        """Remember a measurement instead of the one before it, if it is one to be shown."""
        chosen = self._choice.filter
        is_traced = is_sampled(traceparent) and is_valid(traceparent)
        if chosen == "always_on" or (is_traced and chosen == "trace_based"):
            self._seen[bucket] = _Seen(value, time_ns, traceparent if is_traced else "")

    def collect(self, now_ns: int) -> list[Exemplar]:
        """Return those that are young enough, in the order of their buckets."""
        oldest = now_ns - self._choice.shown_for_ns
        self._seen = {k: seen for k, seen in self._seen.items() if seen.time_ns >= oldest}
        return [_exemplar(seen) for _, seen in sorted(self._seen.items())]


def _exemplar(seen: _Seen) -> Exemplar:
    value, time_ns, traceparent = seen
    if not traceparent:
        return Exemplar({}, value, time_ns)
    ids = int(span_id_of(traceparent), 16), int(trace_id_of(traceparent), 16)
    return Exemplar({}, value, time_ns, *ids)
