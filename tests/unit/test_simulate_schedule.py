"""The schedule of a simulation: whatever the order in which turns end, every promise of it holds."""

import heapq
import random
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, pvariance

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.distribution import parse
from chatbot.simulate.arrivals import Arrivals
from chatbot.simulate.schedule import Schedule, Start
from chatbot.simulation import Simulation

S = 1_000_000_000
T0 = 5 * S
Took = Callable[[Start], int]


def schedule_of(simulation: Simulation) -> Schedule:
    return Schedule(simulation, T0, random.Random(simulation.seed))


class World:
    """Asks what is due as soon as it is, and ends turns when they have taken their time.

    Checks at every step what must hold at every step.
    """

    def __init__(
        self, simulation: Simulation, took: Took, schedule: Schedule | None = None
    ) -> None:
        self.simulation = simulation
        self.schedule = schedule or schedule_of(simulation)
        self.took = took
        self.now = T0
        self.starts: list[tuple[int, Start]] = []
        self.ends: dict[tuple[int, int], int] = {}
        self.gave_up: set[int] = set()
        self.over: list[int] = []
        self._under_way: list[tuple[int, int, int]] = []  # end, session, index
        self._indices: dict[int, int] = {}

    def step(self) -> bool:
        """Go on to the next thing that happens; return whether there was one."""
        if self.schedule.finished:
            return False
        by_clock = self.schedule.next_ns()
        if self._under_way and (by_clock is None or self._under_way[0][0] <= by_clock):
            self.now = max(self.now, self._under_way[0][0])
            self._end()
        else:
            assert by_clock is not None, "nothing under way, nothing to come, and not finished"
            self.now = max(self.now, by_clock)
        self._ask()
        return True

    def run(self) -> "World":
        while self.step():
            pass
        return self

    def _end(self) -> None:
        _, session, index = heapq.heappop(self._under_way)
        self.ends[session, index] = self.now
        goes_on = self.took(Start(session, index, -1, "run")) % 11 != 3
        if not goes_on:
            self.gave_up.add(session)
        if self.schedule.ended(session, self.now, goes_on=goes_on):
            self.over.append(session)
            self._indices[session] = 1 << 30

    def _ask(self) -> None:
        starts = self.schedule.due(self.now)
        assert [s.intended_ns for s in starts] == sorted(s.intended_ns for s in starts)
        for start in starts:
            assert start.intended_ns <= self.now
            assert start.index == self._indices.get(start.session, 0)
            assert start.index < self.simulation.turns
            self._indices[start.session] = start.index + 1
            self.starts.append((self.now, start))
            heapq.heappush(
                self._under_way, (self.now + self.took(start), start.session, start.index)
            )
        sessions = [session for _, session, _ in self._under_way]
        assert len(set(sessions)) == len(sessions) == self.schedule.in_flight
        most = self.simulation.max_concurrency
        assert not most or len(sessions) <= most
        if self.simulation.sessions:
            assert self.schedule.sessions <= self.simulation.sessions
        assert self.schedule.begun == len({s.session for _, s in self.starts})

    def known(self) -> list[tuple[int, int, int, int | None]]:
        """Return what a journal has of it."""
        return [
            (s.session, s.index, s.intended_ns, self.ends.get((s.session, s.index)))
            for _, s in self.starts
        ]


def took(seed: int, longest: int) -> Took:
    """Return times that depend on the turn alone. Never those that make a session give up."""

    def of(start: Start) -> int:
        ns = giving_up(seed, longest)(start)
        return ns + (ns % 11 == 3)

    return of


def giving_up(seed: int, longest: int) -> Took:
    def of(start: Start) -> int:
        chance = random.Random(f"{seed} {start.session} {start.index}")
        return 2_000_000 + chance.randrange(longest + 1)

    return of


