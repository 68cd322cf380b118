"""What the options of `chatbot simulate` mean: options → `Simulation` → the settings of the whole program.

Reads the files that options name, and nothing else; starts nothing. Every mistake is a UsageError that names the option.
"""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from typing import get_args

import msgspec

from chatbot import distribution, host
from chatbot.cli.common import Config, text
from chatbot.cli.sim_server import sim_settings
from chatbot.distribution import Distribution
from chatbot.errors import UsageError
from chatbot.settings import Arguments, Settings
from chatbot.settings import load as load_settings
from chatbot.simulate.prompts import estimate_tokens, turns_of
from chatbot.simulation import Arrival, Simulation, Slo, SloMetric

MOST_SESSIONS = 100_000
_MOST_TURNS = 10_000
_MOST_RATE = 1_000_000.0
_MOST_REQUESTS = 100_000_000
_MOST_S = 7 * 86400.0
_MOST_BURSTINESS = 1000.0
_MOST_PROMPTS_BYTES = 1 << 20
_MOST_SLO_MS = 86_400_000.0
_MOST_WORKERS = 64
_SESSIONS, _TURNS = 16, 3
_DURATION_S = 8.0
_ANSWER_TOKENS = 256  # of an answer whose length is not bounded; for an estimate
_SPARE_MESSAGES = 4096
_PATH = re.compile(
    r"[/\\]|\.(txt|jsonl|md)\Z", re.I
)  # what no prompt is taken for without being told
_ALWAYS_THE_SAME = ("host", "port", "truth")  # or chosen anew
_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.I)


def settings(
    options: argparse.Namespace, environ: Mapping[str, str], config: Config, command: str
) -> Settings:
    """Return the settings of a run. Raises UsageError."""
    simulation = simulation_of(options, command)
    arguments = Arguments(
        mode="simulate",
        backend=options.backend,
        model=text(options.model),
        system=text(options.system),
        options=tuple((text(key), text(value)) for key, value in options.option),
        no_cache=True,
        json=options.json,
        plain=options.plain,
        debug=options.debug,
        workers=simulation.workers,
        db=os.path.join(simulation.out, "chatbot.db"),
        log_dir=os.path.join(simulation.out, "logs"),
        sim_server=msgspec.structs.replace(sim_settings(options), truth=True),
    )
    return _fitted(load_settings(arguments, environ, config.text, config.path), simulation, options)


def _fitted(given: Settings, simulation: Simulation, options: argparse.Namespace) -> Settings:
    """Return settings that have room for the load, and leave out what is not wanted."""
    replace = msgspec.structs.replace
    most = most_in_flight(simulation)
    supervisor = replace(
        given.supervisor,
        credit=max(given.supervisor.credit, most),
        max_in_flight=max(given.supervisor.max_in_flight, most + _SPARE_MESSAGES),
    )
    tracing = given.tracing
    if options.trace_ratio is not None:
        ratio = _number("trace-ratio", options.trace_ratio, 0, 1)
        tracing = replace(tracing, sample_ratio=ratio)
    worker = replace(
        given.worker,
        max_retries=_count("retries", options.retries, 0, 10, 0),
        total_timeout_s=_time("timeout", options.timeout, given.worker.total_timeout_s, above=True),
    )
    fitted = replace(
        given,
        supervisor=supervisor,
        store=replace(given.store, saves=simulation.saves),
        worker=worker,
        tracing=tracing,
    )
    simulation = replace(simulation, pipeline=_pipeline(fitted))
    return replace(fitted, ui=replace(given.ui, simulation=simulation))


def _pipeline(fitted: Settings) -> dict[str, object]:
    """Return what two runs must have in common to be compared, besides the load."""
    found: dict[str, object] = {
        "retries": fitted.worker.max_retries,
        "timeout_s": fitted.worker.total_timeout_s,
        "trace_ratio": fitted.tracing.sample_ratio if fitted.tracing.enabled else 0.0,
    }
    if fitted.ui.target.backend == "sim":
        server: dict[str, object] = msgspec.to_builtins(fitted.sim_server)
        found["server"] = {
            name: value for name, value in server.items() if name not in _ALWAYS_THE_SAME
        }
    return found


