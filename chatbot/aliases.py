"""Whom to ask, as a person writes it: `openai`, `ollama:llama3.2:1b`, or a name from `[aliases]`. Pure."""

from collections.abc import Mapping
from typing import get_args

from chatbot.backends import normalise_ollama_model
from chatbot.errors import UsageError
from chatbot.messages import BackendName

BACKEND_NAMES: tuple[BackendName, ...] = get_args(BackendName)

Aliases = Mapping[str, tuple[BackendName, str]]


def parse_target(text: str, aliases: Aliases) -> tuple[BackendName, str]:
    """Return the backend and the model, Ollama's with its tag; an empty model is that backend's own. An
    alias goes before a backend. Raises UsageError for neither, and for a malformed model."""
    name = text.strip()
    if name in aliases:
        return aliases[name]
    head, _, model = name.partition(":")
    model = model.strip()
    for backend in BACKEND_NAMES:
        if head.strip().lower() == backend:
            return backend, normalise_ollama_model(
                model
            ) if model and backend == "ollama" else model
    import difflib  # here: only a mistyped name has to wait for it

    known = (*BACKEND_NAMES, *aliases)
    close = difflib.get_close_matches(head.strip().lower(), known, n=1)
    hint = f", did you mean {close[0]}?" if close else ""
    nor_alias = " nor an alias" if aliases else ""
    raise UsageError(
        f"{name!r} is neither BACKEND nor BACKEND:MODEL{nor_alias}{hint} (allowed: {', '.join(known)})"
    )
