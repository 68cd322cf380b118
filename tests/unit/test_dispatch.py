"""The dispatcher: its rules one by one, and all of them under any order of events."""

from collections import defaultdict

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from chatbot.history import History
from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    Call,
    Cancel,
    Cancelled,
    ChatMessage,
    Checkpoint,
    Completion,
    ContextRead,
    Delta,
    Failed,
    Found,
    FromWorker,
    Hit,
    Interrupted,
    ListModels,
    Load,
    Loaded,
    Message,
    ModelsListed,
    Notice,
    Pick,
    Picked,
    ReadContext,
    Saved,
    Search,
    Sending,
    Session,
    StoredMessage,
    Target,
    Undo,
    Undone,
)
from chatbot.supervisor.dispatch import Dispatcher, Send
from chatbot.supervisor.ledger import KEPT_CHARACTERS, KEPT_MESSAGES, NOTHING_SAVED
from chatbot.supervisor.tally import Tally

SIM = Target("ollama", "m")
TERMINALS = (Answered, Failed, Cancelled, Interrupted)


def make(credit: int = 2, *, max_in_flight: int = 100, workers: int = 1) -> Dispatcher:
    dispatcher = Dispatcher(credit=credit, max_in_flight=max_in_flight)
    dispatcher.store_up()
    for slot in range(workers):
        dispatcher.worker_up(slot)
    return dispatcher


def ask(request_id: str, content: str = "hi") -> Ask:
    return Ask(request_id, "s", content, SIM)


def sent(sends: list[Send], to: str) -> list[Message]:
    return [send.message for send in sends if send.to == to]


def accepted_call(dispatcher: Dispatcher, request_id: str, key: str = "") -> Call:
    dispatcher.from_ui(ask(request_id), 0.0)
    (call,) = sent(dispatcher.from_store(Accepted(request_id, key), 0.0), "worker")
    assert isinstance(call, Call)
    return call


def answer(call: Call, text: str = "yes") -> Answered:
    return Answered(call.request_id, call.attempt, Completion(text))


def test_a_question_goes_to_the_store_before_it_goes_anywhere_else() -> None:
    dispatcher = make()
    assert dispatcher.from_ui(ask("r"), 0.0) == [Send("store", 0, ask("r"))]


def test_a_call_tells_since_when_it_could_have_been_sent_however_often_it_is_given_out() -> None:
    dispatcher = make(credit=1)
    first = accepted_call(dispatcher, "r")
    dispatcher.from_ui(ask("waits"), 1.0)
    assert sent(dispatcher.from_store(Accepted("waits"), 2.0), "worker") == []
    (call,) = sent(dispatcher.from_worker(0, answer(first), 9.0), "worker")
    assert isinstance(call, Call)
    assert (call.request_id, call.attempt, call.ready_s) == ("waits", 1, 2.0)
    dispatcher.worker_down(0)
    (again,) = sent(dispatcher.worker_up(0), "worker")
    assert isinstance(again, Call)
    assert (again.attempt, again.ready_s, again.traceparent) == (2, 2.0, call.traceparent)
    assert dispatcher.depths == (0, 1)


def test_an_accepted_question_is_called_with_its_history_and_itself() -> None:
    dispatcher = make()
    history = (ChatMessage("user", "a"), ChatMessage("assistant", "b"))
    dispatcher.from_ui(msgspec.structs.replace(ask("r"), history=history), 0.0)
    (send,) = dispatcher.from_store(Accepted("r"), 0.0)
    assert isinstance(send.message, Call)
    assert send.message.messages == (*history, ChatMessage("user", "hi"))
    assert send.message.attempt == 1


def test_a_cached_answer_goes_to_the_ui_and_to_no_worker() -> None:
    dispatcher = make()
    dispatcher.from_ui(ask("r"), 0.0)
    (send,) = dispatcher.from_store(Accepted("r", "k", Hit(Completion("yes"), 9.0)), 0.0)
    assert send.to == "ui"
    assert isinstance(send.message, Answered)
    assert send.message.cached_age_s == 9.0
    dispatcher.from_store(Saved("r"), 0.0)
    assert dispatcher.idle


def test_it_counts_how_requests_ended_and_how_long_the_generated_answers_took() -> None:
    dispatcher = make(workers=0)
    for name in ("hit", "called", "waits", "fails"):
        dispatcher.from_ui(ask(name), 0.0)
    dispatcher.from_store(Accepted("fails"), 0.0)
    dispatcher.from_store(Accepted("hit", "k", Hit(Completion("yes"), 9.0)), 0.0)
    dispatcher.worker_up(0)
    (call,) = sent(dispatcher.from_store(Accepted("called"), 0.0), "worker")
    assert isinstance(call, Call)
    dispatcher.from_worker(0, Failed("fails", 1, "timeout", "no"), 0.0)
    ended = msgspec.structs.replace(answer(call), first_token_ms=20.0, duration_ms=50.0)
    dispatcher.from_worker(0, ended, 0.0)
    status = dispatcher.status
    assert (status.answered, status.cached, status.failed, status.stopped) == (1, 1, 1, 0)
    assert (status.first_token_ms, status.duration_ms) == ((20.0, 20.0), (50.0, 50.0))
    assert (status.in_flight, status.waiting) == (1, 0)
    dispatcher.worker_down(0)
    dispatcher.from_store(Accepted("waits"), 0.0)
    assert (dispatcher.status.in_flight, dispatcher.status.waiting) == (0, 1)
    dispatcher.from_ui(Cancel("waits"), 0.0)
    assert (dispatcher.status.stopped, dispatcher.status.waiting) == (1, 0)


def test_percentiles_are_values_that_were_there() -> None:
    tally = Tally()
    assert tally.status(waiting=0, in_flight=0, unsaved=0).duration_ms is None
    for ms in range(1, 1001):
        tally.ended(Answered(str(ms), 1, Completion(""), duration_ms=float(ms)))
    status = tally.status(waiting=0, in_flight=0, unsaved=0)
    assert status.duration_ms == (900.0, 990.0)  # of the last 200
    assert status.first_token_ms is None


