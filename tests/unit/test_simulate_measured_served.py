"""What a terminal message tells of a turn."""

import pytest

from chatbot.messages import Answered, Completion, Interrupted, Timing
from chatbot.simulate.measured import lost, served_ns, turn_of
from chatbot.simulate.schedule import Start

MS = 1_000_000
START = Start(3, 1, 5 * MS, "run", 7 * MS)


def _answered(timing: Timing | None) -> Answered:
    return Answered("r", 1, Completion("text"), timing=timing)


@pytest.mark.parametrize(
    ("timing", "served"),
    [
        (Timing(10 * MS, sent_ns=12 * MS, ended_ns=50 * MS, attempts=1), 38 * MS),
        (Timing(10 * MS, sent_ns=30 * MS, ended_ns=50 * MS, attempts=3), 40 * MS),
        (Timing(10 * MS, sent_ns=12 * MS, attempts=1), None),
        (Timing(10 * MS, ended_ns=50 * MS), None),
        (None, None),
    ],
    ids=["once", "with retries", "no end", "never sent", "not measured"],
)
def test_the_server_had_a_turn_from_the_first_sending_to_the_end(
    timing: Timing | None, served: int | None
) -> None:
    assert served_ns(_answered(timing)) == served


def test_of_a_turn_that_was_interrupted_it_is_not_known() -> None:
    assert served_ns(Interrupted("r", 1, "a worker died")) is None


def test_when_there_was_room_stays_with_the_turn() -> None:
    turn = turn_of(START, "run", 8 * MS, _answered(None), 60 * MS, 0)
    assert (turn.intended_ns, turn.ready_ns, turn.asked_ns) == (5 * MS, 7 * MS, 8 * MS)
    assert lost(START, "run", 8 * MS, 60 * MS, "lost", "it is lost").ready_ns == 7 * MS
