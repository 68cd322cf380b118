"""`chatbot config …`: what is configured, and where each value came from. No process is started for it."""

import argparse
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from chatbot.cli import actions
from chatbot.cli.actions import Action
from chatbot.cli.chat import add_model, add_whom, history_path, to_arguments
from chatbot.cli.common import Config, add_common, config_path, read_config, refuse

if TYPE_CHECKING:
    from chatbot.merge import Taken

CONFIG: dict[str, Action] = {
    "show": Action("", 0, 0, "every value, and where it came from"),
    "path": Action("", 0, 0, "the file that is read, if it is there"),
}

_ABOUT = "What is configured: defaults, config.toml, environment, command line; the last one wins."
_EXAMPLES = (
    "config show",
    "config show -m fast -o temperature 0",
    "config show --json | jq -r 'select(.key == \"db\").value'",
    "config path",
)


def config_program() -> actions.Program:
    """Return `config`."""
    return actions.Program("config", _ABOUT, CONFIG, _add_common, _EXAMPLES)


def config_parser(action: str) -> argparse.ArgumentParser:
    """Return the parser for one action of `config`."""
    return actions.parser_of(config_program(), action)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_whom(parser)
    add_model(parser)
    add_common(parser)


def run_config(argv: list[str]) -> int:
    """Do one action."""
    chosen = actions.choose(config_program(), argv)
    if isinstance(chosen, int):
        return chosen
    options, _ = actions.read(config_parser(chosen.name), chosen)
    from chatbot.errors import ChatbotError

    try:
        lines = _path(options) if chosen.name == "path" else _show(options)
    except ChatbotError as error:
        return refuse(str(error))
    _write(lines)
    return 0


def _path(options: argparse.Namespace) -> list[str]:
    path = config_path(options.config)
    exists = os.path.exists(path)
    return [_event("config", path=path, exists=exists) if options.json else path]


def _show(options: argparse.Namespace) -> list[str]:
    """Return what is configured; what stands in a file or a variable that is wrong is a UsageError."""
    from chatbot.settings import merged

    config = read_config(options.config)
    given = to_arguments(options, mode="manage", history=history_path())
    found = merged(given, os.environ, config.text, config.path).taken
    if options.json:
        about = _event("config", path=config.path, exists=config.exists)
        return [about, *(_as_event(each) for each in sorted(found.values(), key=_place))]
    return table(config, found.values())


def _place(taken: "Taken") -> tuple[int, str]:
    """Return where it stands: as in the file, tables behind what is in none, and variables behind all; in
    each in the order in which they were taken."""
    table = taken.key.rpartition(".")[0].partition('."')[0]
    return (2 if taken.key.isupper() else 1 if table else 0), table


def _as_event(taken: "Taken") -> str:
    return _event(
        "setting", key=taken.key, value=taken.value, source=taken.source, name=taken.name or None
    )


def _event(event: str, **fields: object) -> str:
    import msgspec

    return msgspec.json.encode({"event": event, **fields}).decode()


def table(config: Config, taken: "Iterable[Taken]") -> list[str]:
    """Return the file and the rows, aligned; a value that is much longer than the others does not push them
    away."""
    about = f"file: {config.path}{'' if config.exists else ' (there is none)'}"
    ordered = sorted(taken, key=_place)
    rows = [("key", "value", "from"), *((t.key, _value(t.value), t.origin) for t in ordered)]
    rows = [(_safe(a), _safe(b), _safe(c)) for a, b, c in rows]
    first = max(len(row[0]) for row in rows)
    second = max((len(row[1]) for row in rows if len(row[1]) <= 48), default=0)
    return [_safe(about), "", *(f"{a:<{first}}  {b:<{second}}  {c}" for a, b, c in rows)]


def _safe(text: str) -> str:
    """Return it as it may stand in a table: nothing in it can move the cursor."""
    from chatbot.sanitize import one_line

    return one_line(text)


def _value(value: int | float | str | bool | None) -> str:
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _write(lines: list[str]) -> None:
    """Write lines. What the stream's encoding does not have is written as an escape."""
    encoding = sys.stdout.encoding or "ascii"
    shown = "".join(f"{line}\n" for line in lines)
    try:
        sys.stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
