"""The store with points to die at, and with its rules taken out one at a time.

ACKNOWLEDGES_EARLY   replies go out first; the commit comes with the next look at the inbox
SAVES_TWICE          no statement looks for the request's rows; the database of such a run has to
                     be one without the constraint
"""

import re
from typing import Any

from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Cancelled,
    Failed,
    Interrupted,
    Message,
    Saved,
)
from chatbot.store import process
from chatbot.store.database import Database
from tests.system.storm.arms import Arm
from tests.system.storm.scenario import ACKNOWLEDGES_EARLY, SAVES_TWICE

INBOX = process.INBOX
SETTINGS = process.SETTINGS
main = process.main

_arm = Arm()
_take, _gather, _write = Inbox.take, Outbox.gather, Database._write
_begin, _commit = Database.begin, Database.commit
_under_way: set[str] = set()  # "ask", "answer": of the request that is aimed at
_is_committed = False
_owing: list[Database] = []


def _strike(point: str) -> None:
    for kind in list(_under_way):
        _arm.strike(f"store {point} {kind}")


def _armed_take(self: Inbox[Any], *args: Any, **more: Any) -> list[Any]:
    global _is_committed
    if _owing:
        _strike("owing")
        _commit(_owing.pop())
    batch = _take(self, *args, **more)
    if _is_committed:
        _under_way.clear()
        _is_committed = False
    for message in batch:
        match message:
            case Ask(request_id) if _arm.aims_at(request_id):
                _under_way.add("ask")
            case Answered(request_id) | Failed(request_id) if _arm.aims_at(request_id):
                _under_way.add("answer")
            case Cancelled(request_id) | Interrupted(request_id) if _arm.aims_at(request_id):
                _under_way.add("answer")
    return batch


def _armed_begin(self: Database) -> bool:
    _strike("begin before")
    began = _begin(self)
    _strike("begin after")
    return began


def _armed_commit(self: Database) -> bool:
    global _is_committed
    _strike("commit before")
    if _arm.scenario.mutation == ACKNOWLEDGES_EARLY:
        _owing.append(self)
        committed = True
    else:
        committed = _commit(self)
    _is_committed = True
    _strike("commit after")
    return committed


def _armed_gather(self: Outbox, message: Message) -> None:
    if isinstance(message, Accepted | Saved) and _arm.aims_at(message.request_id):
        kind = "ask" if isinstance(message, Accepted) else "answer"
        _arm.strike(f"store reply before {kind}")
        self.send_now(message)
        _arm.strike(f"store reply after {kind}")
    else:
        _gather(self, message)


def _forgetful_write(self: Database, sql: str, values: Any) -> int:
    forgetful = re.sub(r"ON CONFLICT \(request_id, role\).*", "", sql, flags=re.DOTALL)
    return _write(self, forgetful, values)


Inbox.take = _armed_take  # type: ignore[method-assign] # this process is a test's
Outbox.gather = _armed_gather  # type: ignore[method-assign] # likewise
Database.begin = _armed_begin  # type: ignore[method-assign] # likewise
Database.commit = _armed_commit  # type: ignore[method-assign] # likewise
if _arm.scenario.mutation == SAVES_TWICE:
    Database._write = _forgetful_write  # type: ignore[method-assign] # likewise
