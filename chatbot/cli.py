"""The command line: argv → Settings → a program; its return value is the exit code.

`--help` and `--version` import nothing but this file and argparse, and start no process.
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from chatbot.version import __version__

if TYPE_CHECKING:
    from chatbot.settings import Arguments, Manage, Settings

BACKENDS = ("ollama", "anthropic", "grok", "openai", "sim")
PROGRAMS = ("simulate", "sim-server", "sessions", "cache", "models", "trace")

_EXAMPLES = """\
examples:
  chatbot                                    chat with Ollama
  chatbot --backend sim                      chat with the built-in simulated server
  chatbot --backend anthropic "Why is the sky blue?"
  git diff | chatbot "Write a commit message for this"
  chatbot --continue                         go on with the latest session
  chatbot models --backend openai            list the models of a backend
  chatbot sessions list                      list, show, search, export, delete ... what was said
  chatbot cache stats                        what the answer cache holds; or empty it
  chatbot sim-server --port 8080             the simulated LLM server alone

exit status: 0 fine, 1 a turn failed, 2 usage or configuration, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program that the command line asks for."""
    _open_standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        program = arguments[0] if arguments and arguments[0] in PROGRAMS else "chat"
        if program == "sim-server":
            return _sim_server(arguments[1:])
        if program in MANAGED:
            return _manage(program, arguments[1:])
        if program in ("simulate", "trace"):
            return _refuse(f"{program!r} is not a part of version {__version__}")
        return _chat(arguments[program == "models" :], models=program == "models")
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


def chat_parser(*, models: bool = False) -> argparse.ArgumentParser:
    """Return the parser for the chat, or for `models`."""
    parser = _Parser(
        prog="chatbot models" if models else "chatbot",
        description="List the models of one or every configured backend."
        if models
        else "Chat with an LLM in the terminal. With a PROMPT: one answer on stdout, then exit.",
        epilog=None if models else _EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--backend", choices=BACKENDS, help="whom to ask (default: ollama)")
    add("--plain", action="store_true", help="no colour, no markdown")
    add("--workers", type=int, metavar="N", help="processes that make LLM calls (default: 2)")
    _add_common(parser)
    if models:
        return parser
    add("prompt", nargs="*", metavar="PROMPT", help="what to ask; - takes it from stdin")
    add("-m", "--model", help="the model, for any backend")
    add("--ollama-model", metavar="NAME[:VERSION]", help="Ollama's model (default: llama3:latest)")
    add("-s", "--system", metavar="TEXT", help="the system prompt")
    add(
        "-o",
        "--option",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="temperature, max_tokens, top_p, seed and so on",
    )
    add("--session-id", default="", metavar="ID", help="go on with this session")
    add(
        "-c",
        "--continue",
        dest="resume_latest",
        action="store_true",
        help="go on with the latest session",
    )
    cache = parser.add_mutually_exclusive_group().add_argument
    cache("--no-cache", action="store_true", help="neither look up nor save answers in the cache")
    cache("--refresh", action="store_true", help="ask anew and replace the cached answer")
    add("--version", action="version", version=f"chatbot {__version__}")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every program has that works with the database."""
    add = parser.add_argument
    add("--json", action="store_true", help="one JSON object per line on stdout")
    add("--debug", action="store_true", help="verbose log")
    add("--db", metavar="PATH", help="the database (default: chatbot.db)")
    add("--log-dir", metavar="DIR", help="where logs and traces go (default: logs)")
    add("--config", metavar="FILE", help="the configuration file (also CHATBOT_CONFIG)")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(2, f"{self.prog}: {message} (--help shows how)\n")


def _chat(argv: list[str], *, models: bool) -> int:
    # What follows `--` is kept out of parse_intermixed_args, which reads options there too.
    cut = argv.index("--") if "--" in argv and not models else len(argv)
    options = chat_parser(models=models).parse_intermixed_args(argv[:cut])
    if not models:
        options.prompt += argv[cut + 1 :]
        if options.prompt[:1] and options.prompt[0] in PROGRAMS and cut == len(argv):
            word = options.prompt[0]
            return _refuse(
                f"{word!r} goes first: chatbot {word} …; or to ask it: chatbot -- {word}"
            )
    from chatbot.errors import ChatbotError

    try:
        settings = _settings(options, models=models)
    except ChatbotError as error:
        return _refuse(str(error))
    return _run(settings)


