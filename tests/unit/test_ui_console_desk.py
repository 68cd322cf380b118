"""Whose models are looked up when Tab is pressed."""

import pytest

from chatbot.ui.console.desk import models_wanted


@pytest.mark.parametrize(
    ("typed", "backend"),
    [
        ("/model ", "grok"),
        ("/MODEL lla", "grok"),
        ("  /model lla", "grok"),
        ("/set-ollama-model ", "ollama"),
        ("/switch sim:", "sim"),
        ("/switch sim:la", "sim"),
        ("/fan openai,sim:", "sim"),
        ("/fan openai:x, ollama:llama3:la", "ollama"),
        ("/switch ", None),
        ("/switch sim", None),
        ("/switch nobody:", None),
        ("/fan sim:x,", None),
        ("/fan sim:x,ollama why", None),
        ("/model", None),
        ("/resume 1", None),
        ("model x", None),
        ("/nosuch sim:", None),
        ("", None),
    ],
)
def test_the_models_of_whoever_is_about_to_be_named_are_wanted(
    typed: str, backend: str | None
) -> None:
    assert models_wanted(typed, "grok") == backend
