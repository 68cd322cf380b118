"""A small room, for the tests of the shell around it: it does what the notices it gets say."""

import os

from chatbot import actor
from chatbot.errors import ExitCode, UsageError
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import Message, Notice, Ready, Stop
from chatbot.tracing import Recorder

INBOX = Notice | Stop
SETTINGS = str


def main(settings: str, inbox: Inbox[Message], outbox: Outbox, recorder: Recorder) -> ExitCode:
    if settings == "refuse to start":
        raise UsageError("cannot start: the reason")
    outbox.send(Ready(os.getpid()))
    for batch in actor.batches(inbox, outbox, recorder):
        for message in batch:
            match message:
                case Notice("raise"):
                    raise ValueError("a defect")
                case Notice(text):
                    outbox.send(Notice(f"{text}, heard"))
                case Stop():
                    outbox.send(Notice("drained"))
                    return ExitCode.OK
                case _:
                    raise TypeError(message)
    return ExitCode.OK
