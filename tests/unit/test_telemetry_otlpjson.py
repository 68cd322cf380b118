"""The lines of the trace file: the same as the official exporter writes, for any span."""

import io
import json
import math
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import given
from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter

from chatbot.messages import AttributeValue, SpanEvent, SpanRecord
from chatbot.telemetry import otlpjson
from chatbot.telemetry.judge import Judge, Judged
from chatbot.telemetry.limits import Limits
from chatbot.telemetry.open import Source
from chatbot.telemetry.otlp import FinishedSpan
from chatbot.telemetry.otlp_spans import readable
from chatbot.telemetry.resources import Resources

RESOURCES = Resources({})
WORKER = Source("worker", 1, 4711)
STORE = Source("store", 0, 4712)

LIMITS = Limits(attributes=4, events=1, links=1, event_attributes=2, value_length=15)

Sourced = tuple[SpanRecord, Source]

ids = st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}")
trace_ids = st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}")
times = st.integers(1, 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = (
    text
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.lists(text, max_size=3).map(tuple)
)
attributes = st.dictionaries(text.filter(bool), values, max_size=6)
records = st.builds(
    SpanRecord,
    trace_ids,
    ids,
    ids | st.just(""),
    text,
    st.integers(0, 4),
    times,
    times,
    attributes,
    st.lists(st.builds(SpanEvent, text, times, attributes), max_size=2).map(tuple),
    st.lists(st.builds("00-{}-{}-01".format, trace_ids, ids), max_size=2).map(tuple),
    text,
)


def judged(spans: list[Sourced]) -> list[tuple[Judged, Source]]:
    judge = Judge(LIMITS)
    fit = [(judge.judge(record), source) for record, source in spans]
    assert judge.malformed == 0
    return [(span, source) for span, source in fit if span is not None]


def official(spans: list[Sourced]) -> Any:
    stream = io.StringIO()
    finished = [FinishedSpan(span, RESOURCES.of(source)) for span, source in judged(spans)]
    FileSpanExporter(stream=stream).export([readable(span) for span in finished])
    return json.loads(stream.getvalue())


def ours(spans: list[Sourced]) -> Any:
    groups: dict[Source, tuple[msgspec.Raw, list[msgspec.Raw]]] = {}
    for span, source in judged(spans):
        attributes: dict[str, AttributeValue] = dict(RESOURCES.of(source).attributes)  # type: ignore[arg-type] # the SDK's type is wider
        group = groups.setdefault(source, (otlpjson.resource(attributes), []))
        group[1].append(msgspec.Raw(otlpjson.encoded(span)))
    return json.loads(otlpjson.line(groups.values()))


@given(st.lists(st.tuples(records, st.sampled_from([WORKER, STORE])), min_size=1, max_size=4))
def test_a_line_is_what_the_official_exporter_writes(
    spans: list[Sourced],
) -> None:
    assert ours(spans) == official(spans)


def test_a_number_that_is_none_is_written_by_its_name() -> None:
    spelled: dict[str, AttributeValue] = {"a": math.nan, "b": math.inf, "c": -math.inf}
    (span,) = ours([(SpanRecord("a" * 32, "b" * 16, "", "x", 0, 1, 2, spelled), WORKER)])[
        "resourceSpans"
    ][0]["scopeSpans"][0]["spans"]
    written = [each["value"]["doubleValue"] for each in span["attributes"]]
    assert written == ["NaN", "Infinity", "-Infinity"]
