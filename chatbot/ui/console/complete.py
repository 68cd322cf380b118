"""What Tab offers behind a slash: commands, and what belongs behind each of them. Pure.

What begins as it was typed comes first, then what has it anywhere; sessions are found by their titles too.
Ordinary text is never completed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from chatbot.sanitize import one_line
from chatbot.ui.command_table import BY_NAME, COMMANDS, Command

_COMMAND = re.compile(r"/([\w?-]*)\Z")
_ARGUMENT = re.compile(r"/([\w?-]+)[^\S\n]+([^\n]*)\Z")
_TARGETS = re.compile(r"(?:[^\s,]+\s*,\s*)*([^\s,]*)\Z")
_MOST = 200


class Known(msgspec.Struct, frozen=True):
    """What there is to be offered. `models` is by backend; `sessions` are short ids and titles, the last used
    first; `aliases` are names and what they stand for; `answers` of a fan-out wait for one to be picked."""

    backend: str = ""
    backends: Sequence[str] = ()
    models: Mapping[str, Sequence[str]] = {}
    sessions: Sequence[tuple[str, str]] = ()
    options: Sequence[str] = ()
    aliases: Mapping[str, str] = {}
    answers: int = 0


class Candidate(NamedTuple):
    """`text` replaces what begins `start` characters from the cursor (0 or less); `display` is shown for it,
    `meta` beside it."""

    text: str
    start: int
    display: str
    meta: str = ""


Choice = tuple[str, str]  # a text, and what is shown beside it


def candidates(before_cursor: str, known: Known) -> list[Candidate]:
    """Return what can stand in the place of what was typed, the best first."""
    text = before_cursor.lstrip()
    if match := _COMMAND.match(text):
        return _commands(match[1])
    match = _ARGUMENT.match(text)
    command = BY_NAME.get(match[1].lower()) if match else None
    if match is None or command is None:
        return []
    word, choices = _choices(command, match[2], known)
    by_meta = command.kind == "session"
    return [
        Candidate(choice, -len(word), choice, meta)
        for choice, meta in _matching(word, choices, by_meta=by_meta)
    ]


def _commands(word: str) -> list[Candidate]:
    """Names after the slash; a second name is offered only to who has begun to type one."""
    every = [(each.name, each.line) for each in COMMANDS]
    if word:
        every += ((alias, each.line) for each in COMMANDS for alias in each.aliases)
    found: list[Candidate] = []
    for name, line in _matching(word, every):
        space = " " if BY_NAME[name].argument else ""
        if name + space != word:
            found.append(Candidate(f"/{name}{space}", -len(word) - 1, f"/{name}", line))
    return found


def _choices(command: Command, argument: str, known: Known) -> tuple[str, Iterable[Choice]]:
    """Return the part of an argument that is being typed, and what could stand there."""
    match command.kind:
        case "command":
            return argument, ((each.name, each.line) for each in COMMANDS)
        case "model":
            backend = "ollama" if command.name == "set-ollama-model" else known.backend
            return argument, ((model, "") for model in known.models.get(backend, ()))
        case "target":
            return argument, _targets(argument, known)
        case "targets":
            part = _TARGETS.match(argument)
            return (part[1], _targets(part[1], known)) if part else ("", ())
        case "session":
            return argument, known.sessions
        case "option":
            return argument, ((option, "") for option in known.options)
        case "answer":
            return argument, ((str(number), "") for number in range(1, known.answers + 1))
        case "what":
            return argument, (("code", "the last block of code"),)
        case "":
            return argument, ()


def _targets(word: str, known: Known) -> Iterator[Choice]:
    """Aliases and backends; the models of a backend as soon as something of them is typed."""
    yield from known.aliases.items()
    yield from ((backend, "") for backend in known.backends)
    if word:
        for backend in known.backends:
            yield from ((f"{backend}:{model}", "") for model in known.models.get(backend, ()))


def _matching(word: str, choices: Iterable[Choice], *, by_meta: bool = False) -> list[Choice]:
    wanted = word.casefold()
    ranked: tuple[list[Choice], list[Choice]] = ([], [])
    for choice, meta in choices:
        if one_line(choice) != choice:  # it could not be typed, or would be something else
            continue
        texts = [choice.casefold(), *([meta.casefold()] if by_meta else ())]
        if texts[0].startswith(wanted):
            ranked[0].append((choice, one_line(meta)))
        elif any(wanted in text for text in texts):
            ranked[1].append((choice, one_line(meta)))
    return [*ranked[0], *ranked[1]][:_MOST]
