"""How much a figure may change between two runs before it is too much. Pure.

A gate such as `ttft.p95:+5%` is failed when the change is in the bad direction beyond the limit, and its interval
excludes that there is none. A change beyond the limit that may be chance is inconclusive: that fails nothing, and
asks for a longer run. Where the second run answered nothing, every gate is failed; a figure that is not there keeps to no limit. Shares change by percentage points: `failures:+1%` allows one turn in a hundred more.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from chatbot.errors import UsageError
from chatbot.simulate.compare import NAMES, RATES, Row, interval, percent

Outcome = Literal["passed", "failed", "inconclusive", "not known"]

_GATE = re.compile(r"([a-z_0-9.]+)\s*:\s*([+-]?)\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*%")


class Gate(msgspec.Struct, frozen=True):
    """How far a figure may change in the bad direction; `limit` is a fraction, of at least 0."""

    name: str
    limit: float
    text: str


class Gated(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a gate, with a line that says it."""

    gate: Gate
    outcome: Outcome
    line: str


def parse_gates(text: str) -> tuple[Gate, ...]:
    """Read `ttft.p95:+5%,throughput:-5%`. Raises UsageError."""
    return tuple(parse_gate(part) for part in text.split(","))


def parse_gate(text: str) -> Gate:
    """Read one gate. Raises UsageError with what is allowed."""
    match = _GATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text.strip()!r} is no gate: give a figure and how far it may change, such as "
            "ttft.p95:+5% or throughput:-5%"
        )
    name, sign, number = match[1], match[2], float(match[3])
    if name not in NAMES:
        raise UsageError(
            f"{text.strip()!r}: there is no figure {name!r}, there are: {', '.join(NAMES)}"
        )
    bad = "-" if name in RATES else "+"
    if sign and sign != bad:
        direction = "fall" if bad == "-" else "rise"
        raise UsageError(
            f"{text.strip()!r}: it is bad when {name} {direction}s, so give {name}:{bad}{number:g}%"
        )
    return Gate(name, number / 100, f"{name}:{bad}{number:g}%")


def judge_gates(rows: Sequence[Row], gates: Sequence[Gate]) -> list[Gated]:
    """Return what became of each gate."""
    by_name = {row.name: row for row in rows}
    throughput = by_name.get("throughput")
    if throughput is not None and throughput.b == 0:
        return [
            Gated(gate=gate, outcome="failed", line=f"{gate.text}: nothing was answered in B")
            for gate in gates
        ]
    return [_judge_gate(by_name.get(gate.name), gate) for gate in gates]


def is_failed(gated: Sequence[Gated]) -> bool:
    """Whether something was worse than is allowed, or could not be judged."""
    return any(each.outcome in ("failed", "not known") for each in gated)


def lines(gated: Sequence[Gated]) -> list[str]:
    """Return what became of the gates as it is shown."""
    return [f"{each.outcome}: {each.line}" for each in gated]


def _judge_gate(row: Row | None, gate: Gate) -> Gated:
    if row is None or row.change.by is None:
        return Gated(
            gate=gate,
            outcome="not known",
            line=f"{gate.text}: the two results do not both have it (too few turns, or no SLO)",
        )
    worse_by = -row.change.by if row.more_is_better else row.change.by
    unit = " points" if row.unit == "share" else ""
    said = f"{gate.text}: it changed by {percent(row.change.by)}{unit}"
    if worse_by <= gate.limit:
        return Gated(gate=gate, outcome="passed", line=said)
    if not row.change.is_clear:
        return Gated(
            gate=gate,
            outcome="inconclusive",
            line=f"{said}, which may be chance: measure for longer",
        )
    return Gated(gate=gate, outcome="failed", line=f"{said} ({interval(row.change)})")
