"""Processor time of a span on its way into the trace file, beside the official file exporter."""

import io
import statistics
import time
from collections.abc import Callable, Iterator

import msgspec
from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter

from benchmarks import figures
from chatbot.messages import AttributeValue, SpanEvent, SpanRecord
from chatbot.telemetry import otlpjson
from chatbot.telemetry.judge import Judge, Judged
from chatbot.telemetry.open import Source
from chatbot.telemetry.otlp import FinishedSpan
from chatbot.telemetry.otlp_spans import readable
from chatbot.telemetry.resources import Resources
from chatbot.tracing import CLIENT, PRODUCER

SPANS = 512

_HOP: dict[str, AttributeValue] = {
    "messaging.system": "chatbot",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.destination.name": "store.asks",
    "messaging.message.id": "req_019aa0f00c3f0a1b2c3d4e5f",
}
_CALL: dict[str, AttributeValue] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "sim",
    "gen_ai.request.model": "sim",
    "gen_ai.request.stream": True,
    "gen_ai.conversation.id": "session_1795313612_57d492",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.model": "sim",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.response.time_to_first_chunk": 0.0521,
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 32,
    "server.address": "127.0.0.1",
    "server.port": 8080,
    "http.request.method": "POST",
    "http.response.status_code": 200,
    "url.full": "http://127.0.0.1:8080/v1/chat/completions",
}


def run(rounds: int) -> None:
    """Print µs per span for both ways; one span in eleven is a call, as in a turn."""
    source = Source("worker", 0, 4711)
    resources = Resources({})
    records = [_record(number) for number in range(SPANS)]
    judge = Judge()
    resource = resources.of(source)
    exporter = FileSpanExporter(stream=io.StringIO())
    of = otlpjson.resource(dict(resources.of(source).attributes))  # type: ignore[arg-type] # the SDK's type is wider

    def judged() -> Iterator[Judged]:
        return filter(None, map(judge.judge, records))

    def ours() -> None:
        otlpjson.line([(of, [msgspec.Raw(otlpjson.encoded(span)) for span in judged()])]).decode()

    def official() -> None:
        exporter.export([readable(FinishedSpan(span, resource)) for span in judged()])

    taken = figures.in_turns({"ours": _cpu_us(ours), "official": _cpu_us(official)}, rounds * 4)
    own, peer = (statistics.median(values) for values in taken.values())
    figures.heading("processor time per span written, µs", "ours", "official", "ratio")
    figures.row("a span of the trace file", f"{own:.1f}", f"{peer:.1f}", f"{own / peer:.2f}")


def _cpu_us(write: Callable[[], None]) -> Callable[[], float]:
    def measure() -> float:
        began = time.process_time()
        write()
        return (time.process_time() - began) / SPANS * 1e6

    return measure


def _record(number: int) -> SpanRecord:
    trace_id, span_id = f"{number + 1:032x}", f"{number + 1:016x}"
    if number % 11:
        return SpanRecord(trace_id, span_id, "b" * 16, "send store.asks", PRODUCER, 1, 2, _HOP)
    first = (SpanEvent("first_token", 2),)
    return SpanRecord(trace_id, span_id, "b" * 16, "sim_api_call", CLIENT, 1, 3, _CALL, first)
