"""The instruments of this program: their names, units and buckets. Pure.

Every process knows them, because it adds its measurements up where they arise (`sums`); the telemetry
process declares them to whoever reads the metrics.

Buckets and units: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/; the request
duration is in milliseconds here, on purpose.
"""

from typing import Literal, NamedTuple

_SECONDS = tuple(0.01 * 2**n for n in range(14))  # 0.01 … 81.92
_TOKENS = tuple(float(4**n) for n in range(14))  # 1 … 67,108,864
_HTTP_MS = (
    *(5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0),
    *(10000.0, 20000.0, 40000.0, 80000.0, 160000.0),
)
_PIPELINE_MS = (
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0),
    *(2500.0, 5000.0, 10000.0),
)

VALUE_AT_MOST = 2**53  # beyond, a double no longer counts by ones; no real usage comes near
InstrumentKind = Literal["counter", "histogram", "gauge"]


class Kind(NamedTuple):
    """What an instrument is declared with; a histogram also has its buckets."""

    unit: str
    description: str
    instrument: InstrumentKind = "counter"
    bounds: tuple[float, ...] = ()


def _histogram(unit: str, description: str, bounds: tuple[float, ...]) -> Kind:
    return Kind(unit, description, "histogram", bounds)


DECLARED: dict[str, Kind] = {
    "http.client.request.duration": _histogram("ms", "Duration of an HTTP request", _HTTP_MS),
    "gen_ai.client.token.usage": _histogram("{token}", "Tokens used by an operation", _TOKENS),
    "gen_ai.client.operation.duration": _histogram("s", "Duration of an LLM call", _SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": _histogram(
        "s", "Time to the first chunk", _SECONDS
    ),
    "chatbot.queue.depth": Kind("{message}", "Messages that wait, by queue", "gauge"),
    "chatbot.queue.wait": _histogram("ms", "Wait of a message in a queue", _PIPELINE_MS),
    "chatbot.store.commit.duration": _histogram("ms", "Duration of a commit", _PIPELINE_MS),
    "chatbot.cache.lookups": Kind("{lookup}", "Cache look-ups, by result"),
    "chatbot.requests": Kind("{request}", "Requests that ended, by how"),
    "chatbot.requests.in_flight": Kind("{request}", "Requests that workers have", "gauge"),
    "chatbot.retries": Kind("{retry}", "LLM calls tried again"),
    "chatbot.process.restarts": Kind("{restart}", "Processes started again after a crash"),
    "chatbot.telemetry.exported": Kind("{span}", "Spans written or sent, by exporter"),
    "chatbot.telemetry.dropped": Kind("{record}", "Telemetry given up, by reason"),
    "chatbot.telemetry.write_failures": Kind("{failure}", "Writes that the disk refused, by file"),
    "chatbot.telemetry.lost_lines": Kind("{line}", "Lines that the disk never took, by file"),
}


def kind_of(name: str, instrument: InstrumentKind) -> Kind:
    """Return what is declared under a name; of another name, what it is taken for as it comes."""
    kind = DECLARED.get(name)
    if kind is not None:
        return kind
    if instrument == "histogram":
        return Kind("ms", "", "histogram", _PIPELINE_MS)
    return Kind("{token}" if name.startswith("llm.usage.") else "1", "", instrument)
