"""Span records on their way into the trace file: what is written is OTLP, and says the same."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chatbot.messages import SpanEvent, SpanRecord
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.judge import Judge, Judged
from chatbot.telemetry.last import metric_interval_ms
from chatbot.telemetry.limits import from_environment
from chatbot.telemetry.open import Source
from chatbot.telemetry.resources import Resources, parse_resource_attributes
from chatbot.telemetry.spanfile import SpanFile
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


def written(
    tmp_path: Path, *spans: tuple[SpanRecord, Source], environ: dict[str, str] | None = None
) -> list[str]:
    """Judge spans, and return the lines of the trace file that they make."""
    judge = Judge(from_environment(environ or {}))
    stream = RotatingFile(tmp_path / "spans")
    file = SpanFile(stream, Resources(environ or {}))
    for record, source in spans:
        judged = judge.judge(record)
        assert judged is not None
        file.add(judged, source)
    file.write()
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
    lines = written(tmp_path, (full, WORKER))
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
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
    records = [
        record(kind=kind, links=(f"00-{TRACE}-{SPAN}-01",), attributes={"n": 2**70, "nan": 1e308})
        for kind in range(5)
    ]
    lines = written(tmp_path, *((each, WORKER) for each in records), environ=environ)
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
    (line,) = written(tmp_path, (odd, WORKER))

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    json.loads(line, parse_constant=refuse)
    parse_traces(line)


def test_each_process_is_a_service_of_its_own_with_a_resource_of_its_own(tmp_path: Path) -> None:
    second = Source("worker", 2, 4713)
    spans = [(record(), source) for source in (WORKER, STORE, second, WORKER)]
    lines = written(tmp_path, *spans)
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
    judge = Judge()
    assert judge.judge(record(**changes)) is None
    assert judge.malformed == 1


def test_a_malformed_parent_or_link_is_left_off_and_counted() -> None:
    judge = Judge()
    links = ("", "00-xyz-01", f"00-{TRACE}-{SPAN}-01")
    events = (SpanEvent("never", -1), SpanEvent("then", 1))
    judged = judge.judge(record(parent_id="nonsense", links=links, events=events))
    assert judged is not None
    assert judged.record.parent_id == ""
    assert judged.record.links == links[2:]
    assert judged.record.events == events[1:]
    assert judge.malformed == 4


@given(
    st.text(max_size=40),
    st.text(max_size=20),
    st.text(max_size=20),
    st.integers(-3, 9),
    st.lists(st.text(max_size=60), max_size=3),
)
def test_no_record_makes_the_judge_raise(
    trace_id: str, span_id: str, parent_id: str, kind: int, links: list[str]
) -> None:
    odd = SpanRecord(trace_id, span_id, parent_id, "", kind, 0, 0, {}, (), tuple(links))
    Judge().judge(odd)


def test_the_metric_interval_is_ten_seconds_unless_a_number_says_otherwise() -> None:
    texts = ("", "500", "0", "-3", "soon")
    intervals = [metric_interval_ms({"OTEL_METRIC_EXPORT_INTERVAL": text}) for text in texts]
    assert intervals == [10_000, 500, 10_000, 10_000, 10_000]


def test_a_line_is_written_after_half_a_second_or_when_it_has_512_spans(tmp_path: Path) -> None:
    stream = RotatingFile(tmp_path / "spans")
    file = SpanFile(stream, Resources({}))

    def lines() -> int:
        stream.flush()
        return (tmp_path / "spans").read_text().count("\n")

    file.write_due(100.0)
    file.add(Judged(record()), WORKER)
    file.write_due(100.2)
    file.add(Judged(record()), WORKER)
    file.write_due(100.6)
    assert (lines(), file.written) == (0, 0)
    file.write_due(100.7)
    assert (lines(), file.written) == (1, 2)
    for _ in range(511):
        file.add(Judged(record()), WORKER)
    assert lines() == 1
    file.add(Judged(record()), STORE)
    assert (lines(), file.written) == (2, 514)
    file.write_due(1000.0)
    file.write()
    assert lines() == 2
    stream.close()


def test_a_line_has_a_megabyte_at_most_and_no_span_is_lost_for_its_neighbours(
    tmp_path: Path,
) -> None:
    stream = RotatingFile(tmp_path / "spans")
    file = SpanFile(stream, Resources({}))
    long = {"gen_ai.input.messages": "x" * 64_000, "gen_ai.output.messages": "y" * 64_000}
    for _ in range(70):
        file.add(Judged(record(attributes=long)), WORKER)
    file.write()
    stream.close()
    lines = (tmp_path / "spans").read_bytes().splitlines()
    assert max(map(len, lines)) < 1024 * 1024 + 4096
    numbers = [
        len(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]) for line in lines
    ]
    assert sum(numbers) == 70
    assert numbers[0] == 8
    assert (file.written, file.lost, stream.dropped_lines) == (70, 0, 0)


def test_only_what_the_stream_took_counts_as_written(tmp_path: Path) -> None:
    stream = RotatingFile(tmp_path / "spans")
    file = SpanFile(stream, Resources({}))
    file.add(Judged(record()), WORKER)
    file.write()
    stream.close()
    for _ in range(3):
        file.add(Judged(record()), WORKER)
    file.write()
    assert (file.written, file.lost) == (1, 3)


def test_sources_without_end_are_kept_in_bounds(tmp_path: Path) -> None:
    stream = RotatingFile(tmp_path / "spans")
    file = SpanFile(stream, Resources({}))
    for pid in range(1, 3001):
        file.add(Judged(record()), Source("worker", 0, pid))
    file.write()
    stream.close()
    assert len(file._encoded) <= 1024
    pids = [
        attribute["value"]["intValue"]
        for line in (tmp_path / "spans").read_text().splitlines()
        for each in json.loads(line)["resourceSpans"]
        for attribute in each["resource"]["attributes"]
        if attribute["key"] == "process.pid"
    ]
    assert pids == [str(pid) for pid in range(1, 3001)]


def test_no_sign_in_a_span_can_drive_a_terminal(tmp_path: Path) -> None:
    (line,) = written(tmp_path, (record(name="\x9b31m\x1b[2J\x7f\u202e"), WORKER))
    assert line.isprintable()
    assert json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] == (
        "\x9b31m\x1b[2J\x7f\u202e"
    )
