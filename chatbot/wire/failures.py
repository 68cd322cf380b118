"""What servers say when something is wrong, as a CallError whose text is one line for a person.

The three formats agree on little, and a server on one format's endpoint may answer in the shape of
another, in plain text or in HTML (a proxy). So all shapes are read here, for all of them. Neither
header values nor keys go into a message; what the server itself wrote does, made harmless.
"""

import email.utils
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec

from chatbot.errors import CallError, FailureKind, WireError
from chatbot.wire import values

_MAX_MESSAGE = 300
_LOOK_AT = 8192
_anything = msgspec.json.Decoder(Any)

_KIND_OF_TYPE: dict[str, FailureKind] = {
    "authentication_error": "auth",
    "invalid_api_key": "auth",
    "permission_error": "auth",
    "invalid_request_error": "bad_request",
    "request_too_large": "bad_request",
    "model_not_found": "model_not_found",
    "not_found_error": "model_not_found",
    "insufficient_quota": "rate_limited",
    "rate_limit_error": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
}


def is_error(value: object) -> bool:
    """Whether the value of an event's `error` means one; some servers send null with every event."""
    return value is not None and value is not False and value != ""


def from_event(value: object) -> WireError:
    """Return the error that an event (or the `error` in it) reports under a status of 200."""
    message, types = _describe(value)
    kind: FailureKind = "server_error"
    for name in types:
        if isinstance(name, int) and not isinstance(name, bool) and 400 <= name < 600:
            kind = kind_of_status(name)
        elif isinstance(name, str) and name in _KIND_OF_TYPE:
            kind = _KIND_OF_TYPE[name]
    if not message:
        message = next((t for t in types if isinstance(t, str)), "") or "no reason given"
    return WireError(kind, f"the server reported an error: {one_line(message)}")


def from_payload(payload: bytes) -> WireError:
    """Return the error that a whole payload is, JSON or not."""
    return from_event(_read_body(payload))


def find_error(payload: bytes) -> WireError | None:
    """Return the error in a payload that is not of its event's type; None if it names none."""
    value = _read_body(payload)
    if isinstance(value, dict) and is_error(value.get("error")):
        return from_event(value)
    return None


def from_response(status: int, headers: Mapping[str, str], body: bytes) -> CallError:
    """Return the error of a response whose status is one; header names in any case.

    The body may be cut, empty or not JSON at all; the remedy is for the caller to add.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    value = _read_body(body)
    is_page = isinstance(value, str) and value.lstrip().startswith("<")
    message, types = ("", ()) if is_page else _describe(value)
    told = one_line(message)
    if 300 <= status < 400:
        told = "the address redirects elsewhere, and redirects are not followed"
    text = f"{told} (HTTP {status})" if told else f"HTTP {status} {_phrase(status)}".rstrip()
    kind = kind_of_status(status)
    if kind == "model_not_found" and "model" not in f"{message} {types}".lower():
        kind = "not_found"
    return CallError(
        kind,
        text,
        status=status,
        retry_after_s=_retry_after_s(lower),
        should_retry={"true": True, "false": False}.get(lower.get("x-should-retry", "").lower()),
    )


def kind_of_status(status: int) -> FailureKind:
    """Return what kind of failure an HTTP status is."""
    match status:
        case 401 | 403:
            return "auth"
        case 404:
            return "model_not_found"
        case 408:
            return "timeout"
        case 429:
            return "rate_limited"
        case _ if status >= 500:
            return "server_error"
        case _:
            return "bad_request"


def one_line(text: str) -> str:
    """Return the text on one line of at most 300 characters, without anything that is not printed."""
    shown = "".join(c if c.isprintable() else " " for c in text[:_LOOK_AT])
    line = " ".join(shown.split())
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 1] + "…"


def _describe(value: object) -> tuple[str, tuple[object, ...]]:
    """Return an error's message (empty if it has none), and what names its type."""
    if isinstance(value, str):
        return value, ()
    if isinstance(value, list) and value:  # Google wraps its error in an array
        value = value[0]
    if not isinstance(value, dict):
        return "", ()
    inner = value.get("error")
    if isinstance(inner, dict | str) and inner and inner is not value:
        return _describe(inner)
    told = (value.get(name) for name in ("message", "detail", "error_description"))
    types = (value.get("type"), value.get("code"))
    return next((text for text in told if isinstance(text, str)), ""), types


def _read_body(body: bytes) -> Any:
    """Return what the body holds as JSON, else as text."""
    try:
        return values.decode(body, _anything)
    except WireError:
        return body.decode("utf-8", "replace")


def _phrase(status: int) -> str:
    if status == 529:  # Anthropic's own
        return "Overloaded"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait that the server asks for; a date is counted from the response's own clock."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            wait_s = float(headers.get(name, "")) / scale
        except ValueError:
            continue
        if math.isfinite(wait_s):
            return max(wait_s, 0.0)
    until = _read_date(headers.get("retry-after", ""))
    if until is None:
        return None
    now = _read_date(headers.get("date", ""))
    return max((until - now).total_seconds(), 0.0) if now is not None else 0.0


def _read_date(text: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
