"""The terminal of the interactive chat: the only place that writes there while it runs.

Two threads meet here. The main thread runs prompt_toolkit (`stage`), which has the keyboard and paints; the
chat's thread does what is asked for, and calls what is below "from the chat's thread". What a person does is
posted as events, in the order in which it was done; what the chat shows is kept under a lock until a frame
takes it. Before `run` it is kept for the first frame, after it it is written at once.

prompt_toolkit is loaded by `run`, after the prompt can be seen: what is typed meanwhile is echoed by the
terminal itself, and is the input's first text.
"""

import errno
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Generic, TypeVar

from chatbot import host
from chatbot.errors import ChatbotError, ExitCode
from chatbot.messages import Interrupt
from chatbot.ui import commands, lines
from chatbot.ui.events import Left, Pressed, Typed
from chatbot.ui.lines import Fragment, Line
from chatbot.ui.live import Frame, Live
from chatbot.ui.terminal import Keys

if TYPE_CHECKING:
    from chatbot.ui.console.adapt import Candidate
    from chatbot.ui.console.paint import Text
    from chatbot.ui.console.past import Past
    from chatbot.ui.console.stage import Stage

T = TypeVar("T")

_PATIENCE = 2  # so many presses may go unheard before one ends the program by itself
_LEAVES_WITHIN_S = 10.0
_SWITCH_S = (
    0.0005  # a frame under way must not keep the chat's thread, or the inbox's, from running
)
# Ends a frame in its middle, colours and lines that are not broken, erases what is behind the cursor, shows it.
_LEFT_BEHIND = "\x1b[?2026l\x1b[0m\x1b[?7h\x1b[J\x1b[?25h"
_MAKE_ROOM = (
    "\r\x1b[K\x1b[C\x1b[J\r\n"  # as `paint` erases, which is not loaded yet; then an empty line
)
_YIELD_S = 0.0001  # what another thread takes to wake up
_BUSY_PROMPT = "> "
_PASTE_ON, _PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"


