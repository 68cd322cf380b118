"""The time without a store."""

from chatbot.supervisor.outage import LAST_TRY_AFTER_S, TRY_AGAIN_S, Outage


def test_it_is_tried_again_ever_less_often_and_the_same_reason_is_told_once() -> None:
    outage = Outage()
    tries = [outage.failed("locked", float(number)) for number in range(len(TRY_AGAIN_S) + 1)]
    assert [after_s for after_s, _ in tries] == [*TRY_AGAIN_S, TRY_AGAIN_S[-1]]
    assert [is_news for _, is_news in tries] == [True] + [False] * len(TRY_AGAIN_S)
    assert outage.failed("disk full", 9.0)[1]


def test_its_end_is_news_once() -> None:
    outage = Outage()
    assert not outage.ended()
    outage.failed("locked", 0.0)
    assert outage.ended()
    assert not outage.ended()
    assert outage.failed("locked", 1.0)[1]


def test_a_last_try_is_made_only_when_the_last_one_is_long_ago() -> None:
    outage = Outage()
    assert not outage.deserves_a_last_try(100.0)
    outage.failed("locked", 100.0)
    assert not outage.deserves_a_last_try(100.0 + LAST_TRY_AFTER_S)
    assert outage.deserves_a_last_try(100.1 + LAST_TRY_AFTER_S)
