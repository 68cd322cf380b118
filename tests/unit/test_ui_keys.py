"""One Ctrl-C, told from two, although the supervisor passes each on."""

import io
import multiprocessing
import signal
import threading

import pytest

from chatbot.mailbox import Inbox, encode, frame_of
from chatbot.messages import Interrupt, UiInbox
from chatbot.ui.streams import TextNotices
from chatbot.ui.terminal import Keys, Terminal


def test_what_the_supervisor_passes_on_is_the_key_that_was_had_already() -> None:
    keys = Keys()
    keys.pressed(10.0)
    assert keys.is_echo(11.5)


def test_a_key_that_only_the_supervisor_had_counts() -> None:
    keys = Keys()
    assert not keys.is_echo(10.0)


def test_two_keys_have_two_echoes_in_any_order() -> None:
    keys = Keys()
    keys.pressed(10.0)
    keys.pressed(10.2)
    assert keys.is_echo(10.3)
    assert keys.is_echo(10.3)
    assert not keys.is_echo(10.3)


def test_an_echo_does_not_come_that_late() -> None:
    keys = Keys()
    keys.pressed(10.0)
    assert not keys.is_echo(12.1)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal for a thread there")
def test_reading_is_interrupted_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first signal may come in the instant before the read begins, and is lost on it then."""
    given = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    here, there = multiprocessing.Pipe()
    inbox: Inbox[UiInbox] = Inbox(here, UiInbox)
    try:
        keyboard = Terminal(inbox, TextNotices(io.StringIO()), chatting=False)
        sent: list[int] = []
        done = threading.Event()

        def heard_the_third_time(thread: int, number: int) -> None:
            sent.append(number)
            if len(sent) == 3:
                keyboard._at_prompt = False
                done.set()

        monkeypatch.setattr(signal, "pthread_kill", heard_the_third_time)
        keyboard._at_prompt = True
        there.send_bytes(frame_of([encode(Interrupt())]))
        assert done.wait(20)
        assert sent == [signal.SIGINT] * 3
    finally:
        for number, handler in given.items():
            signal.signal(number, handler)
        there.close()
