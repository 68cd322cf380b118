"""Which traces there are, and one of them: the one place of this room that looks for something.

Each question reads the files once, line by line; what is kept of a trace that is only listed is a few words.
Called by the command line and by the terminal.
"""

import re
import stat
from pathlib import Path

from chatbot.errors import ChatbotError, UsageError
from chatbot.traces.damage import Damage
from chatbot.traces.files import Files
from chatbot.traces.spans import Span, decode
from chatbot.traces.trace import Trace
from chatbot.traces.turn import Gathering, Turn

_SHORTEST = 4


def must_be_there(directory: str) -> Path:
    """Return a log directory. Raises UsageError where there is none."""
    path = Path(directory)
    try:
        is_there = stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        is_there = False
    except OSError as error:
        raise UsageError(f"cannot look into {directory}: {error.strerror or error}") from error
    if not is_there:
        raise UsageError(f"there is no directory {directory}: --log-dir says where the logs are")
    return path


def turns(directory: Path, damage: Damage | None = None) -> list[Turn]:
    """Return all the traces in the files, the newest first. Raises ChatbotError."""
    gathered: dict[str, Gathering] = {}
    with Files(directory, damage) as files:
        for line in files.lines():
            is_read = False
            for span in decode(line):
                is_read = True
                gathering = gathered.get(span.trace_id)
                if gathering is None:
                    gathering = gathered[span.trace_id] = Gathering()
                gathering.add(span)
            if not is_read:  # a line without a span is never written
                files.spoilt()
    found = [gathering.turn(trace_id) for trace_id, gathering in gathered.items()]
    return sorted(found, key=lambda turn: -turn.start_ns)


def read(directory: Path, trace_id: str, damage: Damage | None = None) -> tuple[Trace, Turn] | None:
    """Return one trace, by its whole id; None where the files have nothing of it. Raises ChatbotError.

    Only the lines with this id are decoded: of the others, damage is what does not look like a line."""
    spans: list[Span] = []
    holding = trace_id.encode()
    with Files(directory, damage) as files:
        for line in files.lines():
            if holding in line:
                spans.extend(span for span in decode(line) if span.trace_id == trace_id)
            elif not (line.startswith(b"{") and line.endswith((b"}\n", b"}\r\n"))):
                files.spoilt()
    if not spans:
        return None
    gathering = Gathering()
    for span in spans:
        gathering.add(span)
    return Trace(spans), gathering.turn(trace_id)


class Ambiguous(UsageError):
    """Raised when an id stands for more than one trace; `choices` are those."""

    def __init__(self, wanted: str, choices: list[Turn]) -> None:
        super().__init__(f"{wanted!r} stands for {len(choices)} traces: give more of its digits")
        self.choices = choices


def find(known: list[Turn], wanted: str) -> Turn:
    """Return the trace that a whole id, its beginning or its end stands for; `last` is the newest turn,
    whether it came to its end or the program was killed in it.

    Raises Ambiguous, UsageError where there is no such trace, and ChatbotError where there is none.
    """
    if not known:
        raise ChatbotError("there are no traces yet")
    if wanted == "last":
        return next((turn for turn in known if turn.name in ("chat_turn", "")), known[0])
    sought = wanted.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},32}}", sought):
        raise UsageError(
            f"{wanted!r} is no trace: give its id, or {_SHORTEST} digits or more of its beginning or end"
        )
    found = [t for t in known if t.trace_id.startswith(sought) or t.trace_id.endswith(sought)]
    if not found:
        raise UsageError(
            f"there is no trace {wanted!r}: `chatbot trace list` shows which there are"
        )
    if len(found) > 1:
        raise Ambiguous(wanted, found)
    return found[0]
