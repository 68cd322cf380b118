"""The chat, one answer, a script; and `models`: their options, and how stdin is taken."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from chatbot.cli.common import (
    BACKENDS,
    PROGRAMS,
    Parser,
    add_common,
    add_conversation,
    read_config,
    refuse,
    run,
    text,
)
from chatbot.version import __version__

if TYPE_CHECKING:
    from chatbot.settings import Arguments, Manage, Settings

_EXAMPLES = """\
examples:
  chatbot                                    chat with Ollama, or with the backend of config.toml
  chatbot --backend sim                      chat with the built-in simulated server
  chatbot -m codellama:13b                   another model; -m also takes a name from [aliases]
  chatbot --continue                         go on with the latest session
  chatbot "Why is the sky blue?"             one answer on stdout, then exit
  git diff | chatbot "Write a commit message for this"
  chatbot -x "A shell loop over *.txt" > loop.sh       only the code of the answer
  chatbot -o temperature 0 --no-cache - < question.txt
  chatbot simulate --sessions 64             a throughput test: ask as 64 sessions would
  chatbot simulate compare A B               what changed from one such test to another
  chatbot --plain                            no colour, no markdown: lines, as in a pipe
  chatbot --json "hi" | jq 'select(.event == "answered")'

programs, each with its own --help:
{programs}

exit status: 0 fine, 1 a turn failed, 2 usage or configuration, 130 interrupted
"""
_MODELS_EXAMPLES = """\
examples:
  chatbot models                             of every backend that is configured
  chatbot models --backend openai --json
"""


def chat_parser(*, models: bool = False) -> argparse.ArgumentParser:
    """Return the parser for the chat, or for `models`."""
    programs = "\n".join(f"  chatbot {name:<12} {about}" for name, about in PROGRAMS.items())
    parser = Parser(
        prog="chatbot models" if models else "chatbot",
        usage=None if models else "chatbot [options] [PROMPT ...]\n       chatbot PROGRAM ...",
        description="List the models of one or every configured backend."
        if models
        else "Chat with an LLM in the terminal. With a PROMPT: one answer on stdout, then exit.",
        epilog=_MODELS_EXAMPLES if models else _EXAMPLES.format(programs=programs),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_whom(parser)
    add_common(parser)
    if models:
        return parser
    add("prompt", nargs="*", metavar="PROMPT", help="what to ask; - takes it from stdin")
    add_model(parser)
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
    add(
        "-x",
        "--extract",
        action="store_true",
        help="print only the first code block of an answer; without one, all of it",
    )
    add("--version", action="version", version=f"chatbot {__version__}")
    return parser


def add_whom(parser: argparse.ArgumentParser) -> None:
    """Add who is asked, by how many processes, and how plainly it is shown."""
    add = parser.add_argument
    add("--backend", choices=BACKENDS, help="whom to ask (default: ollama)")
    add("--plain", action="store_true", help="no colour, no markdown")
    add("--workers", type=int, metavar="N", help="processes that make LLM calls (default: 2)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add what is asked for."""
    add = parser.add_argument
    add("-m", "--model", help="the model, for any backend; or an alias from config.toml")
    add("--ollama-model", metavar="NAME[:VERSION]", help="Ollama's model (default: llama3:latest)")
    add_conversation(add)


def run_chat(argv: list[str], *, models: bool) -> int:
    """Chat, or list the models."""
    # What follows `--` is kept out of parse_intermixed_args, which reads options there too.
    cut = argv.index("--") if "--" in argv and not models else len(argv)
    options = chat_parser(models=models).parse_intermixed_args(argv[:cut])
    if not models:
        options.prompt += argv[cut + 1 :]
        if options.prompt[:1] and options.prompt[0] in PROGRAMS and cut == len(argv):
            word = options.prompt[0]
            return refuse(f"{word!r} goes first: chatbot {word} …; or to ask it: chatbot -- {word}")
        if cut == len(argv) and options.prompt[:1] == argv[:1] != []:
            _hint(options.prompt)
    from chatbot.errors import ChatbotError

    try:
        settings = to_settings(options, models=models)
    except ChatbotError as error:
        return refuse(str(error))
    return run(settings)


def _hint(words: list[str]) -> None:
    """Tell, before it is asked, that a prompt looks like a program whose name is mistyped: such as
    `sesions list`. It is asked all the same."""
    import difflib  # here: only a prompt has to wait for it

    from chatbot.cli.config import CONFIG
    from chatbot.cli.manage import MANAGED
    from chatbot.cli.trace import TRACING

    is_name = words[0].replace("-", "").isalpha()
    close = difflib.get_close_matches(words[0], PROGRAMS, n=1, cutoff=0.8) if is_name else []
    actions = {**MANAGED, "trace": TRACING, "config": CONFIG}.get(close[0], {}) if close else {}
    if close and (len(words) == 1 or words[1] in actions):
        meant = " ".join([close[0], *words[1:]])
        sys.stderr.write(
            f"chatbot: asking {words[0]!r} as a prompt; did you mean: chatbot {meant}\n"
        )


def to_settings(
    options: argparse.Namespace, *, models: bool = False, manage: "Manage | None" = None
) -> "Settings":
    """Return the settings of what the command line says. Raises ChatbotError."""
    from chatbot.settings import UiMode, load

    config = read_config(options.config)
    mode: UiMode
    if models or manage is not None:
        mode = "models" if models else "manage"
        given = to_arguments(options, mode=mode, manage=manage)
        return load(given, os.environ, config.text, config.path)
    prompt = " ".join(text(word) for word in options.prompt)
    stdin_is_terminal = sys.stdin is not None and sys.stdin.isatty()
    mode = "oneshot" if options.prompt else "chat" if stdin_is_terminal else "script"
    given = to_arguments(
        options,
        mode=mode,
        prompt="" if prompt == "-" else prompt,
        prompt_from_stdin=prompt == "-" or (mode == "oneshot" and not stdin_is_terminal),
        session_id=text(options.session_id),
        resume_latest=options.resume_latest,
        no_cache=options.no_cache,
        refresh=options.refresh,
        extract=options.extract,
        history=history_path() if mode == "chat" else "",
    )
    return load(given, os.environ, config.text, config.path)


def to_arguments(parsed: argparse.Namespace, **more: object) -> "Arguments":
    """Return the arguments that several programs have, as far as this one has them."""
    from chatbot.settings import Arguments

    common = ("backend", "json", "plain", "debug", "workers", "db", "log_dir")
    given = {name: getattr(parsed, name) for name in common if hasattr(parsed, name)}
    for name in ("model", "ollama_model", "system"):
        given[name] = text(getattr(parsed, name, None))
    given["options"] = tuple(
        (text(key), text(value)) for key, value in getattr(parsed, "option", ())
    )
    return Arguments(home=os.path.expanduser("~"), **given, **more)  # type: ignore[arg-type] # argparse has no types


def history_path() -> str:
    """Return where what was typed is kept, unless the configuration file says otherwise."""
    import platformdirs

    return str(platformdirs.user_state_path("chatbot") / "history")
