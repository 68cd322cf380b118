"""The console's main thread: prompt_toolkit's application, the text of the input, and what keys do with it.

Nothing here is called from another thread, but for what asyncio lets through. It knows nothing of chats.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prompt_toolkit.application.run_in_terminal import in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import ThreadedCompleter
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.layout import BufferControl, Layout, Window
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.layout.processors import (
    TabsProcessor,
)
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth
from prompt_toolkit.widgets import SearchToolbar

from chatbot import host
from chatbot.errors import ChatbotError, ExitCode
from chatbot.ui.console import keys
from chatbot.ui.console.adapt import Candidate, Offers, PastHistory, Visible
from chatbot.ui.console.compose import is_open
from chatbot.ui.console.frames import Pace
from chatbot.ui.console.paint import Area, Output, Painter, Strip, Text
from chatbot.ui.editor import edited
from chatbot.ui.lines import Fragment, Line

_CONTINUED = "... "
_SIZE_S = 0.5  # between looks at the window's size where no signal tells of it
_LATER_S = 0.001  # nobody sees that; the first piece of an answer may come before it
_HINT: Line = (("dim", "(Ctrl-C again, or Ctrl-D, leaves)"),)

_STYLE = Style.from_dict(  # of the terminal's own colours, instead of prompt_toolkit's
    {
        "completion-menu": "noinherit",
        "completion-menu.completion": "noinherit",
        "completion-menu.completion.current": "noinherit reverse",
        "completion-menu.meta.completion": "noinherit dim",
        "completion-menu.meta.completion.current": "noinherit reverse",
        "scrollbar.background": "noinherit",
        "scrollbar.button": "noinherit reverse",
        "search": "noinherit reverse",
        "search.current": "noinherit reverse",
        "incsearch": "noinherit reverse",
        "incsearch.current": "noinherit reverse",
    }
)


class Owner(Protocol):
    """The console, as its stage sees it. `take` hands over what is to be written, and the tail; `typed` says
    whether the text belongs into the history."""

    is_busy: bool
    is_editing: bool

    def take(self, columns: int, rows: int) -> tuple[list[Text], Sequence[Line]]: ...
    def prompt(self) -> Fragment: ...
    @property
    def is_question(self) -> bool: ...
    def typed(self, text: str) -> bool: ...
    def restore_modes(self) -> None: ...
    def pressed(self) -> None: ...
    def left(self, code: ExitCode) -> None: ...
    def say(self, line: Line) -> None: ...
    def toolbar(self, columns: int) -> Line: ...
    def remember(self, text: str) -> None: ...


class Stage:
    """The application, from its start to its end. Everything runs in its loop."""

    def __init__(
        self,
        owner: Owner,
        *,
        colour: bool,
        complete: Callable[[str], Sequence[Candidate]],
    ) -> None:
        self._owner = owner
        self._colour = colour
        self._pace = Pace()
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = self._later = False
        self._tail: Sequence[Line] = ()
        self._state: tuple[Line, ...] = ()
        self._twice = keys.Twice()
        self._failure: BaseException | None = None
        self._editing: asyncio.Task[str | None] | None = None
        self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.history = PastHistory(owner.remember)
        self.buffer = Buffer(
            history=self.history,
            completer=ThreadedCompleter(Offers(complete)),  # it may wait for another process
            complete_while_typing=False,
            multiline=True,
        )
        search = SearchToolbar()
        field = Window(
            BufferControl(
                self.buffer,
                input_processors=[
                    TabsProcessor(4, " ", " "),
                    Visible(),
                ],
                include_default_input_processors=True,
                search_buffer_control=search.control,
                preview_search=True,
            ),
            wrap_lines=True,
            get_line_prefix=self._prefix,
        )
        self._area = Area(
            Strip(lambda _: self._tail, colour=colour),
            field,
            search.__pt_container__(),
            CompletionsMenu(max_height=8, scroll_offset=1),
            Strip(lambda _: self._state, colour=colour),
        )
        self.output = Output(sys.stdout, self._size)
        self.app = Painter(
            layout=Layout(self._area, field),
            key_bindings=keys.bindings(self, self.buffer),
            style=_STYLE,
            include_default_pygments_style=False,
            color_depth=ColorDepth.DEPTH_4_BIT if colour else ColorDepth.DEPTH_1_BIT,
            output=self.output,
            input=_watched(create_input()),
            erase_when_done=True,
            terminal_size_polling_interval=None if hasattr(signal, "SIGWINCH") else _SIZE_S,
        )
        self.app.ttimeoutlen = keys.ESCAPE_S
        self.app.reflows = host.terminal_reflows()
        self.app.resized = self._pull
        self.app.before_render += self._on_render

    # --- its life --------------------------------------------------------------------------------

    def run(self, early: bytes, columns_used: int, begun: Callable[[], None]) -> None:
        """Be the terminal until `finish`. `early` was typed before anybody read; the cursor stands behind
        `columns_used` columns of prompt and what the terminal has echoed since.

        Raises EOFError when the terminal has hung up, and whatever goes wrong while it is drawn.
        """
        terminal = self.app.input
        with terminal.raw_mode():
            self._take_typed_ahead(early, columns_used)
            asyncio.run(self._run(begun))

    async def _run(self, begun: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_exception)
        self._state = (self._owner.toolbar(self.output.get_size().columns),)
        await self.app.run_async(pre_run=begun, handle_sigint=False, set_exception_handler=False)

    def finish(self) -> None:
        """Write what is left, the tail too, and end `run`; an editor that is open ends before."""
        if self._editing is not None:
            self.stop_editing()
            self._editing.add_done_callback(lambda _: self.finish())
        elif not self.app.is_done:
            with self.output.together():
                self._pull()
                self.app.write_above(
                    [Text.of_line(line, colour=self._colour) for line in self._tail]
                )
            self.app.exit()

    def fail(self, error: BaseException) -> None:
        """End `run` with an error."""
        if self.app.future is not None and not self.app.future.done():
            self.app.exit(exception=error)

    def soon(self, what: Callable[[], object]) -> None:
        """Have something called in the loop. From its own thread."""
        assert self._loop is not None  # noqa: S101 - the owner calls after `begun`
        self._loop.call_soon(what)

    def call(self, what: Callable[..., object], *arguments: object) -> bool:
        """Have something called in the loop, with the application as the current one. From any thread. Return
        whether there is still a loop: there is none once the terminal has hung up."""
        assert self._loop is not None  # noqa: S101 - the owner calls after `begun`
        assert self.app.context is not None  # noqa: S101 - likewise
        try:
            self._loop.call_soon_threadsafe(what, *arguments, context=self.app.context.copy())
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            return False
        return True

    def _take_typed_ahead(self, early: bytes, columns_used: int) -> None:
        """Take what was typed while nobody read, and go back to the line where the prompt stands."""
        terminal: Any = self.app.input
        typed = terminal.read_keys()
        while more := terminal.read_keys():
            typed += more
        width = columns_used + sum(map(_echoed_width, (key.data for key in typed)))
        self.output.write_raw("\r")
        self.output.cursor_up(width // self.output.get_size().columns)
        if early:
            terminal.vt100_parser.feed(early.decode("utf-8", "replace"))
            typed = terminal.read_keys() + typed
        store_typeahead(terminal, typed)

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        self.fail(context.get("exception") or RuntimeError(str(context.get("message"))))

    @staticmethod
    def _size() -> Size:
        columns, rows = host.window()
        return Size(rows, columns)

    # --- frames ----------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something is to be drawn, as soon as a frame is due. From any thread."""
        if not self._wanted and self._loop is not None:
            self._wanted = True
            self.call(self._due)

    def wake_later(self) -> None:
        """Something is to be drawn, but not before the chat's thread has done what it is about to do: both
        cannot run at once. From any thread."""
        if not self._wanted and not self._later and self._loop is not None:
            self._later = True
            self.call(self._loop.call_later, _LATER_S, self._due_later)

    def _due_later(self) -> None:
        if self._later:  # no frame has come before
            self._due()

    def draw(self) -> None:
        """Draw what there is now."""
        self._wanted = self._later = False
        if self.app._running_in_terminal or self.app.is_done:  # what has the terminal wakes us
            return
        began = time.monotonic()
        with self.output.together():
            self._pull()
            self.app._redraw()
        self._pace.drawn(began, time.monotonic())

    def _due(self) -> None:
        if self._timer is None:
            wait_s = self._pace.wait_s(time.monotonic())
            if wait_s > 0:
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_time)
            else:
                self.draw()

    def _on_time(self) -> None:
        self._timer = None
        self.draw()

    def _pull(self) -> None:
        size = self.output.get_size()
        room = size.rows - 2 if self._area.room is None else self._area.room
        texts, self._tail = self._owner.take(size.columns, max(room, 1))
        if texts:
            self.app.write_above(texts)

    def _on_render(self, app: object) -> None:
        del app
        line = self._owner.toolbar(self.output.get_size().columns)
        self._state = (line,) if line else ()

    def _prefix(self, number: int, wrapped: int) -> StyleAndTextTuples:
        if wrapped:
            return []
        if number:
            return [("dim", _CONTINUED)]
        return [self._owner.prompt()]

    # --- what keys do ----------------------------------------------------------------------------

    def enter(self) -> None:
        """Send what stands in the input off, unless a block is still open."""
        text = self.buffer.text
        self._twice.forget()
        if is_open(text):
            self.buffer.insert_text("\n")
            return
        if self._owner.typed(text):
            self.buffer.append_to_history()
        self.buffer.reset()
        self.wake_later()

    def interrupt(self) -> None:
        """Stop what is going on; else clear the input; else leave, the second time."""
        if not self._stop():
            if self.buffer.text:
                self._twice.forget()
                self.buffer.reset()
            elif self._twice.pressed(time.monotonic()):
                self._owner.left(ExitCode.INTERRUPTED)
            else:
                self._owner.say(_HINT)
        self.wake()

    def escape(self) -> None:
        """Stop what is going on."""
        self._stop()

    def _stop(self) -> bool:
        """Stop what is going on, or say no to a question; False: there is neither."""
        if self._owner.is_busy:
            self._owner.pressed()
        elif self._owner.is_question:
            self.buffer.reset()
            self._owner.pressed()
        else:
            return False
        return True

    def end_of_file(self) -> None:
        """Leave."""
        self._owner.left(ExitCode.OK)

    def send(self, sequence: str) -> None:
        """Send a sequence of our own that moves nothing."""
        self.output.write_raw(sequence)
        self.output.flush()

    def suspend(self) -> None:
        """Stop all of the program's processes, until the shell has them go on."""
        self._hand_over(self._suspended())

    def clear_screen(self) -> None:
        """Empty the window."""
        with self.output.together():
            self.app.clear()
            self.draw()

    def edit_input(self) -> None:
        """Have the input edited with the person's editor."""

        def done(text: str | None) -> None:
            if text is not None:
                self.buffer.document = Document(text, len(text))
                self.draw()

        self.edit(self.buffer.text, done)

    def edit(self, text: str, done: Callable[[str | None], None]) -> None:
        """Have a text edited; `done` is called with it, or with None, whatever becomes of the editor."""
        if self._is_stopped or self._editing is not None:
            done(None)
            return

        def ended(task: asyncio.Task[str | None]) -> None:
            self._editing = None
            done(None if task.cancelled() or task.exception() else task.result())

        self._editing = self._hand_over(self._edited(text))
        self._editing.add_done_callback(ended)

    def stop_editing(self) -> None:
        """End the editor that is open, and let no other begin: the program is to end."""
        self._is_stopped = True
        if self._editing is not None:
            self._editing.cancel()

    def put_before(self, text: str) -> None:
        """Put a text into the input, an empty line before what stands there."""
        both = f"{text}\n\n{self.buffer.text}" if self.buffer.text else text
        self.buffer.document = Document(both, len(both))
        self.draw()

    def _hand_over(self, coroutine: Any) -> asyncio.Task[Any]:
        return self.app.create_background_task(coroutine)

    async def _suspended(self) -> None:
        async with in_terminal():
            self._owner.restore_modes()
            host.stop_group()
        self.draw()

    async def _edited(self, text: str) -> str | None:
        self._owner.is_editing = True
        try:
            async with in_terminal():
                return await edited(text)
        except ChatbotError as error:
            self._owner.say((("", str(error)),))
            return None
        finally:
            self._owner.is_editing = False
            self.draw()


def _watched(terminal: Any) -> Any:
    """Have the input end where it is no longer ours: prompt_toolkit would ask for it again and again."""
    read = terminal.read_keys

    def read_keys() -> list[KeyPress]:
        typed: list[KeyPress] = read()
        if not typed and not host.has_terminal() and hasattr(terminal, "stdin_reader"):
            terminal.stdin_reader.closed = True
        return typed

    terminal.read_keys = read_keys
    return terminal


def _echoed_width(data: str) -> int:
    """Return how many columns a terminal takes to echo this: a control character is shown as ^X."""
    return sum(2 if ord(char) < 0x20 or char == "\x7f" else get_cwidth(char) for char in data)
