"""What can be done with sessions and the cache: by `chatbot sessions …`, `chatbot cache …`, and in the chat.

Each action asks the store, shows what it says, and returns an exit code: 1 for what was not found or
went wrong, 2 for a session or a database that is not there. What cannot be undone is told exactly
before it is done, and needs consent: at the terminal, or given with `--yes`.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import assert_never

from chatbot.errors import ExitCode
from chatbot.ids import new_request_id
from chatbot.messages import (
    CacheRead,
    Delete,
    Found,
    Listed,
    ListSessions,
    Load,
    Loaded,
    Prune,
    ReadCache,
    Recover,
    Recovered,
    Rename,
    Search,
    Session,
)
from chatbot.settings import Manage, Price
from chatbot.ui import export, listing, stats
from chatbot.ui.exchange import GIVEN_UP, Exchange
from chatbot.ui.newfile import write_new
from chatbot.ui.streams import Output
from chatbot.ui.view import Notices, View

_NO_MESSAGES = 2**63 - 1  # behind every message: of a session alone
_DELETE_WITHIN_S = 600.0
_RECOVER_WITHIN_S = 3600.0

_FOR_GOOD = "for good: their content, what the search knows of it, and their cached answers"


class Library:
    """The saved conversations and answers, and a person who wants something of them.

    `asks`: there is a person to be asked for consent. `json`: lists and documents are events.
    """

    def __init__(
        self,
        exchange: Exchange,
        view: View,
        notices: Notices,
        *,
        asks: bool,
        json: bool,
    ) -> None:
        self._exchange = exchange
        self._view = view
        self._notices = notices
        self._asks = asks
        self._json = json

    def do(self, manage: Manage) -> ExitCode:
        """Do what the command line says. Raises Leave, and ChatbotError for what cannot be written."""
        match manage.action:
            case "list":
                return self.list(manage.limit)
            case "show":
                return self.show(manage.session_ids[0])
            case "search":
                return self.search(manage.text, manage.limit)
            case "export":
                return self.export(manage.session_ids[0], manage.format, manage.out)
            case "rename":
                return self.rename(manage.session_ids[0], manage.text)
            case "delete":
                return self.delete(manage.session_ids, yes=manage.yes)[0]
            case "prune":
                return self.prune(manage)
            case "recover":
                return self.recover(manage)
            case "cache-stats":
                return self.cache()
            case "cache-clear":
                return self.clear_cache(yes=manage.yes)
            case action:
                assert_never(action)

    def list(self, limit: int) -> ExitCode:
        """Show the sessions that were used last."""
        listed = self._exchange.reply(ListSessions(new_request_id(), limit), Listed)
        if listed.error:
            return self._failed("cannot list the sessions", listed.error)
        self._view.sessions(listed.sessions)
        if not listed.sessions:
            self._notices.say("there are no sessions yet")
            return ExitCode.TURN_FAILED
        if listed.truncated and len(listed.sessions) < limit:
            self._notices.say("(there are more than could be listed at once)")
        return ExitCode.OK

    def search(self, text: str, limit: int) -> ExitCode:
        """Show the messages that have all these words."""
        found = self._exchange.reply(Search(new_request_id(), text, limit), Found)
        if found.error:
            return self._failed("cannot search", found.error)
        self._view.found(found.hits)
        if not found.hits:
            self._notices.say("nothing found")
            return ExitCode.TURN_FAILED
        return ExitCode.OK

    def show(self, session_id: str, *, with_heading: bool = True) -> ExitCode:
        """Show a whole conversation."""
        loaded, messages = self._exchange.whole(session_id)
        if (session := self._known(session_id, loaded)) is None:
            return ExitCode.USAGE
        if with_heading:
            self._view.heading(session)
        for message, unanswered, sibling in messages:
            self._view.message(session.session_id, message, unanswered=unanswered, sibling=sibling)
        return ExitCode.OK

    def export(self, session_id: str, kind: export.Format, out: str) -> ExitCode:
        """Write a whole session to a new file, or to stdout. Raises ChatbotError."""
        loaded, messages = self._exchange.whole(session_id)
        if (session := self._known(session_id, loaded)) is None:
            return ExitCode.USAGE
        if self._json and not out:
            self._view.heading(session)
            for message, unanswered, sibling in messages:
                self._view.message(
                    session.session_id, message, unanswered=unanswered, sibling=sibling
                )
            return ExitCode.OK
        pieces = export.document(kind, session, messages)
        if out:
            write_new(out, pieces)
            line = f"{listing.title(session)}: written to {out}"
            self._view.done("exported", line, session_id=session.session_id, file=out, format=kind)
        else:
            output = Output(sys.stdout)
            for piece in pieces:
                output.write(piece)
        return ExitCode.OK

    def rename(self, session_id: str, title: str) -> ExitCode:
        """Give a session another title."""
        if (session := self._find(session_id)) is None:
            return ExitCode.USAGE
        rename = Rename(new_request_id(), session.session_id, title)
        listed = self._exchange.reply(rename, Listed)
        if listed.error:
            return self._failed("cannot rename it", listed.error)
        if not listed.sessions:
            return self._missing(session_id)
        renamed = listed.sessions[0]
        line = f"{listing.handle(renamed.session_id)} is now: {listing.title(renamed)}"
        self._view.done("renamed", line, session_id=renamed.session_id, title=renamed.title)
        return ExitCode.OK

    def delete(
        self, session_ids: Sequence[str], *, yes: bool
    ) -> tuple[ExitCode, tuple[Session, ...]]:
        """Delete sessions, all or none; return those that are gone, too."""
        sessions: dict[str, Session] = {}
        for session_id in session_ids:
            if (session := self._find(session_id)) is None:
                return ExitCode.USAGE, ()
            sessions[session.session_id] = session
        self._announce(tuple(sessions.values()))
        if (code := self._consent("nothing was deleted", yes=yes)) is not ExitCode.OK:
            return code, ()
        delete = Delete(new_request_id(), tuple(sessions))
        listed = self._exchange.reply(delete, Listed, _DELETE_WITHIN_S)
        if listed.error:
            return self._failed("cannot delete", listed.error), ()
        # A store that was killed before it could reply has done it, and finds nothing the second time.
        gone = listed.sessions or tuple(sessions.values())
        return self._deleted(gone), gone

    def prune(self, manage: Manage) -> ExitCode:
        """Delete old sessions, or only show which."""
        began = time.monotonic()
        look = Prune(new_request_id(), manage.older_than_s, manage.keep_last, dry_run=True)
        listed = self._exchange.reply(look, Listed, _DELETE_WITHIN_S)
        if listed.error:
            return self._failed("cannot look for old sessions", listed.error)
        if manage.dry_run:
            self._view.sessions(listed.sessions)
        if manage.dry_run or not listed.sessions:
            more = " at least" if listed.truncated else ""
            count = listing.counted(len(listed.sessions), "session")
            self._notices.say(
                f"{count}{more} would be deleted" if listed.sessions else "nothing to delete"
            )
            return ExitCode.OK
        self._announce(listed.sessions, more=listed.truncated)
        if (code := self._consent("nothing was deleted", yes=manage.yes)) is not ExitCode.OK:
            return code
        # The same moment as before divides old from new: nothing crosses it while a person thinks.
        older_than_s = manage.older_than_s + time.monotonic() - began
        prune = Prune(new_request_id(), older_than_s, manage.keep_last)
        pruned = self._exchange.reply(prune, Listed, _DELETE_WITHIN_S)
        if pruned.error:
            return self._failed("cannot delete", pruned.error)
        done = pruned if pruned.sessions else listed  # told again, as in `delete`
        return self._deleted(done.sessions, and_more=done.truncated)

    def recover(self, manage: Manage) -> ExitCode:
        """Begin a new database with what can be read of a damaged one."""
        self._notices.say(
            f"{manage.db}: all that can be read of it goes into a new database of this name;"
            f" the damaged one is kept, whole, in the same directory"
        )
        if (code := self._consent("nothing was changed", yes=manage.yes)) is not ExitCode.OK:
            return code
        recovered = self._exchange.reply(Recover(new_request_id()), Recovered, _RECOVER_WITHIN_S)
        if recovered.error:
            return self._failed("cannot recover", recovered.error)
        sessions = listing.counted(recovered.sessions, "session")
        messages = listing.counted(recovered.messages, "message")
        self._view.done(
            "recovered",
            f"{sessions} with {messages} could be read; the damaged database is now {recovered.copy}",
            copy=recovered.copy,
            sessions=recovered.sessions,
            messages=recovered.messages,
        )
        return ExitCode.OK

    def stats(self, session_id: str, prices: Mapping[str, Price]) -> ExitCode:
        """Show what a session has used, also in turns that were undone or replaced."""
        loaded, messages = self._exchange.whole(session_id, everything=True)
        if (session := self._known(session_id, loaded)) is None:
            return ExitCode.USAGE
        said = [message for message, _, _ in messages]
        self._view.stats(stats.of_messages(session.session_id, said, prices))
        return ExitCode.OK

    def cache(self) -> ExitCode:
        """Show what the answer cache holds."""
        read = self._exchange.reply(ReadCache(new_request_id()), CacheRead)
        if read.error or read.stats is None:
            return self._failed("cannot read the cache", read.error)
        self._view.cache(read.stats)
        return ExitCode.OK

    def clear_cache(self, *, yes: bool) -> ExitCode:
        """Empty the answer cache."""
        read = self._exchange.reply(ReadCache(new_request_id()), CacheRead)
        if read.error or read.stats is None:
            return self._failed("cannot read the cache", read.error)
        held = listing.counted(read.stats.entries, "answer")
        size = listing.size(read.stats.size_bytes)
        self._notices.say(
            f"this empties the cache: {held}, {size}; the conversations keep their own"
        )
        if (code := self._consent("nothing was cleared", yes=yes)) is not ExitCode.OK:
            return code
        clear = ReadCache(new_request_id(), clear=True)
        read = self._exchange.reply(clear, CacheRead, _DELETE_WITHIN_S)
        if read.error or read.stats is None:
            return self._failed("cannot empty the cache", read.error)
        entries = read.stats.entries
        line = f"cleared: {listing.counted(entries, 'answer')}"
        self._view.done("cleared", line, entries=entries, size_bytes=read.stats.size_bytes)
        return ExitCode.OK

    # --- parts of them ---------------------------------------------------------------------------

    def _find(self, session_id: str) -> Session | None:
        """Return the session that an id stands for; None when it was said that there is none."""
        load = Load(new_request_id(), session_id, after=_NO_MESSAGES)
        return self._known(session_id, self._exchange.reply(load, Loaded))

    def _known(self, session_id: str, loaded: Loaded) -> Session | None:
        if loaded.error:
            self._failed("cannot load the session", loaded.error)
        elif loaded.session is None:
            self._missing(session_id)
        return loaded.session

    def _missing(self, session_id: str) -> ExitCode:
        self._notices.say(f"there is no session {session_id!r} in the database")
        return ExitCode.USAGE

    def _failed(self, what: str, error: str) -> ExitCode:
        self._notices.say("(given up)" if error == GIVEN_UP else f"{what}: {error}")
        return ExitCode.USAGE if self._exchange.not_saving else ExitCode.TURN_FAILED

    def _announce(self, sessions: Sequence[Session], *, more: bool = False) -> None:
        """Say exactly what is about to be deleted."""
        for line in listing.sessions(sessions):
            self._notices.block(line)
        count = listing.counted(len(sessions), "session")
        messages = listing.counted(sum(session.messages for session in sessions), "message")
        least = "at least " if more else ""
        self._notices.say(f"this deletes {least}{count} with {messages} {_FOR_GOOD}")

    def _consent(self, otherwise: str, *, yes: bool) -> ExitCode:
        """Return OK where the person agrees. Raises KeyboardInterrupt for Ctrl-C."""
        if yes:
            return ExitCode.OK
        if not self._asks:
            self._notices.say(f"{otherwise}: without a person to ask, this needs --yes")
            return ExitCode.USAGE
        answer = self._exchange.read_line("Do it? [y/N] ", consent=True) or ""
        if answer.strip().lower() in ("y", "yes"):
            return ExitCode.OK
        self._notices.say(otherwise)
        return ExitCode.TURN_FAILED

    def _deleted(self, gone: Sequence[Session], *, and_more: bool = False) -> ExitCode:
        if self._json:
            for session in gone:
                fields = {"session_id": session.session_id, "title": session.title}
                self._view.done("deleted", "", **fields)
        else:
            count = listing.counted(len(gone), "session")
            self._notices.say(f"deleted: {count}{' and more' if and_more else ''}")
        return ExitCode.OK
