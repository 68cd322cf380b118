"""Texts of several lines between three quotes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatbot.ui.console.compose import QUOTES, is_only_block, is_open, message

TYPED = st.text(st.one_of(st.sampled_from('"\n a/'), st.characters(codec="utf-8")), max_size=40)


@pytest.mark.parametrize(
    "text",
    [
        '"""',
        '"""\n',
        '"""one',
        '  """\none\n',
        'Explain: """',
        'Explain: """ \none',
        '/fan ollama,sim """\none',
        '"""\ndef f():\n    """It is f."""',  # a text with quotes of its own
    ],
)
def test_enter_goes_on_in_an_open_block(text: str) -> None:
    assert is_open(text)
    assert message(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one",
        'What does """ mean in Python?',
        'What is """this""" for?',
        "''' is not ours",
        '"" is empty',
        'one\n"""',  # what is on a later line is text
        '"""one"""',
        '"""\none\n"""',
        '"""\none\n""" in short',
        'Explain: """\none\n"""',
        '"""Of a module."""\nimport re\n',
    ],
)
def test_enter_sends_all_else(text: str) -> None:
    assert not is_open(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('"""one"""', "one"),
        ('"""\n  one\n\n  two\n"""', "  one\n\n  two"),
        ('"""one\ntwo""" in short', "one\ntwo\nin short"),
        ('Explain: """\none\n""" in short', "Explain:\none\nin short"),
        ('"""\n"""Of f."""\n"""', '"""Of f."""'),
        ('"""\n/quit\n"""', "/quit"),
        ('"""\n \n"""', ""),
    ],
)
def test_a_block_is_meant_without_its_quotes(text: str, meant: str) -> None:
    assert message(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        '"""Of a module."""\nimport re',
        '"""\nOf a module.\n"""\nimport re',
        'What is """this""" for?',
        'def f():\n    """Of f."""',
    ],
)
def test_quotes_of_another_kind_are_left_as_they_are(text: str) -> None:
    assert message(text) == text
    assert not is_only_block(text)


@given(TYPED.filter(lambda text: QUOTES not in text and '"' not in text[-1:]))
@example("a\n")
def test_what_is_between_the_quotes_is_what_is_meant(text: str) -> None:
    block = f"{QUOTES}\n{text}\n{QUOTES}"
    assert not is_open(block)
    assert is_only_block(block)
    assert message(block) == (text.strip("\r\n") if text.strip() else "")


@given(TYPED)
def test_three_quotes_more_close_what_is_open(text: str) -> None:
    if is_open(text) and not text.endswith('"'):
        assert not is_open(text + QUOTES)


@given(TYPED)
def test_a_message_adds_nothing_but_ends_of_lines(text: str) -> None:
    left = list(text)
    for character in message(text).replace("\n", ""):
        assert character in left
        left.remove(character)
