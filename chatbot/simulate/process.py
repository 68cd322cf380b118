"""The process in the UI's place: it has the run put on by its seat, and says how it went.

One that was killed while it showed the result has nothing to put on: the next one shows it again.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from chatbot.actor import BEAT_EVERY_S
from chatbot.errors import ChatbotError, ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import Beat, Leaving, Ready, UiInbox
from chatbot.settings import UiSettings
from chatbot.simulate.display import Display
from chatbot.simulate.past import REPORT, RESULT, TABLE, is_over
from chatbot.simulate.result import Result, decode
from chatbot.simulate.seat import BY_PERSON, NothingAsked, Seat
from chatbot.simulation import Simulation
from chatbot.tracing import Recorder

INBOX = UiInbox
SETTINGS = UiSettings


def main(
    settings: UiSettings, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Run the simulation, write its report, and tell the supervisor how it went."""
    assert settings.simulation is not None  # noqa: S101 - the settings made it so
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr] # a TextIOWrapper in a process of its own
    outbox.send(Ready(os.getpid()))
    simulation = settings.simulation
    display = Display(settings, simulation)
    try:
        if settings.restarted and is_over(Path(simulation.out)):
            with _beating(outbox):
                code = _show_again(simulation, display)
        else:
            result, written, fault = Seat(
                settings, simulation, inbox, outbox, recorder, display
            ).run()
            with _beating(outbox):
                display.end(result, written, fault)
            code = _code(result, written)
    except NothingAsked:
        display.say("ended before the first turn")
        code = ExitCode.INTERRUPTED
    except ChatbotError as error:
        display.say(str(error))
        code = ExitCode.USAGE
    except BrokenPipeError:  # whoever read the result has seen enough
        code = ExitCode.OK
    except OSError as error:
        display.say(f"{error.filename or simulation.out}: {error.strerror or error}")
        code = ExitCode.TURN_FAILED
    recorder.flush()
    outbox.send(Leaving(code))
    return ExitCode.OK


@contextlib.contextmanager
def _beating(outbox: Outbox) -> Iterator[None]:
    """Beat while the result is shown: whoever reads it may take all the time in the world."""
    is_shown = threading.Event()

    def beat() -> None:
        while not is_shown.wait(BEAT_EVERY_S):
            outbox.send(Beat())

    thread = threading.Thread(target=beat, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_shown.set()
        thread.join()


def _show_again(simulation: Simulation, display: Display) -> ExitCode:
    directory = Path(simulation.out)
    path = directory / RESULT
    result = decode(path.read_bytes(), str(path))
    written = [name for name in (RESULT, REPORT, TABLE) if (directory / name).exists()]
    display.end(result, written, "")
    return _code(result, written)


def _code(result: Result, written: list[str]) -> ExitCode:
    """Return the exit code of a run: what it found out must stand somewhere."""
    if result.ended_early in BY_PERSON:
        return ExitCode.INTERRUPTED
    is_kept = RESULT in written or REPORT in written
    return ExitCode.OK if result.totals.answered and is_kept else ExitCode.TURN_FAILED
