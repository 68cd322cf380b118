"""The line around the words that were searched for, and where in it they are.

Pure. It looks for the words as the full-text index does: without case and diacritics, whole words
except the last one, which may go on. Where there are none of these (Chinese in a longer run, only
punctuation), for the text itself.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

WIDTH = 160  # characters
LEAD = 40  # of them before the first match

_LOOKED_AT = 500_000  # characters of a message that may be megabytes long
_MATCHES = 200
_MARKS = "[\u0300-\u036f]*"
_WORD = re.compile(r"[^\W_]+")

Spans = tuple[tuple[int, int], ...]


def words_of(text: str) -> list[str]:
    """Return the words that a full-text index makes of a text, folded."""
    return _WORD.findall("".join(c for c in _folded(text) if not unicodedata.combining(c)))


def cut_out(content: str, parts: Sequence[str]) -> tuple[str, Spans]:
    """Return one line of the content around the parts of a search, and their places in it."""
    looked_at = content[:_LOOKED_AT]
    matches = _matches(_folded(looked_at), parts)
    start = _best_start(matches)
    start = 0 if start <= LEAD else start - LEAD
    end = min(len(content), start + WIDTH)
    return _in_one_line(content, start, end, [(first, last) for first, last, _ in matches])


def _matches(folded: str, parts: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return (start, end, number of the part) of the matches in order; none overlaps another."""
    found: list[tuple[int, int, int]] = []
    for number, part in enumerate(parts):
        for pattern in _patterns(part, is_last=number == len(parts) - 1):
            hits = []
            for match in pattern.finditer(folded):
                hits.append((match.start(), match.end(), number))
                if len(hits) == _MATCHES:
                    break
            if hits:
                found += hits
                break
    apart: list[tuple[int, int, int]] = []
    for each in sorted(found):
        if each[0] < each[1] and (not apart or each[0] >= apart[-1][1]):
            apart.append(each)
    return apart


def _patterns(part: str, *, is_last: bool) -> list[re.Pattern[str]]:
    """Return what to look for, the best first: words, then a beginning of words, then the text."""
    literal = re.compile(re.escape(_folded(part)))
    words = [_MARKS.join(map(re.escape, word)) + _MARKS for word in words_of(part)]
    if not words:
        return [literal]
    phrase = r"(?<![^\W_])" + r"[\W_]+".join(words)
    patterns = [re.compile(phrase + r"(?![^\W_])"), literal]
    if is_last:
        patterns.insert(1, re.compile(phrase + r"[^\W_]*"))
    return patterns


def _best_start(matches: list[tuple[int, int, int]]) -> int:
    """Return where a line has to begin that shows the most parts; the first of equals."""
    best, most = 0, 0
    for index, (start, _, _) in enumerate(matches):
        shown = set()
        for _, end, number in matches[index : index + 20]:
            if end > start + WIDTH - LEAD:
                break
            shown.add(number)
        if len(shown) > most:
            best, most = start, len(shown)
    if not most and matches:
        return matches[0][0]  # one match that is longer than the line
    return best


def _in_one_line(
    content: str, start: int, end: int, spans: Sequence[tuple[int, int]]
) -> tuple[str, Spans]:
    """Return the content from start to end with every gap as one space, and the spans moved along."""
    line = ["…"] if start > 0 else []
    places = []  # of each character of the content in the line
    gap = True
    for character in content[start:end]:
        is_gap = character.isspace() or not character.isprintable()
        if not is_gap:
            places.append(len(line))
            line.append(character)
        elif not gap:
            places.append(len(line))
            line.append(" ")
        else:
            places.append(len(line))
        gap = is_gap
    places.append(len(line))
    if end < len(content):
        line.append("…")
    text = "".join(line).rstrip(" ")
    moved = []
    for first, last in spans:
        if first < end and last > start:
            place = places[max(first, start) - start]
            end_place = min(places[min(last, end) - start], len(text))
            if place < end_place:
                moved.append((place, end_place))
    return text, tuple(moved)


def _folded(text: str) -> str:
    """Return the text without case and diacritics, character by character: places stay the same."""
    if text.isascii():
        return text.lower()
    return "".join(map(_folded_character, text))


@lru_cache(maxsize=4096)
def _folded_character(character: str) -> str:
    return unicodedata.normalize("NFD", character)[0].lower()[0]
