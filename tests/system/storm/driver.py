"""The load, in the UI's seat: sessions that ask one question after another, all at the same time.

It writes down what it asks before it asks, and what it is told when it is told. A new one, after a
kill, goes on with the same sessions; what was open then is none of its business, but the judge's.
"""

import os
import random
import time
from collections import Counter

import msgspec

from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    Ask,
    Cancel,
    Cancelled,
    ChatMessage,
    Delta,
    Failed,
    Interrupted,
    Leaving,
    Ready,
    Saved,
    Stop,
    Target,
    Terminal,
    UiInbox,
)
from chatbot.settings import UiSettings
from chatbot.tracing import Recorder
from tests.system.storm import scenario
from tests.system.storm.journal import Journal, Tail, digest

INBOX = UiInbox
SETTINGS = UiSettings

_PATIENCE_S = 40.0  # longer than the judge's deadline, so that it is the judge who finds a hang
_LOOK_UP_S = 0.05
_SHARED_FOR_S = 0.7  # how long the sessions go on asking the same identical question


def main(
    settings: UiSettings, inbox: Inbox[UiInbox], outbox: Outbox, recorder: Recorder
) -> ExitCode:
    """Ask until all is asked, or until told to stop; leave when everything is saved."""
    del settings, recorder
    driver = _Driver(outbox)
    outbox.send(Ready(os.getpid()))
    driver.journal.write("driving")
    for batch in inbox.batches(_LOOK_UP_S):
        for message in batch:
            if isinstance(message, Stop):
                return ExitCode.OK
            driver.take(message)
        if driver.is_done():
            break
        driver.ask_on()
    outbox.send(Leaving(ExitCode.TURN_FAILED if driver.waits else ExitCode.OK))
    return ExitCode.OK


class _Session(msgspec.Struct):
    """A conversation: the request that is under way, and what was said last."""

    id: str
    target: Target
    asked: int = 0
    current: str = ""
    content: str = ""
    history: tuple[ChatMessage, ...] = ()
    cancels: bool = False


class _Driver:
    """All sessions, and what is still to be told about their requests."""

    def __init__(self, outbox: Outbox) -> None:
        self.journal = Journal(scenario.directory(), scenario.life())
        self.waits: dict[str, float] = {}  # neither ended nor saved, since when
        self._outbox = outbox
        self._scenario = plan = scenario.read()
        self._drain = scenario.directory() / "drain"
        self._drained = False
        self._random = random.Random(f"{plan.seed} {os.getpid()}")
        before = Counter(
            line.session_id for line in Tail(scenario.directory()).read() if line.what == "asked"
        )
        self._sessions = [
            _Session(f"s{i}", Target(plan.backends[i % len(plan.backends)], "sim"), before[f"s{i}"])
            for i in range(plan.sessions)
        ]
        self._by_request: dict[str, _Session] = {}

    def take(self, message: UiInbox) -> None:
        """Write down what is told, and give the session its next turn."""
        match message:
            case Answered() | Failed() | Cancelled() | Interrupted():
                self._end(message)
            case Saved(request_id):
                self.journal.write("told", request_id=request_id)
                self.waits.pop(request_id, None)
            case Delta(request_id):
                session = self._by_request.get(request_id)
                if session is not None and session.cancels:
                    session.cancels = False
                    self._outbox.send(Cancel(request_id))

    def ask_on(self) -> None:
        """Let each session ask that waits for nothing and has questions left."""
        self._drained = self._drained or self._drain.exists()
        if self._drained:
            return
        for session in self._sessions:
            if not session.current and self._has_more(session):
                self._ask(session)

    def is_done(self) -> bool:
        """Whether nothing is left to be asked or waited for, or waiting has become hopeless."""
        if any(time.monotonic() - since > _PATIENCE_S for since in self.waits.values()):
            return True
        finished = self._drained or not any(map(self._has_more, self._sessions))
        return finished and not self.waits

    def _has_more(self, session: _Session) -> bool:
        return not self._scenario.questions or session.asked < self._scenario.questions

    def _ask(self, session: _Session) -> None:
        session.asked += 1
        request_id = f"{session.id}.{session.asked}.{scenario.life()}.{os.getpid()}"
        ask = Ask(request_id, session.id, request_id, session.target, cache="off")
        if self._scenario.varied:
            ask = self._varied(session, ask)
        session.current, session.content = request_id, ask.content
        self._by_request[request_id] = session
        self.waits[request_id] = time.monotonic()
        self.journal.write(
            "asked",
            request_id=request_id,
            session_id=session.id,
            text=ask.content.split()[0],
            cache=ask.cache,
            digest=digest(ask.content),
        )
        self._outbox.send(ask)

    def _varied(self, session: _Session, ask: Ask) -> Ask:
        """Make it one of all the kinds of questions there are."""
        chance, replace = self._random, msgspec.structs.replace
        stream = chance.random() < 0.7
        session.cancels = chance.random() < 0.04
        traceparent = f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01"
        if chance.random() < 0.25:
            ask = replace(ask, traceparent=traceparent, turn_traceparent=traceparent)
        if chance.random() < 0.15:  # identical: of no session's own history, and of no length
            shared = f"shared.{ask.target.backend}.{int(time.monotonic() / _SHARED_FOR_S)}"
            return replace(ask, content=shared, cache="use", stream=stream)
        (model,) = chance.choices(("sim", "sim-small", "sim-large"), (6, 3, 1))
        (cache,) = chance.choices(("off", "use", "refresh"), (6, 2, 2))
        (padding,) = chance.choices((0, 300, 40_000, 300_000), (60, 30, 9, 1))
        return replace(
            ask,
            content=f"{ask.content} {'x' * padding}".strip(),
            target=replace(ask.target, model=model),
            history=session.history,
            cache=cache,
            stream=stream,
        )

    def _end(self, terminal: Terminal) -> None:
        text = terminal.completion.text if isinstance(terminal, Answered) else terminal.text
        outcome = type(terminal).__name__.lower()
        if isinstance(terminal, Failed):
            outcome += f" {terminal.kind}"
        self.journal.write(
            "terminal", request_id=terminal.request_id, outcome=outcome, digest=digest(text)
        )
        session = self._by_request.pop(terminal.request_id, None)
        if session is None:
            return
        session.history = ()
        if isinstance(terminal, Answered) and len(session.content) < 1000:
            session.history = (
                ChatMessage("user", session.content),
                ChatMessage("assistant", text),
            )
        session.current, session.cancels = "", False
