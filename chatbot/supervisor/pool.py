"""The workers, what each holds, and the jobs that wait for one."""

from collections import deque
from collections.abc import Iterator

from chatbot.supervisor.flight import Job, Phase


class Pool:
    """Gives waiting jobs, in order, to the least busy worker that has credit left."""

    def __init__(self, credit: int) -> None:
        self._credit = credit
        self._held: dict[int, dict[str, Job]] = {}
        self.waiting: deque[Job] = deque()

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
        elif job in self.waiting:
            self.waiting.remove(job)

    def give_out(self, *, sim_server: bool) -> Iterator[Job]:
        """Yield each job that now has a worker; those for the simulated server only when it is there."""
        held_back: list[Job] = []
        while self.waiting:
            job = self.waiting.popleft()
            if job.needs_sim_server and not sim_server:
                held_back.append(job)
                continue
            slot = min(self._held, key=lambda slot: len(self._held[slot]), default=None)
            if slot is None or len(self._held[slot]) >= self._credit:
                self.waiting.appendleft(job)
                break
            job.attempt += 1
            job.phase = Phase.CALLED
            job.worker = slot
            self._held[slot][job.id] = job
            yield job
        self.waiting.extendleft(reversed(held_back))
