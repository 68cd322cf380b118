"""A long answer in markdown, the same every time. Pure."""

from itertools import cycle

_TEXT = (
    "the quiet river carries a small lantern beyond the old garden and every patient letter finds "
    "its window near the harbour while some modern engine repairs another story under this bridge"
)
_WORDS = _TEXT.split()
_LANGUAGES = ("python", "sh", "json", "")
_PER_PIECE = 14  # characters, as a handful of tokens has them


def long_answer(lines: int) -> str:
    """Return about so many lines of markdown: headings, paragraphs, lists, tables and blocks of code."""
    words, languages = cycle(_WORDS), cycle(_LANGUAGES)

    def some(count: int) -> str:
        return " ".join(next(words) for _ in range(count))

    text: list[str] = []
    while len(text) < lines:
        number = len(text)
        text += [f"## Part {number}: {some(4)}", ""]
        text += [f"{some(6)} **{some(2)}** and `{some(1)}` {some(3)}." for _ in range(4)]
        text += ["", *(f"- {some(7)}" for _ in range(6)), ""]
        text += [f"```{next(languages)}", *(f"x{n} = '{some(3)}'  # {some(4)}" for n in range(8))]
        text += ["```", "", "| a | b |", "|---|--:|"]
        text += [*(f"| {some(2)} | {n} |" for n in range(4)), ""]
        text += [*(f"{n}. {some(8)}" for n in range(1, 6)), "", f"> {some(9)}", ""]
    return "\n".join([*text[:lines], "", "The flood has ended."])


def pieces(text: str) -> list[str]:
    """Return a text as it comes: cut without regard to words or lines."""
    return [text[at : at + _PER_PIECE] for at in range(0, len(text), _PER_PIECE)]
