"""The lines of the trace file: the same as the official exporter writes, for any span."""

import io
import json
import math
from typing import Any

import hypothesis.strategies as st
from hypothesis import given
from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter

from chatbot.messages import AttributeValue, SpanEvent, SpanRecord
from chatbot.telemetry import otlpjson
from chatbot.telemetry.open import Source
from chatbot.telemetry.spans import Resources, SpanBuilder

RESOURCES = Resources({})
WORKER = Source("worker", 1, 4711)
STORE = Source("store", 0, 4712)

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


def official(spans: list[tuple[SpanRecord, Source]]) -> Any:
    builder = SpanBuilder(RESOURCES)
    stream = io.StringIO()
    FileSpanExporter(stream=stream).export([builder.build(*span) for span in spans])  # type: ignore[misc] # all are well formed
    assert builder.malformed == 0
    return json.loads(stream.getvalue())


def ours(spans: list[tuple[SpanRecord, Source]]) -> Any:
    groups: dict[str, tuple[Any, list[otlpjson.Span]]] = {}
    for record, source in spans:
        of = RESOURCES.of(source).attributes
        group = groups.setdefault(source.role, (otlpjson.resource(of), []))  # type: ignore[arg-type] # the SDK's type is wider
        group[1].append(otlpjson.span(record))
    return json.loads(otlpjson.line(groups.values()))


@given(st.lists(st.tuples(records, st.sampled_from([WORKER, STORE])), min_size=1, max_size=4))
def test_a_line_is_what_the_official_exporter_writes(
    spans: list[tuple[SpanRecord, Source]],
) -> None:
    assert ours(spans) == official(spans)


def test_a_number_that_is_none_is_written_by_its_name() -> None:
    spelled: dict[str, AttributeValue] = {"a": math.nan, "b": math.inf, "c": -math.inf}
    (span,) = ours([(SpanRecord("a" * 32, "b" * 16, "", "x", 0, 1, 2, spelled), WORKER)])[
        "resourceSpans"
    ][0]["scopeSpans"][0]["spans"]
    written = [each["value"]["doubleValue"] for each in span["attributes"]]
    assert written == ["NaN", "Infinity", "-Infinity"]
