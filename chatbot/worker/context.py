"""How many tokens of context a model has, as its server has it loaded just now."""

import asyncio

from chatbot.backends import Backend
from chatbot.errors import CallError
from chatbot.messages import ContextRead, ReadContext
from chatbot.tracing import Recorder
from chatbot.wire import failures
from chatbot.wire.ollama import OLLAMA
from chatbot.worker.client import Client
from chatbot.worker.models import MAX_BODY_BYTES
from chatbot.worker.redact import Redactor

WITHIN_S = 5.0


async def read_context(
    message: ReadContext, backend: Backend, client: Client, redact: Redactor, recorder: Recorder
) -> ContextRead:
    """Ask the backend, if its format can tell at all. Nobody waits for it: a failure is no context, and a
    line of the verbose log.

    Only what is loaded counts. A server that does not tell it (Ollama before July 2025, others) is not asked
    for what its model could have, or what is set for it: a request may have had it loaded with less.
    """
    tokens: int | None = None
    if backend.wire_format == "ollama" and not backend.obstacle:
        try:
            async with asyncio.timeout(WITHIN_S):
                tokens = await _fetch(message.model, backend, client)
        except (CallError, TimeoutError) as error:
            reason = redact(str(error)) or f"no answer within {WITHIN_S:g} s"
            recorder.log("debug", "context_unknown", backend=backend.name, reason=reason)
    return ContextRead(message.request_id, message.backend, message.model, tokens, message.attempt)


async def _fetch(model: str, backend: Backend, client: Client) -> int | None:
    request = OLLAMA.build_running(backend.api_key)
    async with client.open(client.server(backend), request) as response:
        body = await response.read(MAX_BODY_BYTES)
        if response.status != 200:
            raise failures.from_response(response.status, response.headers, body)
        return OLLAMA.parse_context(body, model)
