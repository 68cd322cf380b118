"""The limits of a span: what is beyond them is cut off and counted, and the rest costs nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from chatbot.messages import AttributeValue, SpanEvent
from chatbot.telemetry.limits import Limits, bounded, from_environment
from tests.unit.test_telemetry_spans import PARENT, TRACE, WORKER, attributes_of, record
from tests.unit.test_telemetry_spans import written as lines_of


def written(tmp_path: Path, environ: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Return the span as it stands in the trace file."""
    (line,) = lines_of(tmp_path, (record(**changes), WORKER), environ=environ)
    span: dict[str, Any] = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    return span


@pytest.mark.parametrize(
    ("environ", "limits"),
    [
        ({}, Limits(128, 128, 128, 128, None)),
        ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "7"}, Limits(attributes=7, event_attributes=7)),
        (
            {"OTEL_ATTRIBUTE_COUNT_LIMIT": "7", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0"},
            Limits(attributes=0, event_attributes=7),
        ),
        ({"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "3"}, Limits(event_attributes=3)),
        ({"OTEL_SPAN_EVENT_COUNT_LIMIT": "1"}, Limits(events=1)),
        ({"OTEL_SPAN_LINK_COUNT_LIMIT": "2"}, Limits(links=2)),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9"}, Limits(value_length=9)),
        (
            {
                "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9",
                "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4",
            },
            Limits(value_length=4),
        ),
        ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "-1", "OTEL_SPAN_LINK_COUNT_LIMIT": "many"}, Limits()),
        (
            {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many", "OTEL_ATTRIBUTE_COUNT_LIMIT": "5"},
            Limits(attributes=5, event_attributes=5),
        ),
    ],
)
def test_the_variables_say_the_limits(environ: dict[str, str], limits: Limits) -> None:
    assert from_environment(environ) == limits


def test_what_is_beyond_a_limit_is_left_out_and_counted_in_the_file(tmp_path: Path) -> None:
    environ = {
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "2",
        "OTEL_SPAN_EVENT_COUNT_LIMIT": "1",
        "OTEL_SPAN_LINK_COUNT_LIMIT": "1",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "1",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5",
    }
    values: dict[str, AttributeValue] = {"a": "0123456789", "b": ("0123456789",), "c": 3, "d": 4}
    span = written(
        tmp_path,
        environ,
        attributes=values,
        events=tuple(
            SpanEvent(f"event {n}", 10**18, {"x": "0123456789", "y": 2}) for n in range(3)
        ),
        links=tuple(f"00-{TRACE}-{PARENT[:-1]}{n}-01" for n in range(4)),
    )
    assert attributes_of(span) == {"a": "01234", "b": ["01234"]}
    assert span["droppedAttributesCount"] == 2
    (event,) = span["events"]
    assert (event["name"], attributes_of(event)) == ("event 0", {"x": "01234"})
    assert (event["droppedAttributesCount"], span["droppedEventsCount"]) == (1, 2)
    assert [link["spanId"] for link in span["links"]] == [f"{PARENT[:-1]}0"]
    assert span["droppedLinksCount"] == 3


def test_without_variables_128_are_kept_and_texts_are_whole(tmp_path: Path) -> None:
    values: dict[str, AttributeValue] = {f"a{n}": "x" * 5000 for n in range(130)}
    span = written(tmp_path, {}, attributes=values)
    assert list(attributes_of(span)) == [f"a{n}" for n in range(128)]
    assert {len(text) for text in attributes_of(span).values()} == {5000}
    assert span["droppedAttributesCount"] == 2


def test_nothing_is_copied_where_nothing_is_beyond_a_limit() -> None:
    values: dict[str, AttributeValue] = {"a": 1, "b": "text"}
    assert bounded(values, 2, None)[0] is values
