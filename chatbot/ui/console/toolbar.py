"""The line of state below the input: where one is, whom one talks to, how full the context is. Pure.

It is exactly one line, however narrow the terminal: what matters least goes first, what must not be missed
(that nothing is saved, what is going on) last.
"""

from chatbot.sanitize import one_line
from chatbot.ui import listing
from chatbot.ui.console.columns import width
from chatbot.ui.lines import Fragment, Line
from chatbot.ui.state import State

_SEPARATOR = " · "
_NEARLY_FULL = 0.9

# The parts in the order in which they stand.
_PARTS = ("session", "target", "context", "not_saving", "restarts", "queued", "activity")

# What is done, one after the other, until the line fits: a part gets the shorter of its forms, or goes.
_SHORTER = (
    "context",
    "session",
    "restarts",
    "target",
    "context",
    "context",
    "queued",
    "not_saving",
    "target",
    "activity",
)


def toolbar(state: State, columns: int) -> Line:
    """Return the line, with a space at either end where there is room, never wider than the terminal."""
    forms = {
        "session": _session(state),
        "target": _target(state),
        "context": _context(state),
        "not_saving": _not_saving(state),
        "restarts": _restarts(state),
        "queued": _queued(state),
        "activity": _activity(state),
    }
    for part in ("", *_SHORTER):
        if part:
            forms[part] = forms[part][1:]
        shown = [forms[name][0] for name in _PARTS if forms[name]]
        if _width(shown) <= columns:
            break
    return _clipped(shown, columns)


def tokens(number: int, length: int | None = None) -> str:
    """Return a number of tokens, shortly: 1.2k. The k of a context of 8192 is 1024."""
    step = 1024 if not (length or number) % 1024 else 1000
    if number < 1000:
        return str(number)
    scaled = number / step
    return f"{scaled:.0f}k" if scaled >= 100 else f"{scaled:.1f}".removesuffix(".0") + "k"


# Each part has its forms, the longest first; none where there is nothing to be said.


def _session(state: State) -> list[Fragment]:
    return [("", one_line(listing.handle(state.session_id)))] if state.session_id else []


def _target(state: State) -> list[Fragment]:
    model = one_line(state.model)
    whole = f"{state.backend} {model}".rstrip()
    return [("", whole), *([("", model)] if model else [])]


def _context(state: State) -> list[Fragment]:
    if state.context_used is None:
        return []
    length = state.context_length
    used = tokens(state.context_used, length)
    if not length:
        return [("", f"context {used}")]
    share = state.context_used / length
    style = "bold ansiyellow" if share >= _NEARLY_FULL else ""
    of, percent = f"{used} of {tokens(length, length)}", f"{share:.0%}".replace("%", " %")
    return [(style, f"context {of} ({percent})"), (style, f"context {percent}"), (style, percent)]


def _not_saving(state: State) -> list[Fragment]:
    if not state.not_saving:
        return []
    style = "bold ansired"
    return [(style, f"NOT SAVING: {one_line(state.not_saving)}"), (style, "NOT SAVING")]


def _restarts(state: State) -> list[Fragment]:
    if not state.restarts:
        return []
    return [("ansiyellow", "1 restart" if state.restarts == 1 else f"{state.restarts} restarts")]


def _queued(state: State) -> list[Fragment]:
    return [("", f"{len(state.queued)} queued")] if state.queued else []


def _activity(state: State) -> list[Fragment]:
    return [("bold", one_line(state.activity))] if state.activity else []


def _width(shown: list[Fragment]) -> int:
    return sum(width(text) for _, text in shown) + len(_SEPARATOR) * (len(shown) - 1) + 2


def _clipped(shown: list[Fragment], columns: int) -> Line:
    """Put the parts together; the last resort is to cut their end off, never in half a wide character."""
    line: list[Fragment] = [("", " ")]
    for number, part in enumerate(shown):
        line += [("", _SEPARATOR), part] if number else [part]
    line.append(("", " "))
    left = columns
    kept: list[Fragment] = []
    for style, text in line:
        for end, character in enumerate(text):
            left -= width(character)
            if left < 0:
                kept.append((style, text[:end]))
                return tuple(fragment for fragment in kept if fragment[1])
        kept.append((style, text))
    return tuple(kept)
