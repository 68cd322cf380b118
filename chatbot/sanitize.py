"""Makes text safe for a terminal: pure, one character at a time.

Text from elsewhere (answers, model names, error bodies, titles) may carry escape sequences that move
the cursor, retitle the window or rewrite what was printed. Since each character is mapped by itself,
no split of a stream into pieces can let a sequence through.
"""

import sys

_VISIBLE_NEWLINES = "\n\t"


def _table() -> dict[int, str | None]:
    table: dict[int, str | None] = {}
    for code in range(0x20):  # C0 controls are shown as their control pictures
        if chr(code) not in _VISIBLE_NEWLINES:
            table[code] = chr(0x2400 + code)
    table[0x0D] = None  # half of a line's end on Windows; alone it would rewrite the line
    table[0x7F] = "\u2421"
    table |= dict.fromkeys(range(0x80, 0xA0))  # C1 controls
    table |= dict.fromkeys(range(0x202A, 0x202F))  # bidirectional embeddings and overrides
    table |= dict.fromkeys(range(0x2066, 0x206A))  # bidirectional isolates
    table |= dict.fromkeys(
        range(0x206A, 0x2070)
    )  # deprecated: swapping, shaping and digits switched over
    table |= dict.fromkeys(range(0xE0000, 0xE0080))  # tag characters
    table |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # surrogates
    table |= dict.fromkeys((0x2028, 0x2029), "\n")
    return table


_TABLE = _table()


def sanitize(text: str) -> str:
    """Return the text without anything that could drive a terminal."""
    return text.translate(_TABLE)


def one_line(text: str) -> str:
    """Return the text, safe, on one line."""
    return " ".join(sanitize(text).split())


def well_formed(text: str) -> str:
    """Return text that can be encoded and stored: no lone surrogates, no NUL."""
    if not text.isascii():
        text = text.encode(sys.getdefaultencoding(), "replace").decode()
    return text.replace("\0", "\ufffd")
