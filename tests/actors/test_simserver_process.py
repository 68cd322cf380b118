"""The room's own shell: the child's side of its pipes, and the server alone."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import Beat, FromAny, Ready, Stop
from chatbot.settings import SimServerSettings
from chatbot.simserver import process
from chatbot.tracing import Recorder

DEADLINE_S = 10.0


def test_the_child_says_where_it_listens_beats_and_stops_when_told() -> None:
    its_inbox, to_child = multiprocessing.Pipe(duplex=False)
    from_child, its_outbox = multiprocessing.Pipe(duplex=False)
    outbox = Outbox(its_outbox)
    inbox: Inbox[Stop] = Inbox(its_inbox, process.INBOX)
    recorder = Recorder("sim-server", 0, outbox.offer)
    codes: list[ExitCode] = []
    room = threading.Thread(
        target=lambda: codes.append(process.main(SimServerSettings(), inbox, outbox, recorder))
    )
    room.start()
    supervisor: Inbox[FromAny] = Inbox(from_child, FromAny)
    came: list[FromAny] = []
    while not any(isinstance(m, Beat) for m in came):
        came += supervisor.take(DEADLINE_S)
    ready = next(m for m in came if isinstance(m, Ready))
    assert ready.pid == os.getpid()
    with urllib.request.urlopen(f"{ready.address}/api/version", timeout=DEADLINE_S) as response:
        assert response.status == 200
    Outbox(to_child).send(Stop())
    room.join(DEADLINE_S)
    assert codes == [ExitCode.OK]
    assert outbox.close(DEADLINE_S)
    to_child.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.OK)]
)
def test_alone_it_tells_its_address_and_ends_on_a_signal(number: int, code: ExitCode) -> None:
    program = (
        "import sys; from chatbot.settings import SimServerSettings;"
        "from chatbot.simserver.process import run_alone; sys.exit(run_alone(SimServerSettings()))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as child:
        try:
            assert child.stderr is not None
            assert b"OLLAMA_HOST=http://127.0.0.1:" in child.stderr.readline()
            child.send_signal(number)
            assert child.wait(DEADLINE_S) == code
            assert child.stderr.read() == b""
        finally:
            child.kill()
