"""Who gets which request, and how each one ends: a pure state machine.

    (state, message, now) → messages to send

The supervisor feeds it every message and every birth and death of a process, and sends what it
returns; it decides nothing itself. `now` is monotonic, in seconds.

    Ask ──▶ store ──Accepted──▶ waiting ──Call──▶ called ──Sending──▶ sending ──▶ terminal ──▶ ui, store
              │ hit: Answered      │ cancel          │ worker dies:      │ worker dies: Interrupted
              ▼                    ▼                 ▼ another worker,   ▼ (it may have been paid for)
           terminal            Cancelled             after three: Failed

What must hold, and what the tests check under any order of events:

- every request gets exactly one terminal message;
- a job that may have been sent is never given out again;
- no worker holds more jobs than its credit;
- what the store has not acknowledged is sent to it again when it comes back, in the same order;
- a question is called once it is accepted, or at once while there is no store to accept it.
"""

from typing import assert_never, get_args

import msgspec

from chatbot.errors import FailureKind
from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Call,
    Cancel,
    Cancelled,
    ChatMessage,
    Checkpoint,
    ContextRead,
    Delta,
    Entered,
    Failed,
    Flush,
    FromStore,
    FromUi,
    FromWorker,
    Interrupted,
    Leaving,
    ListModels,
    Load,
    Loaded,
    Message,
    ModelsListed,
    Notice,
    Pick,
    Picked,
    ProcessRole,
    Query,
    ReadContext,
    ReadStatus,
    Reply,
    Retrying,
    Saved,
    Sending,
    Terminal,
    Undo,
    Undone,
    WorkStatus,
    refused,
)
from chatbot.supervisor.flight import MAX_DEATHS, Job, Phase, Request
from chatbot.supervisor.ledger import POISON_AFTER, Ledger, Told
from chatbot.supervisor.pool import Pool
from chatbot.supervisor.tally import Tally

_QUERIES: tuple[type[Message], ...] = get_args(Query)


class Send(msgspec.Struct, frozen=True):
    """What the supervisor is to do: send this message to that process."""

    to: ProcessRole
    slot: int
    message: Message