def test_an_answer_goes_to_the_ui_and_to_the_store_which_acknowledges_it() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "r")
    sends = dispatcher.from_worker(0, answer(call), 0.0)
    assert [(send.to, type(send.message)) for send in sends] == [
        ("ui", Answered),
        ("store", Answered),
    ]
    assert not dispatcher.idle
    assert sent(dispatcher.from_store(Saved("r"), 0.0), "ui") == [Saved("r")]
    assert dispatcher.idle


def test_the_least_busy_worker_gets_the_call_and_none_gets_more_than_its_credit() -> None:
    dispatcher = make(credit=1, workers=2)
    slots = []
    for name in "abc":
        dispatcher.from_ui(ask(name, name), 0.0)
        sends = dispatcher.from_store(Accepted(name), 0.0)
        slots += [send.slot for send in sends]
    assert sorted(slots) == [0, 1]
    (call,) = sent(
        dispatcher.from_worker(1, Answered(_held(slots, 1), 1, Completion("x")), 0), "worker"
    )
    assert isinstance(call, Call)
    assert call.request_id == "c"


def _held(slots: list[int], slot: int) -> str:
    return "ab"[slots.index(slot)]


def test_a_call_that_was_not_sent_goes_to_another_worker_when_its_own_dies() -> None:
    dispatcher = make(workers=2)
    call = accepted_call(dispatcher, "r")
    (send,) = dispatcher.worker_down(0)
    assert isinstance(send.message, Call)
    assert (send.slot, send.message.attempt) == (1, call.attempt + 1)


def test_a_call_that_may_have_been_sent_ends_as_interrupted_with_what_came() -> None:
    dispatcher = make(workers=2)
    call = accepted_call(dispatcher, "r")
    dispatcher.from_worker(0, Sending("r", call.attempt), 0.0)
    dispatcher.from_worker(0, Delta("r", call.attempt, 0, "par"), 0.0)
    dispatcher.from_worker(0, Delta("r", call.attempt, 1, "tial"), 0.0)
    sends = dispatcher.worker_down(0)
    assert [send.to for send in sends] == ["ui", "store"]
    assert isinstance(sends[0].message, Interrupted)
    assert sends[0].message.text == "partial"


def test_three_deaths_before_sending_make_a_request_poison() -> None:
    dispatcher = make()
    accepted_call(dispatcher, "r")
    for _ in range(2):
        dispatcher.worker_down(0)
        assert sent(dispatcher.worker_up(0), "worker")
    (failed, _) = dispatcher.worker_down(0)
    assert isinstance(failed.message, Failed)
    assert failed.message.kind == "poison"


def test_stale_and_repeated_deltas_are_dropped() -> None:
    dispatcher = make(workers=2)
    first = accepted_call(dispatcher, "r")
    dispatcher.worker_down(0)
    assert dispatcher.from_worker(1, Delta("r", first.attempt, 0, "stale"), 0.0) == []
    second = first.attempt + 1
    assert dispatcher.from_worker(1, Delta("r", second, 0, "a"), 0.0)
    assert dispatcher.from_worker(1, Delta("r", second, 0, "a"), 0.0) == []
    assert dispatcher.from_worker(0, Delta("r", second, 1, "not its worker"), 0.0) == []


def test_identical_requests_share_a_call_and_each_gets_its_own_answer() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "a", key="k")
    dispatcher.from_worker(0, Delta("a", call.attempt, 0, "so far"), 0.0)
    dispatcher.from_ui(ask("b"), 0.0)
    (late,) = dispatcher.from_store(Accepted("b", "k"), 0.0)
    assert isinstance(late.message, Delta)
    assert (late.message.request_id, late.message.text) == ("b", "so far")
    sends = dispatcher.from_worker(0, answer(call), 0.0)
    answers = [m for m in sent(sends, "ui") if isinstance(m, Answered)]
    assert [(m.request_id, m.cached_age_s) for m in answers] == [("a", None), ("b", 0.0)]
    assert [m.request_id for m in sent(sends, "store") if isinstance(m, Answered)] == ["a", "b"]


def test_who_looked_into_the_cache_too_early_gets_the_answer_that_came_meanwhile() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "a", key="k")
    dispatcher.from_ui(ask("b"), 0.0)
    dispatcher.from_ui(ask("c"), 0.0)
    dispatcher.from_worker(0, answer(call), 0.0)
    sends = dispatcher.from_store(Accepted("b", "k"), 0.0)
    assert sent(sends, "worker") == []
    (own,) = sent(sends, "ui")
    assert isinstance(own, Answered)
    assert (own.request_id, own.completion.text, own.cached_age_s) == ("b", "yes", 0.0)
    dispatcher.from_store(Saved("a"), 0.0)  # from here on it would have been a hit
    assert sent(dispatcher.from_store(Accepted("c", "k"), 0.0), "worker")


def test_the_first_of_those_who_still_want_it_is_who_pays_and_has_it_cached() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "a", key="k")
    for name in ("b", "c"):
        dispatcher.from_ui(ask(name), 0.0)
        dispatcher.from_store(Accepted(name, "k"), 0.0)
    dispatcher.from_ui(Cancel("a"), 0.0)
    answers = sent(dispatcher.from_worker(0, answer(call), 0.0), "ui")
    assert [(m.request_id, m.cached_age_s) for m in answers if isinstance(m, Answered)] == [
        ("b", None),
        ("c", 0.0),
    ]


def test_a_request_that_is_cancelled_leaves_the_shared_call_to_the_others() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "a", key="k")
    dispatcher.from_ui(ask("b"), 0.0)
    dispatcher.from_store(Accepted("b", "k"), 0.0)
    sends = dispatcher.from_ui(Cancel("a"), 0.0)
    assert isinstance(sent(sends, "ui")[0], Cancelled)
    assert sent(sends, "worker") == []
    sends = dispatcher.from_worker(0, answer(call), 0.0)
    assert [m.request_id for m in sent(sends, "ui") if isinstance(m, Answered)] == ["b"]


