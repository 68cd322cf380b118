"""How late the loop was, for calls that overlap. What is asserted of times are lower bounds only."""

import asyncio
import time

from chatbot.worker import lag
from chatbot.worker.lag import LagMeter


def hold_up(seconds: float) -> None:
    """Keep the loop's thread busy."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def some_looks(meter: LagMeter, count: int) -> None:
    target = meter._looks + count
    while meter._looks < target:
        await asyncio.sleep(0)


def test_a_loop_that_was_held_up_was_late() -> None:
    async def call() -> int:
        meter = LagMeter()
        since = meter.begin()
        hold_up(10 * lag.EVERY_S)
        await some_looks(meter, 2)
        longest_us = meter.longest_us(since)
        meter.end()
        return longest_us

    # Nine intervals late, less a millisecond of the loop's clock.
    assert asyncio.run(call()) >= 8.5 * lag.EVERY_S * 1e6


def test_a_loop_that_is_held_up_now_is_late_now() -> None:
    async def call() -> int:
        meter = LagMeter()
        since = meter.begin()
        hold_up(3 * lag.EVERY_S)
        longest_us = meter.longest_us(since)
        meter.end()
        return longest_us

    assert asyncio.run(call()) >= 1.9 * lag.EVERY_S * 1e6


def test_nothing_runs_while_nobody_asks() -> None:
    async def call() -> None:
        meter = LagMeter()
        meter.begin()
        meter.begin()
        meter.end()
        timer = meter._timer
        assert timer is not None
        assert not timer.cancelled()
        meter.end()
        assert timer.cancelled()

    asyncio.run(call())


def test_of_the_looks_only_those_are_kept_that_no_later_one_surpasses() -> None:
    meter = LagMeter()
    meter._due_ns = 2**63  # no look is due
    for looks, lag_ns in enumerate((5000, 9000, 1000, 4000, 2000)):
        meter._looks = looks
        meter._keep(lag_ns)
    assert [meter.longest_us(since) for since in range(6)] == [9, 9, 4, 4, 2, 0]
    assert len(meter._lags_ns) == 3
