"""Lines that begin with a slash: pure. A line is either a command or something to say.

`command_table` has their names and what is said about them.
"""

import re
from collections.abc import Callable
from typing import Literal, get_args

import msgspec

from chatbot.messages import BackendName
from chatbot.ui.command_table import BY_NAME, HELP, Command, about, find, nearest
from chatbot.ui.console import compose

__all__ = ["HELP", "about", "find", "nearest", "parse"]

BACKEND_NAMES: tuple[BackendName, ...] = get_args(BackendName)

_COMMAND = re.compile(r"/([\w?-]*)(?:\s+(.*))?\Z", re.DOTALL)
_NUMBER = r"[1-9][0-9]{0,8}"
_COPY = re.compile(rf"(answer|code)?\s*({_NUMBER})?")
_FAN = re.compile(r"([^\s,]+(?:\s*,\s*[^\s,]+)+)(?:\s+(.*))?", re.DOTALL)


class Say(msgspec.Struct, frozen=True):
    """A message to the model, without the quotes around a block."""

    text: str


class Quit(msgspec.Struct, frozen=True):
    """/quit, or that word alone."""


class NewSession(msgspec.Struct, frozen=True):
    """/new-session"""


class Help(msgspec.Struct, frozen=True):
    """/help [COMMAND]; `about` is a command's own name, or empty for the list."""

    about: str = ""


class Switch(msgspec.Struct, frozen=True):
    """/switch TARGET: a backend, BACKEND:MODEL or an alias, as it was typed."""

    target: str


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


class Copy(msgspec.Struct, frozen=True):
    """/copy [code] [N]; 0 stands for the last: of the answers, or of the code blocks in the last answer."""

    what: Literal["answer", "code"] = "answer"
    number: int = 0


class Edit(msgspec.Struct, frozen=True):
    """/edit"""


class Thinking(msgspec.Struct, frozen=True):
    """/thinking"""


class Fan(msgspec.Struct, frozen=True):
    """/fan TARGETS [QUESTION]; the targets as they were typed, at least two. An empty question stands for
    the last one."""

    targets: tuple[str, ...]
    question: str


class Pick(msgspec.Struct, frozen=True):
    """/pick N, from 1."""

    number: int


class System(msgspec.Struct, frozen=True):
    """/system [TEXT]; None only shows it, an empty text takes it away."""

    text: str | None


class SetOption(msgspec.Struct, frozen=True):
    """/set [KEY VALUE]; without both all are shown. The value is as it was typed; "-" stands for the default."""

    key: str = ""
    value: str = ""


class Show(msgspec.Struct, frozen=True):
    """/show"""


class ShowStats(msgspec.Struct, frozen=True):
    """/stats"""


class Refused(msgspec.Struct, frozen=True):
    """A line that looks like a command and is none; the reason is one line with its remedy."""

    reason: str


OfTurns = Regenerate | Edit | Undo | Fan | Pick | Copy | Thinking
OfSettings = Switch | SetModel | ShowModels | System | SetOption | Show
OfSessions = (
    NewSession | Sessions | Resume | Rename | Delete | Search | History | Export | ShowStats
)
OfProcesses = Top | ShowTrace
Line = Say | Quit | Help | OfTurns | OfSettings | OfSessions | OfProcesses | Refused


def parse(line: str) -> Line | None:
    """Read what was typed; None for nothing. A path such as /home/me/x.png is something to say, and so is
    whatever stands in a block between three quotes."""
    text = line.strip()
    if not text:
        return None
    if text.lower() in ("exit", "quit"):
        return Quit()
    said = compose.message(text)
    if not said:
        return None
    match = None if compose.is_only_block(text) else _COMMAND.match(said)
    if match is None:
        return Say(said)
    name = match[1].lower()
    argument = (match[2] or "").strip()
    command = BY_NAME.get(name)
    if "\n" in said and not (command and command.is_text):
        return Say(said)  # a pasted text
    return _read(command, argument) if command else Refused(_unknown(name))


def _read(command: Command, argument: str) -> Line:
    if argument and not command.argument:
        return Refused(f"/{command.name} takes nothing after it")
    if not argument and command.argument and not command.argument.startswith("["):
        return Refused(f"/{command.name} needs {command.argument}, for example {command.example}")
    match command.name:
        case "help":
            return _help(argument)
        case "copy":
            return _copy(argument)
        case "fan":
            return _fan(argument)
        case "set":
            return _set(argument)
        case "pick" | "trace" if argument and not re.fullmatch(_NUMBER, argument):
            takes = {"pick": "an answer", "trace": "a turn"}[command.name]
            return Refused(f"/{command.name} takes the number of {takes}: {command.example}")
        case name:
            return _MEANINGS[name](argument)


_MEANINGS: dict[str, Callable[[str], Line]] = {
    "regenerate": lambda _: Regenerate(),
    "edit": lambda _: Edit(),
    "undo": lambda _: Undo(),
    "thinking": lambda _: Thinking(),
    "pick": lambda number: Pick(int(number)),
    "new-session": lambda _: NewSession(),
    "sessions": lambda _: Sessions(),
    "resume": Resume,
    "rename": Rename,
    "delete": Delete,
    "search": Search,
    "history": lambda _: History(),
    "export": Export,
    "switch": Switch,
    "model": SetModel,
    "models": lambda _: ShowModels(),
    "list-ollama-models": lambda _: ShowModels("ollama"),
    "set-ollama-model": lambda name: SetModel(name, "ollama"),
    "system": lambda text: System(None if not text else "" if text == "-" else text),
    "show": lambda _: Show(),
    "stats": lambda _: ShowStats(),
    "top": lambda _: Top(),
    "trace": lambda number: ShowTrace(int(number or 0)),
    "quit": lambda _: Quit(),
}


def _help(argument: str) -> Line:
    if not argument:
        return Help()
    command = find(argument)
    return Help(command.name) if command else Refused(_unknown(argument.removeprefix("/")))


def _copy(argument: str) -> Line:
    match = _COPY.fullmatch(argument.lower())
    if match is None:
        close = nearest(argument, ("code", "answer"))
        hint = f"did you mean /copy {close}?" if close else "for example /copy code, or /copy 2"
        return Refused(f"/copy takes code, a number, or both: {hint}")
    return Copy("code" if match[1] == "code" else "answer", int(match[2] or 0))


def _fan(argument: str) -> Line:
    match = _FAN.fullmatch(argument)
    if match is None:
        return Refused("/fan needs at least two to ask, for example /fan ollama,openai Why?")
    targets = tuple(target.strip() for target in match[1].split(","))
    return Fan(targets, (match[2] or "").strip())


def _set(argument: str) -> Line:
    key, _, value = argument.partition(" ")
    if key and not value.strip():
        return Refused(f"/set {key} needs a value, for example /set temperature 0.2")
    return SetOption(key, value.strip())


def _unknown(name: str) -> str:
    close = nearest(name, BY_NAME)
    hint = f"did you mean /{close}?" if close else "/help lists them"
    return f"unknown command /{name}: {hint}"
