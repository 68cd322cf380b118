"""The UI process: the modes of the program.

    line ──▶ command, or Ask ──▶ … ──▶ Delta… · Answered | Failed | Cancelled | Interrupted ──▶ screen

A terminal that was killed in mid-turn comes back with its conversation, and goes on with the answer
that is still under way.
"""

import os
import sys
from typing import assert_never

from chatbot.errors import ChatbotError, ExitCode, UsageError
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import BackendName, Leaving, Ready, UiInbox
from chatbot.sanitize import well_formed
from chatbot.settings import UiSettings
from chatbot.tracing import Recorder
from chatbot.ui.chat import Chat
from chatbot.ui.exchange import Exchange, Leave
from chatbot.ui.jsonview import JsonView
from chatbot.ui.manage import Library
from chatbot.ui.streams import TextNotices
from chatbot.ui.terminal import Stopped
from chatbot.ui.terminal import Terminal as Keyboard
from chatbot.ui.textview import TextView
from chatbot.ui.view import View

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
        self._notices = TextNotices(sys.stderr)
        chatting = settings.mode == "chat"
        self._keyboard = Keyboard(inbox, self._notices, chatting=chatting)
        listing = settings.mode in ("models", "manage")
        view: View = (
            JsonView(sys.stdout, self._notices)
            if settings.json
            else TextView(
                sys.stdout,
                self._notices,
                chatting=chatting,
                listing=listing,
                colour=settings.colour,
            )
        )
        self._exchange = Exchange(inbox, outbox, recorder, self._keyboard, view, chatting=chatting)
        asks = chatting or (listing and sys.stdin.isatty() and not settings.json)
        self._library = Library(
            self._exchange, view, self._keyboard, self._notices, asks=asks, json=settings.json
        )
        self._chat = Chat(
            settings, self._exchange, self._library, view, self._notices, recorder.tracing
        )

    def run(self) -> ExitCode:
        """Do what the mode says; return the exit code."""
        resumes = self._settings.session_id or self._settings.resume_latest
        chats = self._settings.mode == "chat"
        if not (chats and not resumes):
            self._outbox.send(Ready(os.getpid()))
        if resumes:
            self._chat.load()
        match self._settings.mode:
            case "oneshot":
                self._oneshot()
            case "models":
                return self._list(self._settings.models_of)
            case "script":
                self._script()
            case "chat":
                return self._talk(announce_ready=not resumes)
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
        parts = [self._keyboard.read_all()] if self._settings.prompt_from_stdin else []
        prompt = "\n\n".join(part.strip() for part in (*parts, self._settings.prompt) if part)
        if not prompt.strip():
            raise UsageError("there is nothing to ask: the prompt is empty")
        self._chat.turn(well_formed(prompt))

    def _script(self) -> None:
        while (line := self._keyboard.read_line("")) is not None:
            self._chat.take_line(line)

    def _talk(self, *, announce_ready: bool) -> ExitCode:
        chat = self._chat.conversation
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
        try:
            self._exchange.enter(chat.session_id)
            self._chat.show_loaded()
            code = self._take_lines(announce_ready=announce_ready)
        except Leave as leave:
            code = leave.code
        self._notices.say("Goodbye!")
        return code

    def _take_lines(self, *, announce_ready: bool) -> ExitCode:
        """Take lines from a person until the end. Raises Leave."""
        while True:
            if announce_ready:  # after the banner: what starts now competes for the processor
                self._outbox.send(Ready(os.getpid()))
                announce_ready = False
            try:
                line = self._keyboard.read_line("You: ")
            except KeyboardInterrupt:
                if self._keyboard.leaves_on_interrupt():
                    return ExitCode.INTERRUPTED
                continue
            if line is None:
                self._notices.prompt("\n")
                return ExitCode.OK
            self._exchange.catch_up()
            self._chat.take_line(line)

    def _list(self, backends: tuple[BackendName, ...]) -> ExitCode:
        listed = [self._exchange.models(backend) for backend in backends]
        failed = all(models.error for models in listed)
        return ExitCode.TURN_FAILED if failed else ExitCode.OK
