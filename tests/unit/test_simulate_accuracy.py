"""The client's own errors, from turns of which the truth is known."""

import msgspec

from chatbot.simulate.accuracy import Errors, known
from tests.unit.simulated import MS, S, turn


def test_the_error_is_what_the_client_measured_less_what_was_true() -> None:
    errors = Errors("run")
    for number in range(100):
        errors.add(turn(S + number * 10 * MS, ttft_ms=20.0 + number / 100, true_ttft_ms=19.5))
    accuracy = errors.accuracy()
    assert accuracy is not None
    assert (accuracy.where, accuracy.turns) == ("run", 100)
    assert 97 < accuracy.turns_per_s < 100
    assert accuracy.ttft_true.p50 == 19.5
    assert (accuracy.ttft_error.min, accuracy.ttft_error.max) == (0.5, 1.49)
    assert accuracy.ttft_error.p50 == 0.99
    assert (accuracy.chunk_lag.count, accuracy.chunk_lag.p50) == (500, 0.15)
    assert accuracy.loop_lag.max == 0.1


def test_the_own_share_counts_from_when_there_was_room() -> None:
    errors = Errors("run")
    errors.add(turn(S, late_ms=50.0, waited_ms=20.0, ttft_ms=20.0, true_ttft_ms=19.5))
    errors.add(turn(S, attempts=2, true_ttft_ms=5.0))  # what came before was the server's too
    accuracy = errors.accuracy()
    assert accuracy is not None
    assert (accuracy.own_share.count, accuracy.own_share.max) == (1, 30.0 + 1.0 + 0.5)


def test_reasoning_is_the_first_that_the_server_sends() -> None:
    errors = Errors("run")
    plain = turn(S, ttft_ms=30.0, true_ttft_ms=9.0)
    errors.add(msgspec.structs.replace(plain, first_reasoning_ns=plain.sent_ns + 10 * MS))
    accuracy = errors.accuracy()
    assert accuracy is not None
    assert accuracy.ttft_error.max == 1.0


def test_no_error_is_below_nothing() -> None:
    errors = Errors("run")
    errors.add(turn(S, ttft_ms=10.0, true_ttft_ms=11.0))
    accuracy = errors.accuracy()
    assert accuracy is not None
    assert accuracy.ttft_error.min == 0.0


def test_only_answered_turns_of_its_own_part_count() -> None:
    errors = Errors("before")
    errors.add(turn(S, phase="run", true_ttft_ms=5.0))
    errors.add(turn(S, phase="before", status="failed"))
    assert errors.accuracy() is None
    errors.add(turn(S, phase="before", true_ttft_ms=5.0))
    [accuracy] = known([Errors("run"), errors, Errors("after")])
    assert (accuracy.where, accuracy.turns) == ("before", 1)


def test_of_a_server_that_does_not_tell_only_the_loops_lateness_is_known() -> None:
    errors = Errors("run")
    errors.add(turn(S, lag_us=7000))
    accuracy = errors.accuracy()
    assert accuracy is not None
    assert (accuracy.turns, accuracy.ttft_error.count, accuracy.loop_lag.max) == (0, 0, 7.0)
    assert accuracy.own_share.max == 1.0  # until the sending
