"""The recovery of a damaged database: put aside, whole, and a new one made of what can be read.

The original is never written to, and nothing of it is removed; its files only change their names:

    1. lock X.recovery-lock against other recoveries, and X, so that no other program opens it
    2. copy it to the directory X.recovery, which has a mark in it; only the copy is read
    3. write all that can be read to a new database there; when it is whole, move it to X.recovering
    4. rename X to X.damaged-1, then its X-wal, X-shm and X-journal along with it
    5. rename X.recovering to X

Killed before 4, X is as it was; X.recovering, if it is there, is removed by whoever opens X next, and
all that is left by the next recovery. Killed in 4 or 5, X is missing while X.recovering is there, and whole: `database.py` refuses
to begin anew, and `recover` goes on where the first one stopped. Where X itself is missing or empty
and only its log is left, an empty X is put aside with it. What stands under one of these names and
was not made here is never removed.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable
from typing import IO

import msgspec

from chatbot import actor, host
from chatbot.errors import ExitCode, StoreUnavailable
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    Ask,
    Beat,
    Cancelled,
    Checkpoint,
    Failed,
    Interrupted,
    Ready,
    Recover,
    Recovered,
    Stop,
    StoreInbox,
    refused,
)
from chatbot.settings import StoreSettings
from chatbot.store import files, text, wal
from chatbot.store.alone import in_the_way, locked_original, turn
from chatbot.store.database import Database
from chatbot.store.faults import directory_of, foreign, unusable
from chatbot.store.salvage import is_sound, salvage
from chatbot.store.workshop import copy_all, settle_copy, workshop
from chatbot.tracing import Recorder

_ASIDE = ".damaged-"


class Recovery(msgspec.Struct, frozen=True):
    """Where the damaged database is now, and how many rows the new one has."""

    copy: str
    sessions: int
    messages: int


def recover(path: str, beat: Callable[[], None] = lambda: None) -> Recovery:
    """Put the database aside and begin a new one with all that can be read from it.

    Raises StoreUnavailable, and then everything stays as it is, when another program has the
    database open, when it is not one of ours or of a newer version, when something of another's
    stands in the way, or when something cannot be written: it needs room for two copies meanwhile.
    Calls `beat` at least after every 4 MB and every thousand rows.
    """
    try:
        _refuse_others(path)  # before anything is made
        with turn(path):
            _refuse_others(path)
            if files.is_recovering(path) and not os.path.lexists(path):
                return _put_in_place(path, max(_last_aside(path), 1))
            with locked_original(path) as original:
                _build(path, original, beat)
                if not host.RENAMES_WHAT_IS_OPEN:
                    original.close()
                return _put_in_place(path, _last_aside(path) + 1)
    except OSError as error:
        raise unusable(path, error) from error


def serve(
    settings: StoreSettings, inbox: Inbox[StoreInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Serve `Recover` until Stop; everything else is refused, since the database stays closed.

    Raises StoreUnavailable where there is nothing to recover, and for what would have to be saved.
    """
    path = text.shown(settings.path)
    _refuse_others(settings.path)
    outbox.send(Ready(os.getpid()))
    for batch in actor.batches(inbox, outbox, recorder):
        for message in batch:
            match message:
                case Stop():
                    return ExitCode.OK
                case Recover():
                    outbox.send(_recovered(settings.path, message, outbox, recorder))
                case Ask() | Answered() | Failed() | Cancelled() | Interrupted() | Checkpoint():
                    raise StoreUnavailable(f"{path} is about to be recovered: nothing is saved")
                case _:
                    outbox.send(refused(message, f"{path} is about to be recovered: it is closed"))
    return ExitCode.OK


def _recovered(path: str, message: Recover, outbox: Outbox, recorder: Recorder) -> Recovered:
    try:
        result = recover(path, lambda: outbox.send(Beat()))
    except StoreUnavailable as error:
        recorder.log("error", "recovery_failed", path=text.shown(path), reason=str(error))
        return Recovered(message.request_id, error=str(error))
    recorder.log(
        "warning",
        "recovered",
        path=text.shown(path),
        copy=text.shown(result.copy),
        sessions=result.sessions,
        messages=result.messages,
    )
    return Recovered(message.request_id, result.copy, result.sessions, result.messages)


def _refuse_others(path: str) -> None:
    """Refuse what is not there, what is no file of a database, and what stands in our way."""
    name = text.shown(path)
    files.refuse_links(path)
    if os.path.lexists(path + files.RECOVERING) and not files.is_recovering(path):
        raise in_the_way(path + files.RECOVERING)
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        if files.is_recovering(path) or files.size_of(f"{path}-wal") > wal.HEADER_BYTES:
            return
        raise StoreUnavailable(f"there is no database {name}: nothing to recover") from None
    if not stat.S_ISREG(mode):
        raise foreign(path)


def _build(path: str, original: IO[bytes], beat: Callable[[], None]) -> None:
    """Make X.recovering, whole at once: it is built in a directory of its own, then moved out."""
    with workshop(path) as directory:
        copied, built = os.path.join(directory, "copy"), os.path.join(directory, "new.db")
        copy_all(path, original, copied, beat)
        needed = not _opens(path)
        ours = settle_copy(path, copied)
        if not needed and is_sound(copied):
            raise StoreUnavailable(f"{text.shown(path)} is not damaged; nothing was changed")
        with contextlib.closing(Database.open(built)) as target:
            salvage(copied, target, beat)
            counts = _counts(target)
        if not ours and not any(counts):
            raise foreign(path)
        os.replace(built, path + files.RECOVERING)
    host.sync_directory(directory_of(path))


def _opens(path: str) -> bool:
    """Whether the program would open the database, as far as its first bytes and its log tell."""
    try:
        return files.prepare(path, must_exist=True)
    except StoreUnavailable:
        return False


def _put_in_place(path: str, number: int) -> Recovery:
    """Give the original its new name, and the new database the original's. May be done again.

    The file itself goes first: a write-ahead log without it is noticed, the other way round it
    would be read without its last messages.
    """
    aside = f"{path}{_ASIDE}{number}"
    for ending in ("", *files.SIDECARS):
        if os.path.lexists(path + ending) and not os.path.lexists(aside + ending):
            try:
                os.rename(path + ending, aside + ending)
            except OSError:
                if ending == "":  # nothing has been changed yet, and nothing is to be finished
                    os.unlink(path + files.RECOVERING)
                raise
    host.sync_directory(directory_of(path))
    os.rename(path + files.RECOVERING, path)
    host.sync_directory(directory_of(path))
    with contextlib.closing(Database.open(path, must_exist=True)) as database:
        return Recovery(aside, *_counts(database))


def _counts(database: Database) -> tuple[int, int]:
    row = database.one(
        "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM messages)"
    ) or (0, 0)
    return row[0], row[1]


def _last_aside(path: str) -> int:
    """Return the highest n of all the `X.damaged-n` there are, and of the files beside them."""
    prefix = os.path.basename(path) + _ASIDE
    found = [
        re.match("[0-9]+", name.removeprefix(prefix))
        for name in os.listdir(directory_of(path))
        if name.startswith(prefix)
    ]
    return max((int(match[0]) for match in found if match), default=0)
