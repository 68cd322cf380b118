"""The UI process: the modes of the program.

    line ──▶ command, or Ask ──▶ … ──▶ Delta… · Answered | Failed | Cancelled | Interrupted ──▶ screen

A terminal that was killed in mid-turn comes back with its conversation, and goes on with the answer
that is still under way. `desk` is the way to a person at a console, and to anybody else.
"""

import os
import sys
from typing import assert_never

from chatbot import host
from chatbot.errors import ChatbotError, ExitCode, UsageError
from chatbot.ids import new_session_id
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import BackendName, Leaving, Ready, UiInbox
from chatbot.sanitize import well_formed
from chatbot.settings import UiSettings
from chatbot.tracing import Recorder
from chatbot.ui import desk
from chatbot.ui.asking import Asking
from chatbot.ui.chat import Chat
from chatbot.ui.conversation import Conversation, Defaults
from chatbot.ui.exchange import Exchange, Leave
from chatbot.ui.lastturn import LastTurn
from chatbot.ui.manage import Library
from chatbot.ui.resuming import Resuming
from chatbot.ui.streams import TextNotices
from chatbot.ui.terminal import Stopped

INBOX = UiInbox
SETTINGS = UiSettings
PROMPT = "You: "

_PARTING_S = 0.1
_ABANDONED = "the program's supervisor has ended, and the chat with it: --continue goes on"


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
        TextNotices(sys.stderr).say(str(error))
        code = ExitCode.USAGE
    except BrokenPipeError:  # whoever read the answers has seen enough
        code = ExitCode.OK
    except ChatbotError as error:
        TextNotices(sys.stderr).say(str(error))
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
        self._supervisor = os.getppid()
        chatting = settings.mode == "chat"
        conversation = Conversation(
            new_session_id(),
            settings.target,
            settings.default_models,
            settings.cache,
            Defaults(
                settings.options_of,
                settings.system_of,
                settings.explicit_options,
                settings.system_is_explicit,
            ),
        )
        self._desk = desk.for_settings(settings, inbox)
        view, notices = self._desk.view, self._desk.notices
        self._notices = notices
        self._exchange = exchange = Exchange(
            inbox,
            outbox,
            recorder,
            self._desk.keyboard,
            view,
            chatting=chatting,
            read_line=self._desk.read_line,
            console=self._desk.console,
        )
        self._desk.serve(exchange)
        asking = Asking(exchange, view)
        asks = chatting or (
            settings.mode in ("models", "manage") and sys.stdin.isatty() and not settings.json
        )
        self._library = Library(exchange, view, notices, asks=asks, json=settings.json)
        self._resuming = Resuming(settings, conversation, exchange, asking, view, notices)
        self._chat = Chat(
            settings,
            conversation,
            exchange,
            asking,
            self._library,
            LastTurn(conversation, exchange, view, notices, self._desk.write_raw),
            self._resuming,
            view,
            notices,
            recorder.tracing,
            edit=self._desk.edit,
            ring=self._desk.ring,
            watches=self._desk.console is not None,
        )

    def run(self) -> ExitCode:
        """Do what the mode says; return the exit code."""
        resumes = self._settings.session_id or self._settings.resume_latest
        chats = self._settings.mode == "chat"
        if not (chats and not resumes):
            self._outbox.send(Ready(os.getpid()))
        if resumes:
            self._resuming.load()
        match self._settings.mode:
            case "oneshot":
                self._oneshot()
            case "models":
                return self._list(self._settings.models_of)
            case "script":
                self._script()
            case "chat":
                return self._chat_on(announce_ready=not resumes)
            case "manage":
                assert self._settings.manage is not None  # noqa: S101 - the settings made it so
                return self._library.do(self._settings.manage)
            case "simulate":
                raise AssertionError("the simulated sessions are another room")
            case mode:
                assert_never(mode)
        return self._chat.code

    # --- the modes -------------------------------------------------------------------------------

    def _oneshot(self) -> None:
        parts = [self._desk.read_all()] if self._settings.prompt_from_stdin else []
        prompt = "\n\n".join(part.strip() for part in (*parts, self._settings.prompt) if part)
        if not prompt.strip():
            raise UsageError("there is nothing to ask: the prompt is empty")
        self._chat.ask_once(well_formed(prompt))

    def _script(self) -> None:
        while (line := self._exchange.read_line("")) is not None:
            self._chat.take_line(line)

    def _chat_on(self, *, announce_ready: bool) -> ExitCode:
        chat = self._chat.conversation
        if self._settings.restarted:  # the cursor is wherever the other one was killed
            self._notices.prompt("\n")
        banner = (
            "=== chatbot ===",
            f"Session: {chat.session_id}",
            f"Backend: {chat.target.backend}",
            "Type /help for commands, /quit to exit",
            "",
        )
        self._chat.show_state()
        self._desk.open(banner, PROMPT)
        return self._desk.run(lambda: self._talk(announce_ready=announce_ready))

    def _talk(self, *, announce_ready: bool) -> ExitCode:
        try:
            if announce_ready:  # after the banner: what starts now competes for the processor
                self._outbox.send(Ready(os.getpid()))
            self._exchange.enter(self._chat.conversation.session_id)
            self._resuming.show_loaded()
            self._chat.show_state()
            code = self._take_lines()
        except Leave as leave:
            code = leave.code
        # Its signal, the end of its pipe, and another parent come in any order.
        is_told = code is ExitCode.INTERRUPTED and self._exchange.was_abandoned(_PARTING_S)
        if not is_told and os.getppid() == self._supervisor:
            self._notices.say("Goodbye!")
        elif host.has_terminal():  # else a shell has it again
            self._notices.say(_ABANDONED)
        return code

    def _take_lines(self) -> ExitCode:
        """Take lines from a person until the end. Raises Leave."""
        while True:
            try:
                line = self._exchange.read_line(PROMPT)
            except KeyboardInterrupt:
                if self._desk.leaves_on_interrupt():
                    return ExitCode.INTERRUPTED
                continue
            if line is None:
                self._notices.prompt("\n")
                return ExitCode.OK
            self._chat.take_line(line)

    def _list(self, backends: tuple[BackendName, ...]) -> ExitCode:
        listed = [self._exchange.models(backend) for backend in backends]
        failed = all(models.error for models in listed)
        return ExitCode.TURN_FAILED if failed else ExitCode.OK
