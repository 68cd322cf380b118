"""The stages of a run: the load itself, and where the server does not tell its true times, the calibrations. Pure.

A calibration puts the load of the run on the simulated server, which tells them: what the client adds to a
first token there, it adds to every other server's. Before the run nothing is known of the server, and an
ordinary one is simulated; after it, one with the times that were measured.
"""

import msgspec

from chatbot.messages import Target
from chatbot.simulate.turn import Phase, Turn
from chatbot.simulation import Simulation

BEFORE, RUN, AFTER = range(3)
_ORDINARY = "sim?first_token=200ms&inter_chunk=20ms&chunks=32"


class Kind(msgspec.Struct, frozen=True):
    """One stage: its number, whom it asks, what load it is. `phase` is that of its turns; None: the
    schedule says."""

    number: int
    target: Target
    simulation: Simulation
    phase: Phase | None = None


class Served(msgspec.Struct, frozen=True):
    """What an answer of the server was like, as far as is known: medians, in seconds, and chunks."""

    first_s: float
    gap_s: float
    chunks: int


def before(simulation: Simulation) -> Kind:
    """Return the calibration before the run."""
    return Kind(BEFORE, Target("sim", _ORDINARY), _short(simulation), "before")


def run(simulation: Simulation, target: Target) -> Kind:
    """Return the run itself."""
    return Kind(RUN, target, simulation)


def after(simulation: Simulation, served: Served | None) -> Kind:
    """Return the calibration after the run, against a server that answers like the one that was measured."""
    model = _ORDINARY
    if served is not None:
        model = (
            f"sim?first_token={served.first_s * 1e6:.0f}us&inter_chunk={served.gap_s * 1e6:.0f}us"
            f"&chunks={max(served.chunks, 1)}"
        )
    return Kind(AFTER, Target("sim", model), _short(simulation), "after")


def _short(simulation: Simulation) -> Simulation:
    """Return the same load for the time of a calibration."""
    return msgspec.structs.replace(
        simulation,
        ramp_s=min(simulation.ramp_s, simulation.calibration_s / 4),
        warmup_s=0.0,
        duration_s=simulation.calibration_s,
        requests=0,
    )


def is_of(turn: Turn, kind: Kind) -> bool:
    """Whether a turn was asked in a stage of this kind."""
    return turn.phase == kind.phase if kind.phase else turn.phase in ("warmup", "run")
