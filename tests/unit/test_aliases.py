"""Whom to ask, as a person writes it."""

import pytest

from chatbot.aliases import Aliases, parse_target
from chatbot.errors import UsageError

ALIASES: Aliases = {"fast": ("ollama", "llama3.2:latest"), "good": ("anthropic", "")}


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("openai", ("openai", "")),
        (" OpenAI ", ("openai", "")),
        ("openai:gpt-4.1", ("openai", "gpt-4.1")),
        ("openai:", ("openai", "")),
        ("ollama:llama3.2", ("ollama", "llama3.2:latest")),
        ("ollama:llama3.2:1b", ("ollama", "llama3.2:1b")),
        ("sim:sim?first_token=1ms&chunks=2", ("sim", "sim?first_token=1ms&chunks=2")),
        ("fast", ("ollama", "llama3.2:latest")),
        ("good", ("anthropic", "")),
    ],
)
def test_a_target_is_a_backend_with_or_without_a_model_or_an_alias(
    text: str, target: tuple[str, str]
) -> None:
    assert parse_target(text, ALIASES) == target


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "allowed: ollama, anthropic, grok, openai, sim, fast, good"),
        ("opnai:gpt", "did you mean openai?"),
        ("fasst", "did you mean fast?"),
        ("fast:x", "neither BACKEND nor BACKEND:MODEL nor an alias"),
        ("ollama:a b", "'a b' is malformed"),
    ],
)
def test_what_is_none_is_refused_with_what_there_is(text: str, named: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_target(text, ALIASES)
    assert named in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
