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
  chatbot                                    chat with Ollama
  chatbot --backend sim                      chat with the built-in simulated server
  chatbot --backend anthropic "Why is the sky blue?"
  git diff | chatbot "Write a commit message for this"
  chatbot --continue                         go on with the latest session
  chatbot models --backend openai            list the models of a backend
  chatbot sessions list                      list, show, search, export, delete ... what was said
  chatbot cache stats                        what the answer cache holds; or empty it
  chatbot trace show                         where the time of the last turn went
  chatbot sim-server --port 8080             the simulated LLM server alone
  chatbot simulate --sessions 64             a throughput test: ask as 64 sessions would
  chatbot simulate compare A B               what changed from one such test to another; or report DIR

exit status: 0 fine, 1 a turn failed, 2 usage or configuration, 130 interrupted
"""


def chat_parser(*, models: bool = False) -> argparse.ArgumentParser:
    """Return the parser for the chat, or for `models`."""
    parser = Parser(
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
    add_common(parser)
    if models:
        return parser
    add("prompt", nargs="*", metavar="PROMPT", help="what to ask; - takes it from stdin")
    add("-m", "--model", help="the model, for any backend")
    add("--ollama-model", metavar="NAME[:VERSION]", help="Ollama's model (default: llama3:latest)")
    add_conversation(add)
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
    from chatbot.errors import ChatbotError

    try:
        settings = to_settings(options, models=models)
    except ChatbotError as error:
        return refuse(str(error))
    return run(settings)


def to_settings(
    options: argparse.Namespace, *, models: bool = False, manage: "Manage | None" = None
) -> "Settings":
    """Return the settings of what the command line says. Raises ChatbotError."""
    from chatbot.settings import Arguments, UiMode, load

    config = read_config(options.config)
    if models:
        return load(_arguments(Arguments, options, mode="models"), os.environ, config)
    if manage is not None:
        return load(
            _arguments(Arguments, options, mode="manage", manage=manage), os.environ, config
        )
    prompt = " ".join(text(word) for word in options.prompt)
    stdin_is_terminal = sys.stdin is not None and sys.stdin.isatty()
    mode: UiMode = "oneshot" if options.prompt else "chat" if stdin_is_terminal else "script"
    arguments = _arguments(
        Arguments,
        options,
        mode=mode,
        prompt="" if prompt == "-" else prompt,
        prompt_from_stdin=prompt == "-" or (mode == "oneshot" and not stdin_is_terminal),
        options=tuple((text(key), text(value)) for key, value in options.option),
        model=text(options.model),
        ollama_model=text(options.ollama_model),
        system=text(options.system),
        session_id=text(options.session_id),
        resume_latest=options.resume_latest,
        no_cache=options.no_cache,
        refresh=options.refresh,
    )
    return load(arguments, os.environ, config)


def _arguments(kind: "type[Arguments]", parsed: argparse.Namespace, **more: object) -> "Arguments":
    common = ("backend", "json", "plain", "debug", "workers", "db", "log_dir")
    given = {name: getattr(parsed, name) for name in common if hasattr(parsed, name)}
    return kind(**given, **more)  # type: ignore[arg-type] # argparse has no types
