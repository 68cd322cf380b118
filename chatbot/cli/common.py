"""What the programs share: their parser, their common options, the configuration file, and how they refuse.

Nothing heavy is imported here before it is used. Called by the programs beside it.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from chatbot.settings import Settings

BACKENDS = ("ollama", "anthropic", "grok", "openai", "sim")
PROGRAMS = ("simulate", "sim-server", "sessions", "cache", "models", "trace")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(2, f"{self.prog}: {message} (--help shows how)\n")


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


def read_config(path: str | None) -> str:
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
