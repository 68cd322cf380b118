"""The LLM wire formats, both directions of each. Pure: bytes and values in, bytes and values out.

    format.py      the contract: events, requests, and what a format offers (start here)
    ollama.py      Ollama: NDJSON
    anthropic.py   Anthropic: server-sent events
    openai.py      OpenAI and Grok: server-sent events
    lines.py       bytes in any pieces → lines → payloads, with their caps
    stream.py      what the three parsers share: errors first, one explicit end
    values.py      typed JSON from peers that are not trusted
    failures.py    error responses and error events → CallError

The workers use the client's side (`build_chat`, `parser`, `parse_models`) and `failures`, the
simulated server the other one. Nothing here opens a socket, reads a clock or waits.
"""

from chatbot.backends import WireFormat
from chatbot.wire.anthropic import ANTHROPIC
from chatbot.wire.format import Format
from chatbot.wire.ollama import OLLAMA
from chatbot.wire.openai import OPENAI

FORMATS: dict[WireFormat, Format] = {
    "ollama": OLLAMA,
    "anthropic": ANTHROPIC,
    "openai": OPENAI,
}

__all__ = ["FORMATS", "Format"]
