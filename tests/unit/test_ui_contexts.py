"""How full the context is, turn by turn: what is measured, who is told of it, and how often."""

from types import SimpleNamespace
from typing import Any

import pytest

from chatbot.messages import Answered, BackendName, Completion, ContextRead, Failed, Target
from chatbot.ui.contexts import Contexts
from chatbot.ui.conversation import Conversation, Turn
from chatbot.ui.state import State

MODELS: dict[BackendName, str] = {"ollama": "phi:3", "openai": "gpt", "sim": "sim"}
PHI = Target("ollama", "phi:3", "be brief", {})
GPT = Target("openai", "gpt", "be brief", {})
LONG = "some words " * 4000  # 44,000 characters


class Room:
    """A conversation, and what is shown and asked for around it."""

    def __init__(self, target: Target = PHI, *, in_chat: bool = True, **lengths: int) -> None:
        self.chat = Conversation("session_1_a", target, MODELS, "use")
        self.state = State()
        self.told: list[str] = []
        self.asked: list[tuple[str, str]] = []
        exchange: Any = SimpleNamespace(
            state=self.state,
            on_context=None,
            show_state=lambda: None,
            chatting=True,
            ask_context=lambda backend, model: self.asked.append((backend, model)),
        )
        view: Any = SimpleNamespace(aside=self.told.append)
        configured: Any = lengths
        self.contexts = Contexts(self.chat, exchange, view, configured, in_chat=in_chat)
        self._exchange = exchange
        self._number = 0

    def say(
        self, question: str, tokens: int | None, *, age_s: float | None = None, answer: str = "yes"
    ) -> None:
        """Ask whoever is asked now; the server counts so many tokens, and 10 for the answer."""
        turn, answered = self._answered(self.chat.target, question, tokens, age_s, answer)
        self.chat.answered(turn)
        self.contexts.weigh([answered])

    def fan(self, question: str, *counted: tuple[Target, int]) -> None:
        """Ask several; the first is gone on with."""
        both = [self._answered(target, question, tokens) for target, tokens in counted]
        self.chat.fanned([turn for turn, _ in both])
        self.contexts.weigh([answered for _, answered in both])

    def read(self, tokens: int | None, target: Target = PHI) -> None:
        """A server tells how much it has loaded."""
        self._exchange.on_context(ContextRead("q", target.backend, target.model, tokens))

    def shown(self) -> tuple[int | None, int | None]:
        """What the toolbar has, once a line was taken."""
        self.contexts.show()
        return self.state.context_used, self.state.context_length

    def _answered(
        self,
        target: Target,
        question: str,
        tokens: int | None,
        age_s: float | None = None,
        answer: str = "yes",
    ) -> tuple[Turn, Answered]:
        self._number += 1
        request_id = f"r{self._number}"
        completion = Completion(answer, input_tokens=tokens, output_tokens=10)
        return (
            Turn(request_id, question, answer, target=target),
            Answered(request_id, 1, completion, cached_age_s=age_s),
        )


def test_what_was_counted_is_shown_with_what_is_loaded() -> None:
    room = Room()
    room.say("hello", 20)
    assert room.shown() == (30, None)
    assert room.asked == [("ollama", "phi:3")]
    room.read(None)
    assert room.shown() == (30, None)
    room.read(4096)
    assert room.shown() == (30, 4096)


def test_an_answer_from_our_cache_says_nothing_of_the_context() -> None:
    room = Room()
    room.say(LONG, 2052, age_s=3.0)
    assert room.shown() == (None, None)
    assert (room.asked, room.told) == ([], [])


def test_neither_does_a_turn_that_failed() -> None:
    room = Room()
    room.chat.answered(Turn("r9", "hello", "", target=PHI))
    room.contexts.weigh([Failed("r9", 1, "timeout", "silent")])
    assert room.shown() == (None, None)
    assert not room.asked


