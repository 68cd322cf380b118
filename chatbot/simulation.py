"""What a simulation is asked to do: pure data, made by the command line, obeyed by the `simulate` room."""

from typing import Literal

import msgspec

from chatbot.distribution import Distribution, constant

Arrival = Literal["closed", "constant", "poisson", "gamma"]
SloMetric = Literal["ttft", "ttfo", "tpot", "latency"]


class Slo(msgspec.Struct, frozen=True):
    """A turn meets it when its metric is at most the limit. A turn that failed meets none."""

    metric: SloMetric
    limit_ms: float


class Simulation(msgspec.Struct, frozen=True):
    """The load, and how it is measured.

    `closed` arrival: so many `sessions` are under way at once; each thinks after an answer, and asks
    again, up to its number of `turns`. When one ends and there is a `duration_s` or a number of `requests`
    to be reached, another takes its place; else the run ends with the last of them. The other arrivals
    are open: turns fall due at `rate` a second, whatever became of those before; `sessions` then bounds
    how many sessions there may be at once (0: no bound). `burstiness` is the shape of the gamma
    distribution between arrivals: 1 is a Poisson process, less comes in bursts.

    In the first `ramp_s` the sessions begin one after another, or the rate grows; what falls due then, or in the
    `warmup_s` after that, is asked but not measured. Where every session is asked once, without a
    `duration_s` or a number of `requests`, a ramp alone leaves nothing out: what it begins is all there
    is. `max_concurrency` bounds the turns under way (0: no bound).

    `prompts` are asked in turn, or where there are none made-up words, `prompt_tokens` of them.
    `error_ms` is the client's own error at the median above which a result is not VALID. `calibration_s`:
    how long the client measures itself, before and after, where the server does not tell the truth.
    `workers` are waited for before anything is asked; `live`: show how it goes. `pipeline` is what else the
    figures depend on, by name: the settings of the processes that are measured along, as far as they matter.
    """

    out: str
    sessions: int = 16
    turns: int = 3
    think: Distribution = constant(0.0)
    arrival: Arrival = "closed"
    rate: float = 0.0
    burstiness: float = 1.0
    ramp_s: float = 0.0
    warmup_s: float = 0.0
    duration_s: float = 0.0
    requests: int = 0
    max_concurrency: int = 0
    prompts: tuple[str, ...] = ()
    prompt_tokens: Distribution = constant(16.0)
    slos: tuple[Slo, ...] = ()
    seed: int = 0
    saves: bool = True
    profile: bool = False
    error_ms: float = 2.0
    calibration_s: float = 2.0
    command: str = ""
    workers: int = 1
    live: bool = True
    pipeline: dict[str, object] = {}

    @property
    def unmeasured_s(self) -> float:
        """How long after its start the measuring begins."""
        lasts = self.duration_s or self.requests or self.warmup_s
        return self.ramp_s + self.warmup_s if lasts else 0.0

    @property
    def is_open(self) -> bool:
        """Whether turns fall due by the clock, and not when the turn before has ended."""
        return self.arrival != "closed"
