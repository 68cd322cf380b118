"""Plots as SVG: axes with round ticks, lines, steps, bands and bars. Pure.

It knows of numbers and names only; what they mean is for `plots.py`. Colours come from the page: a shape has a
class (`c1` …), never a colour. What is drawn is well-formed XML, and the same for the same numbers. Text is escaped here.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Literal

import msgspec

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 66, 24, 14, 54
Kind = Literal["linear", "log", "quantile", "time"]
Point = tuple[float, float]
_QUANTILES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
_LEAST = 1e-9
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_CHARACTER, _LINE = 9.0, 17.0  # the room of text at its largest, on a phone


class Scale(msgspec.Struct, frozen=True):
    """Where a number lies between the ends of an axis, from 0 to 1.

    `quantile`: numbers are shares of all values; each further nine takes the same room. `time`: seconds, as on a clock.
    """

    low: float
    high: float
    kind: Kind = "linear"

    def at(self, value: float) -> float:
        """Return the place of a value; beyond the ends, that of the end."""
        low, high = self._moved(self.low), self._moved(self.high)
        place = (self._moved(value) - low) / (high - low) if high > low else 0.5
        return min(max(place, 0.0), 1.0)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values along the axis, in ascending order."""
        match self.kind:
            case "quantile":
                return [share for share in _QUANTILES if share <= self.high]
            case "log":
                return _log_ticks(self.low, self.high, most)
            case "time" if self.high - self.low > 4:
                wanted = (self.high - self.low) / most
                step = next((step for step in _STEPS_S if step >= wanted), _step(wanted))
                return _multiples(self.low, self.high, step)
            case _:
                return _ticks(self.low, self.high, most)

    def _moved(self, value: float) -> float:
        match self.kind:
            case "quantile":
                return -math.log10(max(1 - value, 1e-7))
            case "log":
                return math.log10(max(value, _LEAST))
            case _:
                return value


def upto(values: Iterable[float]) -> Scale:
    """Return a linear scale from 0 that has room for these values."""
    top = max(values, default=0.0)
    if top <= 0:
        return Scale(0.0, 1.0)
    step = _step(top / 4)
    return Scale(0.0, math.ceil(top / step - 1e-9) * step)


def spanning(low: float, high: float) -> Scale:
    """Return a scale for durations: logarithmic where they differ much, else from 0."""
    low = max(low, 1e-3)
    if high / low < 12:
        return upto([high])
    return Scale(low / 1.15, high * 1.15, "log")


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next((power * by for by in (1, 2, 2.5, 5) if power * by >= rough * 0.999), power * 10)


