"""A session as a document, Markdown or JSON, piece by piece: pure.

The pieces come as the messages do, so that a session of any length can be written with little
memory. JSON holds everything that the database has of a conversation; Markdown is for reading.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from chatbot.messages import Session, StoredMessage
from chatbot.sanitize import one_line
from chatbot.ui import listing

JSON_FORMAT = "chatbot session"
JSON_VERSION = 1

Format = Literal["md", "json"]

_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)")
_CONTAINER = r"(?: {0,3}(?:[-+*]|\d{1,9}[.)]|>)(?=\s))*"  # a list's item, a quotation
_HEADING = re.compile(rf"^({_CONTAINER}[ \t]*)(#{{1,6}})(?=\s|$)")
_UNDERLINE = re.compile(r"[ \t>]*(?:=+|-+)[ \t]*")
_CODE_LINE = re.compile(r" {4}| {0,3}\t")
# What is escaped, what is code, or a `<` that may begin a tag, a comment, a declaration; no address
_TAG = re.compile(r"\\.|(`+)(?!`).*?(?<!`)\1(?!`)|<(?=[A-Za-z/!?])(?![A-Za-z][\w+.-]+:)")
_encode = msgspec.json.Encoder().encode


def document(kind: Format, session: Session, messages: Iterable[listing.Told]) -> Iterator[str]:
    """Return the pieces of a document. Where several were asked the same, Markdown has the question once."""
    return _markdown(session, messages) if kind == "md" else _json(session, messages)


def format_of(file: str) -> Format:
    """Return the format that a file's name asks for."""
    return "json" if file.lower().endswith(".json") else "md"


def default_name(session_id: str) -> str:
    """Return the name of a file for a session, without what a file's name cannot hold."""
    return (re.sub(r"[^\w.-]", "_", session_id).strip(".")[:100] or "session") + ".md"


def read_json(text: str | bytes) -> tuple[Session, tuple[StoredMessage, ...]]:
    """Read back a JSON document. Raises msgspec.ValidationError or ValueError for any other."""
    read = msgspec.json.decode(text, type=dict[str, Any])
    if (read.get("format"), read.get("version")) != (JSON_FORMAT, JSON_VERSION):
        raise ValueError(f"not a {JSON_FORMAT} of version {JSON_VERSION}")
    return _struct(Session, read["session"]), tuple(
        _struct(StoredMessage, message) for message in read["messages"]
    )


def contained(text: str) -> str:
    """Return Markdown that ends where it ends, and has no heading like those of the document.

    A fence that it leaves open, as an answer does that broke off, is closed. HTML is shown as it was
    written: an open comment would swallow all that follows. Headings go two levels down. The rules are
    those of https://spec.commonmark.org/0.31.2/.
    """
    lines: list[str] = []
    indent = opened = ""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        match = _FENCE.fullmatch(line)
        if opened:
            lines.append(line)
            if match is not None and _closes(match, opened):
                opened = ""
        elif match is not None and (match[2][0] == "~" or "`" not in match[3]):
            lines.append(line)
            indent, opened = match[1], match[2]
        else:
            if _UNDERLINE.fullmatch(line) and lines and lines[-1].strip():
                lines.append("")  # then it is a rule, and what stands above it no heading
            lines.append(_harmless(line))
    safe = "\n".join(lines).rstrip()
    return f"{safe}\n{indent}{opened}" if opened else safe


def _closes(match: re.Match[str], opened: str) -> bool:
    fence, rest = match[2], match[3]
    return fence[0] == opened[0] and len(fence) >= len(opened) and not rest.strip()


def _harmless(line: str) -> str:
    """Return a line, which is not in a fence, without HTML and without a heading of ours."""
    if _CODE_LINE.match(line):
        return line
    line = _HEADING.sub(lambda match: match[1] + "#" * min(6, len(match[2]) + 2), line)
    return _TAG.sub(lambda match: "\\<" if match[0] == "<" else match[0], line)


def _markdown(session: Session, messages: Iterable[listing.Told]) -> Iterator[str]:
    yield f"# {_escaped(session.title) or 'A conversation'}\n\n"
    yield f"- session: {_code(session.session_id)}\n"
    yield f"- started: {listing.exact_moment(session.start_time)}\n"
    yield f"- model: {_code(session.model)} ({_escaped(session.backend)})\n"
    for key, value in session.options.items():
        yield f"- {_escaped(key)}: {_code(str(value))}\n"
    if session.system:
        yield f"\n## System prompt\n\n{contained(session.system)}\n"
    for message, unanswered, sibling in messages:
        if listing.is_repeated(message):
            continue
        yield f"\n## {listing.who(message.role)}\n\n"
        about = [listing.exact_moment(message.timestamp)]
        if message.role == "assistant":
            about = [*([_code(message.model)] if message.model else []), *about]
        about += [_escaped(mark) for mark in listing.marks_of(message, unanswered, sibling)]
        yield f"*{' · '.join(about)}*\n"
        if message.content.strip():
            yield f"\n{contained(message.content)}\n"


def _json(session: Session, messages: Iterable[listing.Told]) -> Iterator[str]:
    head = {"format": JSON_FORMAT, "version": JSON_VERSION, "session": as_object(session)}
    yield _encode(head).decode()[:-1] + ',"messages":['
    between = "\n"
    for message, *_ in messages:
        yield between + _encode(as_object(message)).decode()
        between = ",\n"
    yield "\n]}\n"


def as_object(struct: Session | StoredMessage) -> dict[str, Any]:
    """Return a struct as what JSON calls an object: with the names of its fields."""
    return msgspec.structs.asdict(struct)


def _struct(kind: Any, fields: dict[str, Any]) -> Any:
    """Build a struct by the names of its fields; msgspec itself reads these by their order."""
    names = {field.name: field for field in msgspec.structs.fields(kind)}
    known = {
        name: msgspec.convert(value, names[name].type)
        for name, value in fields.items()
        if name in names
    }
    return kind(**known)


def _escaped(text: str) -> str:
    """Return text for a line of Markdown, with nothing that means something there."""
    return re.sub(r"([\\`*_\[\]<>#&|])", r"\\\1", one_line(text))


def _code(text: str) -> str:
    """Return text as inline code, in more backticks than it has itself."""
    text = one_line(text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{ticks}{pad}{text}{pad}{ticks}" if text else "(none)"
