"""What text must be like before SQLite sees it, and what a path looks like inside a message.

Pure. It never decides what is saved, only in which characters. `database.py` cleans every value
that it binds; the modules with the SQL ask for titles.
"""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
TITLE_CHARACTERS = 60  # of a title that nobody has chosen

_LOOKED_AT = 1000  # of a first message, for its title: it may be megabytes long


def clean(text: str) -> str:
    """Return the text without NUL characters and lone surrogates: U+FFFD stands in their place.

    SQLite's own functions end a text at its first NUL; a lone surrogate has no UTF-8 at all. Two
    surrogates that belong together become the character they mean.
    """
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    elif text.isascii():  # most are, and then nothing else can be wrong with them
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def title_of(content: str) -> str:
    """Return a session's title: its first message in one printable line of at most 60 characters."""
    return line_of(content, TITLE_CHARACTERS)


def line_of(content: str, at_most: int) -> str:
    """Return the text in one printable line of at most so many characters."""
    line = " ".join(content.lstrip()[:_LOOKED_AT].split())
    if not line.isprintable():
        line = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    if len(line) <= at_most:
        return line
    return line[: at_most - 1].rstrip() + "…"


def shown(path: str) -> str:
    """Return the path as a person may read it in one line; an unprintable one is escaped."""
    return path if path.isprintable() else ascii(path)
