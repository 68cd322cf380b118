"""Redaction: replaces what looks like a secret in text that is about to be written to a file.

Pure. Called by the telemetry process for each report, and by `logs` for the SDK's own messages. It
is the second net: no room passes keys to its recorder, but the text of a foreign error may hold one.
"""

import re

import msgspec

from chatbot.messages import (
    AttributeValue,
    EncodedMeasurement,
    EncodedRecord,
    LogRecord,
    SpanRecord,
    SpanStarted,
)

MASK = "[redacted]"

# One look at the whole encoded report decides whether its strings must be looked at one by one.
# These are parts of what _SECRET matches, so nothing that it would find gets past them.
_MARKS = (b"sk-", b"xai-", b"bearer", b"basic", b"api-key", b"api_key")

_SECRET = re.compile(
    r"""
      (?<![A-Za-z0-9]) (?: sk | xai ) - [A-Za-z0-9_\-]{6,}           # OpenAI, Anthropic, xAI
    | (?i: (?<= bearer\s ) [^\s"',;]{4,} )                           # an Authorization header
    | (?i: (?<= basic\s ) [A-Za-z0-9+/=]{8,} )
    | (?i: (?<= api[-_]key [:=] ) [^\s"',;&]{4,} )                   # x-api-key: …, ?api_key=…
    | (?i: (?<= api[-_]key [:=]\s ) [^\s"',;&]{4,} )
    | (?i: (?<= api[-_]key ["'] [:=]\s ["'] ) [^\s"',;&]{4,} )       # the same in a repr() or in JSON
    | (?i: (?<= api[-_]key ["'] [:=] ["'] ) [^\s"',;&]{4,} )
    """,
    re.VERBOSE,
)
_SECRET_NAME = re.compile(r"(?i)(?:\A|[._-])(?:api[._-]?key|authorization|x-api-key)\Z")


def suspects(payload: bytes) -> bool:
    """Whether encoded records may hold a secret; False is certain, True is only a suspicion."""
    lowered = payload.lower()
    return any(mark in lowered for mark in _MARKS) or b"authorization" in lowered


def text(value: str) -> str:
    """Return the text with everything that looks like a key replaced."""
    return _SECRET.sub(MASK, value)


def attributes(values: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return the attributes with their strings redacted; what a key is named by is replaced whole."""
    return {name: _value(name, value) for name, value in values.items()}


def record(value: EncodedRecord) -> EncodedRecord:
    """Return the record with every string that a foreign text can have reached redacted."""
    match value:
        case LogRecord():
            return msgspec.structs.replace(value, fields=attributes(value.fields))
        case SpanRecord():
            events = tuple(
                msgspec.structs.replace(event, attributes=attributes(event.attributes))
                for event in value.events
            )
            return msgspec.structs.replace(
                value,
                name=text(value.name),
                attributes=attributes(value.attributes),
                events=events,
                error=text(value.error),
            )
        case SpanStarted():
            return msgspec.structs.replace(
                value, name=text(value.name), attributes=attributes(value.attributes)
            )
        case EncodedMeasurement():
            return value  # who decodes its attributes, once for a series, redacts them


def _value(name: str, value: AttributeValue) -> AttributeValue:
    if isinstance(value, str):
        return MASK if value and _SECRET_NAME.search(name) else text(value)
    if isinstance(value, tuple):
        return tuple(text(item) for item in value)
    return value
