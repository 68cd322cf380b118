"""Typed JSON, and the text in it, from peers that are not trusted. Used by the format modules.

Every string that comes out can be encoded as UTF-8: bytes that are not UTF-8, and escapes of a
lone surrogate, become U+FFFD. Whatever else is wrong becomes the one error of the caller's side:
WireError for a response, CallError("bad_request") for a request.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from chatbot.errors import CallError, WireError
from chatbot.messages import ChatMessage, Role

T = TypeVar("T")

# One alternative per escape, so that the backslashes are paired as JSON pairs them: `\\ud800` is an
# escaped backslash and five characters.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


class Part(msgspec.Struct):
    """A block of a message's content."""

    type: str = "text"
    text: str = ""


Content = str | list[Part] | None


class RequestMessage(msgspec.Struct):
    """A message as all formats send it."""

    role: str
    content: Content = None


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a response's JSON into the decoder's type. Raises WireError("malformed")."""
    try:
        return _decode(data, decoder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise WireError("malformed", f"the response is not what its format promises: {why}") from (
            None if isinstance(error, RecursionError) else error
        )


def decode_request(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a request's JSON into the decoder's type. Raises CallError("bad_request")."""
    try:
        return _decode(data, decoder)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallError("bad_request", str(error), status=400) from error
    except RecursionError:
        raise CallError("bad_request", "JSON is nested too deeply", status=400) from None


def read_messages(messages: Iterable[RequestMessage]) -> tuple[ChatMessage, ...]:
    """Return a request's messages in our own form. Raises CallError("bad_request")."""
    return tuple(ChatMessage(_read_role(m.role), read_content(m.content)) for m in messages)


def read_content(content: Content) -> str:
    """Return the text of a content. Raises CallError("bad_request") for a block that is not text."""
    if isinstance(content, list):
        if other := next((p.type for p in content if p.type != "text"), None):
            raise CallError(
                "bad_request", f"content of type {other!r} is not supported", status=400
            )
        return "".join(part.text for part in content)
    return content or ""


def encode(value: Any) -> bytes:
    """Encode as compact JSON."""
    return msgspec.json.encode(value)


def convert(value: Any, kind: type[T]) -> T:
    """Convert decoded JSON of a response into a type. Raises WireError("malformed")."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise WireError(
            "malformed", f"the response is not what its format promises: {error}"
        ) from None


def unique(names: Iterable[str]) -> list[str]:
    """Return the names that are not empty, each once, in their order."""
    return list(dict.fromkeys(name for name in names if name))


def with_system(system: str | None, messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Return the messages as JSON objects, the system prompt first where there is one."""
    first = [{"role": "system", "content": system}] if system else []
    return first + [{"role": m.role, "content": m.content} for m in messages]


def base_headers(accept: str) -> dict[str, str]:
    """Return the headers of every request. A compressed answer could be a thousand times its size."""
    return {"accept": accept, "accept-encoding": "identity"}


def bearer_headers(api_key: str, accept: str) -> dict[str, str]:
    """Return the headers of a request; without a key, none that would carry it."""
    headers = base_headers(accept)
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    return headers


def iso_time(unix_s: int) -> str:
    """Return the time as ISO 8601, in UTC.

    >>> iso_time(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def _decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = _mend(data)
        if mended == data:
            raise
        return decoder.decode(mended)


def _mend(data: bytes) -> bytes:
    text = data.decode("utf-8", "replace").encode()
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)


def _read_role(role: str) -> Role:
    if role not in _ROLES:
        raise CallError("bad_request", f"role {role!r} is not supported", status=400)
    return _ROLES[role]
