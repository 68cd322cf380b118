"""What can be typed with a slash, as data: the help, the completion and the README's table are made of it. Pure.

`commands` says what each of them means.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

# What an argument is, for the completion: `targets` are BACKEND[:MODEL] and aliases between commas.
Kind = Literal["", "answer", "command", "model", "option", "session", "target", "targets", "what"]


class Command(NamedTuple):
    """One command. `argument` is how it is written in the help, [in brackets] where it can be left out;
    `more` is what /help says of this command alone. `is_text`: what follows may have several lines."""

    name: str
    argument: str
    line: str
    example: str
    aliases: tuple[str, ...] = ()
    kind: Kind = ""
    more: str = ""
    is_text: bool = False

    @property
    def usage(self) -> str:
        """The command as it is typed: /resume [ID]."""
        return f"/{self.name} {self.argument}".rstrip()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it has, each with its slash; the first with its argument."""
        return self.usage, *(f"/{alias}" for alias in self.aliases)


_CONVERSATION = (
    Command(
        "regenerate",
        "",
        "ask the last question again",
        "/regenerate",
        more="Also one that was stopped or that failed. What is new stands in place of the answer before.",
    ),
    Command(
        "edit",
        "",
        "change the last question in your editor, ask it",
        "/edit",
        more="The editor is $VISUAL or $EDITOR. Left as it was, nothing is asked.",
    ),
    Command("undo", "", "take the last turn back", "/undo"),
    Command(
        "copy",
        "[code] [N]",
        "copy the last answer, or its last code block",
        "/copy code",
        kind="what",
        more="/copy 2 copies the answer of turn 2; /copy code 2 the second block of code in the last answer.",
    ),
    Command("thinking", "", "what the model thought before its last answer", "/thinking"),
    Command(
        "fan",
        "TARGETS [QUESTION]",
        "ask several at once, for example ollama,openai",
        "/fan ollama:llama3.2,openai Why is the sky blue?",
        kind="targets",
        more="TARGETS are BACKEND, BACKEND:MODEL or names from [aliases], with commas between them.\n"
        "Without a question the last one is asked again, and its turn replaced. The chat goes on with the first\n"
        "that has an answer, and with whom it is from; /pick takes another.",
        is_text=True,
    ),
    Command(
        "pick",
        "N",
        "go on with answer N of a /fan",
        "/pick 2",
        kind="answer",
        more="The other answers are kept beside it, and are no part of what is sent from then on.",
    ),
)
_SESSIONS = (
    Command("new-session", "", "begin a new session", "/new", ("new", "clear")),
    Command("sessions", "", "the sessions that were used last", "/sessions"),
    Command(
        "resume",
        "[ID]",
        "go on with another session",
        "/resume 57d492",
        kind="session",
        more="It goes on with its own backend, model, system prompt and options.\n"
        "Without an ID the sessions that were used last are listed.",
    ),
    Command("rename", "TITLE", "give this session a title", "/rename What the sky is made of"),
    Command(
        "delete",
        "[ID]",
        "delete this session, or another, for good",
        "/delete 57d492",
        kind="session",
        more="It asks first.",
    ),
    Command(
        "search",
        "TEXT",
        "messages with all these words, in all sessions",
        "/search blue sky",
    ),
    Command("history", "", "all that was said in this session", "/history"),
    Command(
        "export",
        "[FILE]",
        "write this session to FILE.md, or FILE.json",
        "/export sky.md",
        ("save",),
        more="The file must be a new one. Without a name it is made from the session's id.",
    ),
)
_MODELS = (
    Command(
        "switch",
        "TARGET",
        "go on with another backend",
        "/switch ollama:llama3.2",
        kind="target",
        more="TARGET is BACKEND, BACKEND:MODEL or a name from [aliases]. The conversation goes along.\n"
        "Backends: ollama, anthropic, grok, openai, sim.",
    ),
    Command("model", "[NAME]", "show the model, or take another", "/model llama3.2", kind="model"),
    Command("models", "", "list the models of this backend", "/models"),
    Command("list-ollama-models", "", "list the models Ollama has", "/list-ollama-models"),
    Command(
        "set-ollama-model",
        "MODEL",
        "choose Ollama's model",
        "/set-ollama-model codellama:13b",
        kind="model",
    ),
    Command(
        "system",
        "[TEXT]",
        "show the system prompt, set it, or clear it: -",
        "/system Answer in one sentence.",
        more="It goes with every question from the next one on.",
        is_text=True,
    ),
    Command(
        "set",
        "[KEY VALUE]",
        "show the options, or set one",
        "/set temperature 0.2",
        kind="option",
        more="The value is sent as it is understood: a number, true, false, or text.\n"
        "/set temperature - goes back to the default.",
    ),
    Command("show", "", "what the next question is sent with", "/show"),
)
_SEEING = (
    Command(
        "help",
        "[COMMAND]",
        "this list, or more about one command",
        "/help fan",
        ("?",),
        kind="command",
    ),
    Command("stats", "", "tokens, times and cost of this session", "/stats", ("tokens", "cost")),
    Command(
        "top",
        "",
        "the processes, and how the requests go",
        "/top",
        more="In the live terminal it goes on until a key such as Ctrl-C or Esc ends it.",
    ),
    Command(
        "trace",
        "[TURN]",
        "where the time went in turn 1, 2 ... or the last",
        "/trace 1",
    ),
    Command(
        "quit",
        "",
        "leave (also exit or quit without a slash)",
        "/quit",
        ("exit", "bye"),
    ),
)

