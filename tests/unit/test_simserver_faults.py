"""Which requests go wrong; and the places of those that do not."""

from collections import Counter
from typing import get_args

import pytest

from chatbot.messages import ChatMessage
from chatbot.settings import FaultKind, SimServerSettings
from chatbot.simserver import faults as faults_module
from chatbot.simserver.faults import Fault, Faults
from chatbot.simserver.places import Places
from chatbot.wire.format import ChatRequest


def asking(text: str) -> ChatRequest:
    return ChatRequest("sim", (ChatMessage("user", text),), stream=True)


def test_the_shares_of_the_faults_are_the_rates() -> None:
    rates: dict[FaultKind, float] = {"429": 0.2, "stall": 0.1, "error": 0.05}
    faults = Faults(SimServerSettings(faults=rates))
    asked = [faults.next(asking(f"question {n}")) for n in range(4000)]
    found = Counter(fault.kind if fault else None for fault in asked)
    for kind, rate in [*rates.items(), (None, 0.65)]:
        assert found[kind] / 4000 == pytest.approx(rate, abs=0.03)


def test_the_same_conversation_asked_again_and_again_fails_as_often_as_others() -> None:
    faults = Faults(SimServerSettings(faults={"500": 0.3}))
    failed = sum(faults.next(asking("the same")) is not None for _ in range(3000))
    assert failed / 3000 == pytest.approx(0.3, abs=0.03)


def test_a_run_with_the_same_seed_has_the_same_faults_and_another_has_others() -> None:
    def run(seed: int) -> list[Fault | None]:
        faults = Faults(SimServerSettings(faults={"429": 0.3, "malformed": 0.3}, seed=seed))
        return [faults.next(asking(f"question {n % 40}")) for n in range(120)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_it_does_not_matter_when_others_ask() -> None:
    settings = SimServerSettings(faults={"500": 0.5})
    faults = Faults(settings)
    alone = [faults.next(asking("mine")) for _ in range(20)]
    among = Faults(settings)
    mixed = []
    for n in range(20):
        among.next(asking(f"other {n}"))
        mixed.append(among.next(asking("mine")))
    assert mixed == alone


def test_what_is_remembered_is_bounded_and_the_newest_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults_module, "_MOST_REMEMBERED", 100)
    faults = Faults(SimServerSettings(faults={"500": 0.5}))
    for n in range(1000):
        faults.next(asking(f"question {n}"))
        assert len(faults._asked) <= 100
    before = dict(faults._asked)
    faults.next(asking("question 999"))
    assert sorted(faults._asked.values()) == [*sorted(before.values())[:-1], 2]


def test_nothing_is_spent_where_there_are_no_faults() -> None:
    assert not Faults(SimServerSettings()).any
    assert not Faults(SimServerSettings(faults={"500": 0.0})).any


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_a_fault_under_way_comes_after_some_pieces_and_before_the_last(kind: FaultKind) -> None:
    assert Fault(kind, 0.0).status == (int(kind) if kind.isdigit() else 0)
    for pieces in range(2, 50):
        assert [Fault(kind, u).after(pieces) for u in (0.0, 0.9999)] == [1, pieces - 1]
    assert (Fault(kind, 0.9).after(1), Fault(kind, 0.9).after(0)) == (1, 0)


class Someone:
    """Begins, and leaves at once where it is told to."""

    def __init__(self, name: int, begun: list[int], leaves: Places | None = None) -> None:
        self.name = name
        self.begun = begun
        self.leaves = leaves

    def begin(self) -> None:
        self.begun.append(self.name)
        if self.leaves is not None:
            self.leaves.leave(self)


def test_so_many_run_so_many_wait_and_the_next_is_refused() -> None:
    places, begun = Places(2, 3), list[int]()
    guests = [Someone(n, begun) for n in range(6)]
    assert [places.enter(guest) for guest in guests] == [True] * 5 + [False]
    assert (begun, places.running, places.waiting) == ([0, 1], 2, 3)


def test_who_came_first_is_served_first_and_who_left_the_queue_is_not() -> None:
    places, begun = Places(1, 9), list[int]()
    guests = [Someone(n, begun) for n in range(5)]
    for guest in guests:
        places.enter(guest)
    places.leave(guests[2])
    for n in (0, 1, 3, 4):
        places.leave(guests[n])
    assert (begun, places.running, places.waiting) == ([0, 1, 3, 4], 0, 0)


def test_thousands_that_leave_at_once_are_called_in_order_and_not_in_depth() -> None:
    places, begun = Places(1, 5000), list[int]()
    first = Someone(-1, begun)
    places.enter(first)
    for n in range(5000):
        places.enter(Someone(n, begun, leaves=places))
    places.leave(first)
    assert begun == list(range(-1, 5000))
    assert (places.running, places.waiting) == (0, 0)


def test_who_comes_while_the_queue_is_being_called_goes_to_its_end() -> None:
    places, begun = Places(1, 9), list[int]()

    class Returning(Someone):
        def begin(self) -> None:
            super().begin()
            places.enter(Someone(self.name + 100, begun, leaves=places))

    first = Someone(0, begun)
    places.enter(first)
    places.enter(Returning(1, begun, leaves=places))
    places.enter(Someone(2, begun, leaves=places))
    places.leave(first)
    assert begun == [0, 1, 2, 101]


def test_without_a_bound_all_run() -> None:
    places, begun = Places(0, 0), list[int]()
    assert all(places.enter(Someone(n, begun)) for n in range(100))
    assert places.running == 100
