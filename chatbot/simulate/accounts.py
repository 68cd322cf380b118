"""Everything that is counted in a run, and the result that it adds up to."""

import os
import time
from collections import Counter

import msgspec

from chatbot.messages import StatusRead
from chatbot.settings import UiSettings
from chatbot.simulate import machine
from chatbot.simulate.accuracy import Errors
from chatbot.simulate.journal import Run
from chatbot.simulate.live_state import Live
from chatbot.simulate.machine import Usage
from chatbot.simulate.result import DEFINITIONS, Accuracy, Result
from chatbot.simulate.schedule import Schedule, Start
from chatbot.simulate.stages import RUN, Kind, Served
from chatbot.simulate.stats import Stats
from chatbot.simulate.turn import Turn
from chatbot.simulate.verdict import judge
from chatbot.simulation import Simulation
from chatbot.version import __version__

_HOPELESS_TURNS = 100
_HOPELESS_NS = 5_000_000_000


def new_run(settings: UiSettings, simulation: Simulation) -> Run:
    """Return what is asked of a run that begins now."""
    return Run(
        program=f"chatbot {__version__}",
        run_id=os.urandom(3).hex(),
        started=time.time(),
        simulation=simulation,
        target=settings.target,
    )


class Accounts:
    """The sums of all stages of a run. It is a `stage.Sink`."""

    def __init__(self, run: Run) -> None:
        self.ended_early = ""
        self.not_saving = ""
        self._run = run
        self._began_ns = time.perf_counter_ns()
        self._usage = Usage()
        self._usage_turns = 0  # that ended since the processes' times are counted
        self._usage_s = 0.0
        self._restarts: Counter[str] = Counter()
        self._accuracy: list[Accuracy] = []
        self._dropped_records = 0
        self._kind: Kind | None = None
        self._schedule: Schedule | None = None
        self._errors: Errors | None = None
        self._stats: Stats | None = None
