"""What Tab offers on the command line, from the programs' own parsers: nothing is listed here by hand.

Owns the way through the words that stand already; the shells' side is in `completion`. Starts no process and
opens no database, so that ids of sessions are not offered.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

from chatbot.cli.actions import Program, common_parser
from chatbot.cli.chat import chat_parser
from chatbot.cli.common import PROGRAMS, read_config
from chatbot.cli.completion import completion_parser
from chatbot.cli.config import config_parser, config_program
from chatbot.cli.manage import MANAGED, manage_parser, manage_program
from chatbot.cli.results import compare_parser, report_parser
from chatbot.cli.sim_server import sim_server_parser
from chatbot.cli.simulate import simulate_parser
from chatbot.cli.trace import trace_parser, trace_program

Kind = Literal["words", "files", "directories"]

# What the name of an argument says of its kind; A and B are the runs that are compared.
_FILES = {"PATH", "FILE", "A", "B"}
_DIRECTORIES = {"DIR"}


class Candidate(NamedTuple):
    """A word that may stand here, and what it is for."""

    word: str
    about: str = ""


class Offer(NamedTuple):
    """What may stand here. `prefix` is what stands before it in the same word, as in `--backend=`."""

    kind: Kind
    candidates: tuple[Candidate, ...] = ()
    prefix: str = ""


class _Place(NamedTuple):
    """A program, or one of its actions. `below` are the words that lead on from here, and what each is for;
    `anywhere`: also behind options."""

    parser: argparse.ArgumentParser
    below: Mapping[str, tuple[str, Callable[[], "_Place"]]] = {}
    anywhere: bool = True


def offer(words: list[str]) -> Offer:
    """Return what may stand in the place of the last word, which is only begun."""
    *before, begun = words or [""]
    place = _top()
    options: dict[str, list[str]] = {}
    positionals = 0
    waiting: tuple[argparse.Action, int] | None = None  # an option, and how many values it has yet
    for number, word in enumerate(before):
        if waiting is not None:
            taker, had = waiting
            options[taker.dest].append(word)
            waiting = (taker, had + 1) if had + 1 < _values(taker) else None
        elif word == "--":
            return Offer("files")
        elif word.startswith("-") and len(word) > 1:
            found = place.parser._option_string_actions.get(word.partition("=")[0])
            if found is not None:
                options.setdefault(found.dest, [])
                if "=" not in word and _values(found):
                    waiting = (found, 0)
        elif (
            word in place.below
            and not positionals
            and (place.anywhere or not number or not options)
        ):
            place = place.below[word][1]()
        else:
            positionals += 1
    if waiting is not None:
        return _of_value(*waiting, options)
    if begun.startswith("-"):
        name, equals, _ = begun.partition("=")
        action = place.parser._option_string_actions.get(name)
        if equals and action is not None:
            return _of_value(action, 0, options)._replace(prefix=f"{name}=")
        return Offer("words", _options(place.parser, options))
    if place.below and not positionals and (place.anywhere or not options):
        return Offer(
            "words", tuple(Candidate(name, about) for name, (about, _) in place.below.items())
        )
    return _of_positional(place.parser, positionals)


def _top() -> _Place:
    ways: dict[str, Callable[[], _Place]] = {
        "models": lambda: _Place(chat_parser(models=True)),
        "trace": lambda: _actions(trace_program(), trace_parser),
        "config": lambda: _actions(config_program(), config_parser),
        "completion": lambda: _Place(completion_parser()),
        "simulate": _simulate,
        "sim-server": lambda: _Place(sim_server_parser()),
    }
    for name in MANAGED:
        ways[name] = partial(_managed, name)
    return _Place(
        chat_parser(), {name: (PROGRAMS[name], ways[name]) for name in PROGRAMS}, anywhere=False
    )


def _managed(name: str) -> _Place:
    return _actions(manage_program(name), partial(manage_parser, name))


def _actions(program: Program, parser: Callable[[str], argparse.ArgumentParser]) -> _Place:
    below = {
        name: (action.help, partial(_place, parser, name))
        for name, action in program.actions.items()
    }
    return _Place(common_parser(program), below)


def _place(parser: Callable[[str], argparse.ArgumentParser], name: str) -> _Place:
    return _Place(parser(name))


def _simulate() -> _Place:
    below: dict[str, tuple[str, Callable[[], _Place]]] = {
        parser.prog.split()[-1]: (parser.description or "", partial(_Place, parser))
        for parser in (compare_parser(), report_parser())
    }
    return _Place(simulate_parser(), below, anywhere=False)


def _values(action: argparse.Action) -> int:
    """Return how many values an option takes."""
    return action.nargs if isinstance(action.nargs, int) else 1


def _options(parser: argparse.ArgumentParser, given: Mapping[str, object]) -> tuple[Candidate, ...]:
    """Return the options that may still be given, by their longest name."""
    return tuple(
        Candidate(max(action.option_strings, key=len), _about(action, parser))
        for action in parser._actions
        if action.option_strings
        and action.help is not argparse.SUPPRESS
        and (action.dest not in given or isinstance(action, argparse._AppendAction))
    )


def _about(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Return an option's help as `--help` has it."""
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _of_value(action: argparse.Action, had: int, options: Mapping[str, list[str]]) -> Offer:
    if action.choices is not None:
        return Offer("words", tuple(Candidate(str(choice)) for choice in action.choices))
    if action.dest == "model":
        return Offer("words", _aliases(options.get("config", [])))
    metavar = action.metavar or ""
    return Offer(_kind(metavar if isinstance(metavar, str) else metavar[had]))


def _of_positional(parser: argparse.ArgumentParser, had: int) -> Offer:
    """Return what may stand in the place of a word that is no option."""
    takers = [action for action in parser._actions if not action.option_strings]
    if not takers:
        return Offer("words", _options(parser, {}))
    action = takers[min(had, len(takers) - 1)]
    if action.nargs is None and had >= len(takers):
        return Offer("words")
    if action.choices is not None:
        return Offer("words", tuple(Candidate(str(choice)) for choice in action.choices))
    return Offer(_kind(str(action.metavar or "")))


def _kind(metavar: str) -> Kind:
    words = set(re.split(r"\W+", metavar))
    return "files" if words & _FILES else "directories" if words & _DIRECTORIES else "words"


def _aliases(config: list[str]) -> tuple[Candidate, ...]:
    """Return the names that the configuration file gives to models; none when it cannot be read: there is
    nobody to be told."""
    from chatbot.config_file import parse_config
    from chatbot.errors import UsageError

    try:
        file = parse_config(read_config(config[-1] if config else None).text)
    except UsageError:
        return ()
    return tuple(Candidate(name, ":".join(target)) for name, target in file.aliases.items())
