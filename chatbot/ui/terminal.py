"""Lines in, and Ctrl-C: what the person does at the keyboard.

Ctrl-C belongs to this process; the supervisor passes on one that reached only itself. At the prompt
it ends the reading of the line at once, elsewhere it becomes an `Interrupt` in the inbox, so that
the work loop meets it in its own order. One that the work loop has not met when the next line is to
be read ends that reading instead.
"""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from chatbot.errors import ChatbotError, UsageError
from chatbot.mailbox import Inbox
from chatbot.messages import Interrupt, Stop, UiInbox
from chatbot.ui.view import Notices

_AGAIN_S = 2.0
_ECHO_WITHIN_S = 2.0
_KICK_S = 0.05
_PATIENCE = 2  # so many keys may go unheard before one ends the program by itself


class Stopped(ChatbotError):
    """Raised at the prompt when the program is to end."""


class Pressed(Interrupt, frozen=True):
    """Ctrl-C, as this process had it itself."""


class Keys:
    """Tells one Ctrl-C from two. Pure.

    The terminal sends Ctrl-C to this process and to the supervisor, who passes it on, perhaps much
    later on a busy machine: what is passed on shortly after we had one ourselves is the same key.
    """

    def __init__(self) -> None:
        self._own: list[float] = []

    def pressed(self, now: float) -> None:
        """This process was interrupted."""
        self._own.append(now)

    def is_echo(self, now: float) -> bool:
        """Whether what the supervisor passes on now was counted already."""
        self._own = [then for then in self._own if now - then < _ECHO_WITHIN_S]
        if self._own:
            del self._own[0]
            return True
        return False


class Terminal:
    """The keyboard, as lines and interrupts.

    `chatting`: a person is at it, whose Ctrl-C reaches this process by itself, and means no more
    than the line at the prompt. A script is ended by any.
    """

    def __init__(self, inbox: Inbox[UiInbox], notices: Notices, *, chatting: bool) -> None:
        self._inbox = inbox
        self._notices = notices
        self._chatting = chatting
        self._at_prompt = False
        self._stopped = False
        self._keys = Keys()
        self._last_interrupt = float("-inf")
        self._unheard = 0
        self._passed_on = 0  # the reader's thread counts these, the main thread those it has met
        self._met = 0
        self._line_before = ""
        self._edits = sys.stdin.isatty() and sys.stdout.isatty()
        if self._edits:
            with contextlib.suppress(ImportError):  # not on Windows, whose console edits itself
                import readline

                self._readline = readline
        self.on_stop: Callable[[], None] = lambda: (
            None
        )  # also in a signal handler, or the reader's thread
        inbox.on_arrival = self._on_arrival
        inbox.start()  # a Stop must be heard at the first prompt already
        signal.signal(signal.SIGINT, self._on_sigint)
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def read_line(self, prompt: str) -> str | None:
        """Return the next line, or None at the end of the input.

        Raises KeyboardInterrupt when Ctrl-C was pressed, Stopped when the program is to end, and
        UsageError when the input cannot be read.
        """
        if not self._edits:
            self._notices.prompt(prompt)
        try:
            self._begin_to_read()
            if self._edits:
                return input(prompt)
            line = sys.stdin.readline()
        except EOFError:
            return None
        except OSError as error:
            if self._edits:  # the terminal has hung up
                return None
            raise _unreadable(error) from error
        finally:
            self._at_prompt = False
        return line if line else None

    @property
    def is_stopped(self) -> bool:
        """Whether the program is to end."""
        return self._stopped

    def read_all(self) -> str:
        """Return all of the standard input. Raises like `read_line`."""
        try:
            self._begin_to_read()
            return sys.stdin.read()
        except OSError as error:
            raise _unreadable(error) from error
        finally:
            self._at_prompt = False

    def is_echo(self, interrupt: Interrupt) -> bool:
        """Whether this interrupt only repeats one that this process had itself."""
        self._unheard = 0
        if isinstance(interrupt, Pressed):
            return False
        self._met += 1
        return self._keys.is_echo(time.monotonic())

    def leaves_on_interrupt(self) -> bool:
        """Whether this Ctrl-C at the prompt means leaving: the second one in two seconds, on an
        empty line. The first one says so."""
        now = time.monotonic()
        again = now - self._last_interrupt < _AGAIN_S
        self._last_interrupt = float("-inf") if self._line_before else now
        self._notices.prompt("\n")
        if self._line_before or again:
            return again and not self._line_before
        self._notices.say("(Ctrl-C again, or Ctrl-D, leaves)")
        return False

    def _begin_to_read(self) -> None:
        self._at_prompt = True  # from here on a handler raises; what came before is looked at here
        if self._stopped:
            raise Stopped("stopped")
        if self._unheard or (self._passed_on > self._met and not self._chatting):
            self._unheard = 0
            self._line_before = ""
            raise KeyboardInterrupt

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._at_prompt and self._stopped:
            raise Stopped("stopped")
        self._keys.pressed(time.monotonic())
        if not self._at_prompt:
            self._unheard += 1
            if self._unheard > _PATIENCE:  # the work loop stands in a write that nobody reads
                raise KeyboardInterrupt
            self._inbox.post(Pressed())
            return
        self._line_before = self._readline.get_line_buffer() if hasattr(self, "_readline") else ""
        raise KeyboardInterrupt

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopped = True
        if self._at_prompt:
            raise Stopped("stopped")
        self.on_stop()
        self._inbox.post(Stop())

    def _on_arrival(self, batch: list[UiInbox]) -> None:
        """In the reader's thread: what ends the reading must reach a main thread that reads."""
        interrupts = sum(isinstance(message, Interrupt) for message in batch)
        self._passed_on += interrupts
        stops = any(isinstance(message, Stop) for message in batch)
        if stops:
            self._stopped = True
            self.on_stop()
        ends = stops or (interrupts and not self._chatting)
        if ends and self._at_prompt and hasattr(signal, "pthread_kill"):
            threading.Thread(target=self._end_reading, name="end-reading", daemon=True).start()

    def _end_reading(self) -> None:
        """Interrupt the main thread until it reads no more: a signal that comes in the instant before
        its read begins is noted, and the read blocks all the same."""
        main_thread = threading.main_thread().ident
        pause = threading.Event()
        while self._at_prompt and main_thread is not None:
            signal.pthread_kill(main_thread, signal.SIGINT)
            pause.wait(_KICK_S)


def _unreadable(error: OSError) -> UsageError:
    return UsageError(f"cannot read the standard input: {error.strerror or error}")
