"""The UI process: the modes of the program, and the turn that they share.

    line ──▶ command, or Ask ──▶ … ──▶ Delta… · Answered | Failed | Cancelled | Interrupted ──▶ screen

A terminal that was killed in mid-turn comes back with its conversation, and shows the answer that
the others have finished meanwhile.
"""

import os
import sys
import time
from typing import assert_never

from chatbot.errors import ChatbotError, ExitCode, MessageTooLarge, UsageError
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    BackendName,
    Cancelled,
    Leaving,
    Loaded,
    Ready,
    UiInbox,
)
from chatbot.settings import UiSettings
from chatbot.tracing import Recorder
from chatbot.ui import commands
from chatbot.ui.conversation import Conversation
from chatbot.ui.exchange import Exchange, Leave
from chatbot.ui.sanitize import well_formed
from chatbot.ui.terminal import Stopped
from chatbot.ui.terminal import Terminal as Keyboard
from chatbot.ui.view import JsonView, Notices, TextView, View

INBOX = UiInbox
SETTINGS = UiSettings


def main(
    settings: UiSettings, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Be the terminal until the person leaves; tell the supervisor how it went."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr] # a TextIOWrapper in a process of its own
    try:
        code = Ui(settings, inbox, outbox, recorder).run()
    except Leave as leave:
        code = leave.code
    except (Stopped, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    except UsageError as error:
        Notices(sys.stderr).say(str(error))
        code = ExitCode.USAGE
    except BrokenPipeError:  # whoever read the answers has seen enough
        code = ExitCode.OK
    except ChatbotError as error:
        Notices(sys.stderr).say(str(error))
        code = ExitCode.TURN_FAILED
    recorder.flush()
    outbox.send(Leaving(code))
    return ExitCode.OK


class Ui:
    """A person, or a script, at the terminal."""

    def __init__(
        self, settings: UiSettings, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._notices = Notices(sys.stderr)
        chatting = settings.mode == "chat"
        self._keyboard = Keyboard(inbox, self._notices, chatting=chatting)
        view: View = (
            JsonView(sys.stdout, self._notices)
            if settings.json
            else TextView(
                sys.stdout, self._notices, chatting=chatting, listing=settings.mode == "models"
            )
        )
        self._exchange = Exchange(inbox, outbox, recorder, self._keyboard, view, chatting=chatting)
        self._conversation = Conversation(
            new_session_id(), settings.target, settings.default_models, settings.cache
        )
        self._loaded = Loaded("")
        self._code = ExitCode.OK

    def run(self) -> ExitCode:
        """Do what the mode says; return the exit code."""
        resumes = self._settings.session_id or self._settings.resume_latest
        chats = self._settings.mode == "chat"
        if not (chats and not resumes):
            self._outbox.send(Ready(os.getpid()))
        if resumes:
            self._resume()
        match self._settings.mode:
            case "oneshot":
                self._oneshot()
            case "models":
                self._list(self._settings.models_of)
            case "script":
                self._script()
            case "chat":
                self._chat(announce_ready=not resumes)
            case "manage":
                pass
            case mode:
                assert_never(mode)
        return self._code

    # --- the modes -------------------------------------------------------------------------------

    def _oneshot(self) -> None:
        parts = [self._keyboard.read_all()] if self._settings.prompt_from_stdin else []
        prompt = "\n\n".join(part.strip() for part in (*parts, self._settings.prompt) if part)
        if not prompt.strip():
            raise UsageError("there is nothing to ask: the prompt is empty")
        self._turn(well_formed(prompt))

    def _script(self) -> None:
        while (line := self._keyboard.read_line("")) is not None:
            self._take_line(line)

    def _chat(self, *, announce_ready: bool) -> None:
        chat = self._conversation
        if self._settings.restarted:  # the cursor is wherever the other one was killed
            self._notices.prompt("\n")
        for heading in (
            "=== chatbot ===",
            f"Session: {chat.session_id}",
            f"Backend: {chat.target.backend}",
            "Type /help for commands, /quit to exit",
            "",
        ):
            self._notices.say(heading)
        self._show_loaded()
        while True:
            if announce_ready:  # after the banner: what starts now competes for the processor
                self._outbox.send(Ready(os.getpid()))
                announce_ready = False
            try:
                line = self._keyboard.read_line("You: ")
            except KeyboardInterrupt:
                if self._keyboard.leaves_on_interrupt():
                    self._code = ExitCode.INTERRUPTED
                    break
                continue
            if line is None:
                self._notices.prompt("\n")
                break
            try:
                self._exchange.catch_up(chat)
                self._take_line(line)
            except Leave as leave:
                self._code = leave.code
                break
        self._notices.say("Goodbye!")

    def _list(self, backends: tuple[BackendName, ...]) -> None:
        listed = [self._exchange.models(backend) for backend in backends]
        if all(models.error for models in listed):
            self._code = ExitCode.TURN_FAILED

    # --- lines -----------------------------------------------------------------------------------

    def _take_line(self, line: str) -> None:
        """Do what a line says. Raises Leave for /quit."""
        chat = self._conversation
        match commands.parse(well_formed(line)):
            case None:
                pass
            case commands.Say(text):
                self._turn(text)
            case commands.Quit():
                raise Leave(self._code if self._settings.mode != "chat" else ExitCode.OK)
            case commands.Help():
                self._notices.block(commands.HELP)
            case commands.NewSession():
                chat.new_session(new_session_id())
                self._notices.say(f"Session: {chat.session_id}")
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
                    self._turn_failed()
            case commands.Refused(reason):
                self._refuse(reason)
            case never:
                assert_never(never)

    def _refuse(self, reason: str) -> None:
        self._notices.say(reason)
        if self._settings.mode == "script" and self._code is ExitCode.OK:
            self._code = ExitCode.USAGE

    def _turn_failed(self) -> None:
        if self._settings.mode != "chat":
            self._code = ExitCode.TURN_FAILED

    def _turn(self, text: str) -> None:
        """Ask, and judge the end for the exit code."""
        try:
            terminal = self._exchange.turn(self._conversation, text)
        except MessageTooLarge as error:
            self._notices.say(
                f"too long to be sent: {error}; shorten it, or begin anew with /new-session"
            )
            self._turn_failed()
            return
        if self._exchange.was_interrupted(terminal) and self._settings.mode != "chat":
            raise Leave(ExitCode.INTERRUPTED)
        if not isinstance(terminal, Answered | Cancelled):
            self._turn_failed()

    # --- a session that goes on ------------------------------------------------------------------

    def _resume(self) -> None:
        """Load the session that was asked for; a missing one ends the program."""
        wanted = self._settings.session_id
        loaded = self._exchange.load(wanted or None)
        if loaded.error and self._settings.restarted:  # the chat goes on, with nothing known
            self._conversation.new_session(wanted)
            return
        if loaded.error:
            self._notices.say(f"cannot load the session: {loaded.error}")
            raise Leave(ExitCode.USAGE)
        if loaded.session is None:
            if wanted and not self._settings.restarted:
                self._notices.say(
                    f"there is no session {wanted!r}: --continue takes the latest, or leave the option out"
                )
                raise Leave(ExitCode.USAGE)
            self._notices.say("there is no session yet: this is a new one")
            self._conversation.set_model(self._conversation.target.model)
            return
        back = self._settings.restarted  # then what was chosen last is what the session has
        self._conversation.resume(
            loaded.session,
            loaded.messages,
            keep_backend=self._settings.backend_is_explicit and not back,
            keep_model=self._settings.model_is_explicit and not back,
        )
        self._loaded = loaded

    def _show_loaded(self) -> None:
        """Show what was said in a resumed session, the answer that is still under way included."""
        if self._loaded.truncated:
            self._notices.say("(older messages are not shown)")
        self._notices.history(self._loaded.messages)
        last = self._loaded.messages[-1] if self._loaded.messages else None
        unfinished = last is not None and (last.role == "user" or last.status == "interrupted")
        if self._settings.restarted and unfinished:
            self._exchange.rejoin(self._conversation)


def new_session_id() -> str:
    """Return a session id: the time in Unix seconds, and a suffix that keeps it unique."""
    return f"session_{int(time.time())}_{os.urandom(3).hex()}"
