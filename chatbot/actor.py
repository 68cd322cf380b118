"""The shell of every child process: signals, boot, the beat of its loop, drain, exit code.

The supervisor starts `run` in a new process. It imports the room named in the plan and calls its
`main(settings, inbox, outbox, recorder) -> ExitCode`, the same shape for all of them:

    set up · outbox.send(Ready(…)) · for batch in actor.batches(…): match … · drain · return

A ChatbotError that escapes is a resignation: the room cannot start, or cannot go on, and says why.
Anything else that escapes is a crash: it is logged, and the exit code tells. No traceback reaches
the terminal.
"""

import importlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, TypeVar

import msgspec

from chatbot import host
from chatbot.errors import ChatbotError, DatabaseDamaged, ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import Beat, ProcessRole, Resigned, Stop
from chatbot.otel import Tracing
from chatbot.tracing import Recorder

BEAT_EVERY_S = 1.0
RESIGNED = 3
CRASHED = 70

_DRAIN_S = 5.0

M = TypeVar("M")


class Child(msgspec.Struct, frozen=True):
    """What a child process is: its role and slot, the module of its room, and whether it must drain.

    `outlives_parent` is for who has something to write down before it goes: the store, telemetry. The
    others get `parent_signal` from the kernel when the supervisor dies, where the kernel can do that.
    `heeds_sigterm` False: only the supervisor can stop it, and the end of the pipe. Who sends SIGTERM to
    the whole group means the program, and whoever hears of the others' ends must not leave first.
    """

    role: ProcessRole
    slot: int
    module: str
    outlives_parent: bool = False
    heeds_sigterm: bool = True
    parent_signal: int = host.KILL
    tracing: Tracing = Tracing()


def run(child: Child, inbox_end: Any, outbox_end: Any, stdin: Any = None) -> None:
    """Be that child: the target of its process. Exits the process; does not return.

    The first frame of its pipe holds the settings of its room, of the type that the room names.
    """
    inbox: Inbox[Any] | None = None

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        del number, frame
        if inbox is None:  # nothing has been begun that would have to be finished
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            inbox.post(Stop())

    for number in host.SHELL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, on_sigterm if child.heeds_sigterm else signal.SIG_IGN)
    host.let_shell_signals_in()
    if not child.outlives_parent:
        host.die_with_parent(child.parent_signal)
    if stdin is not None:
        stdin.adopt()
    outbox = Outbox(outbox_end)
    recorder = Recorder(child.role, child.slot, outbox.offer, child.tracing)
    threading.excepthook = lambda hook: log_crash(recorder, hook.exc_value)
    code: int
    try:
        module = importlib.import_module(child.module)
        settings = msgspec.msgpack.decode(inbox_end.recv_bytes(), type=module.SETTINGS)
        inbox = Inbox(inbox_end, module.INBOX)
        host.collect_seldom()
        code = module.main(settings, inbox, outbox, recorder)
    except ChatbotError as error:
        recorder.log("error", "resigned", reason=str(error))
        outbox.send(Resigned(str(error), lasting=isinstance(error, DatabaseDamaged)))
        code = RESIGNED
    except EOFError:  # the supervisor is gone before it has said anything
        code = ExitCode.OK
    except Exception as error:  # noqa: BLE001 - the last line of defence: logged, told by the code
        log_crash(recorder, error)
        code = CRASHED
    recorder.flush()
    outbox.close(_DRAIN_S)
    os._exit(code)  # daemon threads still stand in their reads; waiting for them would be for ever


def batches(
    inbox: Inbox[M], outbox: Outbox, recorder: Recorder, idle_s: float = BEAT_EVERY_S
) -> Iterator[list[M]]:
    """Yield the inbox's batches (empty ones when idle), beating and flushing telemetry between them.

    The beat comes from here, the work loop itself, so that a loop that is stuck falls silent.
    """
    last_beat = 0.0
    for batch in inbox.batches(min(idle_s, BEAT_EVERY_S)):
        yield batch
        now = time.monotonic()
        is_due = now - last_beat >= BEAT_EVERY_S
        if is_due or inbox.is_empty:  # else it goes along with what is recorded of the next batch
            recorder.flush()
        if is_due:
            last_beat = now
            outbox.send(Beat())


def log_crash(recorder: Recorder, error: BaseException | None) -> None:
    """Log an exception that nobody expected, with its traceback."""
    trace = "".join(traceback.format_exception(error)) if error else ""
    recorder.log("error", "crashed", error=repr(error), traceback=trace[-4000:])
    recorder.flush()
