"""Text that cannot drive a terminal, however it is split."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.sanitize import one_line, sanitize, well_formed

ANY = st.text(st.one_of(st.characters(), st.characters(codec=None, categories=["Cc", "Cf", "Cs"])))
BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x2070)}
TAGS = range(0xE0000, 0xE0080)


def drives(character: str) -> bool:
    """Whether a terminal would do something else with it than show it."""
    if character in "\n\t":
        return False
    code = ord(character)
    controls = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return controls or code in BIDI or code in TAGS


@given(ANY)
def test_nothing_that_drives_a_terminal_gets_through(text: str) -> None:
    assert not [hex(ord(c)) for c in sanitize(text) if drives(c)]


def test_no_character_at_all_drives_a_terminal_when_it_is_through() -> None:
    everything = "".join(map(chr, range(0x110000)))
    assert not [hex(ord(c)) for c in sanitize(everything) if drives(c)]


@given(st.lists(ANY))
def test_any_split_of_a_text_gives_the_same(pieces: list[str]) -> None:
    assert "".join(map(sanitize, pieces)) == sanitize("".join(pieces))


@given(ANY)
def test_what_is_safe_stays_as_it_is(text: str) -> None:
    safe = sanitize(text)
    assert sanitize(safe) == safe


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d💻",  # joined by ZWJ
        "❤\ufe0f",  # with VS16
        "e\u0301 \u0928\u093f",  # combining marks
        "ab\ncd\tef",
        "שלום \u200f עולם",  # right-to-left text, and a mark that is no override
        "日本語 🇫🇷",
    ],
)
def test_writing_and_emoji_are_kept(text: str) -> None:
    assert sanitize(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x9b31m", "31m"),
        ("a\x7f", "a␡"),
        ("secret\rpublic", "secretpublic"),
        ("one\r\ntwo", "one\ntwo"),
        ("\u202eevil\u202c", "evil"),
        ("🏴\U000e0067\U000e007f", "🏴"),  # flags of regions lose their region: tags hide text
        ("\ud83d", "\ufffd"),
    ],
)
def test_what_drives_a_terminal_is_shown_or_dropped(text: str, shown: str) -> None:
    assert sanitize(text) == shown


@given(ANY)
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(drives(c) or c == "\t" for c in line)


@given(ANY)
def test_well_formed_text_can_be_encoded_and_has_no_nul(text: str) -> None:
    made = well_formed(text)
    assert "\0" not in made
    assert made.encode().decode() == made
    assert len(made) == len(text)