def simulation_of(options: argparse.Namespace, command: str) -> Simulation:
    """Return what is asked of a run. Raises UsageError."""
    arrival = _arrival(options)
    lasts = options.requests is None and (
        options.duration is not None or arrival != "closed" or options.turns is None
    )
    if options.requests is not None and options.duration is not None:
        raise UsageError("argument --requests: not together with --duration, give one of them")
    prompts, prompt_tokens = _prompts(options.prompts)
    return Simulation(
        out=text(options.out),
        sessions=_sessions(options.sessions, arrival),
        turns=_count("turns", options.turns, 1, _MOST_TURNS, _TURNS),
        think=_distribution("think", options.think, "s"),
        arrival=arrival,
        rate=_number("rate", options.rate, 0, _MOST_RATE) if options.rate else 0.0,
        burstiness=_number("burstiness", options.burstiness or "1", 0, _MOST_BURSTINESS),
        ramp_s=_time("ramp", options.ramp),
        warmup_s=_time("warmup", options.warmup),
        calibration_s=_time("calibration", options.calibration, Simulation(out="").calibration_s),
        duration_s=_time("duration", options.duration, _DURATION_S, above=True) if lasts else 0.0,
        requests=_count("requests", options.requests, 1, _MOST_REQUESTS, 0),
        max_concurrency=_count("max-concurrency", options.max_concurrency, 0, MOST_SESSIONS, 0),
        prompts=prompts,
        prompt_tokens=prompt_tokens,
        slos=_slos(options.slo) if options.slo is not None else (),
        seed=_count("seed", options.seed, 0, 2**63 - 1, 0),
        saves=not options.no_save,
        profile=options.profile,
        command=command,
        workers=_workers(options.workers),
        live=not options.no_live,
    )


def most_in_flight(simulation: Simulation) -> int:
    """Return how many turns can be under way at once."""
    bounds = (simulation.max_concurrency, simulation.sessions)
    return min((bound for bound in bounds if bound), default=MOST_SESSIONS)


def bounded(settings: Settings, most: int) -> Settings:
    """Return the settings with so many turns under way at most."""
    simulation = settings.ui.simulation
    assert simulation is not None  # noqa: S101 - it is what was asked for
    replace = msgspec.structs.replace
    return replace(
        settings,
        ui=replace(settings.ui, simulation=replace(simulation, max_concurrency=most)),
    )


class Cost(msgspec.Struct, frozen=True):
    """What is asked of a backend that takes money for it. `answer` says what the output is reckoned with."""

    backend: str
    turns: int
    input_tokens: int
    output_tokens: int
    answer: str

    def line(self, of: str = "") -> str:
        """Return it in a line; `of` says what it is of, where that is not one run."""
        return (
            f"{self.backend}: {of}about {self.turns:,} turns, {self.input_tokens:,} tokens in and "
            f"{self.output_tokens:,} out, if an answer has {self.answer} tokens; what they cost is not known here"
        )


def estimate(settings: Settings) -> Cost | None:
    """Return what a run will cost where that is money; None: it costs nothing."""
    simulation, target = settings.ui.simulation, settings.ui.target
    backend = settings.worker.backends[target.backend]
    if simulation is None or backend.name in ("ollama", "sim") or backend.is_loopback:
        return None
    bound = target.options.get("max_tokens")
    tokens = bound if isinstance(bound, int) and bound > 0 else _ANSWER_TOKENS
    input_tokens, output_tokens = estimate_tokens(simulation, tokens, target.system or "")
    about = "at most " if tokens is bound else ""
    return Cost(
        f"{backend.name} {target.model}",
        turns_of(simulation),
        input_tokens,
        output_tokens,
        f"{about}{tokens}",
    )


def total(costs: Sequence[Cost]) -> Cost:
    """Return what several runs will cost."""
    return msgspec.structs.replace(
        costs[0],
        turns=sum(cost.turns for cost in costs),
        input_tokens=sum(cost.input_tokens for cost in costs),
        output_tokens=sum(cost.output_tokens for cost in costs),
    )


def _arrival(options: argparse.Namespace) -> Arrival:
    kinds = get_args(Arrival)
    if options.arrival not in kinds:
        known = ", ".join(kinds)
        raise UsageError(f"argument --arrival: there is no {options.arrival!r}, there are: {known}")
    arrival: Arrival = options.arrival
    if arrival == "closed" and options.rate is not None:
        raise UsageError("argument --rate: give --arrival constant, poisson or gamma with it")
    if arrival != "closed" and options.rate is None:
        raise UsageError(f"argument --arrival: {arrival} takes a --rate, in turns a second")
    if arrival != "gamma" and options.burstiness is not None:
        raise UsageError("argument --burstiness: it is of --arrival gamma")
    for name in ("rate", "burstiness"):
        value = getattr(options, name)
        if value is not None and not _number(name, value, 0, _MOST_RATE):
            raise UsageError(f"argument --{name}: give a number above 0")
    return arrival


