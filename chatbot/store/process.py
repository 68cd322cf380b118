"""The store: saves every message, looks answers up, and acknowledges what is committed.

Owns the database and the answer cache. It never calls an LLM and never decides what a request
does next. `actor.run` calls `main` in the store's own process; its messages come from the
dispatcher, and its replies go back there.

    Ask          → the user's row, the cache looked up   → Accepted (and Saved, on a hit)
    Answered …   → the assistant's row, the cache filled → Saved
    Checkpoint   → the assistant's row so far            → nothing
    Load …       → what is asked, in order with these    → Loaded …

What has gathered while the last commit ran becomes the next group: one transaction for up to 256
messages, because a commit waits for the disk and a row does not, and because rows that stand side by
side change a page once. Where many come, each group is given a few milliseconds to grow; a message
that comes alone never waits. No reply leaves before its commit.

When the supervisor dies, the store is the last one alive: it saves what it was sent, and ends what it has
accepted and nobody can answer any more.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from typing import assert_never

from chatbot import actor
from chatbot.errors import DatabaseDamaged, ExitCode, MessageTooLarge, StoreUnavailable
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    Ask,
    AttributeValue,
    Beat,
    Cancelled,
    Checkpoint,
    Delete,
    Failed,
    Interrupted,
    ListSessions,
    Load,
    Notice,
    Pick,
    Prune,
    Query,
    ReadCache,
    Ready,
    Recover,
    Rename,
    Search,
    Stop,
    StoreInbox,
    Undo,
    refused,
)
from chatbot.settings import StoreSettings
from chatbot.store import cache, prices, recovery, text
from chatbot.store.cached import CacheTable
from chatbot.store.checker import Checker
from chatbot.store.database import Database
from chatbot.store.deletion import Deletion
from chatbot.store.faults import damaged
from chatbot.store.patience import Patience
from chatbot.store.replies import Replies
from chatbot.store.scrub import Scrub
from chatbot.store.turns import Done, Turns, Write
from chatbot.tracing import Recorder

INBOX = StoreInbox
SETTINGS = StoreSettings

GROUP_MESSAGES = 256
MANY_MESSAGES = 16  # in one batch: more are sure to come while these are saved
GROWS_FOR_S = 0.002  # from the begin of one batch to the next, where many come
LOCKED_FOR_S = 30.0  # how long another program may hold the database before we give up
DRAIN_SILENCE_S = 0.02  # after Stop: no more messages come when none came for this long
KILLED = "the program was killed"


def main(
    settings: StoreSettings, inbox: Inbox[StoreInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Serve until Stop, then save what is still queued and leave.

    Raises StoreUnavailable when the database cannot be opened or written. What was not
    acknowledged by then was not saved, and may be sent again to the next store.
    """
    path = text.shown(settings.path)
    if settings.recovers:
        return recovery.serve(settings, inbox, outbox, recorder)
    database = Database.open(
        settings.path,
        must_exist=settings.must_exist,
        beat=lambda: outbox.send(Beat()),
        tell=lambda line: outbox.send(Notice(line)),
    )
    found: list[str | None] = []  # by the check: damage, or None
    checker = Checker(settings.path, found.append)
    try:
        if database.was_left_open:
            checker.start()
        else:
            found.append(None)
        recorder.log("info", "opened", path=path, sqlite=sqlite3.sqlite_version)
        outbox.send(Ready(os.getpid()))
        store = _Store(settings, database, outbox, recorder)
        store.save_prices()
        for batch in _batches(inbox, outbox, recorder, store.scrub, found):
            if any(found):
                raise damaged(settings.path)
            stop = store.handle(batch)
            if stop is not None:
                while rest := inbox.take(DRAIN_SILENCE_S):
                    store.handle(rest)
                if stop is inbox.parting:  # nobody is left who could end what is under way
                    store.cut_off(KILLED)
                break
    except StoreUnavailable as error:
        recorder.log("error", "store_unavailable", path=path, reason=str(error))
        if isinstance(error, DatabaseDamaged):
            checker.stop()
            database.close_untouched()
        raise
    finally:
        checker.stop()
        database.close()
    recorder.log("info", "closed", path=path)
    return ExitCode.OK


def _batches(
    inbox: Inbox[StoreInbox],
    outbox: Outbox,
    recorder: Recorder,
    scrub: Scrub,
    found: list[str | None],
) -> Iterator[list[StoreInbox]]:
    """Yield what has come; between it, once the check has ended, remove the traces of deletions."""
    for batch in actor.batches(inbox, outbox, recorder):
        began = time.monotonic()
        yield batch
        if len(batch) >= MANY_MESSAGES:
            time.sleep(max(began + GROWS_FOR_S - time.monotonic(), 0.0))
        while found and scrub.step(is_idle=not batch):
            recorder.flush()
            yield inbox.take(0)


