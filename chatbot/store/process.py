"""The store: saves every message, looks answers up, and acknowledges what is committed.

Owns the database and the answer cache. It never calls an LLM and never decides what a request
does next. `actor.run` calls `main` in the store's own process; its messages come from the
dispatcher, and its replies go back there.

    Ask          → the user's row, the cache looked up   → Accepted (and Saved, on a hit)
    Answered …   → the assistant's row, the cache filled → Saved
    Checkpoint   → the assistant's row so far            → nothing
    Load         →                                       → Loaded

What has gathered while the last commit ran becomes the next group: one transaction for up to 128
messages, because a commit waits for the disk and a row does not. No reply leaves before its commit.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from typing import assert_never

import msgspec

from chatbot import actor
from chatbot.errors import ExitCode, StoreUnavailable
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Beat,
    Cancelled,
    Checkpoint,
    Failed,
    Hit,
    Interrupted,
    Load,
    Loaded,
    Message,
    Ready,
    Saved,
    Stop,
    StoreInbox,
    Terminal,
)
from chatbot.settings import StoreSettings
from chatbot.store import cache, queries, text
from chatbot.store.database import Database
from chatbot.store.faults import locked
from chatbot.tracing import Recorder, Span

INBOX = StoreInbox
SETTINGS = StoreSettings

GROUP_MESSAGES = 128
LOCKED_FOR_S = 30.0  # how long another program may hold the database before we give up
DRAIN_SILENCE_S = 0.02  # after Stop: no more messages come when none came for this long

Write = Ask | Terminal | Checkpoint


def main(
    settings: StoreSettings, inbox: Inbox[StoreInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Serve until Stop, then save what is still queued and leave.

    Raises StoreUnavailable when the database cannot be opened or written. What was not
    acknowledged by then was not saved, and may be sent again to the next store.
    """
    path = text.shown(settings.path)
    database = Database.open(settings.path)
    try:
        recorder.log("info", "opened", path=path, sqlite=sqlite3.sqlite_version)
        outbox.send(Ready(os.getpid()))
        store = _Store(database, cache.Memory(settings.memory_cache_bytes), outbox, recorder)
        for batch in actor.batches(inbox, outbox, recorder):
            if store.handle(batch):
                while rest := inbox.take(DRAIN_SILENCE_S):
                    store.handle(rest)
                break
    except StoreUnavailable as error:
        recorder.log("error", "store_unavailable", path=path, reason=str(error))
        raise
    finally:
        database.close()
    recorder.log("info", "closed", path=path)
    return ExitCode.OK


class _Done(msgspec.Struct, frozen=True):
    """What a message has led to, to be told once its group is committed."""

    replies: tuple[Message, ...] = ()
    span: Span | None = None


