"""A chat, line by line: what each line does.

`process` reads the lines, `exchange` and `asking` talk to the other processes, `manage` knows the saved
sessions, `resuming` brings one back, `lastturn` does what can be done with the last turn; here is what a line
means for the conversation.
"""

import os
from collections.abc import Callable
from typing import assert_never

from chatbot.aliases import parse_target
from chatbot.errors import ChatbotError, ExitCode, MessageTooLarge, UsageError
from chatbot.ids import new_session_id
from chatbot.messages import Answered, Cancelled, StatusRead, Target, Terminal
from chatbot.otel import Tracing
from chatbot.sanitize import well_formed
from chatbot.settings import UiSettings, parse_option_value
from chatbot.ui import command_table, commands, export, listing, memory
from chatbot.ui.asking import Asking
from chatbot.ui.contexts import Contexts
from chatbot.ui.conversation import Conversation
from chatbot.ui.exchange import Exchange, Leave
from chatbot.ui.lastturn import LastTurn
from chatbot.ui.manage import Library
from chatbot.ui.resuming import Resuming
from chatbot.ui.view import Notices, View

_LISTED = 20
Edit = Callable[[str], str | None]


class Chat:
    """A conversation, and what is done with it. `code` is the exit code that it has come to. `edit` lets the
    person edit a text; None from it: nothing was changed. `ring`: the bell.
    `watches`: /top goes on until a key is pressed."""

    def __init__(
        self,
        settings: UiSettings,
        conversation: Conversation,
        exchange: Exchange,
        asking: Asking,
        library: Library,
        last: LastTurn,
        resuming: Resuming,
        view: View,
        notices: Notices,
        tracing: Tracing,
        *,
        edit: Edit,
        ring: Callable[[], None],
        watches: bool,
    ) -> None:
        self.code = ExitCode.OK
        self.conversation = conversation
        self._settings = settings
        self._exchange = exchange
        self._asking = asking
        self._library = library
        self._last = last
        self._resuming = resuming
        self._view = view
        self._notices = notices
        self._tracing = tracing
        self._edit = edit
        self._ring = ring
        self._watches = watches
        self._contexts = Contexts(
            conversation,
            exchange,
            view,
            settings.context_lengths,
            in_chat=settings.mode != "oneshot",
        )

    # --- lines -----------------------------------------------------------------------------------

    def take_line(self, line: str) -> None:
        """Do what a line says. Raises Leave for /quit."""
        command = commands.parse(well_formed(line))
        if command is not None:
            self._guarded(lambda: self._take(command))
            self.show_state()

    def _take(self, command: commands.Line) -> ExitCode:
        match command:
            case commands.Say(text):
                return self.turn(text)
            case commands.Quit():
                raise Leave(self.code if self._settings.mode != "chat" else ExitCode.OK)
            case commands.Help(name):
                found = command_table.find(name)
                self._notices.block(command_table.about(found) if found else command_table.HELP)
                return ExitCode.OK
            case commands.Refused(reason):
                raise UsageError(reason)
            case commands.Top():
                return self._top()
            case commands.ShowTrace(number):
                return self._show_trace(number)
            case (
                commands.Switch()
                | commands.SetModel()
                | commands.ShowModels()
                | commands.System()
                | commands.SetOption()
                | commands.Show()
            ):
                return self._take_setting(command)
            case (
                commands.Regenerate()
                | commands.Edit()
                | commands.Undo()
                | commands.Fan()
                | commands.Pick()
                | commands.Copy()
                | commands.Thinking()
            ):
                return self._take_of_turns(command)
            case _:
                return self._take_of_sessions(command)

    def _take_of_turns(self, command: commands.OfTurns) -> ExitCode:
        match command:
            case commands.Regenerate():
                if not self.conversation.turns:
                    raise UsageError("there is nothing yet to be asked again")
                return self.turn(None)
            case commands.Edit():
                return self._edit_last()
            case commands.Fan(names, question):
                return self._fan(names, question)
            case commands.Pick(number):
                return self._last.pick(number)
            case commands.Undo():
                return self._last.undo()
            case commands.Copy(what, number):
                return self._last.copy(what, number)
            case commands.Thinking():
                return self._last.thoughts()
            case _:
                assert_never(command)

    def _take_setting(self, command: commands.OfSettings) -> ExitCode:
        chat = self.conversation
        match command:
            case commands.Switch(name):
                backend, model = parse_target(name, self._settings.aliases)
                chat.switch(backend)
                if model:
                    chat.set_model(model)
                self._notices.say(f"Backend: {backend}, model {chat.target.model}")
            case commands.SetModel("", _):
                self._notices.say(f"Model: {chat.target.model} ({chat.target.backend})")
            case commands.SetModel(name, backend_) if not backend_ and name in (
                self._settings.aliases
            ):
                return self._take_setting(commands.Switch(name))
            case commands.SetModel(name, backend_):
                taken = chat.set_model(name, backend_)
                self._notices.say(f"Model: {taken} ({backend_ or chat.target.backend})")
            case commands.ShowModels(backend_):
                listed = self._exchange.models(backend_ or chat.target.backend)
                return ExitCode.TURN_FAILED if listed.error else ExitCode.OK
            case commands.System(None):
                self._notices.say(f"System prompt: {chat.target.system or '(none)'}")
            case commands.System(text):
                chat.set_system(text or "")
                self._notices.say("System prompt: set" if text else "System prompt: (none)")
            case commands.SetOption("", _):
                self._notices.say(_options_line(chat.target))
            case commands.SetOption(key, value):
                chat.set_option(key, None if value == "-" else parse_option_value(value, key))
                self._notices.say(_options_line(chat.target))
            case commands.Show():
                for line in self._shown():
                    self._notices.say(line)
            case _:
                assert_never(command)
        return ExitCode.OK

    def _take_of_sessions(self, command: commands.OfSessions) -> ExitCode:
        chat = self.conversation
        match command:
            case commands.NewSession():
                self._new_session()
            case commands.Sessions():
                return self._library.list(_LISTED)
            case commands.Resume(""):
                code = self._library.list(_LISTED)
                self._notices.say("/resume ID goes on with one of them")
                return code
            case commands.Resume(session_id):
                return self._resuming.resume(session_id)
            case (
                commands.Rename()
                | commands.Delete("")
                | commands.History()
                | commands.Export()
                | commands.ShowStats()
            ) if chat.is_new:
                raise UsageError("nothing has been said in this session yet")
            case commands.Rename(title):
                return self._library.rename(chat.session_id, title)
            case commands.Delete(session_id):
                return self._delete(session_id or chat.session_id)
            case commands.Search(text):
                return self._library.search(text, _LISTED)
            case commands.History():
                return self._library.show(chat.session_id, with_heading=False)
            case commands.Export(file):
                file = os.path.expanduser(file) or export.default_name(chat.session_id)
                return self._library.export(chat.session_id, export.format_of(file), file)
            case commands.ShowStats():
                return self._library.stats(chat.session_id, self._settings.prices)
            case _:
                assert_never(command)
        return ExitCode.OK

    def show_state(self) -> None:
        """Show whom the next question goes to."""
        state, chat = self._exchange.state, self.conversation
        state.session_id = chat.session_id
        state.backend, state.model = chat.target.backend, chat.target.model
        state.answers = len(chat.siblings)
        self._contexts.show()

    # --- turns -----------------------------------------------------------------------------------

    def ask_once(self, text: str) -> None:
        """Ask what is all that is asked."""
        self._guarded(lambda: self.turn(text))

    def turn(self, text: str | None, *, replacing: bool = False) -> ExitCode:
        """Ask, or without a text ask the last question again; return what its end means for the exit
        code. Raises Leave."""
        chat = self.conversation
        ended = self._asked(lambda: [self._asking.turn(chat, text, replacing=replacing)])
        return self._weighed(ended)

    def _fan(self, names: tuple[str, ...], question: str) -> ExitCode:
        chat = self.conversation
        targets = [chat.target_of(*parse_target(name, self._settings.aliases)) for name in names]
        replacing = not question
        if replacing:
            if not chat.turns:
                raise UsageError("there is no question yet: /fan BACKEND,BACKEND QUESTION asks one")
            question = chat.turns[-1].question
        ended = self._asked(lambda: self._asking.fan(chat, question, targets, replacing=replacing))
        answered = next((n for n, turn in enumerate(chat.siblings, 1) if turn.answer), 0)
        if answered > 1:  # the first has no answer to go on with
            self._last.pick(answered)
        if answered and self._settings.mode == "chat":
            self._notices.say(f"/pick N goes on with another; now it is {answered}")
        return self._weighed(ended)

    def _edit_last(self) -> ExitCode:
        if not self.conversation.turns:
            raise UsageError("there is no question yet to be edited")
        question = self.conversation.turns[-1].question
        edited = self._edit(question)
        text = well_formed(edited or "").strip()
        if not text or text == question.strip():
            self._notices.say("nothing was changed")
            return ExitCode.OK
        self._exchange.show_typed(text)
        return self.turn(text, replacing=True)

    def _asked(self, ask: Callable[[], list[Terminal]]) -> list[Terminal]:
        try:
            ended = ask()
        except MessageTooLarge as error:
            raise ChatbotError(
                f"too long to be sent: {error}; shorten it, or begin anew with /new-session"
            ) from error
        if self._settings.mode != "chat" and any(map(self._asking.was_interrupted, ended)):
            raise Leave(ExitCode.INTERRUPTED)
        if self._settings.bell and any(isinstance(terminal, Answered) for terminal in ended):
            self._ring()
        return ended

    def _weighed(self, ended: list[Terminal]) -> ExitCode:
        """Say what is to be known once the conversation goes on; return what these ends mean."""
        self._contexts.weigh(ended)
        fine = all(isinstance(terminal, Answered | Cancelled) for terminal in ended)
        return ExitCode.OK if fine else ExitCode.TURN_FAILED

    # --- this session ----------------------------------------------------------------------------

    def _top(self) -> ExitCode:
        if self._watches:
            try:
                self._exchange.watch(lambda read: self._view.watch(read, _memory_of(read)))
            finally:
                self._view.end_watch()
            return ExitCode.OK
        status = self._exchange.status()
        if status is None:
            self._notices.say("(given up)")
        else:
            self._view.status(status, _memory_of(status))
        return ExitCode.OK

    def _new_session(self) -> None:
        self.conversation.new_session(new_session_id())
        self._exchange.enter(self.conversation.session_id)
        self._notices.say(f"Session: {self.conversation.session_id}")

    def _show_trace(self, number: int) -> ExitCode:
        turns = self.conversation.turns
        if not turns and not self.conversation.is_new:
            raise UsageError("there is no turn left in this session")
        if not turns:
            raise UsageError("nothing has been asked in this session yet")
        if number > len(turns):
            raise UsageError(f"there is no turn {number}: the last one is {len(turns)}")
        from chatbot.ui.traces import Traces  # the first prompt is not to wait for it

        trace_id = turns[number - 1].trace_id  # 0: the last
        traces = Traces(
            self._settings.log_dir, self._tracing, self._exchange, self._notices, self._view
        )
        return traces.show(trace_id)

    def _delete(self, session_id: str) -> ExitCode:
        try:
            code, gone = self._library.delete((session_id,), yes=False)
        except KeyboardInterrupt:  # at the question
            self._notices.prompt("\n")
            self._notices.say("nothing was deleted")
            return ExitCode.OK
        if any(session.session_id == self.conversation.session_id for session in gone):
            self._new_session()
        return code

    def _shown(self) -> list[str]:
        chat, target = self.conversation, self.conversation.target
        return [
            f"Session: {chat.session_id}",
            f"Backend: {target.backend}, model {target.model}",
            f"System prompt: {target.system or '(none)'}",
            _options_line(target),
            f"Said so far: {listing.counted(len(chat.turns), 'turn')}",
        ]

    # --- how it went -----------------------------------------------------------------------------

    def judge(self, code: ExitCode) -> None:
        """Take how something went into the exit code: the last failure counts, and a usage error
        only where nothing failed. In a chat a person has seen it."""
        if self._settings.mode == "chat" or code is ExitCode.OK:
            return
        if code is not ExitCode.USAGE or self.code is ExitCode.OK:
            self.code = code

    def _guarded(self, action: Callable[[], ExitCode]) -> None:
        """Do what may fail for a reason that is no reason to end the chat."""
        try:
            self.judge(action())
        except BrokenPipeError:
            raise
        except UsageError as error:
            self._notices.say(str(error))
            self.judge(ExitCode.USAGE)
        except ChatbotError as error:
            self._notices.say(str(error))
            self.judge(ExitCode.TURN_FAILED)


def _options_line(target: Target) -> str:
    named = ", ".join(f"{key} {value}" for key, value in target.options.items())
    return f"Options: {named or '(none)'}"


def _memory_of(status: StatusRead) -> dict[int, int]:
    return memory.resident(process.pid for process in status.processes if process.pid)
