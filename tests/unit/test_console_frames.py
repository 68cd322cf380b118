"""When frames may be drawn."""

from itertools import pairwise

from chatbot.ui.console.frames import BURST, CREDIT_S, FRAMES_PER_S, Pace


def _frames(pace: Pace, *, seconds: float, cost_s: float = 0.0) -> list[float]:
    """Draw whenever it is allowed; return when that was."""
    now, drawn = 100.0, []
    while now < 100.0 + seconds:
        now += pace.wait_s(now)
        drawn.append(now)
        pace.drawn(now, now + cost_s)
        now += cost_s
    return drawn


def test_the_first_frames_come_at_once() -> None:
    drawn = _frames(Pace(), seconds=0.01)
    assert drawn[:BURST] == [100.0] * BURST
    assert drawn[BURST] > 100.0


def test_a_long_stream_has_thirty_in_a_second() -> None:
    drawn = _frames(Pace(), seconds=10)
    assert abs(len(drawn) - 10 * FRAMES_PER_S) <= BURST + 1


def test_frames_that_cost_much_leave_three_quarters_to_others() -> None:
    drawn = _frames(Pace(), seconds=10, cost_s=0.05)
    assert 0.05 * len(drawn) <= 10 / 4 + 2 * 0.05 + CREDIT_S
    gaps = [after - before for before, after in pairwise(drawn)]
    assert min(gaps[2:]) >= 4 * 0.05 - 1e-6


def test_a_frame_does_not_hold_up_the_next_one_where_few_were_drawn() -> None:
    pace = Pace()
    pace.drawn(100.0, 100.01)
    assert pace.wait_s(100.01) == 0


def test_after_a_rest_the_next_frame_is_not_waited_for() -> None:
    pace = Pace()
    now = _frames(pace, seconds=1)[-1]
    assert pace.wait_s(now) > 0
    assert pace.wait_s(now + 1 / FRAMES_PER_S + 1e-9) == 0