class _Store:
    """The room at work: its database, its cache, and where its replies and records go."""

    def __init__(
        self, database: Database, memory: cache.Memory, outbox: Outbox, recorder: Recorder
    ) -> None:
        self._database = database
        self._memory = memory
        self._outbox = outbox
        self._recorder = recorder

    def handle(self, batch: list[StoreInbox]) -> bool:
        """Handle messages in order, in groups; return whether one of them was Stop."""
        stopping = False
        group: list[Write] = []
        for message in batch:
            match message:
                case Ask() | Answered() | Failed() | Cancelled() | Interrupted() | Checkpoint():
                    group.append(message)
                    if len(group) == GROUP_MESSAGES:
                        self._save(group)
                        group = []
                case Load():
                    self._save(group)  # first: it must see what was sent before it
                    group = []
                    self._outbox.send(self._load(message))
                case Stop():
                    stopping = True
                case _:
                    pass  # nobody asks these yet
        self._save(group)
        return stopping

    def _save(self, group: list[Write]) -> None:
        """Write a group in one transaction; when it is committed, reply in order.

        An error leaves `main`, and closing the database undoes what was begun.
        """
        if not group:
            return
        began_ns = time.time_ns()
        self._insist(self._database.begin)
        rows_before = self._database.total_changes
        if self._database.changed_elsewhere():  # another instance may have replaced answers
            self._memory.clear()
        done = [self._write(message, began_ns) for message in group]
        rows = self._database.total_changes - rows_before
        commit_ns, commit_start = time.time_ns(), time.perf_counter()
        self._insist(self._database.commit)
        commit_ms = (time.perf_counter() - commit_start) * 1000
        for each in done:
            for reply in each.replies:
                self._outbox.send(reply)
        self._recorder.observe("chatbot.store.commit.duration", commit_ms)
        for each in done:
            if each.span is not None:
                parent = each.span.traceparent
                self._recorder.span("commit", parent=parent, start_ns=commit_ns, rows=rows).end()
                each.span.end()

    def _insist(self, step: Callable[[], bool]) -> None:
        """Try a step again while another program holds the lock, still beating between the tries."""
        deadline = time.monotonic() + LOCKED_FOR_S
        while not step():
            if time.monotonic() >= deadline:
                raise locked(self._database.path)
            self._outbox.send(Beat())

    def _write(self, message: Write, began_ns: int) -> _Done:
        now = began_ns / 1e9
        match message:
            case Ask():
                span = self._span("store.asks", message, began_ns)
                return _Done(self._accept(message, span, now), span)
            case Answered() | Failed() | Cancelled() | Interrupted():
                span = self._span("store.answers", message, began_ns)
                self._finish(message, now)
                return _Done((Saved(message.request_id),), span)
            case Checkpoint():
                queries.checkpoint(self._database, message, now)
                return _Done()
            case _:
                assert_never(message)

    def _accept(self, ask: Ask, span: Span | None, now: float) -> tuple[Message, ...]:
        """Save a question; answer it too when the cache can.

        The key is kept in the question's own row, so that the answer finds its way into the cache
        even through a restart of this process. Only `use` shares a call with others: who asks
        anew must not be given the answer of a call that is already under way.
        """
        key = "" if ask.cache == "off" else cache.key_of(ask)
        queries.accept(self._database, ask, key, now)
        if ask.cache != "use":
            return (Accepted(ask.request_id),)
        hit = self._look_up(key, span, now)
        if hit is None:
            return (Accepted(ask.request_id, key),)
        answered = Answered(
            ask.request_id, 0, hit.completion, cached_age_s=hit.age_s, traceparent=ask.traceparent
        )
        self._finish(answered, now)
        return Accepted(ask.request_id, key, hit), Saved(ask.request_id)

    def _finish(self, terminal: Terminal, now: float) -> None:
        """Save the end of an answer, and cache it if it is whole and was just generated."""
        question = queries.question_of(self._database, terminal.request_id)
        if question is None:  # it was asked while nothing could be saved: there is no turn to end
            self._recorder.log(
                "warning",
                "answer_without_question",
                traceparent=terminal.traceparent,
                request_id=terminal.request_id,
            )
            return
        queries.finish(self._database, question, terminal, now)
        if not question.cache_key or not isinstance(terminal, Answered):
            return
        if terminal.cached_age_s is not None:
            return
        entry = cache.entry_of(terminal.completion, now)
        if entry is not None:
            queries.remember(self._database, question.cache_key, question, entry)
            self._memory.put(question.cache_key, entry)

    def _look_up(self, key: str, asks: Span | None, now: float) -> Hit | None:
        """Look an answer up, in memory first; what only SQLite had is then in memory too."""
        span = self._recorder.span("cache_lookup", parent=asks.traceparent) if asks else None
        level = "memory"
        entry = self._memory.get(key)
        if entry is None:
            level = "sqlite"
            entry = queries.look_up(self._database, key)
            if entry is not None:
                self._memory.put(key, entry)
        hit = cache.hit_of(entry, now) if entry is not None else None
        if span is not None:
            span.set("cache.hit", hit is not None)
            span.set("cache.level", level if hit is not None else "none")
            span.end()
        result = "hit" if hit is not None else "miss"
        self._recorder.count("chatbot.cache.lookups", 1, {"result": result})
        return hit

    def _load(self, load: Load) -> Loaded:
        try:
            session = queries.find_session(self._database, load.session_id)
            if session is None:
                return Loaded(load.request_id)
            messages, truncated = queries.latest_messages(self._database, session.session_id)
        except StoreUnavailable as error:
            self._recorder.log("error", "load_failed", reason=str(error))
            return Loaded(load.request_id, error=str(error))
        return Loaded(load.request_id, session, messages, truncated)

    def _span(self, destination: str, message: Ask | Terminal, began_ns: int) -> Span | None:
        """Start the span of a message that belongs to a trace; it ends with the group's commit."""
        if not message.traceparent:
            return None
        parent, request_id = message.traceparent, message.request_id
        return self._recorder.hop("process", destination, request_id, parent, began_ns)
