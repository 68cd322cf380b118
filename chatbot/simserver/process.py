"""The simulated server as a process: a child of the supervisor, or alone on the command line.

Its loop is asyncio's, so it subscribes to its inbox: the reader's thread hands the messages over to
the loop. It owns no state that would have to be saved; `Stop` drops what is under way.
"""

import asyncio
import os
import signal
import sys
from types import FrameType
from typing import assert_never

from chatbot import host
from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import Beat, Ready, SimServerInbox, Stop
from chatbot.settings import SimServerSettings
from chatbot.simserver.server import SimServer
from chatbot.tracing import Recorder

INBOX = SimServerInbox
SETTINGS = SimServerSettings

_BEAT_EVERY_S = 1.0
_CONNECTIONS = 65_536  # as many as are to be had at once, where the system lets them


def main(
    settings: SimServerSettings,
    inbox: Inbox[SimServerInbox],
    outbox: Outbox,
    recorder: Recorder,
) -> ExitCode:
    """Serve until told to stop. Raises UsageError when the address cannot be listened on."""
    return host.run_async(_serve(settings, _files(), inbox, outbox, recorder))


def run_alone(settings: SimServerSettings) -> ExitCode:
    """Serve until SIGINT (exit INTERRUPTED) or SIGTERM (OK). Raises UsageError as `main` does."""
    return host.run_async(_serve_alone(settings, _files()))


def _files() -> int:
    """Have files for the connections; return how many there may be where that is fewer than wanted, and else no bound."""
    files = host.raise_file_limit(_CONNECTIONS)
    return files if files < _CONNECTIONS else sys.maxsize


async def _serve(
    settings: SimServerSettings,
    files: int,
    inbox: Inbox[SimServerInbox],
    outbox: Outbox,
    recorder: Recorder,
) -> ExitCode:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def take(batch: list[SimServerInbox]) -> None:
        for message in batch:
            match message:
                case Stop():
                    stopping.set()
                case _:
                    assert_never(message)

    def hand_over(batch: list[SimServerInbox]) -> None:
        if not loop.is_closed():  # a last Stop may come when all is over
            loop.call_soon_threadsafe(take, batch)

    server = SimServer(
        settings, files, lambda text: recorder.log("error", "sim_server_full", text=text)
    )
    address = await server.start()
    recorder.log("info", "sim_server_listening", address=address)
    outbox.send(Ready(os.getpid(), address))
    inbox.subscribe(hand_over)
    while not stopping.is_set():
        outbox.offer(Beat())
        recorder.flush()
        try:
            await asyncio.wait_for(stopping.wait(), _BEAT_EVERY_S)
        except TimeoutError:
            continue
    await server.stop()
    recorder.log("info", "sim_server_stopped", served=server.served)
    return ExitCode.OK


async def _serve_alone(settings: SimServerSettings, files: int) -> ExitCode:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        loop.call_soon_threadsafe(lambda: None if ended.done() else ended.set_result(number))

    # signal.signal, since Windows has no loop.add_signal_handler; a Runner leaves a handler alone
    # that is not Python's default.
    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    server = SimServer(settings, files, lambda text: sys.stderr.write(f"{text}\n"))
    try:
        address = await server.start()
        sys.stderr.write(
            f"simulated LLM server on {address} (Ctrl-C ends it); to use it: "
            f"OLLAMA_HOST={address} python run.py --ollama-model sim\n"
        )
        number = await ended
    finally:
        await server.stop()
        for restored, handler in before.items():
            signal.signal(restored, handler)
    return ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.OK
