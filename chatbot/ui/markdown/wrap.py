"""Text laid out in columns, as a terminal counts them: pure.

A cluster is what a terminal draws as one: a character with its combining marks, two regional indicators,
emoji joined by ZWJ. Terminals disagree about how wide some are; here it is the most that any of them gives.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from wcwidth import wcwidth

from chatbot.ui.lines import Fragment, Line

_ZWJ, _VS16 = "\u200d", "\ufe0f"
_REGIONAL = range(0x1F1E6, 0x1F200)
_SKIN = range(0x1F3FB, 0x1F400)
_WORDS = re.compile(r"\n| +|[^ \n]+")
# These do not begin a line in Chinese and Japanese.
_CLOSING = frozenset("、。，．・：；？！）」』】〕》〉”’…ー")


def width(text: str) -> int:
    """Return the columns that a text takes at most."""
    if text.isascii():
        return len(text)
    return sum(columns for _, columns in clusters(text))


@lru_cache(2048)
def _of(character: str) -> int:
    return max(wcwidth(character), 0)


def clusters(text: str) -> Iterator[tuple[str, int]]:
    """Cut a text into what is drawn as one, with the columns each takes."""
    start, columns, joined, regional = 0, 0, False, 0
    for at, character in enumerate(text):
        of = _of(character)
        code = ord(character)
        flag = code in _REGIONAL
        belongs = at > start and (joined or of == 0 or code in _SKIN or (flag and regional == 1))
        if not belongs and at > start:
            yield text[start:at], columns
            start, columns, regional = at, 0, 0
        columns += of
        if character == _VS16 and at and _of(text[at - 1]) == 1:
            columns += 1  # the emoji of what is else a narrow character
        joined = character == _ZWJ
        regional += flag
    if start < len(text):
        yield text[start:], columns


def merged(fragments: Iterable[Fragment]) -> Line:
    """Return a line with neighbours of one style put together."""
    line: list[Fragment] = []
    for style, text in fragments:
        if line and line[-1][0] == style:
            line[-1] = (style, line[-1][1] + text)
        elif text:
            line.append((style, text))
    return tuple(line)


def cut(line: Line, columns: int) -> Iterator[Line]:
    """Cut a line wherever it reaches the last column; nothing of it is lost."""
    if sum(width(text) for _, text in line) <= columns:
        yield line
        return
    now: list[Fragment] = []
    used = 0
    for style, text in line:
        for cluster, wide in _fitting(text, columns):
            if used + wide > columns and now:
                yield merged(now)
                now, used = [], 0
            now.append((style, cluster))
            used += wide
    yield merged(now)


def _fitting(text: str, columns: int) -> Iterator[tuple[str, int]]:
    for cluster, wide in clusters(text):
        if wide <= columns:
            yield cluster, wide
        else:  # many emoji joined to one: some terminals would draw them side by side
            yield from ((each, 1 if each == _VS16 else _of(each)) for each in cluster)


def wrap(fragments: Iterable[Fragment], columns: int, first: int | None = None) -> list[Line]:
    """Break text between words into lines of at most so many columns, at each newline, and in a word that is longer.

    `first`: the columns of the first line, where that has fewer.
    """
    lines: list[Line] = []
    now: list[Fragment] = []
    left = columns if first is None else first
    gap: list[Fragment] = []  # spaces, which are dropped where a line ends
    for word in _words(fragments):
        text = word[0][1]
        if text == "\n":
            lines.append(merged(now))
            now, gap, left = [], [], columns
            continue
        if text[0] == " ":
            gap = word if now else []
            continue
        wide = sum(width(part) for _, part in word)
        spaces = len(gap[0][1]) if gap else 0
        if spaces + wide > left and (now or (left < columns and wide <= columns)):
            lines.append(merged(now))
            now, gap, left, spaces = [], [], columns, 0
        if wide > left:
            *whole, last = _broken(word, left, columns)
            lines += whole
            now, left = list(last), columns - sum(width(part) for _, part in last)
        else:
            now += gap + word
            left -= spaces + wide
        gap = []
    lines.append(merged(now))
    return lines


def _broken(word: list[Fragment], left: int, columns: int) -> Iterator[Line]:
    lines = cut(tuple(word), left)
    if left == columns:
        yield from lines
        return
    first = next(lines)
    yield first
    taken = len("".join(text for _, text in first))
    rest: list[Fragment] = []
    for style, text in word:
        if taken < len(text):
            rest.append((style, text[taken:]))
        taken = max(taken - len(text), 0)
    yield from cut(tuple(rest), columns)


def _words(fragments: Iterable[Fragment]) -> Iterator[list[Fragment]]:
    """Cut fragments where a line may be broken: around spaces, and around what is wide."""
    word: list[Fragment] = []
    for style, text in fragments:
        for part in _WORDS.findall(text):
            if part == "\n" or part[0] == " ":
                if word:
                    yield word
                    word = []
                yield [(style, part)]
            elif part.isascii():
                word.append((style, part))
            else:
                for cluster, wide in clusters(part):
                    if word and (
                        cluster[0] not in _CLOSING
                        if wide > 1
                        else cluster.isalnum() and _is_wide(word[-1][1])
                    ):
                        yield word
                        word = []
                    word.append((style, cluster))
    if word:
        yield word


def _is_wide(cluster: str) -> bool:
    return _of(cluster[0]) > 1
