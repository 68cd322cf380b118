"""Turns as they are written: a question is saved and looked up, its answer saved and cached.

Runs inside the transaction of a group (`process.py`), and returns what is to be replied once that is
committed. It remembers what it has accepted and not seen the end of, and the sessions that it has just
written to, so that most messages need no SELECT; both are bounded by what is under way.
"""

from typing import assert_never

import msgspec

from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    AttributeValue,
    Cancelled,
    Checkpoint,
    Failed,
    Hit,
    Interrupted,
    Message,
    Saved,
    Terminal,
)
from chatbot.store import cache, queries
from chatbot.store.cached import CacheTable
from chatbot.store.database import Database
from chatbot.store.queries import Question
from chatbot.tracing import Recorder, Span, is_sampled

Write = Ask | Terminal | Checkpoint

_KNOWN_SESSIONS = 4096
_HIT: dict[str, AttributeValue] = {"result": "hit"}
_MISS: dict[str, AttributeValue] = {"result": "miss"}


class Done(msgspec.Struct, frozen=True):
    """What a message has led to, to be told once its group is committed."""

    replies: tuple[Message, ...] = ()
    span: Span | None = None


class Turns:
    """The turns under way, and both levels of the cache.

    `rows` counts what was written to our own tables, also where it only stood there again.
    """

    def __init__(
        self, database: Database, table: CacheTable, memory: cache.Memory, recorder: Recorder
    ) -> None:
        self._database = database
        self._table = table
        self._memory = memory
        self._recorder = recorder
        self._open: dict[str, Question | None] = {}
        self._known: dict[str, tuple[str, str]] = {}
        self.rows = 0

    @property
    def open_requests(self) -> list[str]:
        """The requests whose end has not come."""
        return list(self._open)

    def begin(self) -> None:
        """Begin a group, in its transaction: what another instance has changed is not known any more."""
        self.rows = 0
        if self._database.changed_elsewhere():
            self._memory.clear()
            self.forget()

    def forget(self) -> None:
        """Hear that sessions or turns were changed: what is remembered of them may be wrong."""
        self._known.clear()
        self._open = dict.fromkeys(self._open)

    def write(self, message: Write, began_ns: int) -> Done:
        """Save a message; its group began at `began_ns`."""
        now = began_ns / 1e9
        match message:
            case Ask():
                span = self._span("store.asks", message, began_ns)
                return Done(self._accept(message, span, now), span)
            case Answered() | Failed() | Cancelled() | Interrupted():
                span = self._span("store.answers", message, began_ns)
                self._finish(message, now)
                return Done((Saved(message.request_id),), span)
            case Checkpoint():
                queries.checkpoint(self._database, message, now)
                self.rows += 1
                self._open.setdefault(message.request_id, None)  # accepted by the store before us
                return Done()
            case _:
                assert_never(message)

    def end(self, now: float) -> None:
        """End a group, in its transaction: the cache keeps within its bounds."""
        self._table.trim(now)

    def cut_off(self, request_id: str, reason: str, now: float) -> None:
        """Save that the end of a request will not come."""
        queries.cut_off(self._database, request_id, reason, now)
        self._open.pop(request_id, None)

    def _accept(self, ask: Ask, span: Span | None, now: float) -> tuple[Message, ...]:
        """Save a question; answer it too when the cache can.

        The key is kept in the question's own row, so that the answer finds its way into the cache
        even through a restart of this process. Only `use` shares a call with others: who asks
        anew must not be given the answer of a call that is already under way.
        """
        key = "" if ask.cache == "off" else cache.key_of(ask)
        self._save_session(ask, now)
        if ask.replaces and ask.replaces != ask.request_id:
            taken_out = queries.take_out(self._database, ask.session_id, ask.replaces)
            self.rows += taken_out
            if taken_out:  # it may be one of the open ones, or have siblings among them
                self._open = dict.fromkeys(self._open)
        self._open[ask.request_id] = queries.accept(self._database, ask, key, now)
        self.rows += 1
        if ask.cache != "use":
            return (Accepted(ask.request_id),)
        hit = self._look_up(key, span, now)
        if hit is None:
            return (Accepted(ask.request_id, key),)
        answered = Answered(
            ask.request_id,
            0,
            hit.completion,
            cached_age_s=hit.age_s,
            traceparent=ask.traceparent,
            call_traceparent=hit.call_traceparent,
        )
        self._finish(answered, now)
        return Accepted(ask.request_id, key, hit), Saved(ask.request_id)

    def _save_session(self, ask: Ask, now: float) -> None:
        asked_with = (ask.target.backend, ask.target.model)
        if self._known.get(ask.session_id) == asked_with:
            return
        self.rows += queries.begin_session(self._database, ask, now)
        if queries.is_sibling(ask):  # which has changed nothing that is known
            return
        if len(self._known) >= _KNOWN_SESSIONS:
            self._known.clear()
        self._known[ask.session_id] = asked_with

    def _finish(self, terminal: Terminal, now: float) -> None:
        """Save the end of an answer, and cache it if it is whole and was just generated."""
        question = self._open.pop(terminal.request_id, None)
        if question is None:
            question = queries.question_of(self._database, terminal.request_id)
        if question is None:  # asked while nothing could be saved, or deleted: no turn to end
            self._recorder.log(
                "warning",
                "answer_without_question",
                traceparent=terminal.traceparent,
                request_id=terminal.request_id,
            )
            return
        queries.finish(self._database, question, terminal, now)
        self.rows += 1
        if not question.cache_key or not isinstance(terminal, Answered):
            return
        if terminal.cached_age_s is not None:
            return
        entry = cache.entry_of(terminal.completion, now, terminal.call_traceparent)
        if entry is not None:
            self._table.put(question.cache_key, question, entry)
            self.rows += 1
            self._memory.put(question.cache_key, entry)

    def _look_up(self, key: str, asks: Span | None, now: float) -> Hit | None:
        """Look an answer up, in memory first; what only SQLite had is then in memory too."""
        span = self._recorder.span("cache_lookup", parent=asks.traceparent) if asks else None
        level = "memory"
        entry = self._memory.get(key)
        if entry is not None and self._table.is_too_old(entry, now):
            self._memory.drop(key)
            entry = None
        if entry is None:
            level = "sqlite"
            entry = self._table.look_up(key, now)
            if entry is not None:
                self._memory.put(key, entry)
        hit = cache.hit_of(entry, now) if entry is not None else None
        if span is not None:
            span.set("cache.hit", hit is not None)
            span.set("cache.level", level if hit is not None else "none")
            if hit is not None:
                span.link(hit.call_traceparent)
            span.end()
        result = _HIT if hit is not None else _MISS
        exemplar = span.exemplar if span is not None else ""
        self._recorder.count("chatbot.cache.lookups", 1, result, exemplar)
        return hit

    def _span(self, destination: str, message: Ask | Terminal, began_ns: int) -> Span | None:
        """Start the span of a message whose trace is recorded; it ends with the group's commit, and
        does not last long enough to be announced."""
        if not is_sampled(message.traceparent):
            return None
        parent, request_id = message.traceparent, message.request_id
        return self._recorder.hop("process", destination, request_id, parent, began_ns)
