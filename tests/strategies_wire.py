"""Hypothesis strategies for the wire formats, and the recorded streams as (format, body)."""

from itertools import pairwise
from pathlib import Path

from hypothesis import strategies as st

from chatbot.backends import WireFormat
from chatbot.wire import FORMATS
from chatbot.wire.format import Event, TokenCount

_CAPTURES = Path(__file__).parent / "captures"

RECORDED: dict[str, WireFormat] = {
    "llamacpp/openai_chat_stream": "openai",
    "llamacpp/openai_chat_stream_nousage": "openai",
    "llamacpp/anthropic_messages_stream": "anthropic",
    "ollama-proxy/chat_stream": "ollama",
}

formats: st.SearchStrategy[WireFormat] = st.sampled_from(list(FORMATS))
text = st.text(st.characters(exclude_categories=["Cs"]))  # all that UTF-8 can say
pieces = st.lists(st.tuples(st.booleans(), text.filter(bool)), max_size=8)
counts = st.builds(TokenCount, st.integers(0, 2**40), st.integers(0, 2**40))


def captured(name: str) -> bytes:
    """Return the body of a recorded response."""
    data = (_CAPTURES / f"{name}.response.http").read_bytes()
    return data.partition(b"\r\n\r\n")[2]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut bytes at these places."""
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[a:b] for a, b in pairwise(places)]


def parse(wire_format: WireFormat, parts: list[bytes]) -> list[Event]:
    """Feed a parser the parts, then the end."""
    parser = FORMATS[wire_format].parser()
    events: list[Event] = []
    for part in parts:
        events += parser.feed(part)
    return events + parser.close()