thinks = st.sampled_from(["0", "10ms", "exp:20ms", "uniform:0,50ms"]).map(parse)
loads = st.builds(
    Simulation,
    out=st.just(""),
    sessions=st.integers(1, 6),
    turns=st.integers(1, 4),
    think=thinks,
    ramp_s=st.sampled_from([0.0, 0.05]),
    warmup_s=st.sampled_from([0.0, 0.03]),
    max_concurrency=st.integers(0, 3),
    seed=st.integers(0, 3),
)
closed = loads
counted = st.builds(
    lambda load, n: msgspec.structs.replace(load, requests=n), loads, st.integers(1, 25)
)
lasting = st.builds(
    lambda load, s: msgspec.structs.replace(load, duration_s=s),
    loads,
    st.sampled_from([0.001, 0.2]),
)


def opened(load: Simulation, arrival: str, rate: float, bound: int) -> Simulation:
    changes = {"arrival": arrival, "rate": rate, "burstiness": 0.5, "sessions": bound}
    return msgspec.structs.replace(load, **changes)


arrivals = st.sampled_from(["constant", "poisson", "gamma"])
rates = st.sampled_from([7.5, 100.0, 333.0])
open_counted = st.builds(opened, counted, arrivals, rates, st.integers(0, 3))
open_lasting = st.builds(opened, lasting, arrivals, rates, st.integers(0, 3))
tooks = st.builds(took, st.integers(0, 5), st.sampled_from([0, 1000, 30_000_000, 300_000_000]))
any_tooks = tooks | st.builds(giving_up, st.integers(0, 5), st.sampled_from([1000, 90_000_000]))


@given(closed, tooks)
def test_without_a_bound_every_session_asks_all_its_turns_once(
    simulation: Simulation, took: Took
) -> None:
    world = World(simulation, took).run()
    asked = sorted((s.session, s.index) for _, s in world.starts)
    assert asked == [(n, k) for n in range(simulation.sessions) for k in range(simulation.turns)]
    schedule = world.schedule
    assert schedule.begun == schedule.completed == simulation.sessions
    assert sorted(world.over) == list(range(simulation.sessions))
    assert (schedule.sessions, schedule.dropped, schedule.next_ns()) == (0, 0, None)


@given(counted | open_counted, any_tooks)
def test_a_count_is_reached_exactly(simulation: Simulation, took: Took) -> None:
    world = World(simulation, took).run()
    measured = [s for _, s in world.starts if s.phase == "run"]
    assert len(measured) == simulation.requests
    assert (world.schedule.dropped, world.schedule.sessions) == (0, 0)
    assert len(world.ends) == len(world.starts)
    assert world.schedule.draining_since_ns == world.starts[-1][0]


@given(lasting | open_lasting, any_tooks)
def test_nothing_is_asked_that_is_due_after_the_end(simulation: Simulation, took: Took) -> None:
    world = World(simulation, took).run()
    run = T0 + round((simulation.ramp_s + simulation.warmup_s) * S)
    end = run + round(simulation.duration_s * S)
    assert world.now >= end
    assert world.schedule.draining_since_ns == end
    assert len(world.ends) == len(world.starts)
    for _, start in world.starts:
        assert start.intended_ns < end
        assert start.phase == ("run" if start.intended_ns >= run else "warmup")


@given(open_lasting, tooks)
def test_every_arrival_is_asked_in_its_turn_or_counted_as_dropped(
    simulation: Simulation, took: Took
) -> None:
    world = World(simulation, took).run()
    times = Arrivals(simulation, random.Random(simulation.seed))
    expected = []
    end = T0 + round((simulation.ramp_s + simulation.warmup_s + simulation.duration_s) * S)
    while T0 + times.at_ns < end:
        expected.append(T0 + times.at_ns)
        times.advance()
    asked = [s.intended_ns for _, s in world.starts]
    assert asked == expected[: len(asked)]
    assert world.schedule.dropped == len(expected) - len(asked)
    if not simulation.sessions and not simulation.max_concurrency:
        assert [at for at, _ in world.starts] == expected


