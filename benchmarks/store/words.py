"""Texts whose words are distributed as in a language: by Zipf's law, over a made-up vocabulary.

The word of rank r comes in proportion to 1 / (r + 2.7), Mandelbrot's form of the law, so that an
index sees what a real one sees: a few words in nearly every text, and most words in very few. The
same seed makes the same texts.
"""

import random
from collections.abc import Iterator
from itertools import accumulate

VOCABULARY = 20_000
MEAN_WORDS = 50  # about 300 bytes
LONG_WORDS = 3_000  # one text in a thousand: a listing, an article
_LONG_EVERY = 1_000
_ONSETS = (
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "g",
    "h",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "st",
    "t",
    "v",
)
_VOWELS = ("a", "e", "i", "o", "u", "ea", "ou")
_CODAS = ("", "", "n", "r", "s", "t", "l", "nd")


class Words:
    """A vocabulary, the most frequent word first, and texts made of it."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self.vocabulary = self._words()
        self._weights = list(accumulate(1 / (rank + 2.7) for rank in range(1, VOCABULARY + 1)))

    def text(self, count: int) -> str:
        """Return a text of so many words, in sentences."""
        words = self._random.choices(self.vocabulary, cum_weights=self._weights, k=count)
        for at in range(9, count, 10):
            words[at] += "."
        return " ".join(words)

    def texts(self, count: int) -> Iterator[str]:
        """Yield texts of about 300 bytes, and a few of 18 KB."""
        for number in range(1, count + 1):
            if number % _LONG_EVERY == 0:
                yield self.text(LONG_WORDS)
            else:
                yield self.text(self._random.randint(MEAN_WORDS // 5, MEAN_WORDS * 9 // 5))

    def _words(self) -> list[str]:
        """Make the vocabulary; frequent words are short, as they are in languages."""
        found: dict[str, None] = {}
        while len(found) < VOCABULARY:
            syllables = 1 if len(found) < 500 else 2 if len(found) < 8_000 else 3
            word = "".join(
                self._random.choice(_ONSETS)
                + self._random.choice(_VOWELS)
                + self._random.choice(_CODAS)
                for _ in range(syllables)
            )
            found[word] = None
        return list(found)
