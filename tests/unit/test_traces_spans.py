"""A line of OTLP-JSON becomes spans: whole, partly broken, and not at all."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.traces.spans import CLIENT, Event, Link, decode

TRACE, SPAN = "ab" * 16, "cd" * 8


def line(*spans: dict[str, Any], **resource: Any) -> bytes:
    listed = [{"key": key, "value": value} for key, value in resource.items()]
    group = {"resource": {"attributes": listed}, "scopeSpans": [{"scope": {}, "spans": spans}]}
    return json.dumps({"resourceSpans": [group]}).encode() + b"\n"


def span(**more: Any) -> dict[str, Any]:
    ids = {"traceId": TRACE, "spanId": SPAN, "name": "x", "kind": CLIENT}
    return {**ids, "startTimeUnixNano": "1", "endTimeUnixNano": "3", **more}


def test_every_part_of_a_span_is_read() -> None:
    attributes = [
        {"key": "s", "value": {"stringValue": "7"}},
        {"key": "i", "value": {"intValue": "-7"}},
        {"key": "d", "value": {"doubleValue": 0.5}},
        {"key": "b", "value": {"boolValue": True}},
        {"key": "a", "value": {"arrayValue": {"values": [{"stringValue": "stop"}]}}},
    ]
    whole = span(
        parentSpanId="ef" * 8,
        attributes=attributes,
        events=[{"timeUnixNano": "2", "name": "first_token"}],
        links=[{"traceId": "12" * 16, "spanId": "34" * 8}],
        status={"code": 2, "message": "refused"},
    )
    resource = {
        "chatbot.process.role": {"stringValue": "worker"},
        "chatbot.process.slot": {"intValue": "1"},
        "process.pid": {"intValue": 99},
        "service.name": {"stringValue": "chatbot-worker"},
    }
    (read,) = decode(line(whole, **resource))
    assert (read.trace_id, read.span_id, read.parent_id) == (TRACE, SPAN, "ef" * 8)
    assert (read.name, read.kind, read.start_ns, read.end_ns) == ("x", CLIENT, 1, 3)
    assert read.attributes == {"s": "7", "i": -7, "d": 0.5, "b": True, "a": ("stop",)}
    assert read.events == (Event("first_token", 2),)
    assert read.links == (Link("12" * 16, "34" * 8),)
    assert read.error == "refused"
    assert (read.process, read.pid, read.service) == ("worker 1", 99, "chatbot-worker")


def test_a_span_that_is_none_leaves_the_others_of_its_line() -> None:
    bad = [span(startTimeUnixNano="soon"), span(attributes="none"), {}, span(traceId="short"), 7]
    read = list(decode(line(*bad, span(spanId="ff" * 8))))  # type: ignore[arg-type] # that is the point
    assert [each.span_id for each in read] == ["ff" * 8]


def test_a_process_is_known_by_its_service_where_it_has_no_role() -> None:
    (read,) = decode(line(span(), **{"service.name": {"stringValue": "other"}}))
    assert read.process == "other"


@pytest.mark.parametrize("bad", [b"", b"\n", b"[]", b"{}", b"7", b"null", b"\xff{", b"[" * 100_000])
def test_a_line_that_is_something_else_has_no_spans(bad: bytes) -> None:
    assert list(decode(bad)) == []


@given(st.data())
def test_a_line_that_was_cut_or_changed_never_raises(data: st.DataObject) -> None:
    whole = line(span(attributes=[{"key": "k", "value": {"intValue": "1"}}]), span())
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = data.draw(st.one_of(st.just(whole[:at]), st.binary(max_size=3)))
    list(decode(whole[:at]))
    list(decode(whole[:at] + changed + whole[at + 1 :]))
