"""Limits: how much of a span is kept, by the standard variables.

Pure. Owns the cutting of what is beyond a limit. Nothing is copied where nothing is. Called by `judge`.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/, "Attribute
Limits" and "Span Limits". What comes first is kept, as the specification has it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from chatbot.messages import AttributeValue

_COUNT = 128
_INT64 = 2**63


class Limits(NamedTuple):
    """How many of each there may be in a span, and how long a text (None: as long as it is)."""

    attributes: int = _COUNT
    events: int = _COUNT
    links: int = _COUNT
    event_attributes: int = _COUNT
    value_length: int | None = None


def from_environment(environ: Mapping[str, str]) -> Limits:
    """Read the variables; a wrong value counts as none."""

    def of(*names: str) -> int | None:
        texts = (environ.get(name, "").strip() for name in names)
        return next((int(text) for text in texts if text.isascii() and text.isdecimal()), None)

    def count(*names: str) -> int:
        number = of(*names)
        return _COUNT if number is None else number

    general = "OTEL_ATTRIBUTE_COUNT_LIMIT"
    return Limits(
        attributes=count("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", general),
        events=count("OTEL_SPAN_EVENT_COUNT_LIMIT"),
        links=count("OTEL_SPAN_LINK_COUNT_LIMIT"),
        event_attributes=count("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", general),
        value_length=of(
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
        ),
    )


def bounded(
    attributes: dict[str, AttributeValue], at_most: int, value_length: int | None
) -> tuple[dict[str, AttributeValue], int]:
    """Return the attributes as an exporter may have them, and how many had to go: no more than
    `at_most`, no text longer than `value_length`, and integers beyond 64 bits, which OTLP does not
    have, as text."""
    for value in attributes.values():
        if value.__class__ is int and not -_INT64 <= value < _INT64:
            attributes = {key: _as_text(each) for key, each in attributes.items()}
            break
    if value_length is not None:
        attributes = {key: _cut(value, value_length) for key, value in attributes.items()}
    beyond = len(attributes) - at_most
    if beyond <= 0:
        return attributes, 0
    return dict(list(attributes.items())[:at_most]), beyond


def _as_text(value: AttributeValue) -> AttributeValue:
    if value.__class__ is int and not -_INT64 <= value < _INT64:
        return str(value)
    return value


def _cut(value: AttributeValue, length: int) -> AttributeValue:
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, tuple):
        return tuple(item[:length] for item in value)
    return value
