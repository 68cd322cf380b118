"""Span records on their way into the trace file: what is written is OTLP, and says the same."""

import base64
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from chatbot.messages import SpanEvent, SpanRecord
from chatbot.telemetry.export import Exports, SpanQueue, destination, metric_interval_ms
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.open import Source
from chatbot.telemetry.spans import Resources, SpanBuilder, parse_resource_attributes
from chatbot.version import __version__

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = "00f067aa0ba902b7"
WORKER = Source("worker", 1, 4711)
STORE = Source("store", 0, 4712)


def record(**changes: Any) -> SpanRecord:
    values: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_id": PARENT,
        "name": "openai_api_call",
        "kind": 2,
        "start_ns": 1_700_000_000_123_456_789,
        "end_ns": 1_700_000_001_123_456_789,
    }
    return SpanRecord(**{**values, **changes})


def attributes_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return OTLP-JSON attributes as a plain dictionary."""
    return {each["key"]: plain(each["value"]) for each in item.get("attributes", [])}


def plain(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [plain(each) for each in content["values"]]
    return content


def parse_traces(line: str) -> ExportTraceServiceRequest:
    """Parse a line by the protobuf schema, which refuses every unknown or mistyped field.

    OTLP-JSON writes ids in hex, where protobuf's own JSON has base64: they are converted first.
    """
    tree = json.loads(line, object_hook=_ids_to_base64)
    request = ExportTraceServiceRequest()
    json_format.ParseDict(tree, request)
    return request


def _ids_to_base64(item: dict[str, Any]) -> dict[str, Any]:
    for key in ("traceId", "spanId", "parentSpanId"):
        if key in item:
            item[key] = base64.b64encode(bytes.fromhex(item[key])).decode()
    return item


def export(tmp_path: Path, *spans: ReadableSpan | None) -> list[str]:
    """Send spans the real way, and return the lines of the trace file."""
    streams = [RotatingFile(tmp_path / name) for name in ("spans", "metrics")]
    exports = Exports({}, streams[0], streams[1], None)
    for span in spans:
        assert span is not None
        exports.add(span)
    exports.shutdown_spans()
    exports.shutdown_metrics()
    for stream in streams:
        stream.close()
    return (tmp_path / "spans").read_text().splitlines()


def test_a_record_comes_out_of_the_file_as_it_went_in(tmp_path: Path) -> None:
    full = record(
        attributes={
            "gen_ai.request.model": "grün",
            "http.response.status_code": 503,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.stream": True,
            "gen_ai.response.finish_reasons": ("stop", "length"),
        },
        events=(SpanEvent("first_token", 1_700_000_000_500_000_000, {"seq": 1}),),
        links=(f"00-{TRACE}-{PARENT}-01",),
        error="503 Service Unavailable",
    )
    lines = export(tmp_path, SpanBuilder(Resources({})).build(full, WORKER))
    (resource_spans,) = json.loads(lines[0])["resourceSpans"]
    (scope_spans,) = resource_spans["scopeSpans"]
    (span,) = scope_spans["spans"]
    assert scope_spans["scope"]["name"] == "chatbot"
    assert (span["traceId"], span["spanId"], span["parentSpanId"]) == (TRACE, SPAN, PARENT)
    assert (span["name"], span["kind"]) == ("openai_api_call", 3)
    assert span["startTimeUnixNano"] == "1700000000123456789"
    assert span["endTimeUnixNano"] == "1700000001123456789"
    assert span["status"] == {"message": "503 Service Unavailable", "code": 2}
    assert attributes_of(span) == {
        "gen_ai.request.model": "grün",
        "http.response.status_code": 503,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ["stop", "length"],
    }
    (event,) = span["events"]
    assert (event["name"], event["timeUnixNano"]) == ("first_token", "1700000000500000000")
    assert attributes_of(event) == {"seq": 1}
    (link,) = span["links"]
    assert (link["traceId"], link["spanId"]) == (TRACE, PARENT)


def test_every_line_is_an_export_request_of_the_otlp_schema(tmp_path: Path) -> None:
    builder = SpanBuilder(Resources({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}))
    records = [
        record(kind=kind, links=(f"00-{TRACE}-{SPAN}-01",), attributes={"n": 2**70, "nan": 1e308})
        for kind in range(5)
    ]
    lines = export(tmp_path, *(builder.build(each, WORKER) for each in records))
    requests = [parse_traces(line) for line in lines]
    spans = [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [span.kind for span in spans] == [1, 2, 3, 4, 5]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert {span.links[0].span_id.hex() for span in spans} == {SPAN}
    assert ExportTraceServiceRequest.FromString(requests[0].SerializeToString()) == requests[0]


def test_a_finite_or_infinite_float_is_never_a_word_that_json_lacks(tmp_path: Path) -> None:
    odd = record(attributes={"a": float("nan"), "b": float("inf"), "c": 1.5})
    (line,) = export(tmp_path, SpanBuilder(Resources({})).build(odd, WORKER))

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    json.loads(line, parse_constant=refuse)
    parse_traces(line)


def test_each_process_is_a_service_of_its_own_with_a_resource_of_its_own(tmp_path: Path) -> None:
    builder = SpanBuilder(Resources({}))
    second = Source("worker", 2, 4713)
    lines = export(
        tmp_path,
        builder.build(record(), WORKER),
        builder.build(record(), STORE),
        builder.build(record(), second),
        builder.build(record(), WORKER),
    )
    resources = [attributes_of(each["resource"]) for each in json.loads(lines[0])["resourceSpans"]]
    assert [r["service.name"] for r in resources] == [
        "chatbot-worker",
        "chatbot-store",
        "chatbot-worker",
    ]
    assert [r["process.pid"] for r in resources] == [4711, 4712, 4713]
    assert len({r["service.instance.id"] for r in resources}) == 3
    assert {r["service.namespace"] for r in resources} == {"chatbot"}
    assert {r["service.version"] for r in resources} == {__version__}


def test_a_source_has_one_resource_object() -> None:
    resources = Resources({})
    assert resources.of(WORKER) is resources.of(WORKER)
    assert resources.of(WORKER) != resources.of(Source("worker", 1, 4712))


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_SERVICE_NAME": "mine"},
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine"},
        {"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "service.name=other"},
    ],
)
def test_a_given_service_name_is_used_verbatim_for_all(environ: dict[str, str]) -> None:
    resources = Resources(environ)
    names = {resources.of(source).attributes["service.name"] for source in (WORKER, STORE)}
    names.add(resources.of_program(1).attributes["service.name"])
    assert names == {"mine"}


def test_without_a_name_the_metrics_are_of_the_program() -> None:
    assert Resources({}).of_program(1).attributes["service.name"] == "chatbot"


def test_resource_attributes_are_percent_decoded_and_half_entries_left_out() -> None:
    parsed = parse_resource_attributes("a=1, team = core%2Cdev ,broken,=empty,b=x=y")
    assert parsed == {"a": "1", "team": "core,dev", "b": "x=y"}


@pytest.mark.parametrize(
    "changes",
    [
        {"trace_id": ""},
        {"trace_id": "0" * 32},
        {"trace_id": TRACE.upper()},
        {"trace_id": TRACE[:-1] + "g"},
        {"trace_id": TRACE[:-2]},
        {"span_id": "0" * 16},
        {"span_id": "0x" + SPAN[2:]},
        {"span_id": SPAN + "\n"},
        {"kind": 5},
        {"kind": -1},
        {"start_ns": -1},
        {"end_ns": 2**64},
    ],
)
def test_a_malformed_record_is_refused_and_counted(changes: dict[str, Any]) -> None:
    builder = SpanBuilder(Resources({}))
    assert builder.build(record(**changes), WORKER) is None
    assert builder.malformed == 1


def test_a_malformed_parent_or_link_is_left_off_and_counted() -> None:
    builder = SpanBuilder(Resources({}))
    links = ("", "00-xyz-01", f"00-{TRACE}-{SPAN}-01")
    span = builder.build(record(parent_id="nonsense", links=links), WORKER)
    assert span is not None
    assert span.parent is None
    assert len(span.links) == 1
    assert builder.malformed == 3


@given(
    st.text(max_size=40),
    st.text(max_size=20),
    st.text(max_size=20),
    st.integers(-3, 9),
    st.lists(st.text(max_size=60), max_size=3),
)
def test_no_record_makes_the_builder_raise(
    trace_id: str, span_id: str, parent_id: str, kind: int, links: list[str]
) -> None:
    odd = SpanRecord(trace_id, span_id, parent_id, "", kind, 0, 0, {}, (), tuple(links))
    SpanBuilder(Resources({})).build(odd, WORKER)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/"}, "http://c:4318/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/x"}, "http://c/x"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://d/x",
            },
            "https://d/x",
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c/x"}, ""),
    ],
)
def test_traces_go_where_the_variables_say(environ: dict[str, str], url: str) -> None:
    assert destination(environ, "traces") == (url, "")


@pytest.mark.parametrize(
    ("endpoint", "protocol", "reason"),
    [
        ("localhost:4318", "", "not an http"),
        ("http://", "", "not an http"),
        ("http://c:99999", "", "not an http"),
        ("http://c:4317", "", "protocol grpc"),
        ("http://c:4318", "grpc", "protocol grpc"),
        ("http://c:4318", "http/json", "protocol http/json"),
    ],
)
def test_what_cannot_be_exported_to_is_refused_with_a_reason(
    endpoint: str, protocol: str, reason: str
) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    for signal in ("traces", "metrics"):
        refused = destination(environ, signal)
        assert refused.url == ""
        assert re.search(reason, refused.refused)


def test_the_metric_interval_is_ten_seconds_unless_a_number_says_otherwise() -> None:
    texts = ("", "500", "0", "-3", "soon")
    intervals = [metric_interval_ms({"OTEL_METRIC_EXPORT_INTERVAL": text}) for text in texts]
    assert intervals == [10_000, 500, 10_000, 10_000, 10_000]


class Collecting(SpanExporter):
    def __init__(self, result: SpanExportResult = SpanExportResult.SUCCESS) -> None:
        self.names: list[str] = []
        self.may_go_on = threading.Event()
        self.result = result

    def export(self, spans: Any) -> SpanExportResult:
        self.may_go_on.wait(30)
        self.names += [span.name for span in spans]
        return self.result


def test_a_full_queue_that_may_wait_loses_nothing() -> None:
    exporter = Collecting()
    exporter.may_go_on.set()
    queue = SpanQueue(exporter, limit=10, delay_ms=60_000, may_wait=True)
    builder = SpanBuilder(Resources({}))
    for number in range(1000):
        span = builder.build(record(name=str(number)), WORKER)
        assert span is not None
        queue.add(span)
    queue.processor.shutdown()  # type: ignore[no-untyped-call]  # so in the SDK
    assert exporter.names == [str(number) for number in range(1000)]
    assert queue.lost == 0


def test_a_full_queue_that_may_not_wait_counts_what_it_refuses() -> None:
    exporter = Collecting(SpanExportResult.FAILURE)
    queue = SpanQueue(exporter, limit=1000, delay_ms=60_000, may_wait=False)
    span = SpanBuilder(Resources({})).build(record(), WORKER)
    assert span is not None
    for _ in range(3000):
        queue.add(span)
    assert 1400 <= queue.refused <= 2000  # but for a full queue, and the batches being exported
    exporter.may_go_on.set()
    queue.processor.shutdown()  # type: ignore[no-untyped-call]  # so in the SDK
    assert queue.lost == 3000
