"""The workers, what each holds, and the jobs that wait for one."""

from collections import OrderedDict
from collections.abc import Iterator

from chatbot.supervisor.flight import Job, Phase


class Pool:
    """Gives waiting jobs, in order, to the least busy worker that has credit left.

    Jobs for the simulated server wait apart while there is none.
    """

    def __init__(self, credit: int) -> None:
        self._credit = credit
        self._held: dict[int, dict[str, Job]] = {}
        self._ready: OrderedDict[str, Job] = (
            OrderedDict()
        )  # by id: any of thousands may be cancelled
        self._parked: OrderedDict[str, Job] = OrderedDict()
        self.has_sim_server = False

    @property
    def waiting(self) -> list[Job]:
        """The jobs that no worker has."""
        return [*self._ready.values(), *self._parked.values()]

    @property
    def waiting_number(self) -> int:
        """How many jobs no worker has."""
        return len(self._ready) + len(self._parked)

    @property
    def holds(self) -> dict[int, int]:
        """How many jobs each worker has, by slot."""
        return {slot: len(jobs) for slot, jobs in self._held.items()}

    @property
    def waits_for_sim_server(self) -> bool:
        """Whether a job waits for a simulated server that is not there."""
        return bool(self._parked) and not self.has_sim_server

    def add(self, job: Job, *, first: bool = False) -> None:
        """Let a job wait; `first`: before those that wait already, since it did so before."""
        waiting = self._parked if job.needs_sim_server and not self.has_sim_server else self._ready
        waiting[job.id] = job
        if first:
            waiting.move_to_end(job.id, last=False)

    def worker_up(self, slot: int) -> None:
        """A worker is ready, and holds nothing."""
        self._held[slot] = {}

    def worker_down(self, slot: int) -> list[Job]:
        """A worker died: return what it held, oldest first, no longer held by anyone."""
        jobs = list(self._held.pop(slot, {}).values())
        for job in jobs:
            job.worker = None
        return jobs

    def release(self, job: Job) -> None:
        """A job is over: whoever held it has room again."""
        if job.worker is not None:
            del self._held[job.worker][job.id]
            job.worker = None
            return
        for waiting in (self._ready, self._parked):
            waiting.pop(job.id, None)

    def give_out(self) -> Iterator[Job]:
        """Yield each job that now has a worker."""
        if self.has_sim_server and self._parked:
            self._parked.update(self._ready)  # those for other servers have waited less
            self._ready, self._parked = self._parked, OrderedDict()
        while self._ready and self._held:
            slot = min(self._held, key=lambda slot: len(self._held[slot]))
            if len(self._held[slot]) >= self._credit:
                return
            _, job = self._ready.popitem(last=False)
            if job.needs_sim_server and not self.has_sim_server:
                self._parked[job.id] = job
                continue
            job.attempt += 1
            job.phase = Phase.CALLED
            job.worker = slot
            self._held[slot][job.id] = job
            yield job
