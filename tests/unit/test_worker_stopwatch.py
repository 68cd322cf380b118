"""The stamps of one call, by a clock that the test turns."""

from array import array

import pytest

from chatbot.worker import timing
from chatbot.worker.lag import LagMeter
from chatbot.worker.timing import Stopwatch


class Clock:
    """Says what it is set to."""

    def __init__(self) -> None:
        self.ns = 1_000_000

    def __call__(self) -> int:
        return self.ns


class Meter(LagMeter):
    """A loop that was late by so much, for whoever began at 7."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0

    def begin(self) -> int:
        self.under_way += 1
        return 7

    def end(self) -> None:
        self.under_way -= 1

    def longest_us(self, since: int) -> int:
        return 4321 if since == 7 else 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timing, "_now", made)
    return made


def gaps_of(watch: Stopwatch) -> list[int]:
    return array("I", watch.timing(None).gaps).tolist()


def test_an_answer_ends_when_its_end_was_read_and_not_when_the_connection_did(
    clock: Clock,
) -> None:
    watch = Stopwatch(Meter())
    clock.ns = 2_000_000
    watch.sending()
    clock.ns = 5_000_000
    watch.received(b"data: the last piece, and [DONE]")
    clock.ns = 5_400_000  # the time that parsing takes is not the server's
    watch.parsed(1, 0)
    watch.ended()
    clock.ns = 9_000_000
    watch.received(b"")
    clock.ns = 9_500_000
    watch.ended()
    found = watch.timing(None)
    assert (found.begun_ns, found.sent_ns) == (1_000_000, 2_000_000)
    assert (found.first_content_ns, found.last_content_ns) == (5_000_000, 5_000_000)
    assert found.ended_ns == 5_000_000


def test_without_a_mark_the_end_of_the_body_is_the_end(clock: Clock) -> None:
    watch = Stopwatch(Meter())
    watch.sending()
    clock.ns = 3_000_000
    watch.received(b"all of it")
    clock.ns = 4_000_000
    watch.received(b"")
    clock.ns = 5_000_000
    watch.received(b"")
    assert watch.timing(None).ended_ns == 4_000_000


def test_chunks_are_counted_on_where_no_more_gaps_are_kept(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "MOST_GAPS", 5)
    watch = Stopwatch(Meter())
    watch.sending()
    for texts in (1, 2, 5, 9, 10):  # reads, with so many pieces in all
        clock.ns += 3_000_000
        watch.received(b"x")
        watch.parsed(texts, 0)
    assert watch.timing(None).chunks == 10
    assert gaps_of(watch) == [3000, 3000, 0, 0, 3000]


def test_how_late_the_loop_was_meanwhile_is_told_and_is_no_longer_looked_at(clock: Clock) -> None:
    meter = Meter()
    watch = Stopwatch(meter)
    assert meter.under_way == 1
    assert watch.timing(None).lag_us == 4321
    watch.stop()
    assert meter.under_way == 0
