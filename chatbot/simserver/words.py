"""The text of the simulated model: sentences of made-up sense, a word for every byte given. Pure.

The same bytes always give the same words, and more bytes only add to them.
"""

from itertools import cycle
from operator import getitem

# A sentence, one line per word: "The quiet river carries a small lantern beyond the old garden."
_DETERMINERS = "the a this that every one some our their another its each my your no any"
_ADJECTIVES = (
    "quiet small bright early distant patient golden narrow gentle hidden careful silver modern "
    "simple hollow steady"
)
_NOUNS = (
    "river garden harbour letter window market signal bridge lantern answer village engine "
    "forest question mountain story"
)
_SENTENCE = (
    _DETERMINERS,
    _ADJECTIVES,
    _NOUNS,
    "carries follows finds keeps crosses remembers builds opens changes measures leaves watches "
    "draws repairs becomes meets",
    _DETERMINERS,
    _ADJECTIVES,
    _NOUNS,
    "across beside under near behind beyond without through before after along above against "
    "toward inside around",
    _DETERMINERS,
    _NOUNS,
)


def write(data: bytes) -> list[str]:
    """Return a word for every byte: each but the first begins with its space, the last ends the text."""
    words = list(map(getitem, cycle(_WORDS), data))
    if words:
        words[0] = words[0][1:]
        words[-1] = words[-1].removesuffix(".") + "."
    return words


def _all_words(words: list[str], position: int) -> tuple[str, ...]:
    """Return the words at a position of the sentence, one for every value of a byte."""
    shown = [word.capitalize() if position == 0 else word for word in words]
    end = "." if position == len(_SENTENCE) - 1 else ""
    each = [f" {word}{end}" for word in shown]
    return tuple(each[byte % len(each)] for byte in range(256))


_WORDS = tuple(_all_words(words.split(), position) for position, words in enumerate(_SENTENCE))
