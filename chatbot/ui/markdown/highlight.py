"""Code → its lines, coloured: with Pygments, in the terminal's own colours."""

from collections.abc import Iterator
from functools import cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

from chatbot.ui.lines import Fragment, Line
from chatbot.ui.markdown.wrap import merged

# A line that was not written by hand is not worth its colours
_LONGEST = 1000

_STYLES: dict[_TokenType, str] = {
    Token.Comment: "ansibrightblack",
    Token.Comment.Preproc: "ansimagenta",
    Token.Keyword: "ansimagenta",
    Token.Keyword.Constant: "ansiyellow",
    Token.Keyword.Type: "ansicyan",
    Token.Operator.Word: "ansimagenta",
    Token.Name.Builtin: "ansicyan",
    Token.Name.Class: "bold",
    Token.Name.Function: "ansiblue",
    Token.Name.Decorator: "ansimagenta",
    Token.Name.Tag: "ansimagenta",
    Token.Name.Attribute: "ansicyan",
    Token.Literal.String: "ansigreen",
    Token.Literal.Number: "ansiyellow",
    Token.Generic.Deleted: "ansired",
    Token.Generic.Inserted: "ansigreen",
    Token.Generic.Heading: "bold",
    Token.Generic.Subheading: "ansicyan",
    Token.Generic.Emph: "italic",
    Token.Generic.Strong: "bold",
    Token.Generic.Prompt: "ansibrightblack",
}


def highlighted(text: str, language: str) -> Iterator[Line]:
    """Return the lines of a piece of code; those of an unknown language have no colours."""
    text = text.removesuffix("\n").expandtabs(4)
    lexer = _lexer(language) if language else None
    if lexer is None or max(map(len, text.split("\n"))) > _LONGEST:
        yield from ((("", line),) if line else () for line in text.split("\n"))
        return
    line: list[Fragment] = []
    left = text.count("\n") + 1
    # Many lexers know the end of a comment by its newline only
    for _, kind, value in lexer.get_tokens_unprocessed(text + "\n"):
        style = _style(kind)
        if "\n" not in value:
            line.append((style, value))
            continue
        first, *others = value.split("\n")
        line.append((style, first))
        for each in others:
            yield merged(line)
            left -= 1
            line = [(style, each)]
    for _ in range(left):
        yield merged(line)
        line = []


@cache
def _style(kind: _TokenType) -> str:
    each: _TokenType | None = kind
    while each is not None:
        if each in _STYLES:
            return _STYLES[each]
        each = each.parent
    return ""


@cache
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        return None
