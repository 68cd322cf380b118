"""Numbers and lines as a person reads them: what the live view, the screen and the page share. Pure.

Three digits tell all that the histograms keep. What a server or a file said goes through `safe`.
"""

import math
from collections.abc import Iterable, Sequence

from chatbot.sanitize import one_line
from chatbot.simulate.result import Value
from chatbot.traces.style import columns_of

NONE, INFINITE = "–", "∞"
_HUGE = 1e9
_SIMPLER = str.maketrans("▁▂▃▄▅▆▇█░·–…±×µ≤", "_.:-=+*#.|-~~xu<")
_CODES = {"dim": "2", "bold": "1", "good": "32", "bad": "31", "note": "33", "data": "36"}

Part = tuple[str, str]  # text that is safe, and how it looks: one of the codes, or ""


def finite(value: Value) -> float | None:
    """Return the number, None where there is none or it is infinite."""
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def number(value: Value) -> str:
    """Return a number with three digits, more where it is above 1,000."""
    if value is None or (value != "inf" and math.isnan(value)):
        return NONE
    if value == "inf" or math.isinf(value):
        return INFINITE if value == "inf" or value > 0 else f"-{INFINITE}"
    size = abs(value)
    if size >= _HUGE:
        return f"{value:.3g}"
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.005 or not size else f"{value:.3f}"


def rate(value: float) -> str:
    """Return a number per second; nothing is 0, and not 0.00."""
    return "0" if not value else number(value)


def signed(value: Value) -> str:
    """Return a difference, with its sign."""
    text = number(value)
    return text if text in (NONE, f"-{INFINITE}") or text.startswith("-") else f"+{text}"


def duration(ms: Value) -> str:
    """Return a duration in the unit that a person would say it in."""
    if ms is None or ms == "inf" or not math.isfinite(ms):
        return number(ms)
    if abs(ms) < 0.9995 and ms:
        return f"{ms * 1000:.0f} µs"
    if abs(ms) < 999.5:
        return f"{number(ms)} ms" if ms else "0 ms"
    return f"{number(ms / 1000)} s"


def tick(ms: float) -> str:
    """Return a round duration, as it stands at an axis."""
    if not ms:
        return "0"
    if ms < 1:
        return f"{ms * 1000:.4g} µs"
    return f"{ms:.4g} ms" if ms < 1000 else f"{ms / 1000:.4g} s"


def clock(seconds: float) -> str:
    """Return how long something took, as on a clock."""
    if not 0 <= seconds < _HUGE:
        return NONE
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def share(part: float, whole: float) -> str:
    """Return a part in per cent; 0 % and 100 % only where it is exactly that."""
    if not whole:
        return NONE
    percent = 100 * part / whole
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if not 0 < percent < 100:
        return f"{number(percent)} %"
    if percent < 0.1:
        return f"{percent:.2g} %"
    return f"{min(percent, 99.9):.1f} %" if percent < 99.9 else f"{_nines(percent)} %"


def _nines(percent: float) -> str:
    for digits in (2, 3, 4):
        text = f"{percent:.{digits}f}"
        if float(text) < 100:
            return text
    return "99.9999"


def safe(text: str, columns: int = 0) -> str:
    """Return text from elsewhere on one line, cut to so many columns."""
    text = one_line(text)
    return clipped(text, columns) if columns else text


def clipped(text: str, columns: int) -> str:
    """Return safe text that is at most so wide, with … where it was cut."""
    if (text.isascii() and len(text) <= columns) or columns_of(text) <= columns:
        return text
    kept: list[str] = []
    room = columns - 1
    for character in text:
        room -= columns_of(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…" if columns > 0 else ""


def drawn(parts: Iterable[Part], width: int, *, colour: bool) -> str:
    """Return the parts as a line that is at most so wide."""
    shown: list[str] = []
    for text, look in parts:
        if width <= 0:
            break
        text = clipped(text, width)
        width -= columns_of(text)
        shown.append(f"\x1b[{_CODES[look]}m{text}\x1b[0m" if colour and look and text else text)
    return "".join(shown)


def wrapped(text: str, width: int, *, lead: str = "", most: int = 2) -> list[str]:
    """Return safe text on at most so many lines; those after the first are indented by two more than the first."""
    indent = " " * (len(lead) - len(lead.lstrip()) + 2)
    lines: list[str] = []
    line = lead
    is_empty = True
    for word in text.split():
        if is_empty or columns_of(line) + 1 + columns_of(word) <= width or len(lines) + 1 >= most:
            line += word if is_empty else f" {word}"
        else:
            lines.append(line)
            line = indent + word
        is_empty = False
    return [clipped(each, width) for each in (*lines, line)]


def table(rows: Sequence[Sequence[str]], *, left: int = 1, gap: int = 2) -> list[str]:
    """Return the rows as aligned lines: so many columns to the left, the others to the right."""
    if not rows:
        return []
    widths = [max(columns_of(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            fill = " " * (width - columns_of(cell))
            cells.append(cell + fill if place < left else fill + cell)
        lines.append((" " * gap).join(cells).rstrip())
    return lines


def simpler(text: str) -> str:
    """Return what this room draws in ASCII, for a stream that can show no more."""
    text = text.replace(f"  {INFINITE}", "inf").replace(INFINITE, "inf").translate(_SIMPLER)
    return text.encode("ascii", "replace").decode()
