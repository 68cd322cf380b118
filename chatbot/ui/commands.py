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
/sessions                    the sessions that were used last
/resume [ID]                 go on with another session
/rename TITLE                give this session a title
/delete [ID]                 delete this session, or another, for good
/search TEXT                 the messages with all these words, in all sessions
/history                     all that was said in this session
/undo                        take the last turn back
/regenerate                  ask the last question again
/export [FILE]               write this session to FILE.md, or FILE.json
/top                         the processes, and how the requests go
/trace [TURN]                where the time went in turn 1, 2 ... or the last
/switch BACKEND              go on with ollama, anthropic, grok, openai or sim
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
    "sessions",
    "resume",
    "rename",
    "delete",
    "search",
    "history",
    "undo",
    "regenerate",
    "export",
    "top",
    "trace",
    "switch",
    "model",
    "models",
    "list-ollama-models",
    "set-ollama-model",
)


_BARE = ("history", "regenerate", "sessions", "top", "undo")  # of which one might think otherwise


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


class Top(msgspec.Struct, frozen=True):
    """/top"""


class ShowModels(msgspec.Struct, frozen=True):
    """/models, or /list-ollama-models with `backend` ollama."""

    backend: BackendName | None = None


class Sessions(msgspec.Struct, frozen=True):
    """/sessions"""


class Resume(msgspec.Struct, frozen=True):
    """/resume ID; an empty one only shows which there are."""

    session_id: str


class Rename(msgspec.Struct, frozen=True):
    """/rename TITLE"""

    title: str


class Delete(msgspec.Struct, frozen=True):
    """/delete [ID]; an empty one is the present session."""

    session_id: str


class Search(msgspec.Struct, frozen=True):
    """/search TEXT"""

    text: str


class History(msgspec.Struct, frozen=True):
    """/history"""


class Undo(msgspec.Struct, frozen=True):
    """/undo"""


class Regenerate(msgspec.Struct, frozen=True):
    """/regenerate"""


class Export(msgspec.Struct, frozen=True):
    """/export [FILE]; an empty name stands for one made from the session's id."""

    file: str


class ShowTrace(msgspec.Struct, frozen=True):
    """/trace [TURN]; 0 stands for the last turn."""

    turn: int


class Refused(msgspec.Struct, frozen=True):
    """A line that looks like a command and is none; the reason is one line with its remedy."""

    reason: str


OfSessions = (
    Sessions | Resume | Rename | Delete | Search | History | Undo | Regenerate | Export | ShowTrace
)
Line = Say | Quit | NewSession | Help | Top | Switch | SetModel | ShowModels | OfSessions | Refused


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
    if name in _BARE and argument:
        return Refused(f"/{name} takes nothing after it")
    match _ALIASES.get(name, name):
        case "quit":
            return Quit()
        case "new-session":
            return NewSession()
        case "help":
            return Help()
        case "top":
            return Top()
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
        case "sessions":
            return Sessions()
        case "resume":
            return Resume(argument)
        case "rename" if argument:
            return Rename(argument)
        case "rename":
            return Refused("/rename needs a title, for example /rename What the sky is made of")
        case "delete":
            return Delete(argument)
        case "search" if argument:
            return Search(argument)
        case "search":
            return Refused("/search needs words, for example /search blue sky")
        case "history":
            return History()
        case "undo":
            return Undo()
        case "regenerate":
            return Regenerate()
        case "export":
            return Export(argument)
        case "trace" if re.fullmatch(r"([1-9][0-9]{0,8})?", argument):
            return ShowTrace(int(argument or 0))
        case "trace":
            return Refused("/trace takes the number of a turn, for example /trace 1 for the first")
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
