"""The line that a person reads."""

import re
from typing import Any, get_args

import msgspec
import pytest

from chatbot.backends import BACKENDS, Backend
from chatbot.errors import CallError, FailureKind
from chatbot.ui.commands import find
from chatbot.worker.remedy import explain

BY_NAME: dict[str, Backend] = {b.name: b for b in BACKENDS}


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_every_failure_of_every_backend_is_one_line_with_a_remedy(
    backend: Backend, kind: FailureKind
) -> None:
    backend = msgspec.structs.replace(backend, base_url="http://where:1", api_key="sk-secret")
    line = explain(CallError(kind, "what was said"), backend, "some-model")
    assert "what was said" in line
    assert "http://where:1" in line
    assert "sk-secret" not in line
    assert "\n" not in line
    assert ": " in line.replace("http://where:1", "")


@pytest.mark.parametrize(
    ("backend", "kind", "about", "remedy"),
    [
        ("ollama", "unreachable", {}, "`ollama serve`"),
        ("openai", "unreachable", {}, "OPENAI_BASE_URL"),
        ("ollama", "model_not_found", {}, "`ollama pull some-model`"),
        ("openai", "model_not_found", {}, "/models"),
        ("grok", "auth", {"status": 401}, "GROK_API_KEY or XAI_API_KEY"),
        ("openai", "auth", {}, "OPENAI_API_KEY"),
        ("ollama", "auth", {"status": 401}, "OLLAMA_HOST"),
        ("openai", "rate_limited", {"retry_after_s": 90.0}, "try again in 90 s"),
        ("openai", "rate_limited", {"retry_after_s": 0.2}, "try again later"),
        ("openai", "server_error", {"retry_after_s": 90.0}, "try again in 90 s"),
        ("openai", "bad_request", {"status": 413}, "/new-session"),
        ("openai", "bad_request", {"status": 400}, "-o"),
        ("openai", "not_found", {"status": 404}, "OPENAI_BASE_URL (it usually ends in /v1)"),
        ("ollama", "not_found", {"status": 404}, "OLLAMA_HOST"),
        ("ollama", "bad_request", {"status": 302}, "OLLAMA_HOST"),
    ],
)
def test_the_remedy_fits_the_backend(
    backend: str, kind: FailureKind, about: dict[str, Any], remedy: str
) -> None:
    assert remedy in explain(CallError(kind, "no", **about), BY_NAME[backend], "some-model")


def test_only_where_something_came_it_is_said_to_be_kept() -> None:
    lost = CallError("connection_lost", "no")
    assert "kept" in explain(lost, BY_NAME["openai"], "m", partial=True)
    assert "kept" not in explain(lost, BY_NAME["openai"], "m")


def test_every_command_that_a_remedy_names_exists() -> None:
    for backend in BACKENDS:
        for kind in get_args(FailureKind):
            for partial in (False, True):
                line = explain(CallError(kind, "so"), backend, "some-model", partial=partial)
                for command in re.findall(r"(?<![\w/:.])/[a-z-]+", line.replace("/v1", "")):
                    assert find(command), (command, line)