class _Store:
    """The room at work: its database, its cache, and where its replies and records go."""

    def __init__(
        self, settings: StoreSettings, database: Database, outbox: Outbox, recorder: Recorder
    ) -> None:
        memory = cache.Memory(settings.memory_cache_bytes)
        self._prices = settings.prices
        table = CacheTable(database, settings)
        self._database = database
        self._outbox = outbox
        self._recorder = recorder
        self._patience = Patience(database, outbox, LOCKED_FOR_S)
        self._turns = Turns(database, table, memory, recorder)
        self.scrub = Scrub(database, self._patience)
        deletion = Deletion(database, table, memory, self._patience, self.scrub)
        self._replies = Replies(database, table, self._turns, deletion, self._patience)

    def handle(self, batch: list[StoreInbox]) -> Stop | None:
        """Handle messages in order, in groups; return the first Stop among them."""
        stop: Stop | None = None
        group: list[Write] = []
        for message in batch:
            match message:
                case Ask() | Answered() | Failed() | Cancelled() | Interrupted() | Checkpoint():
                    group.append(message)
                    if len(group) == GROUP_MESSAGES:
                        self._save(group)
                        group = []
                case (
                    Load()
                    | ListSessions()
                    | Rename()
                    | Delete()
                    | Prune()
                    | Search()
                    | Undo()
                    | Pick()
                    | ReadCache()
                    | Recover()
                ):
                    self._save(group)  # first: it must see what was sent before it
                    group = []
                    self._reply_to(message)
                case Stop():
                    stop = stop or message
                case _:
                    assert_never(message)
        self._save(group)
        return stop

    def save_prices(self) -> None:
        """Put the prices of the settings into their table. Nothing is lost where that cannot be done
        now: they are put in at the next start."""
        try:
            prices.save(self._database, self._patience, self._prices)
        except DatabaseDamaged:
            raise
        except StoreUnavailable as error:
            self._recorder.log("warning", "prices_not_saved", reason=str(error))

    def cut_off(self, reason: str) -> None:
        """End every request whose end has not come, after the text that was saved of it."""
        requests = self._turns.open_requests
        for start in range(0, len(requests), GROUP_MESSAGES):
            with self._patience.transaction():
                for request_id in requests[start : start + GROUP_MESSAGES]:
                    self._turns.cut_off(request_id, reason, time.time())
        if requests:
            self._recorder.log("warning", "cut_off", requests=len(requests), reason=reason)

    def _save(self, group: list[Write]) -> None:
        """Write a group in one transaction; when it is committed, reply in order.

        An error leaves `main`, and closing the database undoes what was begun.
        """
        if not group:
            return
        began_ns = time.time_ns()
        done: list[Done] = []
        try:
            self._patience.insist(self._database.begin)
            self._turns.begin()
            for message in group:
                done.append(self._turns.write(message, began_ns))  # noqa: PERF401 - kept on an error
            self._turns.end(began_ns / 1e9)
            commit_ns, commit_start = time.time_ns(), time.perf_counter_ns()
            self._patience.insist(self._database.commit)
        except StoreUnavailable:
            for each in done:
                if each.span is not None:
                    each.span.fail("not saved")
                    each.span.end()
            raise
        took_ns = time.perf_counter_ns() - commit_start
        for each in done:
            for reply in each.replies:
                self._outbox.gather(reply)
        self._outbox.flush()
        self._record(done, commit_ns, took_ns)

    def _record(self, done: list[Done], commit_ns: int, took_ns: int) -> None:
        """Record a commit, once for all its messages: it stands in the trace of the first of those that
        are traced, with links to the others. Their own spans end with it."""
        spans = [each.span for each in done if each.span is not None]
        exemplar = ""
        if spans:
            committed_ns = commit_ns + took_ns
            about: dict[str, AttributeValue] = {
                "messaging.batch.message_count": len(done),
                "rows": self._turns.rows,
            }
            commit = self._recorder.span(
                "commit", parent=spans[0].traceparent, start_ns=commit_ns, attributes=about
            )
            commit.link(*(span.traceparent for span in spans[1:]))
            commit.end(committed_ns)
            exemplar = commit.traceparent
            for span in spans:
                span.end(committed_ns)
        self._recorder.observe("chatbot.store.commit.duration", took_ns / 1e6, None, exemplar)
        if self._recorder.tracing.debug:
            self._recorder.log(
                "debug",
                "committed",
                traceparent=exemplar,
                messages=len(done),
                rows=self._turns.rows,
                duration_ms=took_ns / 1e6,
            )

    def _reply_to(self, query: Query) -> None:
        """Do what is asked, and reply; what cannot be done is said there."""
        try:
            self._outbox.send(self._replies.reply_to(query, time.time()))
        except (StoreUnavailable, MessageTooLarge) as error:
            kind = type(query).__name__
            self._recorder.log("error", "query_failed", query=kind, reason=str(error))
            self._outbox.send(refused(query, str(error)))