def _settings(
    options: argparse.Namespace, *, models: bool = False, manage: "Manage | None" = None
) -> "Settings":
    from chatbot.settings import Arguments, UiMode, load

    config = _read_config(options.config)
    if models:
        return load(_arguments(Arguments, options, mode="models"), os.environ, config)
    if manage is not None:
        return load(
            _arguments(Arguments, options, mode="manage", manage=manage), os.environ, config
        )
    prompt = " ".join(_text(word) for word in options.prompt)
    stdin_is_terminal = sys.stdin is not None and sys.stdin.isatty()
    mode: UiMode = "oneshot" if options.prompt else "chat" if stdin_is_terminal else "script"
    arguments = _arguments(
        Arguments,
        options,
        mode=mode,
        prompt="" if prompt == "-" else prompt,
        prompt_from_stdin=prompt == "-" or (mode == "oneshot" and not stdin_is_terminal),
        options=tuple((_text(key), _text(value)) for key, value in options.option),
        model=_text(options.model),
        ollama_model=_text(options.ollama_model),
        system=_text(options.system),
        session_id=_text(options.session_id),
        resume_latest=options.resume_latest,
        no_cache=options.no_cache,
        refresh=options.refresh,
    )
    return load(arguments, os.environ, config)


def _arguments(kind: "type[Arguments]", parsed: argparse.Namespace, **more: object) -> "Arguments":
    common = ("backend", "json", "plain", "debug", "workers", "db", "log_dir")
    given = {name: getattr(parsed, name) for name in common if hasattr(parsed, name)}
    return kind(**given, **more)  # type: ignore[arg-type] # argparse has no types


def _text(argument: Any) -> Any:
    """Return an argument as text that can be sent: bytes that are no text arrive as surrogates."""
    return argument and argument.encode("utf-8", "replace").decode("utf-8")


def _read_config(path: str | None) -> str:
    """Return the text of the configuration file; a missing one matters only when it was named."""
    from chatbot.errors import UsageError

    named = path or os.environ.get("CHATBOT_CONFIG") or ""
    if not named:
        import platformdirs

        named = str(platformdirs.user_config_path("chatbot") / "config.toml")
        if not os.path.exists(named):
            return ""
    try:
        with open(named, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration file {named}: {error}") from error


def _run(settings: "Settings") -> int:
    from chatbot.errors import ChatbotError
    from chatbot.supervisor import process

    try:
        return process.run(settings)
    except ChatbotError as error:
        return _refuse(str(error))
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for the user
        _refuse(f"internal error: {type(error).__name__}: {error} (please report it)")
        return 1


# --- sessions and the cache ----------------------------------------------------------------------


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
    parser = _Parser(
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
    _add_common(parser)
    return parser


def _duration(text: str) -> float:
    """Read an age such as 30d; return seconds."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?)([mhdw])", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no age: give one such as 30d, 12h, 2w or 90m"
        )
    return float(match[1]) * _UNITS[match[2]]


def _manage(program: str, argv: list[str]) -> int:
    actions = MANAGED[program]
    common = _Parser(prog=f"chatbot {program}", add_help=False, allow_abbrev=False)
    _add_common(common)
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
        return _refuse(f"{program} has no action {action!r}: {hint}")
    parser = manage_parser(program, action)
    options = parser.parse_intermixed_args(rest[1:], before)
    words = [*getattr(options, "words", ()), *argv[cut + 1 :]]
    from chatbot.errors import ChatbotError

    try:
        manage = _to_manage(parser, f"{program}-{action}", actions[action], options, words)
        settings = _settings(options, manage=manage)
    except ChatbotError as error:
        return _refuse(str(error))
    return _run(settings)


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
    out = "" if given.get("output") == "-" else _text(given.get("output", ""))
    kind = given.get("format") or ("json" if out.lower().endswith(".json") else "md")
    if options.json and not out and given.get("format") == "md":
        parser.error("argument --format: Markdown is no JSON, give -o FILE as well")
    words = [_text(word) for word in words]
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


def _sim_server(argv: list[str]) -> int:
    parser = _Parser(prog="chatbot sim-server", description="The simulated LLM server, alone.")
    add = parser.add_argument
    add("--port", type=int, default=8080, help="where to listen on 127.0.0.1 (default: 8080)")
    add("--first-token", type=float, default=0.05, metavar="S", help="seconds to the first token")
    add("--inter-chunk", type=float, default=0.01, metavar="S", help="seconds between chunks")
    add("--chunks", type=int, default=32, metavar="N", help="chunks in an answer")
    add("--seed", type=int, default=0, metavar="N", help="another seed, other answers")
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535:
        parser.error("argument --port: give a number from 0 to 65535")
    for name, seconds in (
        ("first-token", options.first_token),
        ("inter-chunk", options.inter_chunk),
    ):
        if not 0 <= seconds <= 3600:  # which a NaN is not either
            parser.error(f"argument --{name}: give seconds from 0 to 3600")
    if not 1 <= options.chunks <= 100_000:
        parser.error("argument --chunks: give a number from 1 to 100000")
    from chatbot.errors import ChatbotError
    from chatbot.settings import SimServerSettings
    from chatbot.simserver.process import run_alone

    settings = SimServerSettings(
        port=options.port,
        first_token_s=options.first_token,
        inter_chunk_s=options.inter_chunk,
        chunks=options.chunks,
        seed=options.seed,
    )
    try:
        return run_alone(settings)
    except ChatbotError as error:
        return _refuse(str(error))


def _refuse(line: str) -> int:
    sys.stderr.write(f"chatbot: {line}\n")
    return 2
