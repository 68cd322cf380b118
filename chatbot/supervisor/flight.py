"""Requests and jobs in flight: the records that the dispatcher keeps.

A *request* is what the user asked; a *job* is what one worker does. Identical requests share a job:
each gets its own terminal message, but the call is made, and paid for, once.
"""

from enum import Enum

from chatbot.messages import Ask, Call, Delta, ListModels, ReadContext

MAX_DEATHS = 3
CHECKPOINT_EVERY_S = 1.0
CHECKPOINT_BYTES = 2048


class Phase(Enum):
    """Where a job stands. The comments say what the death of its worker means in that phase."""

    WAITING = "waiting"  # for a worker: it has none
    CALLED = "called"  # given to a worker, surely unsent: give it to another
    SENDING = "sending"  # maybe paid for: never again by itself


class Job:
    """Work for one worker: a `Call`, a `ListModels` or a `ReadContext`, and the requests that wait for its result."""

    __slots__ = (
        "attempt",
        "cancelling",
        "checkpoint_at",
        "checkpoint_length",
        "deaths",
        "key",
        "length",
        "phase",
        "pieces",
        "request",
        "seq",
        "subscribers",
        "worker",
    )

    def __init__(self, request: Call | ListModels | ReadContext, key: str, now: float) -> None:
        self.request = request
        self.key = key
        self.phase = Phase.WAITING
        self.attempt = 0
        self.worker: int | None = None
        self.deaths = 0
        self.cancelling = False
        self.subscribers: list[str] = [request.request_id]
        self.seq = -1
        self.pieces: list[str] = []
        self.length = 0
        self.checkpoint_length = 0
        self.checkpoint_at = now

    @property
    def id(self) -> str:
        """The id under which the worker knows the job: the first request's."""
        return self.request.request_id

    @property
    def text(self) -> str:
        """The visible answer so far."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    @property
    def needs_sim_server(self) -> bool:
        """Whether it can only be given out once the simulated server has an address."""
        request = self.request
        backend = request.target.backend if isinstance(request, Call) else request.backend
        return backend == "sim" and not request.base_url

    def take(self, delta: Delta) -> bool:
        """Append a delta; False for one that is stale or was seen before."""
        if delta.attempt != self.attempt or delta.seq <= self.seq:
            return False
        self.seq = delta.seq
        if not delta.reasoning:
            self.pieces.append(delta.text)
            self.length += len(delta.text)
        return True

    def checkpoint_due(self, now: float) -> bool:
        """Whether the text should be saved now: every second or 2 KB, but never for less than a
        sixteenth of a long text, since each checkpoint writes the whole of it."""
        grown = self.length - self.checkpoint_length
        if grown <= self.length // 16:
            return False
        return grown >= CHECKPOINT_BYTES or now - self.checkpoint_at >= CHECKPOINT_EVERY_S


class Request:
    """A question on its way: what was asked, and the job that answers it once it is accepted."""

    __slots__ = ("ask", "job")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.job: Job | None = None
