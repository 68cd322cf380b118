"""The line a person reads when a call failed: what happened, where, and what to do. Pure."""

from chatbot.backends import Backend
from chatbot.errors import CallError


def explain(error: CallError, backend: Backend, model: str, *, partial: bool = False) -> str:
    """Return one line for this failure of this backend; `partial`: a part of the answer had come."""
    said = str(error)
    where = f"{backend.name} at {backend.base_url}"
    address = f"check {backend.url_variable or 'the base URL'}"
    match error.kind:
        case "unreachable" if backend.name == "ollama":
            return f"cannot reach Ollama at {backend.base_url} ({said}): start it with `ollama serve`, or set OLLAMA_HOST"
        case "unreachable":
            variable = f", or set {backend.url_variable}" if backend.url_variable else ""
            return f"cannot reach {where} ({said}): check the network{variable}"
        case "auth" if backend.key_variables:
            return (
                f"{where} refused the key ({said}): check {' or '.join(backend.key_variables)} "
                "and start again"
            )
        case "auth":
            return f"{where} refused access ({said}): {address}"
        case "model_not_found" if backend.name == "ollama":
            return f"{where} has no model {model!r} ({said}): get it with `ollama pull {model}`, or see /list-ollama-models"
        case "model_not_found":
            return f"{where} has no model {model!r} ({said}): /models lists what it has, /model or -m takes another"
        case "not_found":
            v1 = " (it usually ends in /v1)" if backend.wire_format == "openai" else ""
            return f"{where} has no such address ({said}): {address}{v1}"
        case "rate_limited":
            return f"{where} says there are too many requests ({said}): {_when(error)}"
        case "server_error":
            return f"{where} failed ({said}): {_when(error)}"
        case "timeout":
            return f"{where} went silent ({said}): try again, or ask a smaller model"
        case "connection_lost" if partial:
            return f"the connection to {where} broke off ({said}): what came is kept, ask again for the rest"
        case "connection_lost":
            return f"the connection to {where} broke off ({said}): ask again"
        case "malformed":
            return f"{where} sent what cannot be used ({said}): {address}, or ask again"
        case "bad_request" if error.status is not None and 300 <= error.status < 400:
            return f"{where}: {said}: {address}"
        case "bad_request" if error.status == 413:
            return f"{where} refused the request ({said}): it is too long, begin anew with /new-session"
        case _:
            return f"{where} refused the request ({said}): check the model and the options (-m, -o)"


def _when(error: CallError) -> str:
    wait_s = error.retry_after_s
    return f"try again in {wait_s:.0f} s" if wait_s and wait_s >= 1 else "try again later"
