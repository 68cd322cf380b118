"""Messages as span attributes: the conventions' form, and JSON at any length."""

import json

from hypothesis import given
from hypothesis import strategies as st

from chatbot.messages import Call, ChatMessage, Target
from chatbot.wire.format import Finished, Reasoning, Text
from chatbot.worker import content
from chatbot.worker.answer import Answer

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


def call(*texts: str, system: str | None = None) -> Call:
    roles = ("user", "assistant")
    messages = tuple(ChatMessage(roles[n % 2], text) for n, text in enumerate(texts))  # type: ignore[arg-type] # of these roles
    return Call("r", 1, "s", Target("openai", "m", system), messages)


def answer(*events: Text | Reasoning | Finished) -> Answer:
    taken = Answer()
    for event in events:
        taken.take(event)
    return taken


def test_the_form_is_that_of_the_conventions() -> None:
    said = answer(Reasoning("hm"), Text("hello"), Finished("stop"))
    found = content.attributes(call("hi", "yes?", "well", system="be kind"), said, 1000)
    assert {name: json.loads(str(value)) for name, value in found.items()} == {
        "gen_ai.system_instructions": [{"type": "text", "content": "be kind"}],
        "gen_ai.input.messages": [
            {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
            {"role": "assistant", "parts": [{"type": "text", "content": "yes?"}]},
            {"role": "user", "parts": [{"type": "text", "content": "well"}]},
        ],
        "gen_ai.output.messages": [
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "content": "hm"},
                    {"type": "text", "content": "hello"},
                ],
                "finish_reason": "stop",
            }
        ],
    }


def test_what_has_not_come_is_left_out() -> None:
    assert list(content.attributes(call("hi"), answer(), 1000)) == ["gen_ai.input.messages"]


def test_of_a_long_conversation_the_last_messages_are_kept_and_of_a_long_text_its_beginning() -> (
    None
):
    found = content.attributes(call("a" * 90, "b" * 20, "c" * 20), answer(Text("d" * 500)), 200)
    asked = json.loads(str(found["gen_ai.input.messages"]))
    assert [message["parts"][0]["content"] for message in asked] == ["b" * 20, "c" * 20]
    (said,) = json.loads(str(found["gen_ai.output.messages"]))
    assert 0 < len(said["parts"][0]["content"]) < 200


@given(st.lists(TEXTS, min_size=1, max_size=5), TEXTS, TEXTS, TEXTS, st.integers(0, 400))
def test_whatever_is_said_each_attribute_is_json_and_not_too_long(
    texts: list[str], system: str, thought: str, said: str, longest: int
) -> None:
    answered = answer(Reasoning(thought), Text(said), Finished("stop"))
    found = content.attributes(call(*texts, system=system), answered, longest)
    for value in found.values():
        assert len(str(value)) <= longest
        assert json.loads(str(value))
    asked = json.loads(str(found.get("gen_ai.input.messages", "[]")))
    contents = [message["parts"][0]["content"] for message in asked]
    if len(contents) > 1:  # only where it stands alone is one of them shortened
        assert contents == texts[-len(contents) :]
    if longest == 400 and len(json.dumps(texts[-1])) < 100:
        assert contents[-1] == texts[-1]
