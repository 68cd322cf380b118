"""Lines that begin with a slash: pure. A line is either a command or something to say."""

import difflib
import re
from typing import get_args

import msgspec

from chatbot.messages import BackendName

HELP = """\
/help, /?                    this list
/quit, /exit, /bye           leave (also Ctrl-D)
/new-session, /new           begin a new session
/switch BACKEND              ask another backend: ollama, anthropic, grok, openai, sim
/model [NAME]                show the model, or take another
/models                      list the models of this backend
/list-ollama-models          list the models Ollama has
/set-ollama-model MODEL      choose Ollama's model, for example codellama:13b"""

BACKEND_NAMES: tuple[BackendName, ...] = get_args(BackendName)

_COMMAND = re.compile(r"/([\w?-]*)(?:[^\S\n]+(.*))?\Z")  # one line: a pasted text is none
_ALIASES = {
    "?": "help",
    "exit": "quit",
    "bye": "quit",
    "new": "new-session",
}
_NAMES = (
    "help",
    "quit",
    "exit",
    "bye",
    "new",
    "new-session",
    "switch",
    "model",
    "models",
    "list-ollama-models",
    "set-ollama-model",
)


class Say(msgspec.Struct, frozen=True):
    """A message to the model."""

    text: str


class Quit(msgspec.Struct, frozen=True):
    """/quit"""


class NewSession(msgspec.Struct, frozen=True):
    """/new-session"""


class Help(msgspec.Struct, frozen=True):
    """/help"""


class Switch(msgspec.Struct, frozen=True):
    """/switch BACKEND"""

    backend: BackendName


class SetModel(msgspec.Struct, frozen=True):
    """/model NAME, or /set-ollama-model NAME with `backend` ollama; an empty name only shows it."""

    name: str
    backend: BackendName | None = None


class ShowModels(msgspec.Struct, frozen=True):
    """/models, or /list-ollama-models with `backend` ollama."""

    backend: BackendName | None = None


class Refused(msgspec.Struct, frozen=True):
    """A line that looks like a command and is none; the reason is one line with its remedy."""

    reason: str


Line = Say | Quit | NewSession | Help | Switch | SetModel | ShowModels | Refused


def parse(line: str) -> Line | None:
    """Read a line; None for an empty one. A path such as /home/me/x.png is something to say."""
    text = line.strip()
    if not text:
        return None
    match = _COMMAND.match(text)
    if match is None:
        return Say(text)
    name = match[1].lower()
    argument = (match[2] or "").strip()
    match _ALIASES.get(name, name):
        case "quit":
            return Quit()
        case "new-session":
            return NewSession()
        case "help":
            return Help()
        case "switch":
            return _switch(argument)
        case "model":
            return SetModel(argument)
        case "set-ollama-model" if argument:
            return SetModel(argument, "ollama")
        case "set-ollama-model":
            return Refused("/set-ollama-model needs a name, for example /set-ollama-model llama3")
        case "models":
            return ShowModels()
        case "list-ollama-models":
            return ShowModels("ollama")
        case _:
            return Refused(_unknown(name))


def _switch(argument: str) -> Line:
    for name in BACKEND_NAMES:
        if argument.lower() == name:
            return Switch(name)
    said = f"no backend {argument!r}: " if argument else ""
    return Refused(f"{said}/switch takes one of {', '.join(BACKEND_NAMES)}")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.5)
    hint = f"did you mean /{close[0]}?" if close else "/help lists them"
    return f"unknown command /{name}: {hint}"
