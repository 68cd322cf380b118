"""When turns fall due in an open load: by the clock, whatever became of those before. Pure.

Arrivals are counted in billionths of one, and turned into times by the inverse of the integrated rate, all in whole
numbers: so a constant rate does not drift, and the ramp needs no case of its own in any of the processes.
Source: https://en.wikipedia.org/wiki/Inhomogeneous_Poisson_point_process (simulation by inversion)
"""

import math
from fractions import Fraction
from typing import Protocol

from chatbot.simulation import Simulation

_ONE = 1_000_000_000


class Chance(Protocol):
    """What is used of `random.Random(seed)`."""

    def random(self) -> float:
        """Return a uniform number from 0 up to, but not including, 1."""

    def gammavariate(self, alpha: float, beta: float) -> float:
        """Return a number of the gamma distribution with this shape and scale."""


class Arrivals:
    """The times of the arrivals, one after another, in ns after the start."""

    def __init__(self, simulation: Simulation, chance: Chance) -> None:
        self._kind = simulation.arrival
        self._shape = simulation.burstiness
        self._chance = chance
        rate = Fraction(repr(simulation.rate))  # as it was written: 0.1 is a tenth
        self._rate, self._per = rate.numerator, rate.denominator
        self._ramp_ns = round(simulation.ramp_s * 1e9)
        self._sum = 0 if self._kind == "constant" else self._step()
        self.at_ns = self._time()

    def advance(self) -> None:
        """Go on to the next: `at_ns` is its time."""
        self._sum += self._step()
        self.at_ns = self._time()

    def _step(self) -> int:
        """Return what lies between two arrivals, in billionths of the mean."""
        if self._kind == "constant":
            return _ONE
        if self._kind == "poisson":
            return round(-math.log(1.0 - self._chance.random()) * _ONE)
        return round(self._chance.gammavariate(self._shape, 1 / self._shape) * _ONE)

    def _time(self) -> int:
        """Return when so many arrivals have fallen due, at a rate that grows from 0 in the ramp.

        With the ramp R and the rate r they are r·t²/2R until R, and r·(t - R/2) afterwards.
        """
        at_full_rate_ns = self._sum * self._per // self._rate
        if 2 * at_full_rate_ns >= self._ramp_ns:
            return at_full_rate_ns + self._ramp_ns // 2
        return math.isqrt(2 * self._ramp_ns * at_full_rate_ns)
