"""The command line: argv → Settings → a program; its return value is the exit code.

Reading order: `chat` (the chat, one answer, a script; `models`) · `manage` (`sessions` and `cache`) · `trace` ·
`config` · `completion` (`complete`: what Tab offers) · `simulate` (`load`: what its options mean; `place`, `sweep`, `results`) · `sim_server` · `common` (what they share).
`--help` and `--version` import nothing but this room and argparse, and start no process.
"""

import os
import sys
from collections.abc import Sequence

from chatbot.cli.chat import chat_parser, run_chat
from chatbot.cli.common import BACKENDS, PROGRAMS
from chatbot.cli.config import CONFIG, config_parser, run_config
from chatbot.cli.manage import MANAGED, manage_parser, run_manage
from chatbot.cli.sim_server import run_sim_server
from chatbot.cli.simulate import run_simulate, simulate_parser
from chatbot.cli.trace import TRACING, run_trace, trace_parser

__all__ = [
    "main",
    "BACKENDS",
    "PROGRAMS",
    "CONFIG",
    "MANAGED",
    "TRACING",
    "chat_parser",
    "config_parser",
    "manage_parser",
    "simulate_parser",
    "trace_parser",
]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program that the command line asks for."""
    _open_standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        program = arguments[0] if arguments and arguments[0] in PROGRAMS else "chat"
        if program == "sim-server":
            return run_sim_server(arguments[1:])
        if program in MANAGED:
            return run_manage(program, arguments[1:])
        if program == "config":
            return run_config(arguments[1:])
        if program == "completion":
            from chatbot.cli.completion import run_completion

            return run_completion(arguments[1:])
        if program == "trace":
            return run_trace(arguments[1:])
        if program == "simulate":
            return run_simulate(arguments[1:])
        return run_chat(arguments[program == "models" :], models=program == "models")
    except KeyboardInterrupt:
        return 130


def _open_standard_streams() -> None:
    """Open what was closed when the program was started (`>&-`): else the first pipe between two
    processes would get the number of stdout, and take what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = "w" if number else "r"
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            os.set_inheritable(opened, True)  # noqa: FBT003 - it takes no keywords
            setattr(sys, name, open(opened, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - to the end
