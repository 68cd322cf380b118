"""What stands within a paragraph: emphasis, code, links → styled text."""

import re
from collections.abc import Callable
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline

from chatbot.sanitize import sanitize
from chatbot.ui.lines import Fragment

CODE = "ansicyan"
_URL = "underline"
_BREAK = re.compile(r"<br\s*/?>$", re.IGNORECASE)
# Formulas are left as they are: as in Pandoc, a dollar opens one only before what is no space, and closes it
# only after such, and not before a digit.
_MATH = re.compile(
    r"\\\((?:[^\\]|\\(?!\)))+\\\)|\\\[(?:[^\\]|\\(?!\]))+\\\]|\$\$[^$]+\$\$|\$(?![\s$])[^$\n]*?(?<![\s\\])\$(?!\d)"
)
# A line that is shorter was not broken off because it was too long
_WRAPPED = 60
_STYLES = {"strong": "bold", "em": "italic", "s": "strike"}
_SPACES = str.maketrans("\n\t", "  ")
# The text of an unfinished paragraph: code and formulas, which nothing is looked for in; emphasis
_TOKENS = re.compile(r"\\.|(`+)|(\*{1,3}|~~|(?<!\w)_{1,2}|_{1,2}(?!\w))", re.DOTALL)
_LINK = re.compile(r"\[[^\[\]]*\]\([^()\s]*$")


def _math(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "\\$":
        return False
    found = _MATH.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("math", "", 0).content = found[0]
    state.pos = found.end()
    return True


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": True}).enable("strikethrough")
    parser.inline.ruler.before("escape", "math", _math)
    return parser


_PARSER = _parser()


@lru_cache(512)
def styled(text: str, style: str = "") -> tuple[Fragment, ...]:
    """Return the text of a paragraph or of a cell as fragments; a newline ends a line.

    Newlines stay, as models write verses and addresses; except those of prose that was wrapped.
    """
    fragments: list[Fragment] = []
    words: list[str] = style.split()
    links: list[tuple[str, int]] = []

    def add(content: str, *more: str) -> None:
        # An entity may stand for what a terminal obeys
        content = sanitize(content).translate(_SPACES)
        fragments.append((" ".join(dict.fromkeys((*words, *more))), content))

    for token in _PARSER.parseInline(_unwrapped(text))[0].children or ():
        match token.type:
            case "text" | "math" | "text_special":
                add(token.content)
            case "code_inline":
                add(token.content, CODE)
            case "softbreak" | "hardbreak":
                fragments.append(("", "\n"))
            case "html_inline" if _BREAK.match(token.content):
                fragments.append(("", "\n"))
            case "html_inline":
                add(token.content)
            case "link_open":
                links.append((str(token.attrs["href"]), len(fragments)))
            case "link_close":
                url, start = links.pop()
                shown = "".join(part for _, part in fragments[start:])
                _add_url(add, _readable(text, url), shown)
            case "image":
                add(token.content)
                _add_url(add, _readable(text, str(token.attrs["src"])), token.content)
            case kind if kind.endswith("_open") and kind[:-5] in _STYLES:
                words.append(_STYLES[kind[:-5]])
            case kind if kind.endswith("_close") and kind[:-6] in _STYLES:
                words.remove(_STYLES[kind[:-6]])
            case _:
                add(token.content)
    return tuple(fragments)


def _unwrapped(text: str) -> str:
    """Return a paragraph with its lines put together where one breaks off in a sentence at its end."""
    first, *others = text.split("\n")
    joined = [first]
    for line in others:
        goes_on = line[:1].islower() or line[:1] == "("
        if goes_on and len(first) >= _WRAPPED and first[-1] not in ".:!?\\":
            joined.append(" ")
        else:
            joined.append("\n")
        joined.append(line)
        first = line
    return "".join(joined)


def _readable(source: str, url: str) -> str:
    """Return an address as it was written: markdown-it encodes what is not ASCII."""
    if url in source:
        return url
    decoded = _PARSER.normalizeLinkText(url)
    return decoded if decoded in source else url


def _add_url(add: Callable[..., None], url: str, shown: str) -> None:
    if shown in (url, url.removeprefix("mailto:")):
        return
    if shown:
        add(" (")
    add(url, _URL)
    if shown:
        add(")")


def closed(text: str) -> str:
    """Return the text of a paragraph that is still being written as if what is open in it ended here.

    So a word is bold from its first character on, and does not change when the asterisks after it come.
    """
    open_at: list[str] = []
    at = 0
    while found := _TOKENS.search(text, at):
        at = found.end()
        if ticks := found[1]:
            end = re.compile(rf"(?<!`){ticks}(?!`)").search(text, at)
            if end is None:
                return _ended(text, ticks, at)
            at = end.end()
        elif marks := found[2]:
            before, after = text[: found.start()][-1:], text[at : at + 1]
            if marks in open_at and before.strip():
                del open_at[open_at.index(marks) :]
            elif after.strip():
                open_at.append(marks)
            elif not after:
                text = text[: found.start()]
                # One asterisk of the two that end it
                break
    if _LINK.search(text):
        text += ")"
    for marks in reversed(open_at):
        text = text.rstrip() + marks
    return text


def _ended(text: str, ticks: str, at: int) -> str:
    rest = text[at:].rstrip("`")
    return text[:at] + rest + ticks if rest.strip() else text[: at - len(ticks)].rstrip()
