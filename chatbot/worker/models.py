"""The list of a backend's models."""

import asyncio

from chatbot.backends import Backend
from chatbot.errors import CallError, FailureKind
from chatbot.messages import ListModels, ModelsListed
from chatbot.wire import FORMATS, failures
from chatbot.worker.client import Client
from chatbot.worker.redact import Redactor
from chatbot.worker.remedy import explain

MAX_BODY_BYTES = 2 * 1024 * 1024  # so that the names fit into a frame
WITHIN_S = 20.0


async def list_models(
    message: ListModels, backend: Backend, client: Client, redact: Redactor
) -> ModelsListed:
    """Ask the backend; a failure becomes the one line of `error`."""
    names: list[str] = []
    problem = backend.obstacle
    kind: FailureKind | None = "auth" if problem else None
    if not problem:
        try:
            async with asyncio.timeout(WITHIN_S):
                names = await _fetch(backend, client)
        except CallError as error:
            error.args = (redact(str(error)),)
            problem, kind = explain(error, backend, backend.model), error.kind
        except TimeoutError:
            kind = "timeout"
            problem = (
                f"{backend.name} at {backend.base_url} did not list its models within "
                f"{WITHIN_S:g} s: try again"
            )
    return ModelsListed(
        message.request_id, message.backend, tuple(sorted(names)), problem, message.attempt, kind
    )


async def _fetch(backend: Backend, client: Client) -> list[str]:
    wire_format = FORMATS[backend.wire_format]
    request = wire_format.build_models(backend.api_key)
    async with client.open(client.server(backend), request) as response:
        body = await response.read(MAX_BODY_BYTES)
        if response.status != 200:
            raise failures.from_response(response.status, response.headers, body)
        return wire_format.parse_models(body)