def _ticks(low: float, high: float, most: int) -> list[float]:
    if not high > low:
        return [low]
    return _multiples(low, high, _step((high - low) / most))


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        found = [step * 10.0**power for power in powers for step in steps]
        found = [value for value in found if low <= value <= high]
        if len(found) <= most:
            break
    return found[:: -(-len(found) // most)] if len(found) > 1 else _ticks(low, high, most - 2)


class Plot:
    """One plot, drawn from the back to the front: first bands and bars, then lines, then what can be pointed at."""

    def __init__(self, x: Scale, y: Scale) -> None:
        self.x, self.y = x, y
        self._behind: list[str] = []
        self._shapes: list[str] = []
        self._labels: list[
            tuple[str, float, float, float]
        ] = []  # markup, and where: left, right, y

    def line(self, points: Sequence[Point | None], look: str) -> None:
        """Draw a line through the points; None is a gap."""
        path: list[str] = []
        alone: list[Point] = []
        for place, point in enumerate(points):
            if point is None:
                continue
            begins = not place or points[place - 1] is None
            path.append(("M" if begins else "L") + self._place(*point))
            if begins and (place + 1 == len(points) or points[place + 1] is None):
                alone.append(point)  # a line of one point has no length
        if path:
            self._shapes.append(f'<path class="line {look}" d="{"".join(path)}"/>')
        for point in alone:
            self.dot(point, look)

    def steps(self, points: Sequence[Point], look: str) -> None:
        """Draw level lines, each from its point as far as the next."""
        stairs: list[Point] = []
        for point in points:
            if stairs:
                stairs.append((point[0], stairs[-1][1]))
            stairs.append(point)
        self.line(stairs, look)

    def band(self, points: Sequence[tuple[float, float, float] | None], look: str) -> None:
        """Fill what is between two lines, given as (x, lower, upper); None is a gap."""
        run: list[tuple[float, float, float]] = []
        for point in (*points, None):
            if point is not None:
                run.append(point)
                continue
            if len(run) > 1:
                edge = [self._place(x, upper) for x, _, upper in run]
                edge += [self._place(x, lower) for x, lower, _ in reversed(run)]
                self._shapes.append(f'<path class="band {look}" d="M{"L".join(edge)}Z"/>')
            run = []

    def bars(self, bars: Iterable[tuple[float, float, float]], look: str) -> None:
        """Draw bars from the foot, given as (from x, to x, y)."""
        floor = HEIGHT - BOTTOM
        for start, end, y in bars:
            left, right, top = self._x(start), self._x(end), self._y(y)
            if floor - top > 0:
                self._shapes.append(
                    f'<rect class="bar {look}" x="{left:.1f}" y="{top:.1f}"'
                    f' width="{max(right - left - 0.6, 0.4):.1f}" height="{floor - top:.1f}"/>'
                )

    def dot(self, point: Point, look: str, label: str = "") -> None:
        """Draw a point, with a label beside it on the side that has room."""
        x, y = self._x(point[0]), self._y(point[1])
        self._shapes.append(f'<circle class="dot {look}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
        if label:
            self._label(x, y + 18, label)

    def _label(self, x: float, y: float, label: str) -> None:
        """Write a label where there is room, or none: it is told where the pointer rests as well."""
        width = len(label) * _CHARACTER
        left, anchor = (x + 6, "start") if x + 6 + width < WIDTH else (x - 6 - width, "end")
        y = y if y < HEIGHT - BOTTOM - 4 else y - 28
        for _, other, end, height in self._labels:
            if left < end and other < left + width and abs(y - height) < _LINE:
                return
        at = left if anchor == "start" else left + width
        markup = f'<text class="label" x="{at:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(label)}</text>'
        self._labels.append((markup, left, left + width, y))

    def ceiling(self, start: float, end: float, look: str) -> None:
        """Mark at the upper edge that the values there have no end."""
        left, right = self._x(start), self._x(end)
        self._shapes.append(
            f'<rect class="bar {look}" x="{left:.1f}" y="{TOP}"'
            f' width="{max(right - left, 2):.1f}" height="5"/>'
        )

    def shade(self, start: float, end: float) -> None:
        """Mark a stretch of the x axis in the background."""
        left, right = self._x(start), self._x(end)
        self._behind.append(
            f'<rect class="shade" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}"'
            f' height="{HEIGHT - TOP - BOTTOM}"/>'
        )

    def points_at(self, start: float, end: float, text: str) -> None:
        """Tell the text where a pointer rests on this stretch of the x axis."""
        left, right = self._x(start), self._x(end)
        self._shapes.append(
            f'<rect class="hover" x="{left:.1f}" y="{TOP}" width="{max(right - left, 1):.1f}"'
            f' height="{HEIGHT - TOP - BOTTOM}"><title>{escape(text)}</title></rect>'
        )

    def svg(
        self,
        *,
        name: str,
        title: str,
        described: str,
        x_label: str,
        x_text: Callable[[float], str],
        y_text: Callable[[float], str],
    ) -> str:
        """Return the whole plot; `name` is what its ids begin with."""
        return "".join(
            (
                f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
                f' aria-labelledby="{escape(name)}-t {escape(name)}-d">',
                f'<title id="{escape(name)}-t">{escape(title)}</title>',
                f'<desc id="{escape(name)}-d">{escape(described)}</desc>',
                *self._behind,
                *self._axes(x_text, y_text),
                f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}"'
                f' text-anchor="middle">{escape(x_label)}</text>',
                *self._shapes,
                *(markup for markup, *_ in self._labels),
                "</svg>",
            )
        )

    def _axes(self, x_text: Callable[[float], str], y_text: Callable[[float], str]) -> list[str]:
        drawn: list[str] = []
        floor = HEIGHT - BOTTOM
        for value in self.y.ticks(5):
            y = self._y(value)
            drawn.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            drawn.append(
                f'<text class="tick" x="{LEFT - 8}" y="{y + 4.5:.1f}"'
                f' text-anchor="end">{escape(y_text(value))}</text>'
            )
        for value in self.x.ticks(6):
            x = self._x(value)
            drawn.append(f'<path class="foot" d="M{x:.1f} {floor}v5"/>')
            text = x_text(value)
            fits = x + len(text) * _CHARACTER / 2 < WIDTH
            x, anchor = (x, "middle") if fits else (WIDTH - 1, "end")
            drawn.append(
                f'<text class="tick" x="{x:.1f}" y="{floor + 22}"'
                f' text-anchor="{anchor}">{escape(text)}</text>'
            )
        drawn.append(f'<path class="foot" d="M{LEFT} {floor}H{WIDTH - RIGHT}"/>')
        return drawn

    def _x(self, value: float) -> float:
        return LEFT + self.x.at(value) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - self.y.at(value) * (HEIGHT - TOP - BOTTOM)

    def _place(self, x: float, y: float) -> str:
        return f"{self._x(x):.1f} {self._y(y):.1f}"
