"""The worker with points to die at; with SAYS_NOTHING, no `Sending` leaves it."""

import threading

from chatbot.mailbox import Outbox
from chatbot.messages import Answered, Delta, Message, Sending
from chatbot.worker import process
from tests.fakes import eventually
from tests.system.storm.arms import Arm
from tests.system.storm.journal import Tail
from tests.system.storm.scenario import REQUEST_RECEIVED, SAYS_NOTHING

INBOX = process.INBOX
SETTINGS = process.SETTINGS
main = process.main

_arm = Arm()
_send, _gather, _send_now = Outbox.send, Outbox.gather, Outbox.send_now


def _armed_send_now(self: Outbox, *messages: Message) -> None:
    told = [m.request_id for m in messages if isinstance(m, Sending)]
    aimed = [request_id for request_id in told if _arm.aims_at(request_id)]
    if aimed:
        _arm.strike("worker sending before")
    if not told or _arm.scenario.mutation != SAYS_NOTHING:
        _send_now(self, *messages)
    for request_id in aimed:
        _arm.strike("worker sending after")
        if _arm.scenario.point == REQUEST_RECEIVED:
            threading.Thread(target=_strike_when_received, args=(request_id,)).start()


def _strike_when_received(text: str) -> None:
    """Die when the server has the request; it does not answer before."""
    tail = Tail(_arm.directory)

    def is_received() -> bool:
        return any(line.what == "received" and line.text == text for line in tail.read())

    if eventually(is_received):
        _arm.strike(REQUEST_RECEIVED)


def _armed_send(self: Outbox, message: Message) -> None:
    if isinstance(message, Delta) and _arm.aims_at(message.request_id):
        _send_now(self, message)
        _arm.strike("worker piece sent")
    else:
        _send(self, message)


def _armed_gather(self: Outbox, message: Message) -> None:
    if isinstance(message, Answered) and _arm.aims_at(message.request_id):
        _arm.strike("worker answer before")
        _send_now(self, message)
        _arm.strike("worker answer after")
    else:
        _gather(self, message)


Outbox.send = _armed_send  # type: ignore[method-assign] # this process is a test's
Outbox.gather = _armed_gather  # type: ignore[method-assign] # likewise
Outbox.send_now = _armed_send_now  # type: ignore[method-assign] # likewise
