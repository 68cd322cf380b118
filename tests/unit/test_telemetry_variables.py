"""The standard variables put right: what the SDK cannot read never reaches it, and is told."""

import pytest

from chatbot.telemetry.variables import HIDDEN, Wrong, cleaned


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("OTEL_METRICS_EXEMPLAR_FILTER", " TRACE_BASED ", "trace_based"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", " 12", "12"),
        ("OTEL_TRACES_SAMPLER", "ParentBased_TraceIdRatio", "parentbased_traceidratio"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500 ", "500"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000", "3000"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "GZIP", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b=x%20y", "a=1,b=x%20y"),
        ("OTEL_SERVICE_NAME", " as it is ", " as it is "),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense", "nonsense"),  # told by who needs it
        ("OTEL_TRACES_SAMPLER_ARG", "x", "x"),  # nobody reads it
    ],
)
def test_what_can_be_read_is_written_as_everybody_reads_it(
    name: str, value: str, read: str
) -> None:
    assert cleaned({name: value}) == ({name: read}, [])


@pytest.mark.parametrize(
    ("name", "value", "used"),
    [
        ("OTEL_METRICS_EXEMPLAR_FILTER", "bogus", "trace_based"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x", "128"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-3", "128"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "³", "128"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9" * 5000, "no limit"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "parentbased_always_on"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "10000"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "10s", "10000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "none"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes", "false"),
        ("OTEL_SDK_DISABLED", "1", "false"),
    ],
)
def test_what_nobody_can_read_counts_as_none(name: str, value: str, used: str) -> None:
    assert cleaned({name: value}) == ({}, [Wrong(name, value[:80], used)])


def test_an_empty_variable_is_none_and_no_mistake() -> None:
    assert cleaned({"OTEL_METRIC_EXPORT_INTERVAL": " ", "OTEL_EXPORTER_OTLP_HEADERS": ""}) == (
        {},
        [],
    )


@pytest.mark.parametrize(
    ("part", "fits"), [("0.5", True), ("1", True), ("2", False), ("nan", False)]
)
def test_the_samplers_argument_is_a_part_of_one(part: str, fits: bool) -> None:
    environ = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": part}
    right, wrong = cleaned(environ)
    assert (right == environ) is fits
    assert wrong == ([] if fits else [Wrong("OTEL_TRACES_SAMPLER_ARG", part, "1")])


def test_of_headers_only_the_good_are_left_and_none_is_shown() -> None:
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "good=1, s3cret ,x y=2"}
    right, wrong = cleaned(environ)
    assert right == {"OTEL_EXPORTER_OTLP_HEADERS": "good=1"}
    assert wrong == [Wrong("OTEL_EXPORTER_OTLP_HEADERS", HIDDEN, "1 of 3 headers")]