@given(closed | counted | lasting, tooks)
def test_a_turn_is_due_when_its_session_has_thought(simulation: Simulation, took: Took) -> None:
    world = World(simulation, took).run()
    think = simulation.think
    for _, start in world.starts:
        if start.index:
            waited = start.intended_ns - world.ends[start.session, start.index - 1]
            if think.kind == "constant":
                assert waited == round(think.a * S)
            elif think.kind == "uniform":
                assert 0 <= waited <= 50_000_000
        elif start.session < simulation.sessions:
            ramp = round(simulation.ramp_s * S) * start.session // simulation.sessions
            assert start.intended_ns == T0 + ramp


@given(closed | counted | lasting, tooks, any_tooks)
def test_how_long_a_session_thinks_does_not_depend_on_what_happens(
    simulation: Simulation, one: Took, other: Took
) -> None:
    def thoughts(took: Took) -> dict[tuple[int, int], int]:
        world = World(simulation, took).run()
        return {
            (s.session, s.index): s.intended_ns - world.ends[s.session, s.index - 1]
            for _, s in world.starts
            if s.index
        }

    first, second = thoughts(one), thoughts(other)
    assert all(second[turn] == ns for turn, ns in first.items() if turn in second)


@given(closed | counted | open_counted | lasting | open_lasting, any_tooks, st.data())
def test_a_stopped_schedule_asks_nothing_more(
    simulation: Simulation, took: Took, data: st.DataObject
) -> None:
    world = World(simulation, took)
    for _ in range(data.draw(st.integers(0, 30))):
        world.step()
    asked = len(world.starts)
    world.schedule.stop()
    world.run()
    assert len(world.starts) == len(world.ends) == asked
    assert world.schedule.finished
    assert (world.schedule.sessions, world.schedule.in_flight) == (0, 0)


@given(closed | counted | open_counted | lasting | open_lasting, any_tooks, st.data())
def test_a_run_that_was_cut_off_comes_to_the_same_totals(
    simulation: Simulation, took: Took, data: st.DataObject
) -> None:
    world = World(simulation, took)
    for _ in range(data.draw(st.integers(0, 40))):
        world.step()
    known = world.known()
    resumed = World(simulation, took)
    resumed.schedule.resume(known, world.now, world.gave_up)
    resumed.now = world.now
    resumed._indices = {session: index + 1 for session, index, _, _ in known}
    assert resumed.schedule.begun == world.schedule.begun
    resumed.starts = list(world.starts)
    resumed.run()
    asked = [(s.session, s.index) for _, s in resumed.starts]
    assert len(set(asked)) == len(asked)
    numbers = {session for session, _ in asked}
    if simulation.requests:
        assert sum(s.phase == "run" for _, s in resumed.starts) == simulation.requests
    elif simulation.duration_s:
        assert resumed.now >= T0 + round(simulation.duration_s * S)
    else:
        assert numbers == set(range(simulation.sessions))
    if simulation.is_open:
        times = Arrivals(simulation, random.Random(simulation.seed))
        for _, start in resumed.starts:
            assert start.intended_ns == T0 + times.at_ns
            times.advance()
    gave_up = world.gave_up | resumed.gave_up
    complete = {session for session, index in asked if index + 1 == simulation.turns}
    assert resumed.schedule.completed == len(complete)
    if not (simulation.requests or simulation.duration_s):
        assert complete | gave_up == numbers


def test_sessions_take_the_places_of_those_that_ended() -> None:
    simulation = Simulation(out="", sessions=3, turns=2, duration_s=1.0, think=parse("1ms"))
    world = World(simulation, lambda _: 10_000_000)
    while world.now < T0 + S // 2:
        world.step()
        assert world.schedule.sessions == 3
    assert world.schedule.begun > 20
    assert world.schedule.draining_since_ns is None


