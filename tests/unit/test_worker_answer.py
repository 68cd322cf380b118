"""What has come of an answer so far."""

import pytest

from chatbot.errors import WireError
from chatbot.mailbox import encode
from chatbot.messages import Answered
from chatbot.wire.format import Finished, Identified, Reasoning, Text, Used
from chatbot.worker import answer as answer_room
from chatbot.worker.answer import MAX_CHARS, MAX_COUNTS, MAX_NAME_CHARS, Answer


def test_pieces_are_handed_out_once_in_order_and_joined_where_they_belong_together() -> None:
    answer = Answer()
    for event in (Text("a"), Text("b"), Reasoning("c"), Text("d")):
        answer.take(event)
    assert answer.fresh() == [("ab", False), ("c", True), ("d", False)]
    answer.take(Text("e"))
    assert answer.fresh() == [("e", False)]
    assert answer.fresh() == []
    assert answer.text == "abde"


def test_an_end_without_a_reason_is_an_end() -> None:
    answer = Answer()
    answer.take(Finished(""))
    assert answer.finished
    assert not Answer().finished
    assert answer.completion("asked").finish_reason == ""


def test_the_model_that_answered_counts_and_else_the_one_that_was_asked() -> None:
    answer = Answer()
    assert answer.completion("asked").model == "asked"
    answer.take(Identified("id", "real"))
    assert answer.completion("asked").model == "real"
    assert answer.completion("asked").response_id == "id"


def test_later_usage_overlays_earlier() -> None:
    answer = Answer()
    answer.take(Used({"input_tokens": 5, "output_tokens": 1}))
    answer.take(Used({"output_tokens": 9}))
    assert answer.usage == {"input_tokens": 5, "output_tokens": 9}
    assert answer.tokens == (5, 9)


def test_usage_that_was_not_told_is_unknown() -> None:
    assert Answer().tokens == (None, None)
    assert Answer().completion("m").usage == {}


def test_an_answer_beyond_its_limit_is_refused_and_what_came_before_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_room, "MAX_CHARS", 4)
    answer = Answer()
    answer.take(Text("abc"))
    with pytest.raises(WireError) as caught:
        answer.take(Reasoning("de"))
    assert caught.value.kind == "malformed"
    assert answer.fresh() == [("abc", False)]


def test_the_largest_answer_that_is_kept_fits_into_a_frame() -> None:
    answer = Answer()
    answer.take(Text("\U0001f600" * MAX_CHARS))
    answer.take(Identified("\U0001f600" * 10_000, "\U0001f600" * 10_000))
    for turn in range(10):
        answer.take(Used({f"{turn}-{n}" + "é" * 150: 2**62 for n in range(64)}))
        answer.take(Used({"x" * 100_000 + str(turn): 1}))
    answer.take(Finished("\U0001f600" * 10_000))
    completion = answer.completion("m")
    assert len(completion.usage) == MAX_COUNTS
    assert len(completion.model) == len(completion.finish_reason) == MAX_NAME_CHARS
    encode(Answered("r", 1, completion))
