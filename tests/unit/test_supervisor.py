"""What cannot be delivered for its size ends all the same, so that nobody waits for it."""

import pytest

from chatbot.errors import MessageTooLarge
from chatbot.messages import Loaded, Message, ProcessRole, Session, StoredMessage
from chatbot.settings import Arguments, load
from chatbot.supervisor.dispatch import Send
from chatbot.supervisor.process import Supervisor

SESSION = Session("s", "title", 0.0, "sim", "sim")
MESSAGES = tuple(StoredMessage("user", str(n), "complete", 0.0) for n in range(8))


@pytest.mark.parametrize(("fits", "left"), [(4, 4), (1, 1), (0, 0), (-1, None)])
def test_a_session_that_is_too_large_is_shortened_until_it_fits(
    fits: int, left: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(load(Arguments(mode="chat", backend="sim"), {}))
    delivered: list[Message] = []

    def deliver(role: ProcessRole, slot: int, message: Message) -> None:
        assert (role, slot) == ("ui", 0)
        if isinstance(message, Loaded) and message.session and len(message.messages) > fits:
            raise MessageTooLarge("too large")
        delivered.append(message)

    monkeypatch.setattr(supervisor._router, "deliver", deliver)
    supervisor._obey([Send("ui", 0, Loaded("l", SESSION, MESSAGES))])
    (loaded,) = delivered
    assert isinstance(loaded, Loaded)
    if left is None:
        assert loaded.error
    else:
        assert loaded.messages == MESSAGES[len(MESSAGES) - left :]
        assert loaded.truncated
