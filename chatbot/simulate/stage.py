"""One load that is put on the pipeline, from its first question to its last answer: the run, or a calibration.

It asks what the schedule says is due, and hands on each turn that has ended: to the journal, and to whoever counts.
A turn has ended when its end is saved too, where there is somebody to save it.
"""

import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from chatbot.ids import new_request_id
from chatbot.mailbox import Outbox
from chatbot.messages import (
    Answered,
    Ask,
    AttributeValue,
    Cancel,
    Failed,
    Interrupted,
    Load,
    Loaded,
    Terminal,
)
from chatbot.simulate.journal import Journal
from chatbot.simulate.measured import lost, served_ns, turn_of
from chatbot.simulate.past import Asked
from chatbot.simulate.prompts import Prompts
from chatbot.simulate.schedule import Schedule, Start
from chatbot.simulate.session import Session
from chatbot.simulate.stages import Kind
from chatbot.simulate.turn import Turn
from chatbot.tracing import Recorder, Span

# After a failure that costs the server nothing a session waits so long, or it would only spin.
_BREATH_NS = 1_000_000_000
REST_S = 30  # how long the last turns may take
_UNFINISHED = "unfinished"
_HOPELESS = frozenset({"unreachable", "auth", "not_found", "model_not_found", "busy"})


class Sink(Protocol):
    """Who counts."""

    def asked(self, start: Start, now_ns: int) -> None:
        """A turn went into the pipeline."""

    def ended(self, turn: Turn) -> None:
        """A turn has ended."""

    def session_begun(self, now_ns: int) -> None:
        """A session is there."""

    def session_ended(self, duration_ns: int, now_ns: int, *, completed: bool) -> None:
        """It asks no more; `completed`: with all of its turns."""


class _Ending(msgspec.Struct):
    """A turn whose end is not saved yet."""

    start: Start
    asked_ns: int
    terminal: Terminal
    done_ns: int


