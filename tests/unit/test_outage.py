"""The time without a store."""

from chatbot.supervisor.outage import TRY_AGAIN_S, Outage


def test_it_is_tried_again_ever_less_often_and_the_same_reason_is_told_once() -> None:
    outage = Outage()
    tries = [outage.failed("locked") for _ in range(len(TRY_AGAIN_S) + 1)]
    assert [after_s for after_s, _ in tries] == [*TRY_AGAIN_S, TRY_AGAIN_S[-1]]
    assert [is_news for _, is_news in tries] == [True] + [False] * len(TRY_AGAIN_S)
    assert outage.failed("disk full")[1]


def test_its_end_is_news_once_and_the_next_one_begins_anew() -> None:
    outage = Outage()
    assert not outage.ended()
    for _ in range(3):
        outage.failed("locked")
    assert outage.ended()
    assert not outage.ended()
    assert outage.failed("locked") == (TRY_AGAIN_S[0], True)
