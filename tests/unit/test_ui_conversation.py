"""What the chat knows between two turns."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.errors import UsageError
from chatbot.history import DIGEST_OF_NOTHING, extended
from chatbot.messages import BackendName, ChatMessage, Options, Session, StoredMessage, Target
from chatbot.ui.conversation import Conversation, Defaults, Explicit, Turn, turns_of

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
    request_id=st.sampled_from(["", "r1", "r2"]),
)


def conversation(backend: BackendName = "sim", model: str = "") -> Conversation:
    target = Target(backend, model or MODELS[backend], "be brief", {"seed": 1})
    return Conversation("session_1_a", target, MODELS, "use")


def stored(
    role: str, content: str, status: str = "complete", request_id: str = ""
) -> StoredMessage:
    return StoredMessage(role, content, status, 0.0, request_id=request_id)  # type: ignore[arg-type] # as in the tests below


def say(chat: Conversation, question: str, answer: str, request_id: str = "r") -> None:
    chat.answered(Turn(request_id, question, answer))


def session(backend: str = "anthropic", model: str = "opus") -> Session:
    return Session("session_0_z", "title", 0.0, backend, model, "be kind", {"top_p": 0.5})


def alternates(history: tuple[ChatMessage, ...]) -> bool:
    roles = [message.role for message in history]
    return roles == ["user", "assistant"] * (len(roles) // 2)


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=3), TEXT)))
def test_roles_alternate_however_the_turns_ended(turns: list[tuple[str, str]]) -> None:
    chat = conversation()
    for question, answer in turns:  # an empty one: failed or stopped before anything came
        say(chat, question, answer)
    assert alternates(chat.history)
    assert [m.content for m in chat.history] == [text for turn in turns if turn[1] for text in turn]


@given(st.lists(STORED), st.integers(0, 3))
def test_roles_alternate_after_any_stored_conversation(
    messages: list[StoredMessage], undone: int
) -> None:
    chat = conversation()
    chat.resume(session(), messages)
    for _ in range(min(undone, len(chat.turns))):
        chat.undo()
    say(chat, "and", "so on")
    assert alternates(chat.history)
    assert all(message.content for message in chat.history)


@given(st.lists(STORED), st.lists(st.tuples(TEXT, TEXT)), st.integers(0, 5))
def test_the_digest_is_that_of_the_history_whatever_was_said_and_undone(
    messages: list[StoredMessage], turns: list[tuple[str, str]], undone: int
) -> None:
    chat = conversation()
    chat.resume(session(), messages)
    for question, answer in turns:
        say(chat, question, answer)
    for _ in range(min(undone, len(chat.turns))):
        chat.undo()
    ask = chat.ask("r", "next", hop="", turn="")
    assert ask.history_digest == extended(DIGEST_OF_NOTHING, ask.history)


def test_a_question_without_an_answer_is_left_out_and_a_broken_off_answer_is_kept() -> None:
    messages = [
        stored("assistant", "the end of a turn that was cut off"),
        stored("user", "lost"),
        stored("user", "asked"),
        stored("assistant", "half an ans", "interrupted"),
        stored("user", "unanswered"),
    ]
    chat = conversation()
    chat.resume(session(), messages)
    assert chat.history == (ChatMessage("user", "asked"), ChatMessage("assistant", "half an ans"))
    assert [turn.question for turn in chat.turns] == ["lost", "asked", "unanswered"]


def test_an_answer_belongs_to_its_request_though_another_was_asked_meanwhile() -> None:
    messages = [
        stored("user", "one", request_id="r1"),
        stored("user", "two", request_id="r2"),
        stored("assistant", "to one", request_id="r1"),
        stored("assistant", "to two", request_id="r2"),
    ]
    assert turns_of(messages) == [Turn("r1", "one", "to one"), Turn("r2", "two", "to two")]


def test_undoing_takes_the_last_turn_out_of_what_is_sent_and_then_the_one_before() -> None:
    chat = conversation()
    say(chat, "one", "two", "r1")
    say(chat, "three", "", "r2")
    assert chat.undo() == Turn("r2", "three", "")
    assert len(chat.history) == 2
    assert chat.undo() == Turn("r1", "one", "two")
    assert [*chat.history] == []
    with pytest.raises(IndexError):
        chat.undo()


@pytest.mark.parametrize("answer", ["four", ""])
def test_asking_again_is_asking_the_last_question_without_its_turn(answer: str) -> None:
    chat = conversation()
    say(chat, "one", "two", "r1")
    before = chat.ask("r2", "three", hop="", turn="")
    say(chat, "three", answer, "r2")
    again = chat.ask_again("r3", None, hop="hop", turn="turn")
    assert (again.request_id, again.content, again.cache) == ("r3", "three", "refresh")
    assert (again.history, again.history_digest) == (before.history, before.history_digest)
    assert again.replaces == "r2"
    assert (again.traceparent, again.turn_traceparent) == ("hop", "turn")
    assert len(chat.turns) == 2


def test_a_resumed_session_knows_the_requests_of_its_turns() -> None:
    chat = conversation()
    chat.resume(
        session(), [stored("user", "q", request_id="r9"), stored("assistant", "a", request_id="r9")]
    )
    assert chat.ask_again("r10", None, hop="", turn="").replaces == "r9"


def test_a_turn_is_reopened_by_its_own_request_only() -> None:
    chat = conversation()
    say(chat, "one", "half", "r1")
    assert chat.reopen("r2") == ""
    assert len(chat.history) == 2
    assert chat.reopen("r1") == "one"
    assert [*chat.history] == []
    assert not chat.turns
    say(chat, "", "an answer to nobody knows what", "r1")
    assert [*chat.history] == []
    assert not chat.turns


def test_a_question_takes_along_all_that_decides_its_answer() -> None:
    chat = conversation()
    say(chat, "one", "two")
    ask = chat.ask("req_1", "three", hop="hop", turn="turn")
    assert (ask.request_id, ask.session_id, ask.content) == ("req_1", "session_1_a", "three")
    assert ask.history == (ChatMessage("user", "one"), ChatMessage("assistant", "two"))
    assert ask.target == Target("sim", "sim", "be brief", {"seed": 1})
    assert (ask.cache, ask.traceparent, ask.turn_traceparent) == ("use", "hop", "turn")


def test_a_new_session_has_said_nothing_and_asks_the_same_model() -> None:
    chat = conversation(model="sim-large")
    say(chat, "one", "two")
    chat.new_session("session_2_b")
    assert (chat.session_id, chat.history, chat.target.model) == ("session_2_b", (), "sim-large")


def test_switching_keeps_the_conversation_and_comes_back_to_the_model_last_used() -> None:
    chat = conversation()
    say(chat, "one", "two")
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
    assert chat.target == Target("anthropic", "opus", "be kind", {"top_p": 0.5})
    assert len(chat.history) == 2


def test_an_explicit_system_prompt_and_options_are_kept_when_resuming() -> None:
    chat = conversation()
    chat.resume(session(), [], Explicit(system=True, options={"seed": 1}))
    assert chat.target == Target("anthropic", "opus", "be brief", {"top_p": 0.5, "seed": 1})


def test_a_new_session_behind_a_resumed_one_has_the_configured_system_prompt_again() -> None:
    chat = conversation()
    chat.resume(session(), [])
    chat.new_session("session_3_c")
    assert chat.target == Target("anthropic", "opus", "be brief", {"seed": 1})


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
    chat.resume(stored_session, [], Explicit(keep_backend, keep_model))
    assert (chat.target.backend, chat.target.model) == target


def test_an_edited_question_takes_the_place_of_the_last_and_may_come_from_the_cache() -> None:
    chat = conversation()
    say(chat, "one", "two", "r1")
    say(chat, "three", "four", "r2")
    edited = chat.ask_again("r3", "five", hop="", turn="")
    assert (edited.content, edited.replaces, edited.cache) == ("five", "r2", "use")
    assert [message.content for message in edited.history] == ["one", "two"]


def fan(chat: Conversation) -> None:
    """Ask three the same; the second has no answer."""
    chat.fanned(
        [
            Turn("r2", "why", "first", target=Target("sim", "sim")),
            Turn("r3", "why", "", target=Target("openai", "gpt-x")),
            Turn("r4", "why", "third", target=Target("ollama", "phi:3")),
        ]
    )


def test_of_several_that_were_asked_at_once_the_first_is_a_part_of_the_conversation() -> None:
    chat = conversation()
    say(chat, "one", "two", "r1")
    fan(chat)
    assert [message.content for message in chat.history] == ["one", "two", "why", "first"]
    assert len(chat.turns) == 2
    assert len(chat.siblings) == 3


def test_a_picked_answer_takes_the_place_of_the_first_and_goes_on_with_whom_it_came_from() -> None:
    chat = conversation()
    say(chat, "one", "two", "r1")
    fan(chat)
    chat.pick(3)
    assert [message.content for message in chat.history] == ["one", "two", "why", "third"]
    assert (chat.target.backend, chat.target.model) == ("ollama", "phi:3")
    ask = chat.ask("r5", "and", hop="", turn="")
    assert ask.history_digest == extended(DIGEST_OF_NOTHING, ask.history)
    chat.pick(1)  # still there, until something else is asked
    assert chat.turns[-1].request_id == "r2"
    say(chat, "next", "answer", "r6")
    assert chat.siblings == ()


@pytest.mark.parametrize("number", [0, -1, 4])
def test_there_is_nothing_to_pick_beside_the_siblings(number: int) -> None:
    chat = conversation()
    fan(chat)
    with pytest.raises(IndexError):
        chat.pick(number)
    assert chat.turns[-1].request_id == "r2"


def test_a_fan_goes_on_with_whom_the_first_was_asked() -> None:
    chat = conversation("openai")
    fan(chat)
    assert (chat.target.backend, chat.target.model) == ("sim", "sim")


def row(role: str, content: str, request_id: str, status: str = "complete") -> StoredMessage:
    """Return a row of a fan, of which r1 is the active one."""
    return msgspec.structs.replace(
        stored(role, content, status, request_id=request_id),
        fan="r1",
        active=request_id == "r1",
        backend="openai",
        model=f"m-{request_id}",
    )


def test_the_siblings_wait_for_the_end_of_one_of_them_that_is_still_under_way() -> None:
    chat = conversation()
    rows = [row("user", "q", "r1"), row("user", "q", "r2"), row("assistant", "two", "r2")]
    chat.resume(session(), rows)
    assert [each.ended for each in chat.siblings] == [False, True]
    assert chat.reopen("r1") == "q"
    chat.answered(Turn("r1", "q", "one", target=Target("openai", "m-r1")))
    assert [(each.answer, each.ended) for each in chat.siblings] == [("one", True), ("two", True)]
    say(chat, "next", "answer", "r3")
    assert chat.siblings == ()


def test_siblings_are_taken_as_they_are_stored_by_now() -> None:
    chat = conversation()
    chat.resume(session(), [row("user", "q", "r1"), row("assistant", "half", "r1", "interrupted")])
    assert chat.siblings_are_loaded
    now = [
        row("user", "q", "r1"),
        row("user", "q", "r2"),
        row("assistant", "one, whole", "r1"),
        row("assistant", "tw", "r2", "interrupted"),
    ]
    chat.reload_siblings(now)
    assert [(each.answer, each.ended) for each in chat.siblings] == [
        ("one, whole", True),
        ("tw", False),
    ]
    chat.pick(1)
    assert [message.content for message in chat.history] == ["q", "one, whole"]
    say(chat, "next", "answer", "r3")
    chat.reload_siblings([*now, stored("user", "next", request_id="r3")])
    assert chat.siblings == ()


def test_undoing_takes_all_siblings_back() -> None:
    chat = conversation()
    say(chat, "one", "two", "r1")
    fan(chat)
    chat.undo()
    assert chat.siblings == ()
    assert [message.content for message in chat.history] == ["one", "two"]


def test_a_resumed_session_still_has_the_siblings_of_its_last_turn() -> None:
    def of_fan(role: str, content: str, request_id: str, *, active: bool) -> StoredMessage:
        row = stored(role, content, request_id=request_id)
        return msgspec.structs.replace(
            row, fan="r1", active=active, backend="openai", model=f"m-{request_id}"
        )

    chat = conversation()
    chat.resume(
        session(),
        [
            of_fan("user", "q", "r1", active=False),
            of_fan("user", "q", "r2", active=True),
            of_fan("assistant", "two", "r2", active=True),
            of_fan("assistant", "one", "r1", active=False),
        ],
    )
    assert [message.content for message in chat.history] == ["q", "two"]
    assert [turn.answer for turn in chat.siblings] == ["one", "two"]
    chat.pick(1)
    assert (chat.target.backend, chat.target.model) == ("openai", "m-r1")


OPTIONS: dict[BackendName, Options] = {"sim": {"seed": 1, "top_p": 0.5}, "openai": {"top_p": 0.9}}


def optioned() -> Conversation:
    target = Target("sim", "sim", None, {"seed": 1, "top_p": 0.5, "temperature": 0.1})
    return Conversation(
        "session_1_a", target, MODELS, "use", Defaults(OPTIONS, chosen={"temperature": 0.1})
    )


def test_another_backend_is_asked_with_its_own_options_and_those_that_the_person_chose() -> None:
    chat = optioned()
    chat.set_option("max_tokens", 7)
    chat.switch("openai")
    assert chat.target.options == {"top_p": 0.9, "temperature": 0.1, "max_tokens": 7}
    chat.new_session("session_2_b")
    assert chat.target.options == {"top_p": 0.9, "temperature": 0.1}


def test_the_options_of_a_resumed_session_are_come_back_to() -> None:
    chat = optioned()
    chat.resume(session("sim", "sim"), [])
    assert chat.target.options == {"top_p": 0.5}
    chat.switch("openai")
    chat.set_option("max_tokens", 7)
    chat.switch("sim")
    assert chat.target.options == {"top_p": 0.5, "max_tokens": 7}
    chat.set_option("top_p", None)
    chat.switch("openai")
    assert chat.target.options == {"top_p": 0.9, "max_tokens": 7}
    chat.switch("sim")
    assert chat.target.options == {"top_p": 0.5, "max_tokens": 7}  # as it is configured
    chat.new_session("session_2_b")
    assert chat.target.options == {"seed": 1, "top_p": 0.5, "temperature": 0.1}


def test_an_option_that_is_taken_back_is_as_it_was_configured() -> None:
    chat = optioned()
    chat.set_option("seed", 5)
    chat.set_option("temperature", None)
    assert chat.target.options == {"seed": 5, "top_p": 0.5}
    chat.set_option("seed", None)
    assert chat.target.options == {"seed": 1, "top_p": 0.5}


def test_whoever_is_asked_beside_the_conversation_leaves_it_as_it_is() -> None:
    chat = optioned()
    other = chat.target_of("openai", "gpt-9")
    assert (other.model, other.options) == ("gpt-9", {"top_p": 0.9, "temperature": 0.1})
    assert chat.target.backend == "sim"
    assert chat.target_of("sim") == chat.target
    with pytest.raises(UsageError):
        chat.target_of("ollama", "no model")