def _sessions(given: str | None, arrival: Arrival) -> int:
    by_default = _SESSIONS if arrival == "closed" else 0
    return _count("sessions", given, 1, MOST_SESSIONS, by_default)


def _prompts(given: str | None) -> tuple[tuple[str, ...], Distribution]:
    """Return the prompts, or how long made-up ones are. What looks like a file and is none is no prompt."""
    made_up = Simulation(out="").prompt_tokens
    if given is None:
        return (), made_up
    form, _, rest = given.partition(":")
    if form == "tokens":
        tokens = _distribution("prompts", rest, "")
        if tokens.mean < 1:
            raise UsageError(f"argument --prompts: {given!r}: a prompt has at least one token")
        return (), tokens
    if form == "file" or (form != "text" and os.path.isfile(given)):
        return _prompts_in(rest if form == "file" else given), made_up
    prompt = rest if form == "text" else given
    if not prompt.strip():
        raise UsageError(
            "argument --prompts: the prompt is empty, give a text, a file or tokens:16"
        )
    if form != "text" and _PATH.search(given):
        raise UsageError(
            f"argument --prompts: {given!r}: there is no such file; if it is a prompt, give it as text:…"
        )
    return (text(prompt),), made_up


def _prompts_in(path: str) -> tuple[str, ...]:
    content = _read(path, "prompts")
    prompts = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not prompts:
        raise UsageError(f"argument --prompts: {path} has no line with a prompt")
    return prompts


def _slos(given: str) -> tuple[Slo, ...]:
    metrics = get_args(SloMetric)
    slos: dict[str, Slo] = {}
    for part in given.split(","):
        metric, colon, limit = part.strip().partition(":")
        if metric not in metrics or not colon:
            known = ", ".join(metrics)
            raise UsageError(
                f"argument --slo: {part.strip()!r}: give METRIC:TIME such as ttft:200ms, of {known}"
            )
        limit_ms = _time("slo", limit, above=True) * 1000
        slos[metric] = Slo(metric, min(limit_ms, _MOST_SLO_MS))  # type: ignore[arg-type] # one of the known
    return tuple(slos.values())


def _workers(given: str) -> int:
    if given != "auto":
        return _count("workers", given, 1, _MOST_WORKERS, 1)
    return min(host.cores(), _MOST_WORKERS)


def _count(option: str, given: str | None, least: int, most: int, default: int) -> int:
    if given is None:
        return default
    if not re.fullmatch(r"[0-9]{1,20}", given, re.ASCII) or not least <= int(given) <= most:
        raise UsageError(
            f"argument --{option}: {given!r}: give a whole number from {least} to {most:,}"
        )
    return int(given)


def _number(option: str, given: str, least: float, most: float) -> float:
    value = float(given) if _NUMBER.fullmatch(given) else -1.0
    if not least <= value <= most:
        raise UsageError(
            f"argument --{option}: {given!r}: give a number from {least:g} to {most:,g}"
        )
    return value


def _time(option: str, given: str | None, default: float = 0.0, *, above: bool = False) -> float:
    if given is None:
        return default
    found = _distribution(option, given, "s")
    if found.kind != "constant" or found.a > _MOST_S or (above and not found.a):
        least = " above 0" if above else ""
        raise UsageError(
            f"argument --{option}: {given!r}: give a duration{least} such as 10s, of at most 7 days"
        )
    return found.a


def _distribution(option: str, given: str, unit: distribution.Unit) -> Distribution:
    try:
        return distribution.parse(given, unit=unit, read=lambda path: _read(path, option))
    except UsageError as error:
        line = str(error).removeprefix(f"argument --{option}: ")
        raise UsageError(f"argument --{option}: {line}") from error


def _read(path: str, option: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read(_MOST_PROMPTS_BYTES + 1)
    except OSError as error:
        raise UsageError(f"argument --{option}: {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"argument --{option}: {path}: it is no text in UTF-8") from error
    if len(content) > _MOST_PROMPTS_BYTES:
        raise UsageError(f"argument --{option}: {path}: it is too long, give at most 1 MiB")
    return content
