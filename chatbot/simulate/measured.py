"""A turn as it was measured, from the message that ended it. Pure."""

import sys
from array import array

from chatbot.messages import Answered, Cancelled, Durations, Failed, Interrupted, Terminal, Timing
from chatbot.simulate.schedule import Start
from chatbot.simulate.turn import Phase, Status, Turn

_NOT_MEASURED = Timing(0)
_NOT_SERVED = Durations()
_STATUS: dict[type[Terminal], Status] = {
    Answered: "answered",
    Failed: "failed",
    Cancelled: "cancelled",
    Interrupted: "interrupted",
}


def turn_of(
    start: Start, phase: Phase, asked_ns: int, terminal: Terminal, done_ns: int, saved_ns: int
) -> Turn:
    """Return what became of a turn that was asked and has ended."""
    timing = _NOT_MEASURED
    if not isinstance(terminal, Interrupted) and terminal.timing is not None:
        timing = terminal.timing
    truth = timing.truth
    completion = terminal.completion if isinstance(terminal, Answered) else None
    served = timing.served or _NOT_SERVED
    return Turn(
        session=start.session,
        index=start.index,
        phase=phase,
        status=_STATUS[type(terminal)],
        intended_ns=start.intended_ns,
        asked_ns=asked_ns,
        ready_ns=start.ready_ns,
        begun_ns=timing.begun_ns,
        sent_ns=timing.sent_ns,
        connected_ns=timing.connected_ns,
        headers_ns=timing.headers_ns,
        first_byte_ns=timing.first_byte_ns,
        first_reasoning_ns=timing.first_reasoning_ns,
        first_content_ns=timing.first_content_ns,
        last_content_ns=timing.last_content_ns,
        ended_ns=timing.ended_ns,
        done_ns=done_ns,
        saved_ns=saved_ns,
        error=_kind(terminal),
        message=_message(terminal),
        http_status=terminal.status if isinstance(terminal, Failed) else None,
        attempts=timing.attempts,
        chunks=timing.chunks,
        gaps_us=_numbers(timing.gaps),
        input_tokens=completion.input_tokens if completion is not None else None,
        output_tokens=completion.output_tokens if completion is not None else None,
        lag_us=timing.lag_us,
        server_total_ns=served.total_ns,
        server_load_ns=served.load_ns,
        server_prompt_ns=served.prompt_ns,
        server_generate_ns=served.generate_ns,
        true_arrived_ns=truth.arrived_ns if truth else 0,
        true_first_ns=truth.first_ns if truth else 0,
        true_last_ns=truth.last_ns if truth else 0,
        true_lags_us=_numbers(truth.lags) if truth else [],
    )


def lost(start: Start, phase: Phase, asked_ns: int, done_ns: int, error: str, message: str) -> Turn:
    """Return a turn whose end is not known: whoever was to hear of it was killed, or has left."""
    return Turn(
        session=start.session,
        index=start.index,
        phase=phase,
        status="lost",
        intended_ns=start.intended_ns,
        asked_ns=asked_ns,
        ready_ns=start.ready_ns,
        done_ns=done_ns,
        error=error,
        message=message,
    )


def served_ns(terminal: Terminal) -> int | None:
    """Return how long the server had a turn, with every attempt; None: it is not known."""
    timing = None if isinstance(terminal, Interrupted) else terminal.timing
    if timing is None or not timing.ended_ns:
        return None
    from_ns = timing.sent_ns if timing.attempts <= 1 else timing.begun_ns
    return timing.ended_ns - from_ns if from_ns else None


def _kind(terminal: Terminal) -> str:
    """Return the kind of failure; empty where there was none."""
    match terminal:
        case Answered():
            return ""
        case Failed(kind=kind):
            return kind
        case Cancelled():
            return "cancelled"
        case Interrupted():
            return "interrupted"


def _message(terminal: Terminal) -> str:
    match terminal:
        case Failed(message=message):
            return message
        case Interrupted(reason=reason):
            return reason
        case _:
            return ""


def _numbers(data: bytes) -> list[int]:
    """Return unsigned 32-bit little-endian numbers."""
    numbers = array("I", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
