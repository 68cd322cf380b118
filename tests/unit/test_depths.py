"""The gauges of the queues: told while there is something in them, and once when it is gone."""

from typing import Any

import msgspec

from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Completion,
    Measurement,
    ProcessRole,
    Record,
    Report,
    Target,
)
from chatbot.supervisor.depths import Depths
from chatbot.supervisor.dispatch import Dispatcher
from chatbot.tracing import Recorder


class FakeChild:
    """As much of a running child as is looked at."""

    def __init__(self) -> None:
        self.outbox = self
        self.waiting = 0


def test_a_queue_is_told_of_while_it_is_not_empty_and_once_more() -> None:
    reports: list[Report] = []

    def take(report: Report) -> bool:
        reports.append(report)
        return True

    recorder = Recorder("supervisor", 0, take)
    children: dict[tuple[ProcessRole, int], Any] = {
        ("store", 0): FakeChild(),
        ("worker", 0): FakeChild(),
        ("worker", 1): FakeChild(),
    }
    dispatcher = Dispatcher(credit=1, max_in_flight=8)
    dispatcher.store_up()
    dispatcher.worker_up(0)
    depths = Depths(children, dispatcher, recorder)

    def told() -> dict[str, float]:
        reports.clear()
        depths.tell()
        recorder.flush()
        found: dict[str, float] = {}
        for report in reports:
            for record in msgspec.msgpack.decode(report.payload, type=list[Record]):
                assert isinstance(record, Measurement)
                assert record.instrument == "gauge"
                found[str(record.attributes.get("queue", record.name))] = record.value
        return found

    assert told() == {}
    for number in range(3):
        dispatcher.from_ui(Ask(f"r{number}", "s", "hello", Target("ollama", "m")), 0.0)
        dispatcher.from_store(Accepted(f"r{number}"), 0.0)
    children["worker", 0].waiting = 2
    children["worker", 1].waiting = 3
    full = {"llm.requests": 2, "chatbot.requests.in_flight": 1, "workers": 5}
    assert told() == full
    assert told() == full
    children["worker", 0].waiting = children["worker", 1].waiting = 0
    for number in range(3):
        dispatcher.from_worker(0, Answered(f"r{number}", 1, Completion("hi")), 0.0)
    assert told() == dict.fromkeys(full, 0)
    assert told() == {}
