"""When which session asks its next turn. Pure: the seat passes the time, asks what is due, and tells what has ended.

What it decides is said by `chatbot.simulation`. Of each session that is not under way there is one entry in a heap: in
a closed load by when its next turn is due, in an open one by since when it is ready to take an arrival. All times
are in ns of the caller's clock.
"""

import heapq
from collections.abc import Collection, Iterable

import msgspec

from chatbot.simulate.arrivals import Arrivals, Chance
from chatbot.simulate.draw import uniform
from chatbot.simulate.room import NEVER, Places, UnderWay, freed_ns
from chatbot.simulate.turn import Phase
from chatbot.simulation import Simulation

__all__ = ["Chance", "Schedule", "Start"]


class Start(msgspec.Struct, frozen=True):
    """A turn that is to be asked now.

    `intended_ns` is when it was due. `ready_ns` is when it could have been asked, but for the client: when there
    was room for it besides (of what may be under way, and of the sessions). What lies between the two is the
    server's, what comes after is the client's own. 0: not known.
    """

    session: int
    index: int
    intended_ns: int
    phase: Phase
    ready_ns: int = 0


class Schedule:
    """Sessions have numbers from 0 in the order in which they begin; their turns have indices from 0."""

    def __init__(self, simulation: Simulation, start_ns: int, chance: Chance) -> None:
        self._simulation = simulation
        self._start_ns = start_ns
        self._run_ns = start_ns + _ns(simulation.unmeasured_s)
        lasts = simulation.duration_s > 0
        self._end_ns = self._run_ns + _ns(simulation.duration_s) if lasts else NEVER
        self._most = simulation.max_concurrency or NEVER
        self._left = simulation.requests or NEVER  # measured turns that are yet to be asked
        self._arrivals = Arrivals(simulation, chance) if simulation.is_open else None
        self._replaces = not simulation.is_open and bool(lasts or simulation.requests)
        self._heap: list[tuple[int, int, int]] = []  # when, session, index of its next turn
        self._under_way: dict[int, UnderWay] = {}
        self._room = Places(simulation.max_concurrency, start_ns)
        self._seats = Places(simulation.sessions if simulation.is_open else 0, start_ns)
        self._ready: dict[
            int, int
        ] = {}  # session → when it could take an arrival, but for the client
        self._numbers = 0  # sessions that were given a number
        self._now_ns = start_ns
        self._stopped = False
        self.sessions = 0
        self.begun = 0
        self.completed = 0
        self.dropped = 0
        self.draining_since_ns: int | None = None
        if not simulation.is_open:
            self._heap = [(self._first_ns(n), n, 0) for n in range(simulation.sessions)]
            self._numbers = simulation.sessions

    # --- what the seat asks -----------------------------------------------------------------------

    def due(self, now_ns: int) -> list[Start]:
        """Return what is to be asked now, in the order of its intended time; it counts as under way."""
        self._now_ns = max(self._now_ns, now_ns)
        starts: list[Start] = []
        while (start := self._next()) is not None:
            starts.append(start)
        if self._now_ns >= self._end_ns:
            self._stop(self._end_ns)
        return starts

    def next_ns(self) -> int | None:
        """Return when something falls due by the clock; None: only an end can bring more, or nothing will.

        It may be in the past. The end of the duration falls due as well.
        """
        if self._stopped:
            return None
        at_ns = self._end_ns
        if len(self._under_way) < self._most:
            if self._arrivals is None:
                at_ns = min(at_ns, self._heap[0][0] if self._heap else NEVER)
            else:
                at_ns = min(at_ns, max(self._arrival_ns, self._taker_ns()))
        return None if at_ns == NEVER else at_ns

    def ended(
        self,
        session: int,
        now_ns: int,
        *,
        goes_on: bool = True,
        pause_ns: int = 0,
        served_ns: int | None = None,
    ) -> bool:
        """Note that a session's turn has ended; return whether the session will ask nothing more.

        `goes_on` False: it failed for good, and the turns that it had left are not asked. `pause_ns` is
        waited before anything that follows upon it, besides the thinking. `served_ns` is how long the server
        took for it; None: it is not known, and nothing of the time is put down to the client.
        """
        turn = self._under_way.pop(session)
        index = turn.index + 1
        self._now_ns = max(self._now_ns, now_ns)
        free_ns = freed_ns(turn, now_ns, served_ns)
        self._room.leave(free_ns)
        over_ns = now_ns - free_ns
        now_ns += pause_ns
        if index >= self._simulation.turns:
            self.completed += 1
        elif goes_on and self._goes_on(session, index, now_ns, over_ns):
            return False
        elif goes_on:  # cut off by the end of the run: none takes its place
            self.sessions -= 1
            return True
        self.sessions -= 1
        self._seats.leave(free_ns + pause_ns)
        if self._replaces:
            self._replace(now_ns)
        elif self._arrivals is None and self.begun == self._simulation.sessions:
            self._drains(self._now_ns)
        return True

    def stop(self) -> None:
        """Ask nothing more. What is under way may end."""
        self._stop(self._now_ns)

    def resume(
        self,
        turns: Iterable[tuple[int, int, int, int | None]],
        now_ns: int = 0,
        gave_up: Collection[int] = (),
    ) -> None:
        """Take up a run that was cut off, on a new schedule with the same settings, start and chance.

        `turns` are (session, index, intended_ns, ended_ns) in the order in which they were asked; those
        without an end count as ended now, or when they were due. `gave_up` are the sessions that ended early.
        """
        self._now_ns = max(self._now_ns, now_ns)
        last: dict[int, tuple[int, int]] = {}
        for session, index, intended_ns, ended_ns in turns:
            ended_ns = max(now_ns, intended_ns) if ended_ns is None else ended_ns
            last[session] = (ended_ns, index + 1)
            self._now_ns = max(self._now_ns, ended_ns)
            self._left -= self._phase(intended_ns) == "run"
            if self._arrivals is not None:
                self._arrivals.advance()
        self.begun = len(last)
        self._numbers = max(self._numbers, max(last, default=-1) + 1)
        self._heap = [entry for entry in self._heap if entry[1] not in last]
        heapq.heapify(self._heap)
        over: list[int] = []
        for session, (ended_ns, index) in last.items():
            if index >= self._simulation.turns or session in gave_up:
                self.completed += index >= self._simulation.turns
                over.append(ended_ns)
            else:
                self.sessions += self._goes_on(session, index, ended_ns)
        for _ in range(self.sessions):
            self._seats.take()
        self._replace_again(sorted(over), last)
        if self._left <= 0:
            self._stop(self._now_ns)

    # --- what it knows ----------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether nothing is under way and nothing will be. A run with a duration lasts that long."""
        if self._under_way:
            return False
        endless = self._arrivals is not None or self._end_ns != NEVER
        return self._stopped or (not endless and not self._heap)

    @property
    def in_flight(self) -> int:
        """How many turns are under way."""
        return len(self._under_way)

    # --- the next turn ----------------------------------------------------------------------------

    def _next(self) -> Start | None:
        """Return a turn that is due now and that there is room for."""
        if self._stopped or len(self._under_way) >= self._most:
            return None
        if self._arrivals is None:
            if not self._heap or self._heap[0][0] > self._now_ns:
                return None
            intended_ns, session, index = heapq.heappop(self._heap)
            ready_ns = intended_ns
            if session < self._simulation.sessions and not index:
                self.sessions += 1  # the others are open since they took a place
        else:
            intended_ns = self._arrival_ns
            if intended_ns >= self._end_ns or max(intended_ns, self._taker_ns()) > self._now_ns:
                return None
            ready_ns, session, index = self._taker()
            self._arrivals.advance()
        ready_ns = max(intended_ns, ready_ns, self._room.since_ns)
        ready_ns = min(ready_ns, max(self._now_ns, intended_ns))
        self._room.take()
        self._under_way[session] = UnderWay(index, self._now_ns, self._now_ns - ready_ns)
        self.begun += not index
        phase = self._phase(intended_ns)
        if phase == "run":
            self._left -= 1
            if not self._left:
                self._stop(self._now_ns)
        return Start(session, index, intended_ns, phase, ready_ns)

    @property
    def _arrival_ns(self) -> int:
        assert self._arrivals is not None  # noqa: S101 - only asked in an open load
        return self._start_ns + self._arrivals.at_ns

    def _taker_ns(self) -> int:
        """Return since when there is a session that can take an arrival."""
        if not self._simulation.sessions or self.sessions < self._simulation.sessions:
            return self._start_ns
        return self._heap[0][0] if self._heap else NEVER

    def _taker(self) -> tuple[int, int, int]:
        """Return the session that has been ready longest, or else a new one, with its index: after since when
        there was one, but for the client."""
        if self._heap and self._heap[0][0] <= self._now_ns:
            at_ns, session, index = heapq.heappop(self._heap)
            return min(self._ready.pop(session, at_ns), self._seats.since_ns), session, index
        since_ns = self._seats.since_ns
        self._seats.take()
        self.sessions += 1
        self._numbers += 1
        return since_ns, self._numbers - 1, 0

    # --- the sessions -----------------------------------------------------------------------------

    def _goes_on(self, session: int, index: int, ended_ns: int, over_ns: int = 0) -> bool:
        """Have a session think, and then ask; return whether there will be time for it.

        Its turn was over so long before, but for the client.
        """
        if self._stopped:
            return False
        at_ns = ended_ns
        if not self._simulation.think.is_zero:
            u = uniform(self._simulation.seed, session, index)
            at_ns += _ns(self._simulation.think.at(u))
        if self._arrivals is None and at_ns >= self._end_ns:
            return False
        heapq.heappush(self._heap, (at_ns, session, index))
        if self._arrivals is not None:
            self._ready[session] = at_ns - over_ns
        return True

    def _replace(self, ended_ns: int) -> None:
        if self._goes_on(self._numbers, 0, ended_ns):
            self._numbers += 1
            self.sessions += 1

    def _replace_again(self, over: list[int], begun: Collection[int]) -> None:
        """Put sessions into the places of those that were over, except those that had asked already."""
        if self._replaces:
            first = self._simulation.sessions
            for number, ended_ns in enumerate(over, first):
                if number not in begun and self._goes_on(number, 0, ended_ns):
                    self._numbers = max(self._numbers, number + 1)
                    self.sessions += 1
        elif self._arrivals is None and over and self.begun == self._simulation.sessions:
            self._drains(over[0])

    # --- the end ----------------------------------------------------------------------------------

    def _stop(self, at_ns: int) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._drains(at_ns)
        if self._left > 0:
            self.dropped = self._count_due()
        self._heap.clear()
        self._ready.clear()
        self.sessions = len(self._under_way)

    def _count_due(self) -> int:
        """Count what has fallen due and was not asked."""
        last_ns = min(self._now_ns, self._end_ns - 1)
        if self._arrivals is None:
            return sum(at_ns <= last_ns for at_ns, _, _ in self._heap)
        count = 0
        while self._arrival_ns <= last_ns:
            count += 1
            self._arrivals.advance()
        return count

    def _drains(self, at_ns: int) -> None:
        if self.draining_since_ns is None:
            self.draining_since_ns = at_ns

    def _phase(self, intended_ns: int) -> Phase:
        return "run" if intended_ns >= self._run_ns else "warmup"

    def _first_ns(self, number: int) -> int:
        ramp_ns = _ns(self._simulation.ramp_s)
        return self._start_ns + ramp_ns * number // self._simulation.sessions


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
