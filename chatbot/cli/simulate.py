"""`chatbot simulate`: its options, and the run, the sweep, the comparison or the report that they ask for.

What the options mean is worked out by `load`, which reads them into a `Simulation`; several runs at growing load are
made by `sweep`; what reads the files of past runs is in `results`.
"""

import argparse
import os
import shlex
import sys
from typing import TYPE_CHECKING

from chatbot.cli import results
from chatbot.cli.common import BACKENDS, Parser, add_conversation, read_config, refuse, run, text
from chatbot.cli.sim_server import add_sim_options

if TYPE_CHECKING:
    from chatbot.settings import Settings

_EXAMPLES = """\
DIST is a value such as 2s, or how it varies: 256+-64, uniform:1s,5s, exp:2s, lognormal:2s,0.5, pareto:1s,1.5,
file:PATH. A duration without a unit is in seconds. What falls due in the ramp and the warm-up is not measured.
Of a session there is no more than one turn at a time, and every turn has the whole history before it.
The same seed is the same sessions with the same prompts and pauses. Where turns fall due by the clock, which session
has the next one depends on which are free: with --turns above 1 two runs do not ask quite the same.

examples:
  chatbot simulate                                         the simulated server, a few seconds
  chatbot simulate --sessions 64 --turns 5 --think exp:2s --duration 60s --warmup 5s
  chatbot simulate --arrival poisson --rate 20 --duration 60s --slo ttft:200ms,tpot:30ms
  chatbot simulate --backend ollama -m llama3 --sweep sessions=1,8,64
  chatbot simulate --prompts tokens:256+-64 --requests 1000 --out before
  chatbot simulate compare before after --fail-on ttft.p95:+5%
  chatbot simulate report before                           make the report again, also of a killed run

exit status: 0 fine, 1 nothing was answered or a gate failed, 2 usage or configuration, 130 interrupted
"""


def simulate_parser() -> argparse.ArgumentParser:
    """Return the parser for a run."""
    parser = Parser(
        prog="chatbot simulate",
        usage="chatbot simulate [options]\n       chatbot simulate compare A B [--fail-on GATE]\n"
        "       chatbot simulate report DIR",
        description="Ask as many sessions would, through the same processes as the chat, and report how they were served.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_load(parser)
    _add_whom(parser)
    _add_output(parser)
    add_sim_options(parser)
    return parser


def _add_load(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the load").add_argument
    add("--sessions", metavar="N", help="sessions at once (default: 16; open arrivals: no bound)")
    add("--turns", metavar="K", help="turns of a session (default: 3)")
    add("--think", default="0", metavar="DIST", help="pause before the next turn (default: 0)")
    add(
        "--arrival",
        default="closed",
        metavar="KIND",
        help="closed (a turn follows the one before), or by the clock: constant, poisson, gamma",
    )
    add("--rate", metavar="R", help="turns a second, of an arrival by the clock")
    add("--burstiness", metavar="G", help="shape of gamma arrivals: below 1 in bursts (default: 1)")
    add("--ramp", metavar="TIME", help="begin the load over so long a time (default: 0)")
    add("--warmup", metavar="TIME", help="do not measure for so long after the ramp (default: 0)")
    add(
        "--calibration",
        metavar="TIME",
        help="put the load on the simulated server for so long before and after the run, to know the error of the "
        "measurement, where a server does not tell its true times (0: do not; default: 2s)",
    )
    bound = parser.add_argument_group("how long").add_argument
    bound("--duration", metavar="TIME", help="measure for so long (default: 8s)")
    bound("--requests", metavar="R", help="measure so many turns instead")
    bound(
        "--max-concurrency", default="0", metavar="M", help="turns under way at once (0: no bound)"
    )
    add = parser.add_argument_group("what is said").add_argument
    add(
        "--prompts",
        metavar="TEXT|FILE|tokens:DIST",
        help="a text, a file with one a line (also text:..., file:...), or made-up words (default: tokens:16)",
    )
    add(
        "--seed",
        default="0",
        metavar="N",
        help="another seed, other prompts and pauses (see below)",
    )


def _add_whom(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("who is asked").add_argument
    add("--backend", choices=BACKENDS, help="default: sim, the simulated server")
    add("-m", "--model", help="the model")
    add_conversation(add)
    add("--yes", action="store_true", help="yes, ask a backend that costs money")
    add("--timeout", metavar="TIME", help="how long a turn may take (default: 1h, 60s of silence)")
    add("--retries", metavar="N", help="tries after a refusal (default: 0, a failure is counted)")
    add("--workers", default="auto", metavar="N", help="processes that ask (default: one a core)")
    add(
        "--no-save", action="store_true", help="save no conversations: to measure what saving costs"
    )
    add("--trace-ratio", metavar="R", help="trace so many of the turns, from 0 to 1")
    add("--config", metavar="FILE", help="the configuration file (also CHATBOT_CONFIG)")
    add("--debug", action="store_true", help="verbose log")


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is reported").add_argument
    add(
        "--slo",
        metavar="METRIC:TIME,...",
        help="what a good turn keeps to: ttft, ttfo, tpot, latency",
    )
    add("--sweep", metavar="NAME=V,V,...", help="a run for each value of sessions or rate, in turn")
    add("--out", metavar="DIR", help="a new directory (default: simulations/<date-time>)")
    add("--profile", action="store_true", help="show the CPU time of every process, per turn")
    add("--json", action="store_true", help="result.json on stdout instead of the screen")
    add("--plain", action="store_true", help="no colour")
    add("--no-live", action="store_true", help="show nothing until the end")


def run_simulate(argv: list[str]) -> int:
    """Do what is asked for."""
    from_past = {"compare": results.run_compare, "report": results.run_report}
    if argv and argv[0] in from_past:
        return from_past[argv[0]](argv[1:])
    options = simulate_parser().parse_args(argv)
    from chatbot.errors import ChatbotError

    try:
        if options.sweep is not None:
            from chatbot.cli.sweep import run_sweep

            return run_sweep(options, argv, command(argv))
        settings = prepared(options, argv)
    except ChatbotError as error:
        return refuse(str(error))
    return run(settings)


def prepared(options: argparse.Namespace, argv: list[str]) -> "Settings":
    """Return the settings of a run, with everything made ready for it. Raises ChatbotError."""
    from chatbot.cli import load, place
    from chatbot.errors import UsageError

    options.out = options.out or place.new_name()
    settings = load.settings(options, os.environ, read_config(options.config), command(argv))
    assert settings.ui.simulation is not None  # noqa: S101 - it is what was asked for
    if cost := load.estimate(settings):
        if not options.yes:
            raise UsageError(f"{cost.line()}: give --yes to ask it")
        sys.stderr.write(f"chatbot: {cost.line()}\n")
    simulation = settings.ui.simulation
    if bound := place.allow_files(simulation, load.most_in_flight(simulation)):
        sys.stderr.write(f"chatbot: {place.BOUND.format(bound)}\n")
        settings = load.bounded(settings, bound)
    place.make(options.out)
    return settings


def command(argv: list[str]) -> str:
    """Return what was called, as it can be called again."""
    return shlex.join(["chatbot", "simulate", *(text(word) for word in argv)])
