"""Programs that can do several things, such as `chatbot sessions list` and `chatbot trace show`.

Owns how an action is chosen from the command line, and what is said where there is none of that name.
What the actions are, and what each does, is said by `manage` and `trace`.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple, TextIO

from chatbot.cli.common import Parser, refuse

_MOST_LISTED = 100_000


class Action(NamedTuple):
    """One thing that can be done: the words it takes (at least, at most), what it is for, and its
    options."""

    words: str
    least: int
    most: int | None
    help: str
    options: tuple[str, ...] = ()


class Program(NamedTuple):
    """A program of several actions. `add_common` adds what may stand before and behind an action; `examples`
    are command lines without the `chatbot` at their beginning."""

    name: str
    about: str
    actions: Mapping[str, Action]
    add_common: Callable[[argparse.ArgumentParser], None]
    examples: tuple[str, ...] = ()


class Chosen(NamedTuple):
    """An action that was chosen: the options that were read before it, and the arguments behind it;
    those behind `--` are words, whatever they look like."""

    name: str
    action: Action
    options: argparse.Namespace
    rest: list[str]
    literal: list[str]


def parser_of(program: Program, name: str) -> Parser:
    """Return the parser for one action, with its words and the common options; its own are missing."""
    action = program.actions[name]
    start = f"{program.name} {name}"
    shown = [f"  chatbot {line}" for line in program.examples if f"{line} ".startswith(f"{start} ")]
    parser = Parser(
        prog=f"chatbot {start}",
        description=f"{action.help[:1].upper()}{action.help[1:]}. {program.about}",
        epilog="\n".join(["examples:", *shown]) if shown else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if action.most != 0:
        parser.add_argument("words", nargs="*", metavar=action.words)
    if "limit" in action.options:
        parser.add_argument(
            "--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)"
        )
    program.add_common(parser)
    return parser


def common_parser(program: Program) -> Parser:
    """Return the parser of what may stand before an action."""
    parser = Parser(prog=f"chatbot {program.name}", add_help=False, allow_abbrev=False)
    program.add_common(parser)
    return parser


def choose(program: Program, argv: list[str]) -> Chosen | int:
    """Return what was chosen; or, after saying what there is, an exit code."""
    common = common_parser(program)
    # What follows `--` is kept out of the parsers: parse_intermixed_args reads options there too.
    cut = argv.index("--") if "--" in argv else len(argv)
    options, rest = common.parse_known_args(argv[:cut])
    name = rest[0] if rest else ""
    if name in program.actions:
        return Chosen(name, program.actions[name], options, rest[1:], argv[cut + 1 :])
    if name in ("", "-h", "--help"):
        _say_actions(program, sys.stdout if name else sys.stderr)
        return 0 if name else 2
    import difflib  # here: only a mistyped name has to wait for it

    close = difflib.get_close_matches(name, program.actions, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(program.actions)}"
    return refuse(f"{program.name} has no action {name!r}: {hint}")


def read(parser: argparse.ArgumentParser, chosen: Chosen) -> tuple[argparse.Namespace, list[str]]:
    """Return the options and the words; leaves through `parser.error` when they do not fit."""
    options = parser.parse_intermixed_args(chosen.rest, chosen.options)
    words = [*getattr(options, "words", ()), *chosen.literal]
    action = chosen.action
    if len(words) < action.least:
        parser.error(f"{action.words.partition(' [')[0]} is missing")
    if action.most is not None and len(words) > action.most:
        parser.error(f"unrecognized arguments: {' '.join(words[action.most :])}")
    if not 1 <= getattr(options, "limit", 1) <= _MOST_LISTED:
        parser.error(f"argument --limit: give a number from 1 to {_MOST_LISTED}")
    return options, words


def _say_actions(program: Program, stream: TextIO) -> None:
    lines = [f"usage: chatbot {program.name} ACTION [options]", "", program.about, ""]
    for name, action in program.actions.items():
        lines.append(f"  {name + ' ' + action.words:<18} {action.help}")
    if program.examples:
        lines += ["", "examples:", *(f"  chatbot {line}" for line in program.examples)]
    lines += ["", f"chatbot {program.name} ACTION --help shows the options of each"]
    stream.write("\n".join(lines) + "\n")
