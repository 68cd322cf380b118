"""`chatbot sim-server`: the simulated LLM server alone; and its options, which `simulate` has as well."""

import argparse
import re
from typing import TYPE_CHECKING

from chatbot.cli.common import Parser, refuse

if TYPE_CHECKING:
    from chatbot.settings import FaultKind, SimServerSettings

_MOST_S = 3600.0
_MOST = 1_000_000
_RATE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(%?)")
_EPILOG = """\
DIST is a value such as 50ms, or a distribution: 256+-64, uniform:10ms,50ms, normal:50ms,5ms,
lognormal:50ms,0.5, exp:200ms, pareto:10ms,1.5, file:PATH (a value a line). KIND is 429, 500, 503, 529,
error, disconnect, truncate, stall or malformed. A request can ask for others by its model's name:
sim?first_token=200ms&chunks=40

examples:
  chatbot sim-server                                       the formats of all backends on port 8080
  chatbot sim-server --first-token lognormal:200ms,0.5 --fault 429:1%,disconnect:0.5%
  OLLAMA_HOST=http://127.0.0.1:8080 chatbot -m sim "hello"
"""


def run_sim_server(argv: list[str]) -> int:
    """Serve until it is stopped."""
    parser = sim_server_parser()
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535:
        parser.error("argument --port: give a number from 0 to 65535")
    from msgspec.structs import replace

    from chatbot.errors import ChatbotError, UsageError
    from chatbot.simserver.process import run_alone

    try:
        settings = sim_settings(options)
    except UsageError as error:
        parser.error(str(error))
    try:
        return run_alone(replace(settings, port=options.port, truth=options.truth))
    except ChatbotError as error:
        return refuse(str(error))


def sim_server_parser() -> Parser:
    """Return the parser of `sim-server`."""
    parser = Parser(
        prog="chatbot sim-server",
        description="The simulated LLM server, alone.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=int, default=8080, help="where to listen on 127.0.0.1 (default: 8080)")
    add_sim_options(parser)
    add("--truth", action="store_true", help="put the true time of each write into the streams")
    add("--seed", type=int, dest="server_seed", metavar="N", help="the same as --server-seed")
    return parser


def add_sim_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the simulated server, for `sim_settings` to read."""
    add = parser.add_argument_group("the simulated server").add_argument
    add("--first-token", metavar="DIST", help="time to the first token (default: 50ms)")
    add("--inter-chunk", metavar="DIST", help="time between chunks (default: 10ms)")
    add("--chunks", metavar="DIST", help="chunks in an answer (default: 32)")
    add("--tokens-per-chunk", metavar="DIST", help="tokens in a chunk (default: 1)")
    add("--reasoning", metavar="DIST", help="chunks of reasoning before the answer (default: 0)")
    add("--prefill", type=float, metavar="S", help="seconds for every token of the prompt")
    add("--slowdown", type=float, metavar="X", help="how much slower for every other answer")
    add("--max-running", type=int, metavar="N", help="answers generated at once (0: no bound)")
    add("--max-queue", type=int, metavar="N", help="how many may wait, beyond is 429")
    add(
        "--fault",
        action="append",
        metavar="KIND:RATE",
        help="a share of the requests that goes wrong, such as 429:1%%; more than once, or by commas",
    )
    add("--retry-after", type=float, metavar="S", help="what a 429 tells (default: 1)")
    add(
        "--server-seed", type=int, metavar="N", help="another seed, other answers, times and faults"
    )


def sim_settings(options: argparse.Namespace) -> "SimServerSettings":
    """Return the settings from parsed options. Raises UsageError naming the option and what is allowed."""
    from chatbot.errors import UsageError
    from chatbot.settings import SimServerSettings
    from chatbot.simserver.model import QUANTITIES, read_quantity

    found: dict[str, object] = {}
    for key in QUANTITIES:
        if (text := getattr(options, key)) is not None:
            try:
                found[key] = read_quantity(key, text, _read_file)
            except UsageError as error:
                raise UsageError(f"argument --{key.replace('_', '-')}: {error}") from error
    for option, key, most, what in (
        ("prefill", "prefill_s", _MOST_S, "seconds"),
        ("slowdown", "slowdown", 1000.0, "a number"),
        ("max_running", "max_running", _MOST, "a number"),
        ("max_queue", "max_queue", _MOST, "a number"),
        ("retry_after", "retry_after_s", _MOST_S, "seconds"),
        ("server_seed", "seed", 2**63 - 1, "a number"),
    ):
        if (value := getattr(options, option)) is not None:
            if not 0 <= value <= most:  # which a NaN is not either
                name = option.replace("_", "-")
                raise UsageError(f"argument --{name}: give {what} from 0 to {most:.0f}")
            found[key] = value
    if options.fault:
        found["faults"] = _faults(",".join(options.fault))
    return SimServerSettings(**found)  # type: ignore[arg-type] # each was read for its key


def _faults(text: str) -> "dict[FaultKind, float]":
    from typing import get_args

    from chatbot.errors import UsageError
    from chatbot.settings import FaultKind

    kinds = get_args(FaultKind)
    rates: dict[FaultKind, float] = dict.fromkeys(kinds, 0.0)
    for part in text.split(","):
        kind, _, rate = part.strip().partition(":")
        if kind not in rates:
            known = ", ".join(kinds)
            raise UsageError(f"argument --fault: there is no {kind!r}, there are: {known}")
        match = _RATE.fullmatch(rate.strip())
        share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
        if not 0 <= share <= 1:
            raise UsageError(
                f"argument --fault: {part.strip()!r}: give a rate from 0 to 1 or in percent, "
                f"such as {kind}:1%"
            )
        rates[kind] += share
    if sum(rates.values()) > 1 + 1e-9:
        raise UsageError(
            f"argument --fault: the rates add up to {sum(rates.values()):g}, give at most 1"
        )
    return {kind: rate for kind, rate in rates.items() if rate}


def _read_file(path: str) -> str:
    from chatbot.errors import UsageError

    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
