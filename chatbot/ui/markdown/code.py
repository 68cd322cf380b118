"""The blocks of code in an answer, as they were written: pure."""

from typing import NamedTuple

from chatbot.sanitize import sanitize
from chatbot.ui.markdown.blocks import Scanner


class CodeBlock(NamedTuple):
    """A block between fences. `language` is empty where none was named."""

    language: str
    text: str


def blocks(text: str) -> list[CodeBlock]:
    """Return all blocks of code of a text, in their order, without the indentation of lists they stand in.

    A block that does not end is one as well. Nothing in a block can drive a terminal it is pasted into.
    """
    scanner = Scanner()
    found: list[CodeBlock] = []
    for piece in (*scanner.feed(sanitize(text)), *scanner.end()):
        if piece.kind != "code" or not piece.fence:
            continue
        if piece.opens:
            found.append(CodeBlock(language(piece.info), piece.text))
        else:
            found[-1] = CodeBlock(found[-1].language, found[-1].text + piece.text)
    return [block._replace(text=block.text.removesuffix("\n")) for block in found]


def language(info: str) -> str:
    """Return the language that the line of a fence names."""
    words = info.strip("{} ").split()
    return words[0].removeprefix(".").partition(":")[0].lower() if words else ""
