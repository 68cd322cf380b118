"""What the programs share: their parser, their common options, the configuration file, and how they refuse.

Nothing heavy is imported here before it is used. Called by the programs beside it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from chatbot.settings import Settings

BACKENDS = ("ollama", "anthropic", "grok", "openai", "sim")
PROGRAMS = {
    "models": "the models of one or every backend",
    "sessions": "list, show, search, export, rename, delete what was said",
    "cache": "what the answer cache holds; or empty it",
    "trace": "where the time of past turns went",
    "config": "every setting, and where it came from",
    "completion": "completion by Tab for bash, zsh and fish",
    "simulate": "a throughput test: ask as many sessions would",
    "sim-server": "the simulated LLM server alone",
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, which tells what a mistyped option may have been."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(2, f"{self.prog}: {message}{self._hint(message)} (--help shows how)\n")

    def _hint(self, message: str) -> str:
        unknown = message.partition("unrecognized arguments: ")[2].split()
        option = next((word.partition("=")[0] for word in unknown if word.startswith("--")), "")
        return did_you_mean(option, self._option_string_actions)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a line that tells what a mistyped word may have been; or nothing."""
    import difflib  # here: only a mistyped name has to wait for it

    close = difflib.get_close_matches(word, known, n=1) if word else []
    return f", did you mean {close[0]}?" if close else ""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every program has that works with the database."""
    add = parser.add_argument
    add("--json", action="store_true", help="one JSON object per line on stdout")
    add("--debug", action="store_true", help="verbose log")
    add("--db", metavar="PATH", help="the database (default: chatbot.db)")
    add("--log-dir", metavar="DIR", help="where logs and traces go (default: logs)")
    add("--config", metavar="FILE", help="the configuration file (also CHATBOT_CONFIG)")


def add_conversation(add: Callable[..., object]) -> None:
    """Add what every program has that asks a model; `add` is a parser's or a group's `add_argument`."""
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


def text(argument: Any) -> Any:
    """Return an argument as text that can be sent: bytes that are no text arrive as surrogates."""
    return argument and argument.encode("utf-8", "replace").decode("utf-8")


class Config(NamedTuple):
    """The configuration file: its text, which is empty where there is none, and where it is or would be."""

    text: str
    path: str
    exists: bool


def config_path(given: str | None) -> str:
    """Return where the configuration file is, or would be."""
    named = given or os.environ.get("CHATBOT_CONFIG")
    if named:
        return named
    import platformdirs

    return str(platformdirs.user_config_path("chatbot") / "config.toml")


def read_config(given: str | None) -> Config:
    """Return the configuration file; a missing one matters only when it was named. Raises UsageError."""
    from chatbot.errors import UsageError

    path = config_path(given)
    is_named = bool(given or os.environ.get("CHATBOT_CONFIG"))
    if not is_named and not os.path.exists(path):
        return Config("", path, exists=False)
    try:
        with open(path, encoding="utf-8-sig") as file:  # some editors begin it with a BOM
            return Config(file.read(), path, exists=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration file {path}: {error}") from error


def run(settings: "Settings") -> int:
    """Start the processes, and return their exit code."""
    from chatbot.errors import ChatbotError
    from chatbot.supervisor import process

    try:
        return process.run(settings)
    except ChatbotError as error:
        return refuse(str(error))
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for the user
        refuse(f"internal error: {type(error).__name__}: {error} (please report it)")
        return 1


def refuse(line: str) -> int:
    """Say why not, in one line, and return the exit code for that."""
    from chatbot.sanitize import one_line

    sys.stderr.write(f"chatbot: {one_line(line)}\n")
    return 2
