"""The standard variables, put right before the SDK reads them: pure.

Owns what each may hold. The SDK takes some of them at its import, from the environment of the process,
and raises for what it cannot read: one wrong value would end all telemetry. As the specification has
it, a wrong value counts as none, and is told. Where telemetry goes to is not judged here:
`destination` does, and says so itself. Called by `process`.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from chatbot.otel import CONTENT_VARIABLE

HIDDEN = "(not shown)"

_SHOWN = 80
_DIGITS = 15
_SAMPLERS = ("always_on", "always_off", "traceidratio")
# As the SDK reads them: what else there is in a list of headers it writes to the log, with its value.
_is_header = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\s*=[\x20-\x7e]*").fullmatch

Read = Callable[[str], str | None]


class Wrong(NamedTuple):
    """A variable that holds what nobody can use: what of it may be shown, and what counts instead."""

    name: str
    value: str
    used: str


def cleaned(environ: Mapping[str, str]) -> tuple[dict[str, str], list[Wrong]]:
    """Return the variables as anybody can read them, without the wrong ones, and those."""
    right: dict[str, str] = {}
    wrong: list[Wrong] = []
    for name, value in sorted(environ.items()):
        text = value.strip()
        if name.startswith("OTEL_EXPORTER_OTLP") and name.endswith("HEADERS"):
            entries = [entry.strip() for entry in text.split(",") if entry.strip()]
            kept = [entry for entry in entries if _is_header(entry)]
            if len(kept) < len(entries):
                used = f"{len(kept)} of {len(entries)} headers"
                wrong.append(Wrong(name, HIDDEN, used))
            if kept:
                right[name] = ",".join(kept)
            continue
        read, default = _reader_of(name, environ)
        if read is None:
            right[name] = value
        elif text:  # an empty one is none
            fit = read(text)
            if fit is None:
                wrong.append(Wrong(name, text[:_SHOWN], default))
            else:
                right[name] = fit
    return right, wrong


def _reader_of(name: str, environ: Mapping[str, str]) -> tuple[Read | None, str]:
    """Return what reads a variable (None for what is wrong with it), and what counts without it."""
    if name in _READERS:
        return _READERS[name]
    if name.startswith("OTEL_") and name.endswith("_LIMIT"):
        return _whole_number, "no limit" if "LENGTH" in name else "128"
    if name == "OTEL_TRACES_SAMPLER_ARG":
        sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
        return (_part, "1") if sampler.endswith("traceidratio") else (None, "")
    if name.startswith("OTEL_EXPORTER_OTLP_"):
        return _EXPORTER_READERS.get(name.rpartition("_")[2], (None, ""))
    return None, ""


def _choice(*words: str) -> Read:
    def read(text: str) -> str | None:
        return text.lower() if text.lower() in words else None

    return read


def _whole_number(text: str) -> str | None:
    return text if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def _positive_number(text: str) -> str | None:
    return text if _whole_number(text) and int(text) else None


def _part(text: str) -> str | None:
    try:
        part = float(text)
    except ValueError:
        return None
    return text if math.isfinite(part) and 0 <= part <= 1 else None


_TRUTH = _choice("true", "false")
_READERS: dict[str, tuple[Read, str]] = {
    "OTEL_SDK_DISABLED": (_TRUTH, "false"),
    "OTEL_TRACES_SAMPLER": (
        _choice(*_SAMPLERS, *(f"parentbased_{name}" for name in _SAMPLERS)),
        "parentbased_always_on",
    ),
    "OTEL_METRICS_EXEMPLAR_FILTER": (
        _choice("always_on", "always_off", "trace_based"),
        "trace_based",
    ),
    "OTEL_METRIC_EXPORT_INTERVAL": (_positive_number, "10000"),
    CONTENT_VARIABLE: (
        _choice("true", "false", "no_content", "span_only", "event_only", "span_and_event"),
        "false",
    ),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": (
        _choice("cumulative", "delta", "lowmemory"),
        "cumulative",
    ),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
        _choice("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
        "explicit_bucket_histogram",
    ),
}
# Of all signals, and of each.
_EXPORTER_READERS: dict[str, tuple[Read, str]] = {
    "TIMEOUT": (_positive_number, "10000"),
    "COMPRESSION": (_choice("gzip", "deflate", "none"), "none"),
    "INSECURE": (_TRUTH, "false"),
}
