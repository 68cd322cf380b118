"""How a quantity varies: a duration in seconds, or a count. Pure: what is drawn depends on the number given.

    50ms                  always the same
    256±64                normal: mean and standard deviation (also 256+-64)
    normal:256,64         the same
    lognormal:50ms,0.5    median, and the standard deviation of the logarithm
    exp:200ms             exponential: its mean
    uniform:10ms,50ms     from, to
    pareto:10ms,1.5       Pareto: the least value, and the exponent of the tail
    file:PATH             one of the values in a file, a line each

Values are drawn by the inverse of the distribution function (https://en.wikipedia.org/wiki/Inverse_transform_sampling),
so that the same uniform number gives the same value, and what is below 0 counts as 0.
"""

import math
import re
from collections.abc import Callable
from statistics import NormalDist
from typing import Literal

import msgspec

from chatbot.errors import UsageError

Kind = Literal["constant", "uniform", "normal", "lognormal", "exp", "pareto", "empirical"]
Unit = Literal["s", ""]  # what a bare number is: seconds, or a count

_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PARAMETERS: dict[str, int] = {"uniform": 2, "normal": 2, "lognormal": 2, "exp": 1, "pareto": 2}
_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*(us|µs|ms|s|m|h)?")
_LEAST_U, _MOST_U = 1e-12, 1 - 1e-12
_MOST = 1e9
_MOST_VALUES = 100_000
_standard = NormalDist()


class Distribution(msgspec.Struct, frozen=True, array_like=True):
    """A distribution with its two parameters; `values` are those of an empirical one, in order."""

    kind: Kind = "constant"
    a: float = 0.0
    b: float = 0.0
    values: tuple[float, ...] = ()

    @property
    def is_zero(self) -> bool:
        """Whether it is always 0."""
        return self.kind == "constant" and not self.a

    def at(self, u: float) -> float:
        """Return the value for a uniform random number from 0 to 1; never below 0."""
        match self.kind:
            case "constant":
                return self.a
            case "uniform":
                return self.a + u * (self.b - self.a)
            case "empirical":
                return self.values[min(int(u * len(self.values)), len(self.values) - 1)]
            case _:
                return max(self._tail(min(max(u, _LEAST_U), _MOST_U)), 0.0)

    def _tail(self, u: float) -> float:
        match self.kind:
            case "normal":
                return self.a + self.b * _standard.inv_cdf(u)
            case "lognormal":
                return self.a * math.exp(self.b * _standard.inv_cdf(u))
            case "exp":
                return -self.a * math.log1p(-u)
            case _:
                return float(self.a / (1 - u) ** (1 / self.b))

    @property
    def mean(self) -> float:
        """The mean, of what is not cut off below 0; infinite for a Pareto with an exponent up to 1."""
        match self.kind:
            case "uniform":
                return (self.a + self.b) / 2
            case "lognormal":
                return self.a * math.exp(self.b**2 / 2)
            case "pareto":
                return self.a * self.b / (self.b - 1) if self.b > 1 else math.inf
            case "empirical":
                return sum(self.values) / len(self.values)
            case _:
                return self.a


def constant(value: float) -> Distribution:
    """Return the distribution of one value."""
    return Distribution("constant", value)


def parse(text: str, *, unit: Unit = "s", read: Callable[[str], str] | None = None) -> Distribution:
    """Read one of the forms above; `read` returns the text of a file. Raises UsageError."""
    name, colon, rest = text.strip().partition(":")
    if not colon:
        mean, sign, deviation = _split_sign(name)
        if sign:
            return Distribution("normal", _number(mean, text, unit), _number(deviation, text, unit))
        return constant(_number(name, text, unit))
    if name == "file" and read is not None:
        return _empirical(rest, read(rest), unit)
    wanted = _PARAMETERS.get(name)
    if wanted is None:
        known = ", ".join([*_PARAMETERS, *(["file"] if read else [])])
        raise UsageError(f"{text!r}: there is no distribution {name!r}, there are: {known}")
    parts = rest.split(",")
    if len(parts) != wanted:
        numbers = "one number" if wanted == 1 else "two numbers, such as " + _EXAMPLES[name]
        raise UsageError(f"{text!r}: {name} takes {numbers}")
    second_unit: Unit = "" if name in ("lognormal", "pareto") else unit
    a = _number(parts[0], text, unit)
    b = _number(parts[1], text, second_unit) if wanted == 2 else 0.0
    if name == "uniform" and b < a:
        raise UsageError(f"{text!r}: uniform goes from the smaller to the larger number")
    if name == "pareto" and not b:
        raise UsageError(f"{text!r}: the exponent of a Pareto distribution is above 0")
    return Distribution(name, a, b)  # type: ignore[arg-type] # one of _PARAMETERS


_EXAMPLES = {
    "uniform": "uniform:10,50",
    "normal": "normal:256,64",
    "lognormal": "lognormal:50,0.5",
    "pareto": "pareto:10,1.5",
}


def _split_sign(text: str) -> tuple[str, str, str]:
    for sign in ("±", "+-", "+/-"):
        if sign in text:
            return text.partition(sign)
    return text, "", ""


def _number(part: str, text: str, unit: Unit) -> float:
    match = _NUMBER.fullmatch(part.strip())
    if match is None or (match[2] and not unit):
        kind = "a duration such as 50ms or 1.5s" if unit else "a number"
        raise UsageError(f"{text!r}: {part.strip()!r} is not {kind}")
    value = float(match[1]) * (_UNITS[match[2]] if match[2] else 1.0)
    if value > _MOST:
        raise UsageError(f"{text!r}: {part.strip()} is too much, give at most {_MOST:g}")
    return value


def _empirical(path: str, content: str, unit: Unit) -> Distribution:
    lines = [line for line in content.split("\n") if line.strip()]
    if not lines or len(lines) > _MOST_VALUES:
        raise UsageError(f"{path}: it holds {len(lines):,} values, give 1 to {_MOST_VALUES:,}")
    return Distribution("empirical", values=tuple(_number(line, path, unit) for line in lines))
