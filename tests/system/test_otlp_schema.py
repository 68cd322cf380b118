"""Every line of the trace and the metrics file is OTLP, by its protobuf schema and by its JSON rules.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: names in lowerCamelCase, ids in hex,
enums as integers; 64-bit integers as strings.
"""

import base64
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from chatbot.settings import METRIC_FILE, SPAN_FILE
from tests import otlp_files
from tests.system.eventful import Eventful

if not hasattr(signal, "SIGKILL"):
    pytest.skip("there is no SIGKILL here", allow_module_level=True)

_64_BITS = {
    FieldDescriptor.CPPTYPE_INT64: re.compile(r"-?(?:0|[1-9]\d{0,18})"),
    FieldDescriptor.CPPTYPE_UINT64: re.compile(r"0|[1-9]\d{0,19}"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Eventful:
    return Eventful(tmp_path_factory.mktemp("schema"))


def to_protobuf_json(value: Any, schema: Descriptor, path: str = "") -> Any:
    """Return an OTLP-JSON object as the protobuf library wants it, with its ids in base64; assert on
    the way what is OTLP's own rule, and what the library would let pass."""
    assert isinstance(value, dict), path
    fields = {field.json_name: field for field in schema.fields}
    made = {}
    for name, inner in value.items():
        assert name in fields, f"{path}.{name} is not in the schema"
        field = fields[name]
        if isinstance(inner, list):
            made[name] = [
                _field(item, field, f"{path}.{name}[{index}]") for index, item in enumerate(inner)
            ]
        else:
            made[name] = _field(inner, field, f"{path}.{name}")
    return made


def _field(value: Any, field: Any, path: str) -> Any:
    if field.message_type is not None:
        return to_protobuf_json(value, field.message_type, path)
    if pattern := _64_BITS.get(field.cpp_type):
        assert isinstance(value, str), path
        assert pattern.fullmatch(value), path
    elif field.enum_type is not None:
        assert type(value) is int, path
        assert value in field.enum_type.values_by_number, path
    elif field.type == FieldDescriptor.TYPE_BYTES:
        digits = {"traceId": 32, "spanId": 16, "parentSpanId": 16}[field.json_name]
        assert re.fullmatch(rf"[0-9a-f]{{{digits}}}", value), path
        assert set(value) != {"0"}, path
        return base64.b64encode(bytes.fromhex(value)).decode()
    return value


def test_every_line_of_the_trace_file_parses_by_the_schema(run: Eventful) -> None:
    lines = otlp_files.lines(run.logs / SPAN_FILE)
    assert lines
    parsed = 0
    for line in lines:
        message = TracesData()
        ParseDict(to_protobuf_json(line, TracesData.DESCRIPTOR), message)
        parsed += sum(len(s.spans) for r in message.resource_spans for s in r.scope_spans)
    assert parsed == len(otlp_files.spans(run.logs)) > 50


def test_every_line_of_the_metrics_file_parses_by_the_schema(run: Eventful) -> None:
    lines = otlp_files.lines(run.logs / METRIC_FILE)
    assert lines
    for line in lines:
        message = MetricsData()
        ParseDict(to_protobuf_json(line, MetricsData.DESCRIPTOR), message)
        assert message.resource_metrics


@pytest.mark.parametrize(
    "broken",
    [
        {"traceId": "AAAA"},
        {"traceId": "0" * 32},
        {"spanId": "A" * 16},
        {"startTimeUnixNano": 1},
        {"startTimeUnixNano": "-1"},
        {"kind": "SPAN_KIND_CLIENT"},
        {"kind": 9},
        {"start_time_unix_nano": "1"},
        {"status": {"code": True}},
    ],
    ids=repr,
)
def test_what_breaks_the_rules_is_found(run: Eventful, broken: dict[str, Any]) -> None:
    line = otlp_files.lines(run.logs / SPAN_FILE)[0]
    line["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= broken
    with pytest.raises(AssertionError):
        to_protobuf_json(line, TracesData.DESCRIPTOR)


def test_every_span_is_well_formed_and_its_parent_is_there(run: Eventful) -> None:
    spans = otlp_files.spans(run.logs)
    ids = {(span["traceId"], span["spanId"]) for span in spans}
    assert len(ids) == len(spans)
    for span in spans:
        start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert 0 < start <= end, span
        assert 1 <= span["kind"] <= 5, span
        assert span["name"]
        assert span.get("status", {}).get("code", 0) in (0, 2), span
        for event in span.get("events", ()):
            assert start <= int(event["timeUnixNano"]) <= end, span
        if parent := span.get("parentSpanId"):
            assert (span["traceId"], parent) in ids, span
        else:
            assert span["name"] == "chat_turn"
    roots = [span["traceId"] for span in spans if not span.get("parentSpanId")]
    assert len(set(roots)) == len(roots) == run.turns


def test_every_link_leads_to_a_span_of_the_file(run: Eventful) -> None:
    spans = otlp_files.spans(run.logs)
    ids = {(span["traceId"], span["spanId"]) for span in spans}
    links = [(link["traceId"], link["spanId"]) for s in spans for link in s.get("links", ())]
    assert links  # that of the cache hit, at least
    assert set(links) <= ids


def test_every_resource_says_which_process_it_is(run: Eventful) -> None:
    for span in otlp_files.spans(run.logs):
        resource = span["resource"]
        assert resource["service.namespace"] == "chatbot"
        role, slot = resource["chatbot.process.role"], resource["chatbot.process.slot"]
        assert resource["service.name"] == f"chatbot-{role}"
        assert resource["service.instance.id"].startswith(
            f"{role}-{slot}-{resource['process.pid']}@"
        )


def test_histograms_are_consistent_and_no_sum_ever_falls(run: Eventful) -> None:
    before: dict[tuple[str, str, str], float] = {}
    histograms = 0
    for line in otlp_files.lines(run.logs / METRIC_FILE):
        for resource in line["resourceMetrics"]:
            instance = otlp_files.plain(resource["resource"]["attributes"])["service.instance.id"]
            for metric in (m for scope in resource["scopeMetrics"] for m in scope["metrics"]):
                if "gauge" in metric:
                    continue
                data = metric.get("sum") or metric["histogram"]
                assert data["aggregationTemporality"] == 2
                for point in data["dataPoints"]:
                    assert int(point["startTimeUnixNano"]) <= int(point["timeUnixNano"])
                    if "histogram" in metric:
                        histograms += 1
                        counts = [int(count) for count in point["bucketCounts"]]
                        assert len(counts) == len(point["explicitBounds"]) + 1
                        assert point["explicitBounds"] == sorted(point["explicitBounds"])
                        assert sum(counts) == int(point["count"])
                        assert point["min"] <= point["max"] <= point["sum"] + 1e-9
                        value = float(point["count"])
                    else:
                        assert data["isMonotonic"] is True
                        value = float(otlp_files.number(point))
                    labels = str(sorted(otlp_files.plain(point.get("attributes", [])).items()))
                    key = (instance, metric["name"], labels)
                    assert value >= before.get(key, 0.0)
                    before[key] = value
    assert histograms


def test_exemplars_carry_the_trace_of_a_call(run: Eventful) -> None:
    calls = {
        (span["traceId"], span["spanId"])
        for span in otlp_files.spans(run.logs)
        if span["name"].endswith("_api_call")
    }
    points = otlp_files.last_points(run.logs / METRIC_FILE)["http.client.request.duration"]
    exemplars = [exemplar for point in points for exemplar in point.get("exemplars", ())]
    assert exemplars
    assert {(exemplar["traceId"], exemplar["spanId"]) for exemplar in exemplars} <= calls


def test_nothing_is_left_unread(run: Eventful) -> None:
    assert sorted(path.name for path in Path(run.logs).glob("extrachat_*")) == sorted(
        (SPAN_FILE, METRIC_FILE)
    )