def test_all_that_was_sent_counts_system_prompt_and_history_included() -> None:
    """A context of so many tokens has room for three times as few characters, whatever they are."""
    room = Room()
    room.say("a b c", 4, answer="d e f")
    sent = sum(map(len, ("be brief", "a b c", "d e f", "g h i")))
    room.say("g h i", 1)
    assert room.contexts._measures["r2"].characters == sent
    assert room.contexts._measures["r2"].new == len("d e f") + len("g h i")
    room.chat.undo()
    room.say("g h i", 1)  # it is sent again
    assert [room.contexts._measures[each].sent_before for each in ("r2", "r3")] == [False, True]


def test_a_cut_is_told_once_and_again_after_it_was_mended() -> None:
    room = Room()
    room.say(LONG, 2052)
    assert len(room.told) == 1
    assert "/set num_ctx 16384, or /new-session" in room.told[0]
    room.read(4096)
    assert room.shown() == (2062, 4096)
    room.say("hello", 2060)
    assert len(room.told) == 1
    room.chat.undo()
    room.chat.undo()
    room.say("hello", 20)
    room.chat.undo()
    room.say(LONG + "?", 2052)
    assert len(room.told) == 2


def test_outside_of_a_chat_the_remedy_is_an_option() -> None:
    room = Room(in_chat=False)
    room.say(LONG, 2052)
    room.read(4096)
    assert room.told[0].endswith("-o num_ctx 16384")


def test_only_ollama_cuts_in_silence() -> None:
    room = Room(GPT, openai=4096)
    room.say(LONG, 2052)
    assert room.shown() == (2062, 4096)
    assert (room.asked, room.told) == ([], [])


@pytest.mark.parametrize(
    ("options", "length"),
    [({}, 8192), ({"num_ctx": 2048}, 2048), ({"num_ctx": True}, 8192), ({"num_ctx": 0}, 8192)],
)
def test_the_length_is_what_is_loaded_else_what_was_asked_for_else_what_is_configured(
    options: Any, length: int
) -> None:
    room = Room(Target("ollama", "phi:3", None, options), ollama=8192)
    room.say("hello", 20)
    assert room.shown() == (30, length)
    room.read(1024)
    assert room.shown() == (30, 1024)


def test_turns_of_another_model_are_no_measure() -> None:
    """What another model has counted is another tokenizer's."""
    room = Room(ollama=4096)
    room.say("hello " * 3000, 3900)
    room.chat.switch("openai")
    room.say("hi", 9000)
    room.chat.switch("ollama")
    room.say("hi", 3950)
    assert not room.told
    other = Room(ollama=4096)
    other.say("hello " * 3000, 3900)
    other.say("hi", 4050)
    other.say("hi", 3000)
    assert other.told


def test_the_toolbar_has_the_last_turn_of_whom_the_next_question_goes_to() -> None:
    room = Room()
    room.say("one", 20)
    room.say("two", 50)
    assert room.shown() == (60, None)
    room.chat.undo()
    assert room.shown() == (30, None)
    room.chat.switch("openai")
    assert room.shown() == (None, None)
    room.say("three", 70)
    room.chat.switch("ollama")
    assert room.shown() == (30, None)
    room.chat.set_model("other:1")
    assert room.shown() == (None, None)
    room.chat.set_model("phi:3")
    room.say("four", 90, age_s=1.0)
    assert room.shown() == (None, None)  # more was said than was ever counted
    room.chat.new_session("session_2_b")
    assert room.shown() == (None, None)


def test_of_several_the_one_that_is_gone_on_with_is_told_of() -> None:
    room = Room(GPT, ollama=4096)
    room.fan(LONG, (PHI, 2052), (GPT, 8000))
    assert len(room.told) == 1
    assert room.asked == [("ollama", "phi:3")]
    assert room.shown() == (2062, 4096)
    room.chat.pick(2)
    assert room.shown() == (8010, None)
    room.chat.pick(1)
    assert room.shown() == (2062, 4096)
    other = Room(GPT, ollama=4096)
    other.fan(LONG, (GPT, 8000), (PHI, 2052))
    assert (other.told, other.asked) == ([], [])
