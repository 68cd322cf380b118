"""The digest of a conversation: it stands for all that was said, and grows with it."""

from hypothesis import assume, given
from hypothesis import strategies as st

from chatbot.history import DIGEST_OF_NOTHING, History, extended
from chatbot.messages import ChatMessage

messages = st.builds(ChatMessage, st.sampled_from(["user", "assistant"]), st.text(max_size=5))
histories = st.lists(messages, max_size=5)


def test_nothing_said_has_a_digest_of_its_own() -> None:
    assert History().digest == DIGEST_OF_NOTHING
    assert extended(DIGEST_OF_NOTHING, ()) == DIGEST_OF_NOTHING


@given(histories, histories)
def test_it_is_the_same_however_the_history_came_about(
    before: list[ChatMessage], after: list[ChatMessage]
) -> None:
    grown = History().followed_by(*before).followed_by(*after)
    assert grown.messages == (*before, *after)
    assert grown.digest == extended(DIGEST_OF_NOTHING, grown.messages)


@given(histories, histories)
def test_different_histories_have_different_digests(
    one: list[ChatMessage], other: list[ChatMessage]
) -> None:
    assume(one != other)
    assert History().followed_by(*one).digest != History().followed_by(*other).digest
