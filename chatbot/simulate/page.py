"""The pieces that a page is made of: head, sections, tables, figures. Pure.

All text is escaped here, wherever it came from: what is given is text, what is returned is markup. The page holds
everything it needs and may load nothing: its policy allows the one style sheet by its hash, and no script.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from chatbot.sanitize import one_line, sanitize
from chatbot.simulate.plots import Figure
from chatbot.simulate.result import Result
from chatbot.simulate.screen import meaning
from chatbot.simulate.theme import style

_REPLACED = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 65534, 65535), "�")


def text(said: object) -> str:
    """Return anything as text on a page, on one line."""
    return escape(one_line(str(said)).translate(_REPLACED))


def lines(said: str) -> str:
    """Return text that may have several lines."""
    return escape(sanitize(said).translate(_REPLACED))


def document(title: str, body: Iterable[str]) -> str:
    """Return the whole page."""
    sheet = style()
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{text(title)}</title>",
            f"<style>{sheet}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>",
            "",
        )
    )


def section(name: str, title: str, *parts: str) -> str:
    """Return a part of the page under a heading; "" where it has nothing to say."""
    shown = [part for part in parts if part]
    if not shown:
        return ""
    head = f'<section id="{name}" aria-labelledby="{name}-h">\n<h2 id="{name}-h">{text(title)}</h2>'
    return "\n".join((head, *shown, "</section>"))


def verdict(result: Result) -> str:
    """Return the verdict with its reasons."""
    given = result.verdict
    reasons = "".join(f"<li>{text(reason)}</li>" for reason in given.reasons)
    listed = f"<ul>{reasons}</ul>" if reasons else ""
    said = text(meaning(result))
    return f'<div class="verdict {given.name}"><strong>{given.name}</strong>: {said}{listed}</div>'


def table(rows: Sequence[Sequence[str]], *, words: Sequence[int] = ()) -> str:
    """Return a table of markup, its first row the heads; `words` are the columns that hold prose."""
    if len(rows) < 2:
        return ""
    looks = [' class="words"' if place in words else "" for place in range(len(rows[0]))]
    heads = "".join(
        f'<th scope="col"{look}>{head}</th>' for head, look in zip(rows[0], looks, strict=True)
    )
    body = "\n".join(_row(row, looks) for row in rows[1:])
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table"><table>'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(row: Sequence[str], looks: Sequence[str]) -> str:
    cells = (f"<td{look}>{cell}</td>" for cell, look in zip(row[1:], looks[1:], strict=True))
    return f'<tr><th scope="row"{looks[0]}>{row[0]}</th>{"".join(cells)}</tr>'


def figures(given: Iterable[Figure]) -> str:
    """Return the figures side by side, as many as there is room for."""
    drawn = "\n".join(map(_figure, given))
    return f'<div class="figures">\n{drawn}\n</div>' if drawn else ""


def _figure(figure: Figure) -> str:
    keys = "".join(_key(look, name) for look, name in figure.keys)
    note = f'<p class="note">{text(figure.note)}</p>' if figure.note else ""
    shown = figure.svg or f'<p class="empty">{text(figure.empty)}</p>'
    rows = [[text(cell) for cell in row] for row in figure.rows]
    data = f"<details><summary>As a table</summary>{table(rows)}</details>" if rows[1:] else ""
    caption = f"<figcaption><b>{text(figure.title)}</b>{keys}</figcaption>"
    return f"<figure>{caption}\n{shown}\n{note}{data}</figure>"


def _key(look: str, name: str) -> str:
    if look.endswith(" solid"):
        shape = f'<rect class="bar {look.removesuffix(" solid")}" y="1" width="22" height="8"/>'
    else:
        shape = f'<path class="line {look}" d="M0 5H22"/>'
    return f'<span class="key"><svg viewBox="0 0 22 10" aria-hidden="true">{shape}</svg>{text(name)}</span>'


def tiles(given: Iterable[tuple[str, str, str]]) -> str:
    """Return the figures that matter most, as (name, value, what stands below)."""
    shown = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}<small>{text(below)}</small></dd></div>"
        for name, value, below in given
    )
    return f'<dl class="tiles">{shown}</dl>'
