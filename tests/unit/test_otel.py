"""The standard variables that every process obeys."""

import pytest

from chatbot.otel import CONTENT_VARIABLE, Tracing, from_environment
from chatbot.settings import Arguments, load

RATIO, ARGUMENT = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
FILTER = "OTEL_METRICS_EXEMPLAR_FILTER"
LENGTH = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"


@pytest.mark.parametrize(
    ("environ", "read"),
    [
        ({}, Tracing(enabled=True, sample_ratio=1.0, content=False, longest_value=65536)),
        ({"OTEL_SDK_DISABLED": " True "}, Tracing(enabled=False)),
        ({"OTEL_SDK_DISABLED": "1"}, Tracing()),
        ({RATIO: "always_off"}, Tracing(sample_ratio=0.0)),
        ({RATIO: "parentbased_always_off"}, Tracing(sample_ratio=0.0)),
        ({RATIO: "always_on", ARGUMENT: "0.5"}, Tracing()),
        ({RATIO: "traceidratio", ARGUMENT: "0.25"}, Tracing(sample_ratio=0.25)),
        ({RATIO: "parentbased_traceidratio", ARGUMENT: "0.01"}, Tracing(sample_ratio=0.01)),
        ({RATIO: "traceidratio", ARGUMENT: "0"}, Tracing(sample_ratio=0.0)),
        ({RATIO: "traceidratio"}, Tracing()),
        ({RATIO: "traceidratio", ARGUMENT: "-0.5"}, Tracing()),
        ({RATIO: "traceidratio", ARGUMENT: "5"}, Tracing()),
        ({RATIO: "traceidratio", ARGUMENT: "nan"}, Tracing()),
        ({RATIO: "traceidratio", ARGUMENT: "few"}, Tracing()),
        ({RATIO: "nonsense"}, Tracing()),
        ({CONTENT_VARIABLE: "true"}, Tracing(content=True)),
        ({CONTENT_VARIABLE: "SPAN_ONLY"}, Tracing(content=True)),
        ({CONTENT_VARIABLE: "span_and_event"}, Tracing(content=True)),
        ({CONTENT_VARIABLE: "event_only"}, Tracing()),
        ({CONTENT_VARIABLE: "no_content"}, Tracing()),
        ({CONTENT_VARIABLE: "false"}, Tracing()),
        ({LENGTH: "100"}, Tracing(longest_value=100)),
        ({LENGTH: "100", f"OTEL_SPAN_{LENGTH[5:]}": "7"}, Tracing(longest_value=7)),
        ({LENGTH: "1000000"}, Tracing(longest_value=65536)),
        ({LENGTH: "long"}, Tracing()),
        ({FILTER: " Always_On"}, Tracing(every_exemplar=True)),
        ({FILTER: "trace_based"}, Tracing()),
    ],
)
def test_what_is_recorded_is_what_the_variables_say(environ: dict[str, str], read: Tracing) -> None:
    assert from_environment(environ) == read


def test_the_log_is_verbose_only_when_it_is_asked_to_be() -> None:
    assert not load(Arguments(mode="chat"), {}).tracing.debug
    assert load(Arguments(mode="chat", debug=True), {}).tracing.debug
