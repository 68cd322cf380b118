"""Taking measurements in turns, and printing them. Figures go to stdout, progress to stderr."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence

Measure = Callable[[], float]


def in_turns(measures: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """Take each measurement once a round, one after the other: a slow moment of the machine meets all.

    The first round is for the caches, and not counted.
    """
    for measure in measures.values():
        measure()
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(measure())
    return taken


def medians(measures: Mapping[str, Measure], rounds: int) -> dict[str, float]:
    """Return the median of each measurement, all taken in turns."""
    return {name: statistics.median(values) for name, values in in_turns(measures, rounds).items()}


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, int(share * len(ordered))))]


def heading(title: str, *columns: str) -> None:
    """Print the first line of a table."""
    print(f"\n{title:48}" + "".join(f"{column:>13}" for column in columns), flush=True)


def row(name: str, *values: float | str, digits: int = 0) -> None:
    """Print a line of a table."""
    shown = (value if isinstance(value, str) else f"{value:,.{digits}f}" for value in values)
    print(f"{name:48}" + "".join(f"{value:>13}" for value in shown), flush=True)


def progress(text: str) -> None:
    """Tell on stderr what is being done."""
    print(f"… {text}", file=sys.stderr, flush=True)