def test_cancelled_is_said_when_the_worker_says_it() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "r")
    assert dispatcher.from_ui(Cancel("r"), 0.0) == [Send("worker", 0, Cancel("r"))]
    assert dispatcher.from_ui(Cancel("r"), 0.0) == []
    sends = dispatcher.from_worker(0, Cancelled("r", call.attempt, "par"), 0.0)
    assert [type(m) for m in sent(sends, "ui")] == [Cancelled]


def test_an_answer_that_overtakes_the_cancel_is_an_answer() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "r")
    dispatcher.from_ui(Cancel("r"), 0.0)
    sends = dispatcher.from_worker(0, answer(call), 0.0)
    assert [type(m) for m in sent(sends, "ui")] == [Answered]
    assert dispatcher.from_worker(0, Cancelled("r", call.attempt), 0.0) == []


def test_a_cancel_before_acceptance_ends_the_request_and_nothing_is_called() -> None:
    dispatcher = make()
    dispatcher.from_ui(ask("r"), 0.0)
    sends = dispatcher.from_ui(Cancel("r"), 0.0)
    assert [type(m) for m in sent(sends, "ui")] == [Cancelled]
    assert dispatcher.from_store(Accepted("r"), 0.0) == []


def test_a_store_that_comes_back_is_told_again_in_order_what_it_did_not_acknowledge() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "a")
    dispatcher.from_ui(ask("b"), 0.0)
    dispatcher.store_down()
    assert sent(dispatcher.from_worker(0, answer(call), 0.0), "store") == []
    dispatcher.from_ui(Load("l"), 0.0)
    told = sent(dispatcher.store_up(), "store")
    assert [type(message) for message in told] == [Ask, Answered, Load]


def test_without_a_store_the_chat_goes_on_round_it() -> None:
    dispatcher = make()
    dispatcher.from_ui(ask("a"), 0.0)
    dispatcher.from_ui(Load("l"), 0.0)
    sends = dispatcher.store_gone("disk full", 0.0)
    assert sent(sends, "ui") == [Loaded("l", error="disk full")]
    (call,) = sent(sends, "worker")
    assert isinstance(call, Call)
    assert sent(dispatcher.from_worker(0, answer(call), 0.0), "store") == []
    (again,) = sent(dispatcher.from_ui(ask("b"), 0.0), "worker")
    assert isinstance(again, Call)
    assert dispatcher.from_ui(Search("s", "text"), 0.0) == [
        Send("ui", 0, Found("s", error="disk full"))
    ]


def test_what_happened_without_a_store_is_saved_when_there_is_one_again() -> None:
    dispatcher = make()
    for _ in range(3):  # it is tried again in vain, which changes nothing
        dispatcher.store_gone("disk full", 0.0)
    history = (ChatMessage("user", "before"), ChatMessage("assistant", "then"))
    question = msgspec.structs.replace(ask("a"), history=history)
    (call,) = sent(dispatcher.from_ui(question, 0.0), "worker")
    assert isinstance(call, Call)
    assert len(call.messages) == 3
    dispatcher.from_worker(0, answer(call), 0.0)
    assert dispatcher.unsaved == 2
    asked, answered = sent(dispatcher.store_up(), "store")
    assert isinstance(asked, Ask)
    assert (asked.content, asked.cache, asked.history) == ("hi", "refresh", ())
    assert asked.history_digest == History().followed_by(*history).digest
    assert isinstance(answered, Answered)
    assert dispatcher.from_store(Accepted("a"), 0.0) == []  # nobody asks it a second time
    was_saving = dispatcher.is_saving
    dispatcher.from_store(Saved("a"), 0.0)
    assert (was_saving, dispatcher.is_saving) == (False, True)
    assert dispatcher.idle
    assert dispatcher.unsaved == 0


def test_a_turn_that_is_undone_without_a_store_is_undone_when_there_is_one_again() -> None:
    dispatcher = make()
    dispatcher.from_ui(Undo("u", "s", "earlier"), 0.0)
    assert sent(dispatcher.store_gone("disk full", 0.0), "ui") == [Undone("u")]
    assert dispatcher.from_ui(Undo("v", "s", "later"), 0.0) == [Send("ui", 0, Undone("v"))]
    assert [m.request_id for m in sent(dispatcher.store_up(), "store") if isinstance(m, Undo)] == [
        "u",
        "v",
    ]


def test_a_turn_that_is_picked_without_a_store_is_picked_when_there_is_one_again() -> None:
    dispatcher = make()
    dispatcher.from_ui(Pick("p", "s", "earlier"), 0.0)
    assert sent(dispatcher.store_gone("disk full", 0.0), "ui") == [Picked("p")]
    fan = [msgspec.structs.replace(ask(name), fan="a") for name in "ab"]
    for question in fan:
        assert sent(dispatcher.from_ui(question, 0.0), "worker")
    assert dispatcher.from_ui(Pick("q", "s", "b"), 0.0) == [Send("ui", 0, Picked("q"))]
    assert dispatcher.from_ui(Undo("u", "s", "b"), 0.0) == [Send("ui", 0, Undone("u"))]
    assert dispatcher.unsaved == 5
    told = sent(dispatcher.store_up(), "store")
    assert [m.request_id for m in told] == ["p", "a", "b", "q", "u"]  # type: ignore[attr-defined] # all have one
    assert [m.fan for m in told if isinstance(m, Ask)] == ["a", "a"]
    for name in "pq":
        assert not dispatcher.is_saving
        dispatcher.from_store(Picked(name), 0.0)
    for name in "ab":
        dispatcher.from_store(Accepted(name), 0.0)
    dispatcher.from_store(Undone("u"), 0.0)
    assert dispatcher.is_saving


