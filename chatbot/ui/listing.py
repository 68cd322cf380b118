"""Sessions, messages and what was found, as lines of text: pure.

Times are shown in local time. What comes from elsewhere (titles, ids, models, errors) is put on one
line here; the view makes it safe for a terminal.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple

from chatbot.messages import CacheStats, SearchHit, Session, StoredMessage
from chatbot.sanitize import one_line

_TITLE = 60


class Told(NamedTuple):
    """A message of a session, whether it is a question without an answer, and which of several it is where
    the same was asked of several at once; `sibling` is empty elsewhere."""

    message: StoredMessage
    unanswered: bool = False
    sibling: str = ""


def handle(session_id: str) -> str:
    """Return the short name of a session: what follows the last `_` of its id."""
    return session_id.rpartition("_")[2] or session_id


def handles(session_ids: Iterable[str]) -> dict[str, str]:
    """Return a short name for each of these ids; where two would share one, the whole ids."""
    every = set(session_ids)
    count = Counter(handle(each) for each in every)
    return {each: one_line(handle(each) if count[handle(each)] == 1 else each) for each in every}


def sessions(listed: Sequence[Session]) -> Iterator[str]:
    """One line for each session: its short name, when it was used last, how long it is, its title."""
    names = handles(session.session_id for session in listed)
    width = max((len(name) for name in names.values()), default=0)
    backends = max((len(session.backend) for session in listed), default=0)
    for session in listed:
        yield (
            f"{names[session.session_id]:<{width}}  {moment(session.last_time)}"
            f"  {session.messages:>4} {_messages(session):<8}  {one_line(session.backend):<{backends}}"
            f"  {title(session)}"
        )


def found(hits: Sequence[SearchHit]) -> Iterator[str]:
    """Two lines for each message that was found: the session, and the words in their place."""
    names = handles(hit.session_id for hit in hits)
    for hit in hits:
        name = names[hit.session_id]
        yield f"{name}  {moment(hit.timestamp)}  {_cut(one_line(hit.title))}"
        yield f"{' ' * len(name)}  {who(hit.role)}: {one_line(marked(hit.snippet, hit.matches))}"


def marked(snippet: str, matches: Iterable[tuple[int, int]]) -> str:
    """Return the snippet with «» around its matches."""
    parts: list[str] = []
    at = 0
    for start, end in sorted(matches):
        if at <= start < end <= len(snippet):
            parts += (snippet[at:start], "«", snippet[start:end], "»")
            at = end
    return "".join((*parts, snippet[at:]))


def heading(session: Session) -> Iterator[str]:
    """What a session is, above its conversation."""
    yield one_line(session.title)
    model = one_line(session.model)
    yield (
        f"{one_line(session.session_id)} · {one_line(session.backend)}, model {model}"
        f" · {session.messages} {_messages(session)} · {moment(session.start_time)} to {moment(session.last_time)}"
    )
    if session.system:
        yield f"system prompt: {one_line(session.system)}"
    if session.options:
        named = (
            f"{one_line(key)} {one_line(str(value))}" for key, value in session.options.items()
        )
        yield f"options: {', '.join(named)}"


def is_repeated(stored: StoredMessage) -> bool:
    """Whether this is a question that was asked of several, and that the first of them has already."""
    return stored.role == "user" and bool(stored.fan) and stored.request_id != stored.fan


def message(stored: StoredMessage, *, unanswered: bool, sibling: str = "") -> Iterator[str]:
    """A message with its heading, as `sessions show` has it; the last line is empty. Nothing for a
    question that is a repeated one."""
    if is_repeated(stored):
        return
    model = f" ({one_line(stored.model)})" if stored.role == "assistant" and stored.model else ""
    marks = "".join(f" · {mark}" for mark in marks_of(stored, unanswered, sibling))
    yield f"{who(stored.role)}{model} · {moment(stored.timestamp)}{marks}"
    if stored.content:
        yield stored.content
    yield ""


def line(stored: StoredMessage, *, unanswered: bool, sibling: str = "") -> str:
    """Return a message as the chat shows what was said before."""
    marks = "".join(f" [{mark}]" for mark in marks_of(stored, unanswered, sibling))
    content = stored.content if stored.content else marks.lstrip()
    return f"{who(stored.role)}: {content}{marks if stored.content else ''}"


def marks_of(stored: StoredMessage, unanswered: bool, sibling: str = "") -> Iterator[str]:
    """What is to be known of a message besides its text."""
    if sibling and stored.role == "assistant":
        yield sibling
    if stored.cached:
        yield "cached"
    if stored.status == "failed" and stored.error:
        yield f"failed: {one_line(stored.error)}"
    elif stored.status != "complete":
        yield stored.status
    if unanswered:
        yield "unanswered"


def _messages(session: Session) -> str:
    return "message" if session.messages == 1 else "messages"


def without_answer(messages: Iterable[StoredMessage]) -> set[int]:
    """Return the places of the questions that none of these messages answers."""
    waiting: dict[str, int] = {}
    without: set[int] = set()
    for place, each in enumerate(messages):
        if each.role == "user":
            if each.request_id in waiting:  # of a version that had no request ids
                without.add(waiting[each.request_id])
            waiting[each.request_id] = place
        elif each.role == "assistant":
            waiting.pop(each.request_id, None)
    return without | set(waiting.values())


def by_turns(pages: Iterable[Sequence[StoredMessage]]) -> Iterator[Told]:
    """Return the messages of a session that comes in pieces. Every piece waits for the next, where its
    last answer may be."""
    before: Sequence[StoredMessage] = ()
    fans: dict[
        str, StoredMessage
    ] = {}  # questions that went to several, by request, in their order
    for page in chain(pages, ((),)):
        fans |= {each.request_id: each for each in page if each.role == "user" and each.fan}
        siblings = _siblings(fans.values())
        without = without_answer((*before, *page))
        for place, each in enumerate(before):
            sibling = siblings.get(each.request_id, "") if each.fan else ""
            yield Told(each, place in without, sibling)
        before = page


def _siblings(questions: Iterable[StoredMessage]) -> dict[str, str]:
    """Return for each of the requests that asked the same of several which of them it is."""
    by_fan: dict[str, list[StoredMessage]] = {}
    for question in questions:
        by_fan.setdefault(question.fan, []).append(question)
    return {
        each.request_id: f"{place} of {len(fan)}: {one_line(f'{each.backend} {each.model}')}"
        f"{'' if each.active else ', not picked'}"
        for fan in by_fan.values()
        for place, each in enumerate(fan, 1)
    }


def cache(stats: CacheStats) -> Iterator[str]:
    """What the answer cache holds, and how often it was of use."""
    oldest = "" if stats.oldest_age_s is None else f", the oldest from {age(stats.oldest_age_s)}"
    yield (
        f"{counted(stats.entries, 'answer')}, {size(stats.size_bytes)}"
        f" of at most {size(stats.limit_bytes)}{oldest}"
    )
    asked = stats.hits + stats.misses
    share = f" ({100 * stats.hits / asked:.0f} %)" if asked else ""
    yield f"{stats.hits} of {counted(asked, 'saved answer')} came from the cache{share}"


def title(session: Session) -> str:
    """Return the title of a session, on one line that is not too long."""
    return _cut(one_line(session.title)) or "(no title)"


def who(role: str) -> str:
    """Return the name of who speaks."""
    return {"user": "You", "assistant": "Bot"}.get(role, role.capitalize())


def moment(timestamp: float) -> str:
    """Return a time, local, to the minute."""
    try:
        return f"{datetime.fromtimestamp(timestamp, UTC).astimezone():%Y-%m-%d %H:%M}"
    except (OSError, OverflowError, ValueError):  # a clock that was far off has written it
        return "(no such time)  "


def exact_moment(timestamp: float) -> str:
    """Return a time, local, to the second, with its distance from UTC: to be read elsewhere."""
    try:
        return datetime.fromtimestamp(timestamp, UTC).astimezone().isoformat(" ", "seconds")
    except (OSError, OverflowError, ValueError):
        return "(no such time)"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(number: int) -> str:
    """Return a number of bytes, in the largest unit that fits."""
    for unit, of in (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024)):
        if number >= of:
            return f"{number / of:.1f} {unit}"
    return counted(number, "byte")


def age(seconds: float) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    for unit, of in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if count := int(seconds // of):
            return f"{counted(count, unit)} ago"
    return "just now"


def seconds(ms: float) -> str:
    """Return a short time, given in ms."""
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def short_age(seconds: float) -> str:
    """Return the same for a line that has little room."""
    for unit, of in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if count := int(seconds // of):
            return f"{count} {unit} ago"
    return "just now"


def _cut(text: str) -> str:
    return text if len(text) <= _TITLE else text[: _TITLE - 1] + "…"
