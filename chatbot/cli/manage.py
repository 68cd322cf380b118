"""`chatbot sessions …` and `chatbot cache …`: their actions, and what each takes."""

import argparse
import re
from typing import TYPE_CHECKING

from chatbot.cli import actions
from chatbot.cli.actions import Action
from chatbot.cli.chat import to_settings
from chatbot.cli.common import add_common, refuse, run, text

if TYPE_CHECKING:
    from chatbot.settings import Manage


MANAGED: dict[str, dict[str, Action]] = {
    "sessions": {
        "list": Action("", 0, 0, "the sessions that were used last", ("limit",)),
        "show": Action("ID", 1, 1, "a whole conversation"),
        "search": Action("TEXT", 1, None, "the messages with all these words", ("limit",)),
        "export": Action("ID", 1, 1, "a session as Markdown or JSON", ("format", "output")),
        "rename": Action("ID TITLE", 2, None, "give a session another title"),
        "delete": Action("ID ...", 1, None, "delete sessions, for good", ("yes",)),
        "prune": Action(
            "", 0, 0, "delete old sessions", ("older-than", "keep-last", "dry-run", "yes")
        ),
        "recover": Action("", 0, 0, "begin anew with what a damaged database holds", ("yes",)),
    },
    "cache": {
        "stats": Action("", 0, 0, "what the answer cache holds"),
        "clear": Action("", 0, 0, "empty it", ("yes",)),
    },
}

_ABOUT = {
    "sessions": "The saved conversations. ID is the whole id of a session, or its beginning or end.",
    "cache": "The answers that are kept, so that no question is paid for twice.",
}
_EXAMPLES = {
    "sessions": (
        "sessions list --limit 50",
        "sessions search sky scatter",
        "sessions show 57d492",
        "sessions export 57d492 -o sky.md",
        "sessions export 57d492 --format json | jq .",
        "sessions rename 57d492 Of the sky",
        "sessions delete 57d492 9f01ce",
        "sessions prune --older-than 30d --keep-last 20 --dry-run",
        "sessions recover --db chatbot.db",
    ),
    "cache": ("cache stats", "cache clear --yes"),
}
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def manage_parser(program: str, action: str) -> argparse.ArgumentParser:
    """Return the parser for one action of `sessions` or `cache`."""
    what = MANAGED[program][action]
    parser = actions.parser_of(manage_program(program), action)
    add = parser.add_argument
    if "format" in what.options:
        add("--format", choices=("md", "json"), help="default: md, or what FILE ends with")
        add("-o", "--output", default="", metavar="FILE", help="a new file (default: stdout)")
    if "older-than" in what.options:
        add("--older-than", type=_duration, default=0.0, metavar="AGE", help="such as 30d, 12h, 2w")
        add("--keep-last", type=int, metavar="N", help="except the N sessions used last")
        add("--dry-run", action="store_true", help="only list them")
    if "yes" in what.options:
        add("--yes", action="store_true", help="do not ask")
    return parser


def manage_program(name: str) -> actions.Program:
    """Return `sessions` or `cache`."""
    return actions.Program(name, _ABOUT[name], MANAGED[name], add_common, _EXAMPLES[name])


def _duration(text: str) -> float:
    """Read an age such as 30d; return seconds."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?)([mhdw])", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no age: give one such as 30d, 12h, 2w or 90m"
        )
    return float(match[1]) * _UNITS[match[2]]


def run_manage(program: str, argv: list[str]) -> int:
    """Do one action of a program."""
    chosen = actions.choose(manage_program(program), argv)
    if isinstance(chosen, int):
        return chosen
    parser = manage_parser(program, chosen.name)
    options, words = actions.read(parser, chosen)
    from chatbot.errors import ChatbotError

    try:
        manage = _to_manage(parser, f"{program}-{chosen.name}", chosen.action, options, words)
        settings = to_settings(options, manage=manage)
    except ChatbotError as error:
        return refuse(str(error))
    return run(settings)


def _to_manage(
    parser: argparse.ArgumentParser,
    name: str,
    action: Action,
    options: argparse.Namespace,
    words: list[str],
) -> "Manage":
    """Return what is to be done; leaves through `parser.error` when the words do not fit."""
    from chatbot.settings import Manage

    given = vars(options)
    keep_last = given.get("keep_last")
    if keep_last is not None and not 0 <= keep_last <= 1_000_000:
        parser.error("argument --keep-last: give a number from 0 to 1000000")
    if "older-than" in action.options and keep_last is None and not options.older_than:
        parser.error("give --older-than, --keep-last, or both")
    out = "" if given.get("output") == "-" else text(given.get("output", ""))
    kind = given.get("format") or ("json" if out.lower().endswith(".json") else "md")
    if options.json and not out and given.get("format") == "md":
        parser.error("argument --format: Markdown is no JSON, give -o FILE as well")
    words = [text(word) for word in words]
    titled = name == "sessions-rename"
    searches = name == "sessions-search"
    return Manage(
        name.removeprefix("sessions-"),  # type: ignore[arg-type] # the names are those of MANAGED
        session_ids=tuple(words[:1] if titled else () if searches else words),
        text=" ".join(words[1:] if titled else words if searches else ()),
        limit=given.get("limit", 20),
        format="json" if kind == "json" else "md",
        out=out,
        older_than_s=given.get("older_than", 0.0),
        keep_last=keep_last or 0,
        dry_run=given.get("dry_run", False),
        yes=given.get("yes", False),
    )
