"""`chatbot sessions …` and `chatbot cache …`: their actions, and what each takes."""

import argparse
import difflib
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from chatbot.cli.chat import to_settings
from chatbot.cli.common import Parser, add_common, refuse, run, text

if TYPE_CHECKING:
    from chatbot.settings import Manage


class _Action(NamedTuple):
    """One thing that can be done: the words it takes (at least, at most), and its options."""

    words: str
    least: int
    most: int | None
    help: str
    options: tuple[str, ...] = ()


MANAGED: dict[str, dict[str, _Action]] = {
    "sessions": {
        "list": _Action("", 0, 0, "the sessions that were used last", ("limit",)),
        "show": _Action("ID", 1, 1, "a whole conversation"),
        "search": _Action("TEXT", 1, None, "the messages with all these words", ("limit",)),
        "export": _Action("ID", 1, 1, "a session as Markdown or JSON", ("format", "output")),
        "rename": _Action("ID TITLE", 2, None, "give a session another title"),
        "delete": _Action("ID ...", 1, None, "delete sessions, for good", ("yes",)),
        "prune": _Action(
            "", 0, 0, "delete old sessions", ("older-than", "keep-last", "dry-run", "yes")
        ),
        "recover": _Action("", 0, 0, "begin anew with what a damaged database holds", ("yes",)),
    },
    "cache": {
        "stats": _Action("", 0, 0, "what the answer cache holds"),
        "clear": _Action("", 0, 0, "empty it", ("yes",)),
    },
}

_ABOUT = {
    "sessions": "The saved conversations. ID is the whole id of a session, or its beginning or end.",
    "cache": "The answers that are kept, so that no question is paid for twice.",
}
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def manage_parser(program: str, action: str) -> argparse.ArgumentParser:
    """Return the parser for one action of `sessions` or `cache`."""
    what = MANAGED[program][action]
    parser = Parser(
        prog=f"chatbot {program} {action}",
        description=f"{what.help[:1].upper()}{what.help[1:]}. {_ABOUT[program]}",
        allow_abbrev=False,
    )
    add = parser.add_argument
    if what.most != 0:
        add("words", nargs="*", metavar=what.words)
    if "limit" in what.options:
        add("--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)")
    if "format" in what.options:
        add("--format", choices=("md", "json"), help="default: md, or what FILE ends with")
        add("-o", "--output", default="", metavar="FILE", help="a new file (default: stdout)")
    if "older-than" in what.options:
        add("--older-than", type=_duration, default=0.0, metavar="AGE", help="such as 30d, 12h, 2w")
        add("--keep-last", type=int, metavar="N", help="except the N sessions used last")
        add("--dry-run", action="store_true", help="only list them")
    if "yes" in what.options:
        add("--yes", action="store_true", help="do not ask")
    add_common(parser)
    return parser


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
    actions = MANAGED[program]
    common = Parser(prog=f"chatbot {program}", add_help=False, allow_abbrev=False)
    add_common(common)
    # What follows `--` is kept out of the parsers: parse_intermixed_args reads options there too.
    cut = argv.index("--") if "--" in argv else len(argv)
    before, rest = common.parse_known_args(argv[:cut])
    action = rest[0] if rest else ""
    if action not in actions:
        if action in ("", "-h", "--help"):
            _say_actions(program, sys.stdout if action else sys.stderr)
            return 0 if action else 2
        close = difflib.get_close_matches(action, actions, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(actions)}"
        return refuse(f"{program} has no action {action!r}: {hint}")
    parser = manage_parser(program, action)
    options = parser.parse_intermixed_args(rest[1:], before)
    words = [*getattr(options, "words", ()), *argv[cut + 1 :]]
    from chatbot.errors import ChatbotError

    try:
        manage = _to_manage(parser, f"{program}-{action}", actions[action], options, words)
        settings = to_settings(options, manage=manage)
    except ChatbotError as error:
        return refuse(str(error))
    return run(settings)


def _to_manage(
    parser: argparse.ArgumentParser,
    name: str,
    action: _Action,
    options: argparse.Namespace,
    words: list[str],
) -> "Manage":
    """Return what is to be done; leaves through `parser.error` when the words do not fit."""
    from chatbot.settings import Manage

    if len(words) < action.least:
        parser.error(f"{action.words} is missing")
    if action.most is not None and len(words) > action.most:
        parser.error(f"unrecognized arguments: {' '.join(words[action.most :])}")
    given = vars(options)
    if not 1 <= given.get("limit", 1) <= 100_000:
        parser.error("argument --limit: give a number from 1 to 100000")
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


def _say_actions(program: str, stream: Any) -> None:
    lines = [f"usage: chatbot {program} ACTION [options]", "", _ABOUT[program], ""]
    for name, action in MANAGED[program].items():
        lines.append(f"  {name + ' ' + action.words:<18} {action.help}")
    lines += ["", f"chatbot {program} ACTION --help shows the options of each"]
    stream.write("\n".join(lines) + "\n")
