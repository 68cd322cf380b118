"""What waits to be told does not grow without bound, and what has been added is not lost by that."""

from chatbot.messages import AttributeValue
from chatbot.sums import Sums


def test_so_many_series_wait_and_no_more_until_they_are_taken() -> None:
    sums = Sums()
    series: list[dict[str, AttributeValue]] = [{"n": n} for n in range(1025)]
    for attributes in series[:1024]:
        assert sums.add("c", "counter", 1, attributes)
    assert sums.add("c", "counter", 2, series[0])
    assert not sums.add("c", "counter", 1, series[1024])
    assert not sums.add("c", "counter", 1, {"n": 1025})
    assert sums.waiting == 1024
    assert sum(record.value for record in sums.take()) == 1026
    assert sums.waiting == 0
    assert sums.add("c", "counter", 1, series[1024])
    assert [record.value for record in sums.take()] == [1]
