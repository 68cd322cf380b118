"""What a line of Markdown can be, seen alone: pure.

Lines are without their newline, and a `body` is one without its indentation.
"""

import re

FENCE = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
HEADING = re.compile(r"(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
RULE = re.compile(r"([-*_])[ \t]*(?:\1[ \t]*){2,}$")
UNDERLINE = re.compile(r"(=+|-{3,})[ \t]*$")
ITEM = re.compile(r"([-*+•]|\d{1,9}[.)])(?:( +)(?=\S)|[ \t]*$)")
DELIMITERS = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
HTML = re.compile(
    r"<(?:!--|/?(?:address|article|aside|blockquote|center|details|dialog|dd|div|dl|dt|figcaption|figure"
    r"|footer|form|h[1-6]|header|hr|iframe|li|main|nav|ol|p|pre|script|section|style|summary|svg|table"
    r"|tbody|td|tfoot|th|thead|tr|ul)(?:[\s/>]|$))",
    re.IGNORECASE,
)
# What a formula on lines of its own begins with.
FORMULAS = ("\\[", "$$")
PIPE = re.compile(r"(?<!\\)\|")
# What the first characters of a line may become; it is shown once that is known.
UNDECIDED = re.compile(r"(?:[-*+•#>|=~`_ \t:]|\\$)*$")


def cells(row: str) -> list[str]:
    """Return the texts of a table's row."""
    row = row.strip()
    row = row.removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [cell.strip().replace("\\|", "|") for cell in PIPE.split(row)]


def indented(line: str) -> tuple[int, str]:
    """Return how far a line is indented, in columns, and what stands there."""
    body = line.lstrip(" \t")
    space = line[: len(line) - len(body)]
    return len(space.expandtabs(4) if "\t" in space else space), body


def without(line: str, columns: int) -> str:
    """Return a line without so much of its indentation; tabs behind that stay."""
    column = 0
    for at, character in enumerate(line):
        if column >= columns or character not in " \t":
            return line[at:]
        column += 4 - column % 4 if character == "\t" else 1
        if column > columns:
            return " " * (column - columns) + line[at + 1 :]
    return ""


def closes(body: str, fence: str) -> bool:
    body = body.rstrip(" \t")
    return len(body) >= len(fence) and body == fence[0] * len(body)


def is_prefix_of_fence(partial: str, fence: str) -> bool:
    body = partial.strip()
    return body == fence[0] * len(body)


def is_first_row(lines: list[str]) -> bool:
    return len(lines) == 1 and lines[0].lstrip().startswith("|") and len(PIPE.findall(lines[0])) > 1