def test_a_pick_whose_store_dies_before_it_replies_is_told_to_the_next_one() -> None:
    dispatcher = make()
    assert sent(dispatcher.from_ui(Pick("p", "s", "b"), 0.0), "store") == [Pick("p", "s", "b")]
    assert dispatcher.unsaved == 1
    assert dispatcher.store_down() == []
    assert dispatcher.store_up() == [Send("store", 0, Pick("p", "s", "b"))]
    assert dispatcher.from_store(Picked("p"), 0.0) == [Send("ui", 0, Picked("p"))]
    assert dispatcher.idle


def test_a_pick_that_stores_die_of_is_refused() -> None:
    dispatcher = make()
    dispatcher.from_ui(Pick("p", "s", "b"), 0.0)
    for _ in range(3):
        assert dispatcher.store_down() == []
        assert dispatcher.store_up()
    (picked,) = sent(dispatcher.store_down(), "ui")
    assert isinstance(picked, Picked)
    assert picked.error
    assert "\n" not in picked.error
    assert dispatcher.idle


def test_without_a_store_by_wish_a_pick_is_done_and_nothing_is_kept() -> None:
    dispatcher = Dispatcher(credit=1, max_in_flight=1, saves=False)
    assert dispatcher.from_ui(Pick("p", "s", "b"), 0.0) == [Send("ui", 0, Picked("p"))]
    assert dispatcher.unsaved == 0
    assert dispatcher.idle


def test_until_a_store_has_saved_what_waited_for_it_the_chat_goes_on_round_it() -> None:
    dispatcher = make(workers=2, credit=10)
    dispatcher.store_gone("locked", 0.0)
    dispatcher.from_ui(ask("a"), 0.0)
    assert sent(dispatcher.store_up(), "store")
    assert dispatcher.from_store(Notice("waiting: locked"), 0.0) == []
    sends = dispatcher.from_ui(ask("b"), 0.0)
    assert [type(m) for m in sent(sends, "worker")] == [Call]
    assert [m.request_id for m in sent(sends, "store") if isinstance(m, Ask)] == ["b"]
    dispatcher.store_gone("locked", 0.0)
    assert sent(dispatcher.from_ui(ask("c"), 0.0), "worker")
    assert len(sent(dispatcher.store_up(), "store")) == 3
    for name in "abc":
        assert not dispatcher.is_saving
        dispatcher.from_store(Accepted(name), 0.0)
    assert dispatcher.is_saving
    assert sent(dispatcher.from_ui(ask("d"), 0.0), "worker") == []