class Console:
    """The terminal, from `open` to the end of `run`."""

    def __init__(
        self,
        post: Callable[[Typed | Pressed | Left], None],
        *,
        colour: bool,
        history_file: str,
        toolbar: Callable[[int], Line],
        complete: "Callable[[str], Sequence[Candidate]]",
    ) -> None:
        self._post = post
        self._colour = colour
        self._history_file = history_file
        self.toolbar = toolbar
        self._complete = complete
        self._lock = threading.Lock()
        self._waiting: list[Line | str] = []  # for a frame; a str has its own sequences
        self._live: Live | None = None
        self._stage: Stage | None = None
        self._begun = self._ended = False
        self._gone = False
        self._modes: host.TypeAhead | None = None
        self._own_prompt = ""
        self._prompt = ""
        self.is_busy = True
        self.is_editing = False
        self._keys = Keys()
        self._unheard = 0
        self._early_interrupts = 0
        self._to_remember: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._edited: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    # --- the main thread -------------------------------------------------------------------------

    def open(self, banner: Sequence[Line], prompt: str, *, restarted: bool = False) -> None:
        """Write the banner and the prompt, and have the terminal echo and keep what is typed. `restarted`: the
        cursor is in the input of one that was killed, which makes room.

        `close` must follow, or `run`, which ends with it.
        """
        self._own_prompt = self._prompt = prompt
        self.is_busy = False
        self._modes = host.TypeAhead()
        signal.signal(signal.SIGINT, self._on_sigint)
        shown = _MAKE_ROOM if restarted else ""
        shown += lines.joined(banner, colour=self._colour)
        self._put(shown + _PASTE_ON + lines.ansi((self.prompt(),), colour=self._colour))

    def run(self, work: Callable[[], T]) -> T:
        """Be the terminal while `work` runs in a thread of its own; return what it returns, or raise that.

        Raises ChatbotError when the terminal cannot be driven. A terminal that hangs up posts Left.
        """
        from chatbot.ui.console.stage import Stage

        done: _Outcome[T] = _Outcome()
        stage = Stage(self, colour=self._colour, complete=self._complete)

        def do() -> None:
            done.take(work)
            stage.call(stage.finish)

        chat = threading.Thread(target=do, name="chat", daemon=True)
        switch_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        try:
            used = len(self._prompt)
            stage.run(
                self._modes.early if self._modes else b"", used, lambda: self._begin(stage, chat)
            )
        except KeyboardInterrupt:
            raise
        except Exception as error:
            self._gone = _is_hang_up(error)
            self._end()
            self._post(Left(ExitCode.OK if self._gone else ExitCode.TURN_FAILED))
            if not self._gone:
                if chat.is_alive():
                    chat.join(_LEAVES_WITHIN_S)
                raise ChatbotError(f"the terminal cannot be driven: {error!r}") from error
        finally:
            self._end()
            sys.setswitchinterval(switch_s)
        if chat.is_alive():
            chat.join(_LEAVES_WITHIN_S)
        return done.result()

    def close(self) -> None:
        """Put the terminal's modes back. May be called again."""
        if self._modes is not None:
            self._modes.restore()
            if not self._begun:
                self._put(_PASTE_OFF)

    def _begin(self, stage: "Stage", chat: threading.Thread) -> None:
        """Start the other threads: the application is about to paint its first frame."""
        self._stage, self._begun = stage, True
        stage.soon(chat.start)
        stage.soon(stage.wake)
        from chatbot.ui.console.past import Past

        past = Past(self._history_file)
        stage.history.loaded(
            past.load()
        )  # some ms, and the first key may be the arrow that wants it
        threading.Thread(target=self._keep_history, args=(past,), name="past", daemon=True).start()
        for _ in range(self._early_interrupts):
            stage.soon(stage.interrupt)

    def _end(self) -> None:
        """Give the terminal back; what is still to be written is written straight to it."""
        with self._lock:
            self._ended, self._stage = True, None
            waiting, self._waiting = self._waiting, []
        self._edited.put(None)  # whoever waits for an editor waits for it in vain
        self._put("".join(self._text(each) + "\n" for each in waiting))
        if host.terminal_is_anothers():  # a shell may have written its prompt over the area already
            self._send(_LEFT_BEHIND)
        self.close()

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._keys.pressed(time.monotonic())
        if self.is_editing:  # the editor has had it too
            return
        if (stage := self._stage) is not None:
            stage.call(stage.interrupt)
        else:
            self._early_interrupts += 1

    # --- for its stage, in the main thread ---------------------------------------------------------

    def take(self, columns: int, rows: int) -> "tuple[list[Text], Sequence[Line]]":
        """Return what goes into the scrollback now, and the tail that is shown below it."""
        from chatbot.ui.console.paint import Text

        with self._lock:
            waiting, self._waiting = self._waiting, []
            live = self._live
        try:
            frame = live.frame(columns, rows) if live else Frame()
            texts = [
                Text(each, None)
                if isinstance(each, str)
                else Text.of_line(each, colour=self._colour)
                for each in (*waiting, *frame.finished)
            ]
        except BaseException:
            with self._lock:  # `_end` writes them
                self._waiting[:0] = waiting
            raise
        return texts, frame.tail

    def prompt(self) -> Fragment:
        """Return the prompt as it is shown now: a narrower one while nobody is waited for."""
        if self.is_busy:
            return ("dim", _BUSY_PROMPT.rjust(len(self._own_prompt)))
        return ("bold", self._prompt)

    @property
    def is_question(self) -> bool:
        """Whether something is asked that is no part of the conversation: to stop means no."""
        return self._prompt != self._own_prompt

    def typed(self, text: str) -> bool:
        """Post what was typed; return whether it belongs into the history."""
        if self.is_busy:
            self._post_first(Typed(text))  # nothing too: that ends what is watched
            return bool(text.strip())
        prompt = self._prompt
        self._answered(text)
        self._post_first(Typed(text, shown=True, is_answer=self.is_question))
        return prompt == self._own_prompt

    def pressed(self) -> None:
        """Post a Ctrl-C, or Esc. When nobody hears them, the program ends."""
        self._unheard += 1
        if self._unheard > _PATIENCE and self._stage is not None:
            self._stage.fail(KeyboardInterrupt())
        self._leave_question()
        self._post_first(Pressed())

    def left(self, code: ExitCode) -> None:
        """Post that the person leaves."""
        self._leave_question()
        self.is_busy = True
        self._post(Left(code))

    def say(self, line: Line) -> None:
        """Write a line of the console's own."""
        self.write((line,))

    def remember(self, text: str) -> None:
        """Have a text appended to the history on disk."""
        self._to_remember.put(text)

    def restore_modes(self) -> None:
        """Put the terminal's modes back, for as long as another has it."""
        self.close()

    # --- from the chat's thread ----------------------------------------------------------------------

    @property
    def columns(self) -> int:
        """The window's width now."""
        return host.window()[0]

    @property
    def rows(self) -> int:
        """The window's height now."""
        return host.window()[1]

    def write(self, written: Iterable[Line]) -> None:
        """Write lines into the scrollback, in the order of the calls."""
        self._add(written)

    def write_drawn(self, drawn: Iterable[str]) -> None:
        """Write lines that hold sequences of their own; who drew them made them safe."""
        self._add(drawn)

    def write_raw(self, sequence: str) -> None:
        """Send a sequence of our own that moves nothing, such as one for the clipboard."""
        if (stage := self._stage) is not None:
            stage.call(stage.send, sequence)

    def show_typed(self, text: str) -> None:
        """Write a text as it would stand there had it been typed at the prompt: one that was typed ahead."""
        self.write(_typed(self._own_prompt, text))

    def show(self, live: Live | None, finished: Iterable[Line] = ()) -> None:
        """Paint this above the input from now on: until `ask`, nobody is waited for. `finished` is what was shown
        before has still to write."""
        if live is not None:
            self.is_busy = True
        self._add(finished, lambda: setattr(self, "_live", live), at_once=live is None)

    def changed(self) -> None:
        """What is live has changed."""
        if (stage := self._stage) is not None:
            stage.wake()

    def state_changed(self) -> None:
        """What the toolbar shows has changed: nobody waits for that."""
        if (stage := self._stage) is not None:
            stage.wake_later()

    def ask(self, prompt: str) -> None:
        """Wait for the person, with this prompt; nothing blocks here."""
        self._unheard = 0
        self._prompt, self.is_busy = prompt, False
        self.state_changed()

    def busy(self) -> None:
        """Nobody is waited for: a key that stops something stops it."""
        self.is_busy = True
        self.state_changed()

    def give_back(self, texts: Sequence[str]) -> None:
        """Put texts into the input, before what stands there, as one: without commands, which would be a part of
        a message there."""
        given = [text for text in texts if text.strip() and not _is_command(text)]
        dropped = [text for text in texts if _is_command(text)]
        if dropped:
            self.say(lines.line(f"(not done: {', '.join(dropped)})", "dim"))
        if given and (stage := self._stage) is not None:
            stage.call(stage.put_before, "\n\n".join(given))

    def edit(self, text: str) -> str | None:
        """Have the person edit a text with their editor; blocks until they are done. None: nothing changed."""
        if (stage := self._stage) is None:
            return None
        edited: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._edited = edited
        return edited.get() if stage.call(stage.edit, text, edited.put) else None

    def stop_editing(self) -> None:
        """End the editor that is open, and let no other begin: the program is to end. From any thread, or a
        signal handler."""
        if (stage := self._stage) is not None:
            stage.call(stage.stop_editing)

    def is_echo(self, interrupt: Interrupt) -> bool:
        """Whether this interrupt only repeats one that this process had itself."""
        self._unheard = 0
        return not isinstance(interrupt, Pressed) and self._keys.is_echo(time.monotonic())

    # --- both -------------------------------------------------------------------------------------

    def _post_first(self, event: Typed | Pressed) -> None:
        """Post, and let the chat's thread take it: it would else wait for this thread's next pause."""
        self._post(event)
        time.sleep(_YIELD_S)

    def _answered(self, text: str) -> None:
        """Leave the prompt, with what was typed at it, in the scrollback: before the chat can write below it."""
        prompt, self.is_busy = self._prompt, True
        with self._lock:  # the next frame has it
            self._waiting += _typed(prompt, text)

    def _leave_question(self) -> None:
        """Leave a question that is not answered to be read."""
        if self.is_question and not self.is_busy:
            self._answered("")

    def _add(
        self,
        written: Iterable[Line | str],
        also: Callable[[], None] | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        with self._lock:
            if also is not None:
                also()
            self._waiting += written
            if not self._ended:
                self.changed() if at_once else self.state_changed()
                return
            waiting, self._waiting = self._waiting, []
        self._put("".join(self._text(each) + "\n" for each in waiting))

    def _text(self, written: Line | str) -> str:
        return written if isinstance(written, str) else lines.ansi(written, colour=self._colour)

    def _put(self, text: str) -> None:
        """Write to the terminal itself. One that is gone is written to no more."""
        if text and not host.terminal_is_anothers():
            self._send(text)

    def _send(self, text: str) -> None:
        if self._gone:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            self._gone = True

    def _keep_history(self, past: "Past") -> None:
        """Write what is added to the history: in a thread, since it may have to wait for others."""
        while True:
            if fault := past.take_fault():  # told once
                self.say((("dim", fault),))
            past.append(self._to_remember.get())


def _is_hang_up(error: Exception) -> bool:
    """Whether this is how a terminal tells that it is gone."""
    if isinstance(error, OSError):
        return error.errno in (errno.EIO, errno.ENXIO, errno.EBADF)
    return isinstance(error, EOFError)


def _typed(prompt: str, text: str) -> list[Line]:
    """Return how a text stands in the scrollback."""
    first, *rest = text.split("\n")
    return [(("bold", prompt), ("", first)), *lines.styled([f"... {line}" for line in rest])]


def _is_command(text: str) -> bool:
    said = commands.parse(text)
    return said is not None and not isinstance(said, commands.Say)


class _Outcome(Generic[T]):
    """What a call came to, in another thread."""

    def __init__(self) -> None:
        self._result: list[T] = []
        self._error: BaseException | None = None

    def take(self, work: Callable[[], T]) -> None:
        """Call it, and keep what comes of it."""
        try:
            self._result = [work()]
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            self._error = error

    def result(self) -> T:
        """Return or raise it. Raises ChatbotError when it has not ended."""
        if self._error is not None:
            raise self._error
        if not self._result:
            raise ChatbotError("the chat did not end when its terminal did")
        return self._result[0]