GROUPS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    ("Conversation", _CONVERSATION),
    ("Sessions", _SESSIONS),
    ("Models", _MODELS),
    ("Seeing", _SEEING),
)
KEYS = (
    ("Enter", "send; while an answer streams, it is queued"),
    ("Ctrl-J, Alt-Enter", "a new line"),
    ('"""', "begins and ends a text of several lines"),
    ("Tab", "complete a command, model, session or option"),
    ("Up, Down, Ctrl-R", "what was typed before, and a search in it"),
    ("Ctrl-X Ctrl-E", "the input in your editor ($VISUAL, $EDITOR)"),
    ("Ctrl-C, Esc", "stop the answer, and keep what came"),
    ("Ctrl-C", "else: clear the input; twice when empty: leave"),
    ("Ctrl-D", "leave, when the input is empty"),
    ("Ctrl-Z", "suspend the program; fg goes on with it"),
    ("Ctrl-L", "clear the screen; the scrollback stays"),
)

COMMANDS = tuple(command for _, group in GROUPS for command in group)
BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}

_WIDTH = 27


def _help() -> str:
    lines: list[str] = []
    for title, group in GROUPS:
        lines += (title, *(_row(", ".join(each.names), each.line) for each in group), "")
    lines += ("Keys, unless --plain", *(_row(*each) for each in KEYS))
    return "\n".join(lines)


def _row(left: str, right: str) -> str:
    return f"  {left:<{_WIDTH}}{right}"


HELP = _help()


def about(command: Command) -> str:
    """Return all there is to say about one command, in several lines."""
    rest = [f"  {line}" for line in (command.line, *command.more.splitlines())]
    also = ", ".join(f"/{alias}" for alias in command.aliases)
    rest += [f"  also: {also}"] if also else []
    return "\n".join((command.usage, *rest, f"  example: {command.example}"))


def find(name: str) -> Command | None:
    """Return the command with a name or an alias, in any case, with its slash or without."""
    return BY_NAME.get(name.removeprefix("/").lower())


def nearest(word: str, names: Iterable[str]) -> str:
    """Return the name that was probably meant by a word that is none of them; empty where none is near."""
    import difflib  # here: only a mistyped name has to wait for it

    known = list(names)
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.65)
    if close:
        return close[0]
    begun = [name for name in known if word and name.startswith(word.lower())]
    return begun[0] if len(begun) == 1 else ""
