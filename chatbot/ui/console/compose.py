'''What was typed as a message: a text of several lines between three quotes. Pure.

A block begins with the first line of what is typed, at its beginning or at its end:

    """                      Explain this: """          /fan ollama,openai """
    one                      one                        one
    two""" in short          """                        """

It is closed when the number of quotes is even, so that a text with docstrings in it can be pasted into
one. Nothing but the rest of the line may come after the last quotes: a file that begins with a docstring
is no block, and is left as it is, as are quotes anywhere else.
'''

from typing import NamedTuple

QUOTES = '"""'


class Block(NamedTuple):
    """A block, and what stands before and after it on its first and its last line."""

    before: str
    inside: str
    after: str


def is_open(text: str) -> bool:
    """Whether a block has been begun and not been closed: Enter begins a new line."""
    return _begins(text) and text.count(QUOTES) % 2 == 1


def message(text: str) -> str:
    """Return what is meant: a block without its quotes, what is around it on lines of its own."""
    block = _block(text)
    if block is None:
        return text.strip()
    return "\n".join(part for part in block if part.strip())


def is_only_block(text: str) -> bool:
    """Whether a text is a block from its first character on: no command, whatever it holds."""
    block = _block(text)
    return block is not None and not block.before


def _begins(text: str) -> bool:
    first = text.strip().partition("\n")[0].rstrip()
    return first.startswith(QUOTES) or (first.count(QUOTES) == 1 and first.endswith(QUOTES))


def _block(text: str) -> Block | None:
    if not _begins(text) or text.count(QUOTES) % 2:
        return None
    before, _, rest = text.strip().partition(QUOTES)
    inside, _, after = rest.rpartition(QUOTES)
    if "\n" in after:
        return None
    return Block(before.strip(), inside.strip("\r\n"), after.strip())