class Dispatcher:
    """The requests in flight. Every public method returns the messages to send because of it.

    `saves` False: there is no store and will be none, by the user's wish. It is gone round from the
    beginning, and nothing is kept for it.
    """

    def __init__(self, *, credit: int, max_in_flight: int, saves: bool = True) -> None:
        self._max_in_flight = max_in_flight
        self._ledger = Ledger(saves=saves)
        self._pool = Pool(credit)
        self._requests: dict[str, Request] = {}
        self._jobs: dict[str, Job] = {}
        self._by_key: dict[str, Job] = {}
        self._just_answered: dict[str, Answered] = {}  # by key
        self._answered_keys: dict[str, str] = {}  # of these, by request
        self._tally = Tally()
        self._workers_gone = ""
        self._sim_url = ""
        self._sim_gone = ""
        self._out: list[Send] = []

    # --- messages --------------------------------------------------------------------------------

    def from_ui(self, message: FromUi, now: float) -> list[Send]:
        """Take a message of the UI (or of whatever sits in its seat)."""
        match message:
            case Ask():
                self._ask(message, now)
            case Cancel():
                self._cancel(message.request_id)
            case ListModels() | ReadContext():
                self._wait(Job(message, "", now))
            case Entered() | Leaving() | Flush() | ReadStatus():
                pass  # the supervisor's own business
            case Undo() | Pick() if self._ledger.gone:
                self._ledger.enter(message)  # in its turn, like the questions around it
                self._send("ui", _done(message))
            case _ if self._ledger.gone:
                self._refuse(message, self._ledger.gone)
            case _:
                self._ledger.enter(message)
        return self._flush()

    def from_store(self, message: FromStore, now: float) -> list[Send]:
        """Take a message of the store."""
        match message:
            case Accepted():
                self._ledger.acknowledge(message.request_id, Ask)
                self._accepted(message, now)
            case Saved():
                self._ledger.acknowledge(message.request_id, Terminal)
                self._forget_answer(message.request_id)
                self._send("ui", message)
            case Notice():
                if not self._ledger.gone:  # else nobody waits, and the user knows why
                    self._send("ui", message)
            case _:
                self._ledger.acknowledge(message.request_id, *_QUERIES)
                self._send("ui", self._with_what_is_under_way(message))
        return self._flush()

    def from_worker(self, slot: int, message: FromWorker, now: float) -> list[Send]:
        """Take a message of a worker; stale ones, of an attempt that is over, are dropped."""
        job = self._jobs.get(message.request_id)
        if job is None or job.worker != slot or job.attempt != message.attempt:
            return []
        match message:
            case Sending():
                job.phase = Phase.SENDING
                return []  # nothing follows from it
            case Retrying():
                self._to_subscribers(job, message)
            case Delta():
                if job.take(message):
                    self._to_subscribers(job, message)
                    self._checkpoint(job, now)
            case Failed(kind="unreachable") if job.needs_sim_server and not self._sim_gone:
                self._sim_not_there(job)
            case Cancelled() if not job.cancelling:  # nobody asked: the worker was told to stop
                stopped = "the worker process was stopped; ask again for the rest"
                self._end(job, Interrupted(job.id, job.attempt, stopped, message.text))
            case Answered() | Failed() | Cancelled():
                self._end(job, message)
            case ModelsListed() | ContextRead():
                self._drop(job)
                self._send("ui", message)
        return self._flush()

    # --- births and deaths -----------------------------------------------------------------------

    def worker_up(self, slot: int) -> list[Send]:
        """A worker is ready."""
        self._pool.worker_up(slot)
        return self._flush()

    def worker_down(self, slot: int) -> list[Send]:
        """A worker died, and its pipe has been read to the end."""
        for job in reversed(self._pool.worker_down(slot)):
            self._orphaned(job)
        return self._flush()

    def workers_gone(self, reason: str) -> list[Send]:
        """There are no workers and there will be none: end what waits for one, now and later."""
        self._workers_gone = reason
        return self._flush()

    def store_up(self) -> list[Send]:
        """The store is ready: send it, in order, all that it has not acknowledged."""
        self._ledger.store_up()
        return self._flush()

    def store_down(self) -> list[Send]:
        """The store died and will be started again; what is for it is kept until then, except for
        what it seems to die of."""
        for message in self._ledger.store_down():
            self._poisonous(message)
        return self._flush()

    def store_gone(self, reason: str, now: float) -> list[Send]:
        """There is no store for now: go round it, and keep what it should have saved."""
        self._just_answered.clear()
        self._answered_keys.clear()
        for message in self._ledger.store_gone(reason):
            if isinstance(message, Ask):
                request = self._requests.get(message.request_id)
                if request is not None and request.job is None:
                    self._start_job(request, "", now)
            elif isinstance(message, Undo | Pick):
                self._send("ui", _done(message))
            elif isinstance(message, _QUERIES):
                self._refuse(message, reason)  # type: ignore[arg-type] # of _QUERIES
        return self._flush()

    def sim_up(self, base_url: str) -> list[Send]:
        """The simulated server listens."""
        self._sim_url = base_url
        return self._flush()

    def sim_down(self) -> None:
        """The simulated server died; what is for it waits for the next one."""
        self._sim_url = ""

    def sim_gone(self, reason: str) -> list[Send]:
        """There will be no simulated server."""
        self._sim_url = ""
        self._sim_gone = reason
        return self._flush()

    def end_all(self, reason: str) -> list[Send]:
        """The program ends, and nobody is left to work: end every request that is still open."""
        for job in list(self._jobs.values()):
            if isinstance(job.request, ListModels | ReadContext):
                self._fail(job, "unreachable", reason)
            else:
                self._end(job, Interrupted(job.id, job.attempt, reason, job.text))
        for request_id in list(self._requests):
            self._finish(Interrupted(request_id, 0, reason))
        return self._flush()

    def tick(self, now: float) -> list[Send]:
        """Save what has been standing unsaved; to be called about once a second."""
        for job in self._jobs.values():
            self._checkpoint(job, now)
        return self._flush()

    @property
    def wants_sim_server(self) -> bool:
        """Whether something waits for a simulated server that is not there."""
        return not self._sim_url and self._pool.waits_for_sim_server

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight and the store has acknowledged everything."""
        return not self._requests and not self._jobs and not self._ledger

    @property
    def unsaved(self) -> int:
        """How many messages wait to be saved, or were too many to be kept until then."""
        return self._ledger.to_be_saved + self._ledger.unsaved

    @property
    def holds(self) -> dict[int, int]:
        """How many calls each worker has, by slot."""
        return self._pool.holds

    @property
    def status(self) -> WorkStatus:
        """How the requests went, and what is under way."""
        waiting, _ = self.depths
        in_flight = len(self._requests) - waiting
        return self._tally.status(waiting=waiting, in_flight=in_flight, unsaved=self.unsaved)

    @property
    def depths(self) -> tuple[int, int]:
        """How many jobs wait for a worker, and how many the workers have."""
        waiting = self._pool.waiting_number
        return waiting, len(self._jobs) - waiting

    @property
    def is_saving(self) -> bool:
        """Whether there is a store that has proved itself: it has saved all that waited for it."""
        return self._ledger.is_caught_up

    def take_unsaved(self) -> int:
        """Return how many messages could not be kept while there was no store; count from 0 again."""
        unsaved, self._ledger.unsaved = self._ledger.unsaved, 0
        return unsaved

    # --- requests --------------------------------------------------------------------------------

    def _ask(self, ask: Ask, now: float) -> None:
        if ask.request_id in self._requests or self._ledger.asked(ask.request_id):
            return
        unacknowledged = 0 if self._ledger.gone else len(self._ledger)
        if len(self._requests) + unacknowledged >= self._max_in_flight:
            busy = f"busy: {self._max_in_flight} requests are in flight already, try again later"
            self._tell_end(Failed(ask.request_id, 0, "busy", busy))
            return
        request = self._requests[ask.request_id] = Request(ask)
        self._ledger.enter(ask)
        if self._ledger.gone:
            self._start_job(request, "", now)

    def _accepted(self, accepted: Accepted, now: float) -> None:
        request = self._requests.get(accepted.request_id)
        if request is None or request.job is not None:
            return
        if accepted.hit is None:
            self._start_job(request, accepted.key, now)
            return
        answered = Answered(
            accepted.request_id,
            0,
            accepted.hit.completion,
            cached_age_s=accepted.hit.age_s,
            traceparent=request.ask.turn_traceparent,
            call_traceparent=accepted.hit.call_traceparent,
        )
        # The store saved it in the same commit; it is kept in case that word of it gets lost.
        self._ledger.enter(answered, known=True)
        del self._requests[accepted.request_id]
        self._tell_end(answered)

    def _start_job(self, request: Request, key: str, now: float) -> None:
        """Join the call of an identical request, or begin one.

        A call may have ended between the look into the cache and now; until its answer is saved, and
        found there, it is kept for those who looked too early.
        """
        ask = request.ask
        if key and (answered := self._just_answered.get(key)):
            self._finish(_shared(answered, ask.request_id))
            return
        if key and (job := self._by_key.get(key)):
            request.job = job
            job.subscribers.append(ask.request_id)
            if job.text and ask.stream:
                self._send("ui", Delta(ask.request_id, job.attempt, job.seq, job.text))
            return
        call = Call(
            ask.request_id,
            0,
            ask.session_id,
            ask.target,
            (*ask.history, ChatMessage("user", ask.content)),
            stream=ask.stream,
            traceparent=ask.turn_traceparent,
            ready_s=now,
            measured=ask.measured,
        )
        request.job = Job(call, key, now)
        if key:
            self._by_key[key] = request.job
        self._wait(request.job)

    def _cancel(self, request_id: str) -> None:
        request = self._requests.get(request_id)
        if request is None:
            return
        job = request.job
        if job is None:
            self._finish(Cancelled(request_id, 0))
        elif len(job.subscribers) > 1:  # the others still want the answer
            job.subscribers.remove(request_id)
            self._finish(Cancelled(request_id, job.attempt, job.text))
        elif job.worker is None:
            self._end(job, Cancelled(job.id, job.attempt))
        elif not job.cancelling:  # the worker says when the socket is closed
            job.cancelling = True
            self._by_key.pop(job.key, None)
            self._send("worker", Cancel(job.id), job.worker)

    def _finish(self, terminal: Terminal) -> None:
        """Send a request's terminal message: the only place that does, and only while it lives."""
        request = self._requests.pop(terminal.request_id, None)
        if request is None:
            return
        trace = request.ask.turn_traceparent
        if terminal.traceparent != trace:
            terminal = msgspec.structs.replace(terminal, traceparent=trace)
        self._tell_end(terminal)
        self._ledger.enter(terminal)

    def _tell_end(self, terminal: Terminal) -> None:
        self._tally.ended(terminal)
        self._send("ui", terminal)

    def _poisonous(self, message: Told) -> None:
        """End what the store has died of."""
        why = f"the store died {POISON_AFTER} times while it was saving this"
        match message:
            case Ask():
                request = self._requests.get(message.request_id)
                if request is not None and request.job is not None:  # called in an outage
                    self._send("ui", Notice(f"a turn is not saved: {why}"))
                elif request is not None:
                    del self._requests[message.request_id]
                    line = f"{why}; the question was not asked"
                    self._tell_end(Failed(message.request_id, 0, "poison", line))
            case Answered() | Failed() | Cancelled() | Interrupted():
                self._forget_answer(message.request_id)
                self._send("ui", Notice(f"an answer is not saved: {why}"))
            case _:
                self._refuse(message, f"the store died {POISON_AFTER} times over it")

    def _refuse(self, query: Query, reason: str) -> None:
        """Reply that a query cannot be done. Whoever comes back to a session is told all the same
        which answer is just coming in it."""
        reply = refused(query, reason)
        if isinstance(query, Load) and isinstance(reply, Loaded) and query.session_id:
            reply = self._with_the_answer_in(query.session_id, reply)
        self._send("ui", reply)

    def _forget_answer(self, request_id: str) -> None:
        """Who looks from now on finds the answer in the cache, if it can be found at all."""
        self._just_answered.pop(self._answered_keys.pop(request_id, ""), None)

    def _with_what_is_under_way(self, reply: Reply) -> Reply:
        """Add to a loaded session the answer that is just coming in it."""
        if not isinstance(reply, Loaded) or reply.session is None:
            return reply
        return self._with_the_answer_in(reply.session.session_id, reply)

    def _with_the_answer_in(self, session_id: str, reply: Loaded) -> Loaded:
        """Of those that were asked at once only the one that the conversation goes on with is told: the
        picked one, as far as the loaded rows say, and else the first. The others end by themselves."""
        active = {message.request_id: message.active for message in reply.messages}
        under_way = [
            request
            for request in self._requests.values()
            if request.ask.session_id == session_id
            and active.get(request.ask.request_id, request.ask.fan in ("", request.ask.request_id))
        ]
        if not under_way:
            return reply
        request = under_way[-1]
        so_far = request.job.text if request.job else ""
        return msgspec.structs.replace(reply, under_way=request.ask.request_id, so_far=so_far)

    # --- jobs ------------------------------------------------------------------------------------

    def _wait(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._pool.add(job)

    def _give_out(self) -> None:
        """Give out what can be given out, and end what never can."""
        self._pool.has_sim_server = bool(self._sim_url)
        for job in self._pool.give_out():
            base_url = self._sim_url if job.needs_sim_server else ""
            request = msgspec.structs.replace(job.request, attempt=job.attempt, base_url=base_url)
            self._send("worker", request, job.worker or 0)
        if self._workers_gone or self._sim_gone:
            for job in self._pool.waiting:
                if self._workers_gone or job.needs_sim_server:
                    self._fail(job, "unreachable", self._workers_gone or self._sim_gone)

    def _orphaned(self, job: Job) -> None:
        """Decide about a job whose worker died."""
        if job.phase is Phase.SENDING and not job.cancelling:
            reason = "the worker process died in mid-answer; ask again for the rest"
            self._end(job, Interrupted(job.id, job.attempt, reason, job.text))
        else:
            self._try_again(job)

    def _try_again(self, job: Job) -> None:
        """Let a job that was surely not sent wait for another worker, three times at the most."""
        job.deaths += 1
        if job.cancelling:
            self._end(job, Cancelled(job.id, job.attempt, job.text))
        elif job.deaths >= MAX_DEATHS:
            self._fail(job, "poison", f"{MAX_DEATHS} processes died before it could be sent")
        else:
            job.phase = Phase.WAITING
            self._pool.add(job, first=True)

    def _sim_not_there(self, job: Job) -> None:
        """The simulated server refused the connection: it died, and its job, which was surely not
        sent, waits for the next one. The supervisor sees to it that there is one."""
        self._sim_url = ""
        self._pool.release(job)
        self._try_again(job)

    def _fail(self, job: Job, kind: FailureKind, reason: str) -> None:
        if isinstance(job.request, ListModels):
            self._drop(job)
            listed = ModelsListed(job.id, job.request.backend, error=reason)
            self._send("ui", listed)
        elif isinstance(job.request, ReadContext):
            self._drop(job)
            self._send("ui", ContextRead(job.id, job.request.backend, job.request.model))
        else:
            self._end(job, Failed(job.id, job.attempt, kind, reason, text=job.text))

    def _end(self, job: Job, terminal: Terminal) -> None:
        """End a job, and with it every request that waits for it, each with its own message."""
        first, *others = job.subscribers  # one that was cancelled is none of them any more
        if isinstance(terminal, Answered) and self._by_key.get(job.key) is job:
            self._just_answered[job.key] = terminal
            self._answered_keys[first] = job.key
        self._drop(job)
        if terminal.request_id != first:
            terminal = msgspec.structs.replace(terminal, request_id=first)
        self._finish(terminal)
        for request_id in others:
            if isinstance(terminal, Answered):
                self._finish(_shared(terminal, request_id))
            else:
                self._finish(msgspec.structs.replace(terminal, request_id=request_id))

    def _drop(self, job: Job) -> None:
        del self._jobs[job.id]
        self._pool.release(job)
        if self._by_key.get(job.key) is job:
            del self._by_key[job.key]

    def _checkpoint(self, job: Job, now: float) -> None:
        if not self._ledger.up or not job.checkpoint_due(now):
            return
        job.checkpoint_at = now
        job.checkpoint_length = job.length
        for request_id in job.subscribers:
            self._send("store", Checkpoint(request_id, job.text))

    def _to_subscribers(self, job: Job, message: Delta | Retrying) -> None:
        for request_id in job.subscribers:
            if self._requests[request_id].ask.stream:
                self._send("ui", msgspec.structs.replace(message, request_id=request_id))

    # --- sending ---------------------------------------------------------------------------------

    def _send(self, to: ProcessRole, message: Message, slot: int = 0) -> None:
        self._out.append(Send(to, slot, message))

    def _flush(self) -> list[Send]:
        if self._pool.waiting_number:
            self._give_out()
        if self._ledger.has_unsent:
            for message in self._ledger.due():
                self._send("store", message)
        out, self._out = self._out, []
        return out


def _done(change: Undo | Pick) -> Undone | Picked:
    """Return the reply to a change of a conversation that is kept until it can be saved."""
    match change:
        case Undo():
            return Undone(change.request_id)
        case Pick():
            return Picked(change.request_id)
        case _:
            assert_never(change)


def _shared(answered: Answered, request_id: str) -> Answered:
    """Return the answer as another request gets it, whose call the first one has paid for."""
    return msgspec.structs.replace(answered, request_id=request_id, cached_age_s=0.0)
