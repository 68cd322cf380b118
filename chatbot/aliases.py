"""Whom to ask, as a person writes it: `openai`, `ollama:llama3.2:1b`, or a name from `[aliases]`. Pure."""

from collections.abc import Mapping
from typing import get_args

from chatbot.errors import UsageError
from chatbot.messages import BackendName

BACKEND_NAMES: tuple[BackendName, ...] = get_args(BackendName)

Aliases = Mapping[str, tuple[BackendName, str]]


def parse_target(text: str, aliases: Aliases) -> tuple[BackendName, str]:
    """Return the backend and the model; an empty model is that backend's own. An alias goes before a
    backend. Raises UsageError for neither."""
    name = text.strip()
    if name in aliases:
        return aliases[name]
    head, _, model = name.partition(":")
    for backend in BACKEND_NAMES:
        if head.lower() == backend:
            return backend, model.strip()
    known = ", ".join((*BACKEND_NAMES, *aliases))
    raise UsageError(
        f"{name!r} is neither BACKEND nor BACKEND:MODEL nor an alias, allowed: {known}"
    )