class Stage:
    """The sessions of one load. `sink` is given each turn when it has ended; `prefix` begins the ids of the
    sessions, which are the same when a run is taken up again."""

    def __init__(
        self,
        kind: Kind,
        schedule: Schedule,
        prompts: Prompts,
        outbox: Outbox,
        recorder: Recorder,
        journal: Journal,
        sink: Sink,
        *,
        prefix: str,
        saves: bool,
    ) -> None:
        self._prefix = prefix
        self.kind = kind
        self.schedule = schedule
        self._prompts = prompts
        self._outbox = outbox
        self._recorder = recorder
        self._journal = journal
        self._sink = sink
        self._saves = saves
        self._sessions: dict[int, Session] = {}
        self._asked: dict[str, Session] = {}
        self._ending: dict[str, _Ending] = {}
        self._recalling: dict[str, tuple[Session, Start]] = {}
        self._spans: dict[str, Span] = {}
        self._asks: list[Ask] = []  # which `send` is to send
        self._finished_ns = 0
        self._is_cut_off = False
        self.is_stopped = False
        self._about: dict[str, AttributeValue] = {
            "backend": kind.target.backend,
            "gen_ai.request.model": kind.target.model,
        }

    @property
    def is_over(self) -> bool:
        """Whether every turn has ended, and there will be no other."""
        return self.schedule.finished and not self._asked and not self._ending

    def is_late(self, now_ns: int) -> bool:
        """Whether it should be over by now: it was stopped, its time is up, or only the saving lasts."""
        if self.is_stopped:
            return True
        since_ns = self.schedule.draining_since_ns if self.kind.simulation.duration_s else None
        if self.schedule.finished:
            since_ns = self._finished_ns = self._finished_ns or now_ns
        return since_ns is not None and now_ns - since_ns > REST_S * 1_000_000_000

    def ask_due(self, now_ns: int) -> None:
        """Ask what is due. The questions go out with the next `send`."""
        for start in self.schedule.due(now_ns):
            session = self._sessions.get(start.session)
            if session is None:
                session = self._session(start.session, start.intended_ns)
                self._sink.session_begun(now_ns)
            if session.is_known:
                self._ask(session, start)
            else:
                request_id = new_request_id()
                self._recalling[request_id] = session, start
                self._outbox.send(Load(request_id, session.session_id))

    def send(self) -> None:
        """Send what is asked; before that it is written down, so that a kill leaves none that nobody
        knows of."""
        if self._asks:
            self._journal.flush()
            for ask in self._asks:
                self._outbox.gather(ask)
            self._asks.clear()
            self._outbox.flush()

    def loaded(self, loaded: Loaded, now_ns: int) -> None:
        """Go on with a session that another process began. Without what was said in it it is at its end."""
        if loaded.request_id in self._recalling:
            session, start = self._recalling.pop(loaded.request_id)
            if loaded.session is None or loaded.truncated:
                self._leave(session, now_ns)
            else:
                session.recall(loaded.messages)
                self._ask(session, start)

    def ended(self, terminal: Terminal, now_ns: int) -> None:
        """Take the terminal message of a turn. One that nobody waits for was asked before a restart,
        and has been counted as lost."""
        session = self._asked.pop(terminal.request_id, None)
        if session is None or session.start is None:
            return
        start = session.start
        ending = _Ending(start, session.asked_ns, terminal, now_ns)
        self._end_span(terminal)
        session.answered(terminal.completion.text if isinstance(terminal, Answered) else "")
        hopeless = isinstance(terminal, Failed) and terminal.kind in _HOPELESS
        pause_ns, took_ns = _BREATH_NS * hopeless, served_ns(terminal)
        if self.schedule.ended(start.session, now_ns, pause_ns=pause_ns, served_ns=took_ns):
            del self._sessions[session.number]
            completed = start.index + 1 >= self.kind.simulation.turns
            self._sink.session_ended(now_ns - session.began_ns, now_ns, completed=completed)
        if self._saves:
            self._ending[terminal.request_id] = ending
        else:
            self._hand_on(ending, 0)

    def saved(self, request_id: str, now_ns: int) -> None:
        """The end of a turn is committed."""
        ending = self._ending.pop(request_id, None)
        if ending is not None:
            self._hand_on(ending, now_ns)

    def not_saving(self) -> None:
        """Nothing is saved from here on: wait for nothing of the kind."""
        self._saves = False
        endings, self._ending = self._ending, {}
        for ending in endings.values():
            self._hand_on(ending, 0)

    def cancel(self, now_ns: int) -> None:
        """Ask nothing more, and have what is under way stopped. Nobody having wished for that, it is the time
        that was up: what had not ended by then is a failure."""
        self._is_cut_off = not self.is_stopped
        self.send()
        self.schedule.stop()
        for request_id in self._asked:
            self._outbox.send(Cancel(request_id))
        for session, _ in self._recalling.values():  # not asked yet
            self._leave(session, now_ns)
        self._recalling.clear()

    def give_up(self, now_ns: int) -> None:
        """Count what has not ended as lost, and what only was not saved as what it was."""
        self.schedule.stop()
        self.not_saving()
        message = "it had not ended when the run did"
        for request_id, session in self._asked.items():
            if start := session.start:
                phase = self.kind.phase or start.phase
                self._count(lost(start, phase, session.asked_ns, now_ns, _UNFINISHED, message))
            self._spans.pop(request_id, None)
        self._asked.clear()
        self._recalling.clear()

    def resume(self, turns: Sequence[Turn], lost: Sequence[Asked], now_ns: int) -> None:
        """Go on where another process was killed: `turns` were asked, in this order, and are counted; those
        that were `lost` by it are not to go on either.

        What was said in the sessions is read from the store; where there is none, they are at their end.
        """
        for each in lost:
            self._outbox.send(Cancel(each.request_id))
        begun: dict[int, Session] = {}
        for turn in turns:
            if turn.session not in begun:
                begun[turn.session] = self._session(turn.session, turn.intended_ns)
            begun[turn.session].is_known &= turn.status != "answered"
            if turn.index + 1 >= self.kind.simulation.turns:
                del self._sessions[turn.session]
        gave_up = set() if self._saves else set(self._sessions)
        self.schedule.resume(
            [(turn.session, turn.index, turn.intended_ns, turn.done_ns) for turn in turns],
            now_ns,
            gave_up,
        )
        for number in gave_up:
            session = self._sessions.pop(number)
            self._sink.session_ended(now_ns - session.began_ns, now_ns, completed=False)

    def _session(self, number: int, began_ns: int) -> Session:
        session = Session(number, f"{self._prefix}{number:06d}", began_ns)
        self._sessions[number] = session
        return session

    def _ask(self, session: Session, start: Start) -> None:
        request_id = new_request_id()
        recorder = self._recorder
        span = recorder.span("chat_turn", parent=None)
        if span.is_recorded:
            span.update({"session.id": session.session_id, **self._about})
            self._spans[request_id] = span.announce()
            recorder.flush()  # so that it is known before what comes of it
        with recorder.hop("send", "store.asks", request_id, span.traceparent) as hop:
            ask = session.ask(
                start,
                request_id,
                self._prompts.text(start.session, start.index),
                self.kind.target,
                hop.traceparent,
                span.traceparent,
            )
            session.asked_ns = time.perf_counter_ns()
            self._asked[request_id] = session
            self._sink.asked(start, session.asked_ns)
            self._journal.asked(Asked(self.kind.number, start, session.asked_ns, request_id))
            self._asks.append(ask)

    def _leave(self, session: Session, now_ns: int) -> None:
        """End a session whose turn is due, without asking it."""
        self.schedule.ended(session.number, now_ns, goes_on=False)
        del self._sessions[session.number]
        self._sink.session_ended(now_ns - session.began_ns, now_ns, completed=False)

    def _hand_on(self, ending: _Ending, saved_ns: int) -> None:
        phase = self.kind.phase or ending.start.phase
        turn = turn_of(
            ending.start, phase, ending.asked_ns, ending.terminal, ending.done_ns, saved_ns
        )
        self._count(turn)

    def _count(self, turn: Turn) -> None:
        if self._is_cut_off and turn.status in ("cancelled", "lost"):
            message = f"it had not ended {REST_S} s after the run did"
            turn = msgspec.structs.replace(
                turn, status="failed", error=_UNFINISHED, message=message
            )
        self._journal.ended(turn)
        self._sink.ended(turn)

    def _end_span(self, terminal: Terminal) -> None:
        span = self._spans.pop(terminal.request_id, None)
        if span is None:
            return
        span.set("status", type(terminal).__name__.lower())
        match terminal:
            case Failed(kind=kind):
                span.set("error.type", kind)
                span.fail(kind)
            case Interrupted():
                span.fail("interrupted")
            case _:
                pass
        span.end()
