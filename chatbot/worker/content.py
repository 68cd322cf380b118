"""What was said, as span attributes: only where the standard variable asks for it. Pure.

The form is that of the GenAI conventions
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-input-messages.json and its siblings). Text
that is too long is shortened inside of the JSON, so that it stays JSON.
"""

import msgspec

from chatbot.messages import AttributeValue, Call
from chatbot.worker.answer import Answer


class _Part(msgspec.Struct):
    type: str
    content: str


class _Message(msgspec.Struct, omit_defaults=True):
    role: str
    parts: list[_Part]
    finish_reason: str = ""


def attributes(call: Call, answer: Answer, longest: int) -> dict[str, AttributeValue]:
    """Return the attributes, each no longer than `longest` characters; what does not fit is left out:
    of the conversation its beginning, of a text its end."""
    asked = [_Message(m.role, [_Part("text", m.content)]) for m in call.messages]
    said = [_Part("reasoning", answer.reasoning), _Part("text", answer.text)]
    parts = [part for part in said if part.content]
    found: dict[str, AttributeValue] = {}
    if call.target.system:
        system = [_Part("text", call.target.system)]
        found["gen_ai.system_instructions"] = _fitted(system, system, longest)
    found["gen_ai.input.messages"] = _conversation(asked, longest)
    if parts:
        # The form asks for a reason; one that is cut off has none of its own.
        answered = [_Message("assistant", parts, answer.finish_reason or "error")]
        found["gen_ai.output.messages"] = _fitted(answered, parts, longest)
    return {name: value for name, value in found.items() if value}


def _conversation(messages: list[_Message], longest: int) -> str:
    """Return the last messages that fit; where not even the last one does, its beginning."""
    first, room = len(messages), longest - 1  # the brackets, less the comma that the last one lacks
    while first > 0:
        room -= len(_json(messages[first - 1])) + 1
        if room < 0:
            break
        first -= 1
    kept = messages[first:] or messages[-1:]
    return _fitted(kept, kept[-1].parts, longest) if kept else ""


def _fitted(value: object, parts: list[_Part], longest: int) -> str:
    """Return the JSON, with the last parts shortened as far as is needed; empty: it cannot be."""
    text = _json(value)
    for part in reversed(parts):
        if (excess := len(text) - longest) <= 0:
            break
        part.content = part.content[: max(len(part.content) - excess, 0)]
        text = _json(value)
    return text if len(text) <= longest else ""


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
