"""What the chat knows between two turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.errors import UsageError
from chatbot.messages import BackendName, ChatMessage, Session, StoredMessage, Target
from chatbot.ui.conversation import Conversation, history_of

MODELS: dict[BackendName, str] = {
    "ollama": "llama3:latest",
    "anthropic": "claude",
    "grok": "grok",
    "openai": "gpt",
    "sim": "sim",
}
TEXT = st.text("ab", max_size=3)
STORED = st.builds(
    StoredMessage,
    st.sampled_from(["user", "assistant", "system"]),
    TEXT,
    st.sampled_from(["complete", "interrupted", "failed"]),
    st.just(0.0),
)


def conversation(backend: BackendName = "sim", model: str = "") -> Conversation:
    target = Target(backend, model or MODELS[backend], "be brief", {"seed": 1})
    return Conversation("session_1_a", target, MODELS, "use")


def stored(role: str, content: str, status: str = "complete") -> StoredMessage:
    return StoredMessage(role, content, status, 0.0)  # type: ignore[arg-type] # as in the tests below


def session(backend: str = "anthropic", model: str = "opus") -> Session:
    return Session("session_0_z", "title", 0.0, backend, model)


def alternates(history: tuple[ChatMessage, ...]) -> bool:
    roles = [message.role for message in history]
    return roles == ["user", "assistant"] * (len(roles) // 2)


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=3), TEXT)))
def test_roles_alternate_however_the_turns_ended(turns: list[tuple[str, str]]) -> None:
    chat = conversation()
    for question, answer in turns:  # an empty one: failed or stopped before anything came
        chat.answered(question, answer)
    assert alternates(chat.history)
    assert [m.content for m in chat.history] == [text for turn in turns if turn[1] for text in turn]


@given(st.lists(STORED), st.lists(TEXT, max_size=2))
def test_roles_alternate_after_any_stored_conversation(
    messages: list[StoredMessage], late: list[str]
) -> None:
    chat = conversation()
    chat.resume(session(), messages)
    for answer in late:
        chat.rejoin(answer)
    chat.answered("and", "so on")
    assert alternates(chat.history)
    assert all(message.content for message in chat.history)


def test_a_question_without_an_answer_is_left_out_and_a_broken_off_answer_is_kept() -> None:
    messages = [
        stored("assistant", "the end of a turn that was cut off"),
        stored("user", "lost"),
        stored("user", "asked"),
        stored("assistant", "half an ans", "interrupted"),
        stored("user", "unanswered"),
    ]
    assert history_of(messages) == (
        ChatMessage("user", "asked"),
        ChatMessage("assistant", "half an ans"),
    )


def test_a_question_takes_along_all_that_decides_its_answer() -> None:
    chat = conversation()
    chat.answered("one", "two")
    ask = chat.ask("req_1", "three", hop="hop", turn="turn")
    assert (ask.request_id, ask.session_id, ask.content) == ("req_1", "session_1_a", "three")
    assert ask.history == (ChatMessage("user", "one"), ChatMessage("assistant", "two"))
    assert ask.target == Target("sim", "sim", "be brief", {"seed": 1})
    assert (ask.cache, ask.traceparent, ask.turn_traceparent) == ("use", "hop", "turn")


def test_a_new_session_has_said_nothing_and_asks_the_same_model() -> None:
    chat = conversation(model="sim-large")
    chat.answered("one", "two")
    chat.new_session("session_2_b")
    assert (chat.session_id, chat.history, chat.target.model) == ("session_2_b", (), "sim-large")


def test_switching_keeps_the_conversation_and_comes_back_to_the_model_last_used() -> None:
    chat = conversation()
    chat.answered("one", "two")
    chat.set_model("sim-large")
    chat.switch("openai")
    assert chat.target == Target("openai", "gpt", "be brief", {"seed": 1})
    chat.switch("sim")
    assert chat.target.model == "sim-large"
    assert len(chat.history) == 2


def test_the_model_of_the_command_line_is_come_back_to() -> None:
    chat = conversation(model="of the command line")
    chat.switch("openai")
    chat.switch("sim")
    assert chat.target.model == "of the command line"


def test_a_model_of_another_backend_waits_for_the_switch_to_it() -> None:
    chat = conversation()
    assert chat.set_model("codellama", "ollama") == "codellama:latest"
    assert chat.target.model == "sim"
    chat.switch("ollama")
    assert chat.target.model == "codellama:latest"


def test_a_name_that_ollama_cannot_have_is_refused_and_changes_nothing() -> None:
    chat = conversation("ollama")
    with pytest.raises(UsageError, match="malformed"):
        chat.set_model("../etc")
    assert chat.target.model == "llama3:latest"


def test_a_resumed_session_goes_on_with_its_own_backend_and_model() -> None:
    chat = conversation()
    chat.resume(session(), [stored("user", "one"), stored("assistant", "two")])
    assert chat.session_id == "session_0_z"
    assert chat.target == Target("anthropic", "opus", "be brief", {"seed": 1})
    assert len(chat.history) == 2


@pytest.mark.parametrize(
    ("stored_session", "keep_backend", "keep_model", "target"),
    [
        (session(), True, False, ("sim", "mine")),
        (session("sim", "sim-large"), True, False, ("sim", "sim-large")),
        (session(), False, True, ("anthropic", "mine")),
        (session(), True, True, ("sim", "mine")),
        (session("ollama", "x:1"), False, True, ("ollama", "mine:latest")),
        (session("anthropic", ""), False, False, ("anthropic", "claude")),
        (session("a later version's", "m"), False, False, ("sim", "mine")),
    ],
)
def test_what_is_explicit_is_kept_when_resuming(
    stored_session: Session, keep_backend: bool, keep_model: bool, target: tuple[str, str]
) -> None:
    chat = conversation(model="mine")
    chat.resume(stored_session, [], keep_backend=keep_backend, keep_model=keep_model)
    assert (chat.target.backend, chat.target.model) == target


def test_an_answer_that_was_under_way_completes_the_loaded_conversation() -> None:
    chat = conversation()
    chat.resume(session(), [stored("user", "q")])
    assert chat.rejoin("whole answer")
    chat.resume(session(), [stored("user", "q"), stored("assistant", "whole", "interrupted")])
    assert chat.rejoin("whole answer")
    assert [m.content for m in chat.history] == ["q", "whole answer"]


@pytest.mark.parametrize("late", ["whole", "", "another"])
def test_an_answer_that_brings_nothing_new_changes_nothing(late: str) -> None:
    chat = conversation()
    chat.resume(session(), [stored("user", "q"), stored("assistant", "whole")])
    assert not chat.rejoin(late)
    assert [m.content for m in chat.history] == ["q", "whole"]
    assert not conversation().rejoin(late)
