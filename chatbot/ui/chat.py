"""A chat, line by line: what each line does, and a session that goes on.

`process` reads the lines, `exchange` talks to the other processes, `manage` knows the saved sessions;
here is what a line means for the conversation.
"""

import os
from collections.abc import Callable
from typing import assert_never

from chatbot.errors import ChatbotError, ExitCode, MessageTooLarge, UsageError
from chatbot.ids import new_request_id, new_session_id
from chatbot.messages import (
    Answered,
    Cancelled,
    Load,
    Loaded,
    StoredMessage,
    Terminal,
    Undo,
    Undone,
)
from chatbot.otel import Tracing
from chatbot.sanitize import well_formed
from chatbot.settings import UiSettings
from chatbot.ui import commands, export, listing
from chatbot.ui.conversation import Conversation, Explicit
from chatbot.ui.exchange import GIVEN_UP, Exchange, Leave
from chatbot.ui.manage import Library
from chatbot.ui.view import Notices, View

_LISTED = 20


class Chat:
    """A conversation, and what is done with it. `code` is the exit code that it has come to."""

    def __init__(
        self,
        settings: UiSettings,
        exchange: Exchange,
        library: Library,
        view: View,
        notices: Notices,
        tracing: Tracing,
    ) -> None:
        self.code = ExitCode.OK
        self.conversation = Conversation(
            new_session_id(), settings.target, settings.default_models, settings.cache
        )
        self._settings = settings
        self._exchange = exchange
        self._library = library
        self._view = view
        self._notices = notices
        self._loaded = Loaded("")
        self._tracing = tracing

    # --- lines -----------------------------------------------------------------------------------

    def take_line(self, line: str) -> None:
        """Do what a line says. Raises Leave for /quit."""
        chat = self.conversation
        match commands.parse(well_formed(line)):
            case None:
                pass
            case commands.Say(text):
                self.turn(text)
            case commands.Quit():
                raise Leave(self.code if self._settings.mode != "chat" else ExitCode.OK)
            case commands.Help():
                self._notices.block(commands.HELP)
            case commands.Top():
                self._top()
            case commands.NewSession():
                self._new_session()
            case commands.Switch(backend):
                chat.switch(backend)
                self._notices.say(f"Backend: {backend}, model {chat.target.model}")
            case commands.SetModel("", _):
                self._notices.say(f"Model: {chat.target.model} ({chat.target.backend})")
            case commands.SetModel(name, backend):
                try:
                    taken = chat.set_model(name, backend)
                except UsageError as error:
                    self._refuse(str(error))
                else:
                    self._notices.say(f"Model: {taken} ({backend or chat.target.backend})")
            case commands.ShowModels(backend):
                if self._exchange.models(backend or chat.target.backend).error:
                    self._judge(ExitCode.TURN_FAILED)
            case commands.Refused(reason):
                self._refuse(reason)
            case of_sessions:
                self._take_command(of_sessions)

    def _take_command(self, command: commands.OfSessions) -> None:
        chat = self.conversation
        match command:
            case commands.Sessions():
                self._judge(self._library.list(_LISTED))
            case commands.Resume(""):
                self._judge(self._library.list(_LISTED))
                self._notices.say("/resume ID goes on with one of them")
            case commands.Resume(session_id):
                self._resume(session_id)
            case (
                commands.Rename() | commands.Delete("") | commands.History() | commands.Export()
            ) if chat.is_new:
                self._refuse("nothing has been said in this session yet")
            case commands.Rename(title):
                self._judge(self._library.rename(chat.session_id, title))
            case commands.Delete(session_id):
                self._delete(session_id or chat.session_id)
            case commands.Search(text):
                self._judge(self._library.search(text, _LISTED))
            case commands.History():
                self._guarded(lambda: self._library.show(chat.session_id, with_heading=False))
            case commands.Undo():
                self._undo()
            case commands.Regenerate():
                if chat.turns:
                    self.turn(None)
                else:
                    self._refuse("there is nothing yet to be asked again")
            case commands.Export(file):
                file = os.path.expanduser(file) or export.default_name(chat.session_id)
                kind = export.format_of(file)
                self._guarded(lambda: self._library.export(chat.session_id, kind, file))
            case commands.ShowTrace(number):
                self._show_trace(number)
            case _:
                assert_never(command)

    def turn(self, text: str | None) -> None:
        """Ask, or without a text ask the last question again, and judge the end for the exit code."""
        try:
            terminal = self._exchange.turn(self.conversation, text)
        except MessageTooLarge as error:
            self._notices.say(
                f"too long to be sent: {error}; shorten it, or begin anew with /new-session"
            )
            self._judge(ExitCode.TURN_FAILED)
            return
        self._judge_turn(terminal)

    def _judge_turn(self, terminal: Terminal) -> None:
        if self._exchange.was_interrupted(terminal) and self._settings.mode != "chat":
            raise Leave(ExitCode.INTERRUPTED)
        if not isinstance(terminal, Answered | Cancelled):
            self._judge(ExitCode.TURN_FAILED)

    def _judge(self, code: ExitCode) -> None:
        """Take how something went into the exit code: the last failure counts, and a usage error
        only where nothing failed. In a chat a person has seen it."""
        if self._settings.mode == "chat" or code is ExitCode.OK:
            return
        if code is not ExitCode.USAGE or self.code is ExitCode.OK:
            self.code = code

    def _refuse(self, reason: str) -> None:
        self._notices.say(reason)
        self._judge(ExitCode.USAGE)

    # --- this session ----------------------------------------------------------------------------

    def _top(self) -> None:
        status = self._exchange.status()
        if status is None:
            self._notices.say("(given up)")
        else:
            self._view.status(status, {})

    def _new_session(self) -> None:
        self.conversation.new_session(new_session_id())
        self._exchange.enter(self.conversation.session_id)
        self._notices.say(f"Session: {self.conversation.session_id}")

    def _undo(self) -> None:
        """Take the last turn back, here in any case: the next question is not to be sent with it."""
        chat = self.conversation
        if not chat.turns:
            self._refuse("there is nothing yet to be undone")
            return
        turn = chat.undo()
        undo = Undo(new_request_id(), chat.session_id, turn.request_id)
        undone = self._exchange.reply(undo, Undone)
        if undone.error:
            self._notices.say(f"undone here, but not in the database: {undone.error}")
            self._judge(ExitCode.TURN_FAILED)
            return
        self._view.done("undone", f"undone: {_start_of(turn.question)}", turn=turn.request_id)

    def _show_trace(self, number: int) -> None:
        turns = self.conversation.turns
        if not turns:
            self._refuse("nothing has been asked in this session yet")
        elif number > len(turns):
            self._refuse(f"there is no turn {number}: the last one is {len(turns)}")
        else:
            from chatbot.ui.traces import Traces  # the first prompt is not to wait for it

            trace_id = turns[number - 1].trace_id  # 0: the last
            traces = Traces(
                self._settings.log_dir, self._tracing, self._exchange, self._notices, self._view
            )
            self._guarded(lambda: traces.show(trace_id))

    def _delete(self, session_id: str) -> None:
        try:
            code, gone = self._library.delete((session_id,), yes=False)
        except KeyboardInterrupt:  # at the question
            self._notices.prompt("\n")
            self._notices.say("nothing was deleted")
            return
        self._judge(code)
        if any(session.session_id == self.conversation.session_id for session in gone):
            self._new_session()

    def _guarded(self, action: Callable[[], ExitCode]) -> None:
        """Do what may fail for a reason that is no reason to end the chat."""
        try:
            self._judge(action())
        except BrokenPipeError:
            raise
        except ChatbotError as error:
            self._notices.say(str(error))
            self._judge(ExitCode.TURN_FAILED)

    # --- a session that goes on ------------------------------------------------------------------

    def _resume(self, session_id: str) -> None:
        """Go on with another session, with all that was its own."""
        loaded = self._exchange.reply(Load(new_request_id(), session_id), Loaded)
        if loaded.error:
            given_up = loaded.error == GIVEN_UP
            self._notices.say("(given up)" if given_up else f"cannot load it: {loaded.error}")
            self._judge(ExitCode.TURN_FAILED)
            return
        if loaded.session is None:
            self._refuse(f"there is no session {session_id!r}: /sessions shows which there are")
            return
        try:
            self.conversation.resume(loaded.session, loaded.messages)
        except UsageError as error:
            self._refuse(str(error))
        self._exchange.enter(self.conversation.session_id)
        self._view.heading(loaded.session)
        target = self.conversation.target
        self._notices.say(f"Backend: {target.backend}, model {target.model}")
        self._loaded = loaded
        self.show_loaded()

    def load(self) -> None:
        """Load the session that the settings name; a missing one ends the program."""
        settings, chat = self._settings, self.conversation
        wanted = settings.session_id
        loaded = self._exchange.load(wanted or None)
        if settings.restarted and loaded.session is None:
            # The chat goes on, with nothing known but the answer that may be under way.
            if loaded.error:
                self._notices.say(f"cannot load what was said before: {loaded.error}")
            chat.new_session(wanted or chat.session_id)
            self._loaded = loaded
            return
        if loaded.error:
            self._notices.say(f"cannot load the session: {loaded.error}")
            raise Leave(ExitCode.USAGE)
        if loaded.session is None:
            if wanted:
                self._notices.say(
                    f"there is no session {wanted!r}: --continue takes the latest, or leave the option out"
                )
                raise Leave(ExitCode.USAGE)
            self._notices.say("there is no session yet: this is a new one")
            chat.set_model(chat.target.model)
            return
        explicit = Explicit(
            settings.backend_is_explicit,
            settings.model_is_explicit,
            settings.system_is_explicit,
            settings.explicit_options,
        )
        # After a restart, what was chosen last is what the session has.
        chat.resume(loaded.session, loaded.messages, Explicit() if settings.restarted else explicit)
        self._loaded = loaded

    def show_loaded(self) -> None:
        """Show what was said in a session that goes on. After a restart, the answer that is under way
        belongs to it: with what has come of it, and what is to come."""
        loaded, self._loaded = self._loaded, Loaded("")
        ended = self._exchange.ended()
        under_way = loaded.under_way
        if ended is not None and (ended.request_id == under_way or self._knows_end(ended, loaded)):
            ended = None
        open_ = under_way or (ended.request_id if ended else "")
        if loaded.truncated:
            self._notices.say("(older messages are not shown; /history shows all)")
        for message, unanswered, sibling in listing.by_turns([loaded.messages]):
            if open_ and message.request_id == open_:
                if message.role == "assistant":
                    continue  # a part of what is shown in a moment
                unanswered = False
            session_id = self.conversation.session_id
            self._view.message(session_id, message, unanswered=unanswered, sibling=sibling)
        if under_way:
            self._exchange.follow(self.conversation, loaded)
        elif ended is not None:
            self._exchange.show_ended(self.conversation, ended)

    def _knows_end(self, ended: Terminal, loaded: Loaded) -> bool:
        """Whether a loaded session has the end of a turn already, or does not have the turn at all."""
        if loaded.session is None:
            return False
        turns = [m for m in loaded.messages if m.request_id == ended.request_id]
        return not turns or any(map(_is_finished, turns))


def _is_finished(message: StoredMessage) -> bool:
    finished = message.status == "complete" or message.finish_reason is not None
    return message.role == "assistant" and finished


def _start_of(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