def test_an_outage_of_many_tries_loses_nothing_of_what_was_kept() -> None:
    dispatcher = make(credit=100)
    dispatcher.store_gone("locked", 0.0)
    for number in range(3):
        dispatcher.from_ui(ask(f"r{number}", "x" * (KEPT_CHARACTERS // 4)), 0.0)
    dispatcher.from_ui(ask("large", "x" * (KEPT_CHARACTERS // 2)), 0.0)  # too much
    dispatcher.from_ui(ask("small"), 0.0)
    for _ in range(20):
        dispatcher.store_gone("locked", 0.0)
    told = sent(dispatcher.store_up(), "store")
    assert [m.request_id for m in told if isinstance(m, Ask)] == ["r0", "r1", "r2", "small"]
    assert dispatcher.take_unsaved() == 1


def test_a_question_that_was_asked_in_an_outage_is_answered_even_if_stores_die_of_it() -> None:
    dispatcher = make()
    dispatcher.store_gone("locked", 0.0)
    (call,) = sent(dispatcher.from_ui(ask("r"), 0.0), "worker")
    assert isinstance(call, Call)
    for _ in range(3):
        assert dispatcher.store_up()
        assert dispatcher.store_down() == []
    dispatcher.store_up()
    assert [type(m) for m in sent(dispatcher.store_down(), "ui")] == [Notice]
    assert dispatcher.from_worker(0, Delta("r", call.attempt, 0, "yes"), 0.0)
    assert [type(m) for m in sent(dispatcher.from_worker(0, answer(call), 0.0), "ui")] == [Answered]


def test_who_comes_back_while_there_is_no_store_is_told_of_the_answer_under_way() -> None:
    dispatcher = make()
    dispatcher.store_gone("locked", 0.0)
    (call,) = sent(dispatcher.from_ui(ask("r"), 0.0), "worker")
    assert isinstance(call, Call)
    dispatcher.from_worker(0, Delta("r", call.attempt, 0, "so far"), 0.0)
    assert dispatcher.from_ui(Load("l", "s"), 0.0) == [
        Send("ui", 0, Loaded("l", error="locked", under_way="r", so_far="so far"))
    ]


def test_what_cannot_be_kept_without_a_store_is_counted() -> None:
    dispatcher = make(max_in_flight=10**6, credit=10**6)
    dispatcher.store_gone("disk full", 0.0)
    for number in range(KEPT_MESSAGES + 3):
        assert sent(dispatcher.from_ui(ask(f"r{number}"), 0.0), "worker")
    assert len(sent(dispatcher.store_up(), "store")) == KEPT_MESSAGES
    assert dispatcher.take_unsaved() == 3
    assert dispatcher.take_unsaved() == 0


def test_a_question_the_store_dies_of_is_told_alone_and_in_the_end_not_at_all() -> None:
    dispatcher = make()
    dispatcher.from_ui(ask("bad"), 0.0)
    dispatcher.from_ui(ask("good"), 0.0)
    dispatcher.store_down()
    assert len(sent(dispatcher.store_up(), "store")) == 2
    for _ in range(2):
        dispatcher.store_down()
        (alone,) = sent(dispatcher.store_up(), "store")
        assert isinstance(alone, Ask)
        assert alone.request_id == "bad"
    (failed,) = sent(dispatcher.store_down(), "ui")
    assert isinstance(failed, Failed)
    assert (failed.request_id, failed.kind) == ("bad", "poison")
    (good,) = sent(dispatcher.store_up(), "store")
    assert isinstance(good, Ask)
    dispatcher.from_ui(ask("next"), 0.0)
    assert [m.request_id for m in sent(dispatcher.from_store(Accepted("good"), 0.0), "store")] == [  # type: ignore[attr-defined] # an Ask
        "next"
    ]


def test_an_answer_the_store_dies_of_is_told_to_be_unsaved() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "r")
    dispatcher.from_worker(0, answer(call), 0.0)
    for _ in range(3):
        assert dispatcher.store_down() == []
        assert len(dispatcher.store_up()) == 1
    (notice,) = sent(dispatcher.store_down(), "ui")
    assert isinstance(notice, Notice)
    assert dispatcher.idle


def test_a_cancel_behind_a_question_that_turns_out_to_be_cached_leaves_nothing_behind() -> None:
    dispatcher = make()
    dispatcher.from_ui(ask("r"), 0.0)
    for _ in range(2):
        dispatcher.store_down()
        assert len(dispatcher.store_up()) == 1  # alone from the second time on
    dispatcher.from_ui(Cancel("r"), 0.0)
    dispatcher.from_store(Accepted("r", "k", Hit(Completion("yes"), 1.0)), 0.0)
    dispatcher.from_store(Saved("r"), 0.0)
    assert dispatcher.idle
    assert dispatcher.from_ui(ask("next"), 0.0) == [Send("store", 0, ask("next"))]


def test_what_only_asks_is_not_told_as_unsaved() -> None:
    dispatcher = make()
    dispatcher.from_ui(Search("s", "text"), 0.0)
    assert dispatcher.unsaved == 0
    dispatcher.from_ui(ask("r"), 0.0)
    assert dispatcher.unsaved == 1


def test_a_query_the_store_dies_of_is_refused() -> None:
    dispatcher = make()
    dispatcher.from_ui(Search("s", "text"), 0.0)
    for _ in range(3):
        assert dispatcher.store_down() == []
        assert dispatcher.store_up()
    (found,) = sent(dispatcher.store_down(), "ui")
    assert isinstance(found, Found)
    assert found.error


def test_a_loaded_session_comes_with_the_answer_that_is_under_way_in_it() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "r")
    dispatcher.from_worker(0, Delta("r", call.attempt, 0, "so f"), 0.0)
    dispatcher.from_worker(0, Delta("r", call.attempt, 1, "ar"), 0.0)
    dispatcher.from_ui(Load("l", "s"), 0.0)
    session = Session("s", "title", 0.0, "ollama", "m")
    (loaded,) = sent(dispatcher.from_store(Loaded("l", session), 0.0), "ui")
    assert loaded == Loaded("l", session, under_way="r", so_far="so far")
    other = Loaded("l", msgspec.structs.replace(session, session_id="another"))
    assert sent(dispatcher.from_store(other, 0.0), "ui") == [other]


SESSION = Session("s", "title", 0.0, "ollama", "m")


def row(request_id: str, *, active: bool) -> StoredMessage:
    return StoredMessage("user", "hi", "complete", 0.0, "m", 1, request_id, fan="a", active=active)


@pytest.mark.parametrize(
    ("messages", "under_way"),
    [
        ((), "a"),  # of which it is not known what was picked
        ((row("a", active=True), row("b", active=False)), "a"),
        ((row("a", active=False), row("b", active=True)), "b"),
        ((row("a", active=False), row("b", active=False), row("c", active=True)), ""),
    ],
)
def test_of_those_asked_at_once_the_one_that_was_picked_is_told_to_be_under_way(
    messages: tuple[StoredMessage, ...], under_way: str
) -> None:
    dispatcher = make(workers=2)
    for name in "ab":
        dispatcher.from_ui(msgspec.structs.replace(ask(name), fan="a"), 0.0)
        dispatcher.from_store(Accepted(name), 0.0)
        dispatcher.from_worker("ab".index(name), Delta(name, 1, 0, f"of {name}"), 0.0)
    (loaded,) = sent(dispatcher.from_store(Loaded("l", SESSION, messages), 0.0), "ui")
    assert isinstance(loaded, Loaded)
    assert (loaded.under_way, loaded.so_far) == (under_way, under_way and f"of {under_way}")
    for slot, name in enumerate("ab"):  # whoever is told, both come to their end and are saved
        ends = dispatcher.from_worker(slot, Answered(name, 1, Completion(f"of {name}!")), 0.0)
        assert [type(m) for m in sent(ends, "store")] == [Answered]


def test_siblings_alone_are_nothing_that_a_loaded_session_waits_for() -> None:
    dispatcher = make(workers=2)
    for name in "ab":
        dispatcher.from_ui(msgspec.structs.replace(ask(name), fan="a"), 0.0)
        dispatcher.from_store(Accepted(name), 0.0)
    dispatcher.from_worker(0, Answered("a", 1, Completion("yes")), 0.0)
    loaded = Loaded("l", SESSION)
    assert sent(dispatcher.from_store(loaded, 0.0), "ui") == [loaded]


def test_those_who_share_a_call_are_told_whose_it_was() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "a", key="k")
    dispatcher.from_ui(ask("b"), 0.0)
    dispatcher.from_store(Accepted("b", "k"), 0.0)
    made = msgspec.structs.replace(answer(call), call_traceparent="00-the-call-01")
    answers = sent(dispatcher.from_worker(0, made, 0.0), "ui")
    assert [m.call_traceparent for m in answers if isinstance(m, Answered)] == [
        "00-the-call-01",
        "00-the-call-01",
    ]


def test_too_many_requests_are_refused_as_busy() -> None:
    dispatcher = make(max_in_flight=2)
    dispatcher.from_ui(ask("a"), 0.0)
    (send,) = dispatcher.from_ui(ask("b"), 0.0)
    assert isinstance(send.message, Failed)
    assert send.message.kind == "busy"


def test_the_same_question_delivered_twice_is_one_question() -> None:
    dispatcher = make()
    dispatcher.from_ui(ask("a"), 0.0)
    assert dispatcher.from_ui(ask("a"), 0.0) == []


def test_a_call_to_the_simulated_server_waits_until_it_listens() -> None:
    dispatcher = make()
    dispatcher.from_ui(msgspec.structs.replace(ask("r"), target=Target("sim", "sim")), 0.0)
    assert dispatcher.from_store(Accepted("r"), 0.0) == []
    assert dispatcher.wants_sim_server
    (call,) = sent(dispatcher.sim_up("http://x"), "worker")
    assert isinstance(call, Call)
    assert call.base_url == "http://x"
    assert not dispatcher.wants_sim_server


def test_a_call_that_a_dead_simulated_server_refused_waits_for_the_next_one() -> None:
    dispatcher = make()
    dispatcher.sim_up("http://old")
    dispatcher.from_ui(msgspec.structs.replace(ask("r"), target=Target("sim", "sim")), 0.0)
    (call,) = sent(dispatcher.from_store(Accepted("r"), 0.0), "worker")
    assert isinstance(call, Call)
    dispatcher.from_worker(0, Sending("r", call.attempt), 0.0)
    refused = Failed("r", call.attempt, "unreachable", "connection refused")
    assert dispatcher.from_worker(0, refused, 0.0) == []
    assert dispatcher.wants_sim_server
    (again,) = sent(dispatcher.sim_up("http://new"), "worker")
    assert isinstance(again, Call)
    assert (again.base_url, again.attempt) == ("http://new", call.attempt + 1)


def test_without_a_simulated_server_its_calls_fail_and_say_why() -> None:
    dispatcher = make()
    dispatcher.from_ui(ListModels("l", "sim"), 0.0)
    (send,) = dispatcher.sim_gone("no port")
    assert send.message == ModelsListed("l", "sim", error="no port")


def test_without_workers_everything_that_waits_fails() -> None:
    dispatcher = make(workers=0)
    dispatcher.from_ui(ask("r"), 0.0)
    dispatcher.from_store(Accepted("r"), 0.0)
    (failed, _) = dispatcher.workers_gone("no workers")
    assert isinstance(failed.message, Failed)


def test_text_is_checkpointed_every_two_kilobytes_or_every_second() -> None:
    dispatcher = make()
    call = accepted_call(dispatcher, "r")
    assert not sent(
        dispatcher.from_worker(0, Delta("r", call.attempt, 0, "a" * 2047), 0.1), "store"
    )
    (checkpoint,) = sent(dispatcher.from_worker(0, Delta("r", call.attempt, 1, "b"), 0.2), "store")
    assert isinstance(checkpoint, Checkpoint)
    assert len(checkpoint.text) == 2048
    dispatcher.from_worker(0, Delta("r", call.attempt, 2, "c" * 200), 0.3)
    assert dispatcher.tick(0.9) == []
    assert len(sent(dispatcher.tick(1.3), "store")) == 1


def test_models_are_listed_by_a_worker_and_again_by_another_when_it_dies() -> None:
    dispatcher = make(workers=2)
    (listing,) = sent(dispatcher.from_ui(ListModels("l", "ollama"), 0.0), "worker")
    assert isinstance(listing, ListModels)
    (again,) = sent(dispatcher.worker_down(0), "worker")
    assert isinstance(again, ListModels)
    listed = ModelsListed("l", "ollama", ("m",), attempt=again.attempt)
    assert sent(dispatcher.from_worker(1, listed, 0.0), "ui") == [listed]
    assert dispatcher.idle


def test_a_context_is_read_by_a_worker_and_again_by_another_when_it_dies() -> None:
    dispatcher = make(workers=2)
    question = ReadContext("c", "ollama", "m")
    (reading,) = sent(dispatcher.from_ui(question, 0.0), "worker")
    assert reading == msgspec.structs.replace(question, attempt=1)
    (again,) = sent(dispatcher.worker_down(0), "worker")
    assert again == msgspec.structs.replace(question, attempt=2)
    assert dispatcher.from_worker(0, ContextRead("c", "ollama", "m", 1, 1), 0.0) == []
    read = ContextRead("c", "ollama", "m", 4096, 2)
    assert sent(dispatcher.from_worker(1, read, 0.0), "ui") == [read]
    assert dispatcher.idle


def test_a_context_that_workers_die_of_is_unknown_and_no_error_is_told() -> None:
    dispatcher = make()
    dispatcher.from_ui(ReadContext("c", "ollama", "m"), 0.0)
    for _ in range(2):
        assert dispatcher.worker_down(0) == []
        assert sent(dispatcher.worker_up(0), "worker")
    assert dispatcher.worker_down(0) == [Send("ui", 0, ContextRead("c", "ollama", "m"))]
    assert dispatcher.idle


@pytest.mark.parametrize("workers", [0, 1])
def test_a_context_is_unknown_when_the_program_ends(workers: int) -> None:
    dispatcher = make(workers=workers)
    dispatcher.from_ui(ReadContext("c", "ollama", "m"), 0.0)
    assert dispatcher.end_all("the program ended") == [
        Send("ui", 0, ContextRead("c", "ollama", "m"))
    ]
    assert dispatcher.idle


def test_the_context_of_the_simulated_server_waits_until_it_listens_or_is_unknown() -> None:
    dispatcher = make()
    assert dispatcher.from_ui(ReadContext("c", "sim", "sim"), 0.0) == []
    assert dispatcher.wants_sim_server
    (reading,) = sent(dispatcher.sim_up("http://x"), "worker")
    assert reading == ReadContext("c", "sim", "sim", "http://x", 1)
    dispatcher.from_worker(0, ContextRead("c", "sim", "sim", None, 1), 0.0)
    dispatcher.sim_down()
    dispatcher.from_ui(ReadContext("d", "sim", "sim"), 0.0)
    assert dispatcher.sim_gone("no port") == [Send("ui", 0, ContextRead("d", "sim", "sim"))]
    assert dispatcher.idle


WORKERS = 3
CREDIT = 2


class AnyOrder(RuleBasedStateMachine):
    """Questions, acceptances, answers, deaths and cancels in any order, against a model of the world.

    The model plays the store and the workers by their rules, and checks what the dispatcher says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher(credit=CREDIT, max_in_flight=30)
        self.now = 0.0
        self.asked = 0
        self.terminals: dict[str, list[str]] = defaultdict(list)
        self.held: dict[int, dict[str, Call]] = {}
        self.sending: set[tuple[str, int]] = set()
        self.maybe_paid: dict[str, int] = {}
        self.seq: dict[tuple[str, int], int] = {}
        self.store_has: list[Message] = []
        self.store_up = False
        self.store_gone = False
        self.finished_at_store: list[str] = []
        self.picks: dict[str, int] = {}  # how often each was replied to
        self.picked_at_store: list[str] = []
        self.contexts: dict[str, int] = {}
        self.reading: dict[int, dict[str, ReadContext]] = {}

    @initialize()
    def begin(self) -> None:
        self.store_comes()
        self.worker_comes(0)

    def obey(self, sends: list[Send]) -> None:
        for send in sends:
            message = send.message
            match send.to:
                case "ui" if isinstance(message, TERMINALS):
                    self.terminals[message.request_id].append(type(message).__name__)
                case "ui" if isinstance(message, Picked):
                    self.picks[message.request_id] += 1
                case "ui" if isinstance(message, ContextRead):
                    self.contexts[message.request_id] += 1
                case "worker" if isinstance(message, ReadContext):
                    assert send.slot in self.held, "a question for a worker that is dead"
                    self.reading.setdefault(send.slot, {})[message.request_id] = message
                case "worker" if isinstance(message, Call):
                    assert send.slot in self.held, "a call for a worker that is dead"
                    assert message.request_id not in self.maybe_paid, "sent what may be paid for"
                    self.held[send.slot][message.request_id] = message
                case "store":
                    assert self.store_up, "a message for a store that is dead"
                    self.store_has.append(message)
                case _:
                    pass

    @rule(content=st.sampled_from("ab"))
    def question(self, content: str) -> None:
        self.asked += 1
        self.terminals[f"r{self.asked}"] = []
        self.obey(self.dispatcher.from_ui(ask(f"r{self.asked}", content), self.now))

    @rule(content=st.sampled_from("ab"), number=st.integers(2, 3))
    def several_at_once(self, content: str, number: int) -> None:
        first = f"r{self.asked + 1}"
        for _ in range(number):
            self.asked += 1
            self.terminals[f"r{self.asked}"] = []
            asked = msgspec.structs.replace(ask(f"r{self.asked}", content), fan=first)
            self.obey(self.dispatcher.from_ui(asked, self.now))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def pick(self, data: st.DataObject) -> None:
        name = f"p{len(self.picks)}"
        self.picks[name] = 0
        turn = f"r{data.draw(st.integers(1, self.asked))}"
        self.obey(self.dispatcher.from_ui(Pick(name, "s", turn), self.now))

    @precondition(lambda self: len(self.contexts) < 5)
    @rule()
    def context(self) -> None:
        name = f"c{len(self.contexts)}"
        self.contexts[name] = 0
        self.obey(self.dispatcher.from_ui(ReadContext(name, "ollama", "m"), self.now))

    @precondition(lambda self: any(self.reading.values()))
    @rule()
    def context_is_read(self) -> None:
        slot = next(slot for slot, reading in self.reading.items() if reading)
        name, message = self.reading[slot].popitem()
        self.say(slot, ContextRead(name, "ollama", "m", 4096, message.attempt))

    @precondition(lambda self: self.store_up and self.store_has)
    @rule(hit=st.booleans(), share=st.booleans())
    def store_handles_one(self, *, hit: bool, share: bool) -> None:
        message = self.store_has.pop(0)
        match message:
            case Ask(request_id=request_id, content=content, cache=policy):
                share = share and policy == "use"
                found = Hit(Completion("cached"), 1.0) if hit and share else None
                accepted = Accepted(request_id, f"key-{content}" if share else "", found)
                self.obey(self.dispatcher.from_store(accepted, self.now))
                if found:
                    self.obey(self.dispatcher.from_store(Saved(request_id), self.now))
            case Answered() | Failed() | Cancelled() | Interrupted():
                self.finished_at_store.append(message.request_id)
                self.obey(self.dispatcher.from_store(Saved(message.request_id), self.now))
            case Pick(request_id=request_id):
                self.picked_at_store.append(request_id)
                self.obey(self.dispatcher.from_store(Picked(request_id), self.now))
            case _:
                pass

    @precondition(lambda self: self.store_up)
    @rule()
    def store_dies(self) -> None:
        self.store_up = False
        self.store_has.clear()
        self.obey(self.dispatcher.store_down())

    @precondition(lambda self: not self.store_up)
    @rule()
    def store_comes(self) -> None:
        self.store_up = True
        self.store_gone = False
        self.obey(self.dispatcher.store_up())

    @precondition(lambda self: not self.store_up and not self.store_gone and self.asked > 5)
    @rule()
    def store_stays_away(self) -> None:
        self.store_gone = True
        self.obey(self.dispatcher.store_gone("gone", self.now))

    @rule(slot=st.integers(0, WORKERS - 1))
    def worker_comes(self, slot: int) -> None:
        if slot not in self.held:
            self.held[slot] = {}
            self.obey(self.dispatcher.worker_up(slot))

    @rule(slot=st.integers(0, WORKERS - 1))
    def worker_dies(self, slot: int) -> None:
        if slot in self.held:
            del self.held[slot]
            self.reading.pop(slot, None)
            self.obey(self.dispatcher.worker_down(slot))

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), what=st.sampled_from(["send", "delta", "answer", "fail", "cancelled"]))
    def worker_says(self, data: st.DataObject, what: str) -> None:
        slot = data.draw(st.sampled_from([slot for slot, calls in self.held.items() if calls]))
        call = data.draw(st.sampled_from(list(self.held[slot].values())))
        key = (call.request_id, call.attempt)
        if what == "send" or key not in self.sending:
            self.sending.add(key)
            self.maybe_paid[call.request_id] = call.attempt
            self.say(slot, Sending(*key))
            return
        if what == "delta":
            self.seq[key] = self.seq.get(key, -1) + 1
            self.say(slot, Delta(*key, self.seq[key], "x"))
            return
        del self.held[slot][call.request_id]
        match what:
            case "answer":
                self.say(slot, Answered(*key, Completion("x")))
            case "fail":
                self.say(slot, Failed(*key, "server_error", "no"))
            case _:
                self.say(slot, Cancelled(*key, "x"))

    def say(self, slot: int, message: FromWorker) -> None:
        self.obey(self.dispatcher.from_worker(slot, message, self.now))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.asked))
        self.obey(self.dispatcher.from_ui(Cancel(f"r{number}"), self.now))

    @rule(seconds=st.floats(0.0, 2.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.obey(self.dispatcher.tick(self.now))

    @invariant()
    def no_request_ends_twice(self) -> None:
        for request_id, kinds in self.terminals.items():
            assert len(kinds) <= 1, f"{request_id} ended as {kinds}"

    @invariant()
    def credit_is_never_exceeded(self) -> None:
        for slot, calls in self.held.items():
            holds = len(calls) + len(self.reading.get(slot, ()))
            assert holds <= CREDIT, f"worker {slot} holds {holds}"

    @invariant()
    def no_context_is_told_twice(self) -> None:
        assert all(times <= 1 for times in self.contexts.values()), self.contexts

    def teardown(self) -> None:
        """In the end, with everything alive and answering, every request has ended exactly once."""
        if not self.store_up:
            self.store_comes()
        self.worker_comes(0)
        for _ in range(20 * (self.asked + 1)):
            while self.store_up and self.store_has:
                self.store_handles_one(hit=False, share=False)
            for slot, calls in self.held.items():
                for call in list(calls.values()):
                    del calls[call.request_id]
                    self.say(slot, Answered(call.request_id, call.attempt, Completion("x")))
            while any(self.reading.values()):
                self.context_is_read()
        for request_id, kinds in self.terminals.items():
            assert len(kinds) == 1, f"{request_id} ended as {kinds}"
        assert all(self.contexts.values()), self.contexts
        assert all(self.picks.values()), self.picks
        assert list(dict.fromkeys(self.picked_at_store)) == [
            name for name in self.picks if name in self.picked_at_store
        ]
        assert self.dispatcher.idle


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=60)


TestAnyOrder = AnyOrder.TestCase


class NothingSaved(AnyOrder):
    """The same without a store, by the user's wish: none comes, and nothing is sent to it or kept."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher(credit=CREDIT, max_in_flight=30, saves=False)
        self.store_gone = True

    def store_comes(self) -> None:
        pass  # no rule any more

    @invariant()
    def nothing_is_kept(self) -> None:
        assert self.dispatcher.unsaved == 0
        assert not self.dispatcher._ledger


NothingSaved.TestCase.settings = settings(max_examples=100, stateful_step_count=60)


TestNothingSaved = NothingSaved.TestCase


def test_without_a_store_by_wish_a_question_is_called_at_once_and_nothing_is_kept() -> None:
    dispatcher = Dispatcher(credit=KEPT_MESSAGES + 1, max_in_flight=KEPT_MESSAGES + 1, saves=False)
    dispatcher.worker_up(0)
    for number in range(KEPT_MESSAGES + 1):
        (call,) = sent(dispatcher.from_ui(ask(f"r{number}"), 0.0), "worker")
        assert isinstance(call, Call)
        (end,) = dispatcher.from_worker(0, answer(call), 0.0)
        assert (end.to, end.message) == ("ui", answer(call))
    assert dispatcher.idle
    assert dispatcher.unsaved == 0
    assert not dispatcher.is_saving


def test_without_a_store_by_wish_queries_are_refused_with_one_line() -> None:
    dispatcher = Dispatcher(credit=1, max_in_flight=1, saves=False)
    for query in (Load("q", "s"), Search("q", "words")):
        (reply,) = sent(dispatcher.from_ui(query, 0.0), "ui")
        assert isinstance(reply, Loaded | Found)
        assert NOTHING_SAVED in reply.error
        assert "\n" not in reply.error


def test_a_question_that_is_to_be_measured_is_a_call_that_is() -> None:
    dispatcher = make()
    for number, measured in enumerate((True, False)):
        asked = msgspec.structs.replace(ask(f"r{number}"), measured=measured)
        dispatcher.from_ui(asked, 0.0)
        (call,) = sent(dispatcher.from_store(Accepted(f"r{number}"), 0.0), "worker")
        assert isinstance(call, Call)
        assert call.measured is measured


def test_any_of_the_jobs_that_wait_can_be_cancelled_and_the_others_keep_their_order() -> None:
    dispatcher = make(workers=0)
    for number in range(5):
        dispatcher.from_ui(ask(f"r{number}"), 0.0)
        dispatcher.from_store(Accepted(f"r{number}"), 0.0)
    for number in (2, 0):
        (ended,) = sent(dispatcher.from_ui(Cancel(f"r{number}"), 0.0), "ui")
        assert isinstance(ended, Cancelled)
    assert dispatcher.depths == (3, 0)
    calls = sent(dispatcher.worker_up(0), "worker") + sent(dispatcher.worker_up(1), "worker")
    assert [call.request_id for call in calls if isinstance(call, Call)] == ["r1", "r3", "r4"]


@pytest.mark.parametrize("sent_before", [False, True])
def test_a_job_whose_cancel_is_under_way_ends_as_cancelled_when_its_worker_dies(
    *, sent_before: bool
) -> None:
    dispatcher = make(workers=2)
    call = accepted_call(dispatcher, "r")
    if sent_before:
        dispatcher.from_worker(0, Sending("r", call.attempt), 0.0)
    dispatcher.from_ui(Cancel("r"), 0.0)
    sends = dispatcher.worker_down(0)
    assert [type(m) for m in sent(sends, "ui")] == [Cancelled]
    assert sent(sends, "worker") == []
