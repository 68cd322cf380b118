"""The standard variables that every process obeys, read once: pure.

What decides where telemetry goes to is read by the telemetry process alone; here is what decides
whether there is any, and how much is put into it.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import math
from collections.abc import Mapping

import msgspec

CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

_LONGEST_VALUE = 64 * 1024


class Tracing(msgspec.Struct, frozen=True):
    """What is recorded. `enabled` False: nothing but the log. `sample_ratio`: so many of the traces
    are kept, decided where each begins. `content`: the messages themselves go into the spans, which
    only the standard variable can ask for. `longest_value`: longer strings are cut, in characters.
    `debug`: the log is verbose. `every_exemplar`: a measurement is an exemplar also without a trace.
    """

    enabled: bool = True
    sample_ratio: float = 1.0
    content: bool = False
    longest_value: int = _LONGEST_VALUE
    debug: bool = False
    every_exemplar: bool = False


def from_environment(environ: Mapping[str, str], *, debug: bool = False) -> Tracing:
    """Read the variables. As the specification has it, a wrong value counts as none."""

    def of(name: str) -> str:
        return environ.get(name, "").strip().lower()

    longest = of("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") or of(
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
    )
    return Tracing(
        enabled=of("OTEL_SDK_DISABLED") != "true",
        sample_ratio=_ratio(of("OTEL_TRACES_SAMPLER"), of("OTEL_TRACES_SAMPLER_ARG")),
        content=of(CONTENT_VARIABLE) in ("true", "span_only", "span_and_event"),
        longest_value=min(int(longest), _LONGEST_VALUE)
        if longest.isdecimal() and len(longest) < 16
        else _LONGEST_VALUE,
        debug=debug,
        every_exemplar=of("OTEL_METRICS_EXEMPLAR_FILTER") == "always_on",
    )


def _ratio(sampler: str, argument: str) -> float:
    """Return the part of the traces that is kept. Every trace begins here, so that the samplers named
    `parentbased_` are the same as those that they are based on."""
    sampler = sampler.removeprefix("parentbased_")
    if sampler == "always_off":
        return 0.0
    if sampler != "traceidratio":
        return 1.0
    try:
        ratio = float(argument or "1")
    except ValueError:
        return 1.0
    return ratio if math.isfinite(ratio) and 0 <= ratio <= 1 else 1.0