def test_the_load_falls_when_the_first_of_the_last_sessions_ends() -> None:
    simulation = Simulation(out="", sessions=2, turns=1, ramp_s=1.0)
    world = World(simulation, lambda start: (1 + start.session) * S).run()
    assert world.schedule.draining_since_ns == T0 + S
    assert world.now == T0 + S // 2 + 2 * S


def test_an_arrival_goes_to_the_session_that_has_been_ready_longest() -> None:
    simulation = Simulation(out="", arrival="constant", rate=10.0, sessions=0, turns=9)
    schedule = schedule_of(simulation)
    assert [s.session for s in schedule.due(T0 + 2 * S // 10)] == [0, 1, 2]
    for session in (1, 2, 0):
        schedule.ended(session, T0 + 200_000_001 + session)
    starts = schedule.due(T0 + 7 * S // 10)
    assert [(s.session, s.index) for s in starts] == [(0, 1), (1, 1), (2, 1), (3, 0), (4, 0)]


def test_an_arrival_waits_for_room_and_keeps_its_time() -> None:
    simulation = Simulation(
        out="", arrival="constant", rate=10.0, sessions=0, duration_s=0.4, max_concurrency=1
    )
    schedule = schedule_of(simulation)
    assert len(schedule.due(T0)) == 1
    assert schedule.next_ns() == T0 + 4 * S // 10
    assert schedule.due(T0 + 350_000_000) == []
    schedule.ended(0, T0 + 350_000_000)
    assert schedule.due(T0 + 350_000_000) == [Start(0, 1, T0 + S // 10, "run", T0 + 350_000_000)]
    assert schedule.due(T0 + 400_000_000) == []
    assert (schedule.dropped, schedule.finished) == (2, False)
    assert schedule.ended(0, T0 + 500_000_000)
    assert schedule.finished


def times(simulation: Simulation, count: int) -> list[int]:
    arrivals = Arrivals(simulation, random.Random(simulation.seed))
    found = []
    for _ in range(count):
        found.append(arrivals.at_ns)
        arrivals.advance()
    return found


@pytest.mark.parametrize("rate", [3.0, 0.1, 123.456, 1e5])
def test_a_constant_rate_does_not_drift(rate: float) -> None:
    simulation = Simulation(out="", arrival="constant", rate=rate)
    for k, at in enumerate(times(simulation, 5000)):
        assert abs(at - k * 1e9 / rate) <= 1 + k * 1e9 / rate * 1e-12
    assert times(Simulation(out="", arrival="constant", rate=0.1), 1001)[-1] == 10_000 * S


@pytest.mark.parametrize(
    ("arrival", "burstiness", "variance"),
    [("poisson", 1.0, 1.0), ("gamma", 1.0, 1.0), ("gamma", 0.25, 4.0), ("gamma", 4.0, 0.25)],
)
def test_random_arrivals_have_their_mean_and_variance(
    arrival: str, burstiness: float, variance: float
) -> None:
    simulation = msgspec.structs.replace(
        Simulation(out="", rate=50.0, burstiness=burstiness, seed=7),
        arrival=arrival,
    )
    at = times(simulation, 40_000)
    gaps = [(b - a) / 1e9 * 50 for a, b in pairwise(at)]
    assert fmean(gaps) == pytest.approx(1.0, abs=0.03)
    assert pvariance(gaps) == pytest.approx(variance, rel=0.08)


def test_in_the_ramp_the_rate_grows_from_nothing() -> None:
    simulation = Simulation(out="", arrival="constant", rate=100.0, ramp_s=10.0)
    at = times(simulation, 1000)
    halves = [sum(a * S <= t < (a + 5) * S for t in at) for a in (0, 5, 10)]
    assert halves == [125, 375, 500]
    assert at[501] - at[500] == S // 100


def test_where_each_session_is_asked_once_a_ramp_leaves_nothing_out() -> None:
    once = Simulation(out="", sessions=4, turns=1, ramp_s=4.0)
    schedule = Schedule(once, 0, random.Random(0))
    assert [start.phase for start in schedule.due(10 * 10**9)] == ["run"] * 4
    warmed = Schedule(msgspec.structs.replace(once, warmup_s=1.0), 0, random.Random(0))
    assert [start.phase for start in warmed.due(10 * 10**9)] == ["warmup"] * 4


ROOM_OF_ONE = Simulation(
    out="", arrival="constant", rate=10.0, sessions=0, duration_s=9.0, max_concurrency=1
)


def test_without_a_bound_a_turn_is_ready_when_it_is_due() -> None:
    schedule = schedule_of(msgspec.structs.replace(ROOM_OF_ONE, max_concurrency=0))
    assert [s.ready_ns - s.intended_ns for s in schedule.due(T0 + S)] == [0] * 11
    closed = schedule_of(Simulation(out="", sessions=3, ramp_s=0.3))
    assert [s.ready_ns for s in closed.due(T0 + S)] == [T0, T0 + S // 10, T0 + 2 * S // 10]


def test_a_turn_that_waits_for_a_slow_server_is_ready_when_the_server_makes_room() -> None:
    schedule = schedule_of(ROOM_OF_ONE)
    schedule.due(T0)
    schedule.ended(0, T0 + 455_000_000, served_ns=450_000_000)
    [start] = schedule.due(T0 + 456_000_000)
    assert (start.intended_ns, start.ready_ns) == (T0 + S // 10, T0 + 450_000_000)


def test_a_turn_that_waits_for_a_client_that_hangs_has_been_ready_all_the_time() -> None:
    schedule = schedule_of(ROOM_OF_ONE)
    schedule.due(T0)
    schedule.ended(0, T0 + 2 * S, served_ns=50_000_000)  # 1.95 s of it our own
    [start] = schedule.due(T0 + 2 * S)
    assert start.ready_ns == start.intended_ns == T0 + S // 10
    # … and so have those behind it: it should have been over by now.
    schedule.ended(0, T0 + 2 * S + 50_000_000, served_ns=50_000_000)
    [start] = schedule.due(T0 + 2 * S + 50_000_000)
    assert (start.intended_ns, start.ready_ns) == (T0 + 2 * S // 10, T0 + 2 * S // 10)


def test_what_every_turn_costs_the_client_does_not_add_up() -> None:
    schedule = schedule_of(ROOM_OF_ONE)
    now = T0
    late = []
    for _ in range(20):
        [start] = schedule.due(now)
        late.append(now - start.ready_ns)
        schedule.ended(start.session, now + 310_000_000, served_ns=300_000_000)
        now += 310_000_000
    assert late == [0] + [10_000_000] * 19


def test_an_arrival_is_ready_when_a_session_is() -> None:
    bounded = msgspec.structs.replace(
        ROOM_OF_ONE, sessions=1, turns=2, max_concurrency=0, think=parse("200ms")
    )
    schedule = schedule_of(bounded)
    schedule.due(T0)
    schedule.ended(0, T0 + 60_000_000, served_ns=50_000_000)
    [start] = schedule.due(T0 + 900_000_000)  # it has thought since long
    assert (start.index, start.ready_ns) == (1, T0 + 250_000_000)
    # Its last turn ends: the place is free for another session.
    schedule.ended(0, T0 + 1_960_000_000, served_ns=S)
    [start] = schedule.due(T0 + 2 * S)
    assert (start.session, start.intended_ns) == (1, T0 + 2 * S // 10)
    # It was asked 650 ms late by us, of which 20 ms are let pass.
    assert start.ready_ns == T0 + 1_900_000_000 - 630_000_000


@given(open_counted | open_lasting | lasting, tooks)
def test_where_the_client_takes_no_time_every_turn_is_asked_when_it_is_ready(
    simulation: Simulation, took: Took
) -> None:
    for asked_ns, start in World(simulation, took).run().starts:
        assert start.intended_ns <= start.ready_ns == asked_ns
