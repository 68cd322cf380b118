"""Turns for the tests of what is made of them."""

from chatbot.simulate.turn import Phase, Status, Turn

MS = 1_000_000
S = 1_000_000_000


def turn(
    at_ns: int,
    *,
    session: int = 0,
    index: int = 0,
    phase: Phase = "run",
    status: Status = "answered",
    error: str = "",
    http_status: int | None = None,
    late_ms: float = 0.0,
    waited_ms: float = 0.0,
    ttft_ms: float = 20.0,
    chunks: int = 5,
    gap_ms: float = 2.0,
    output_tokens: int | None = 5,
    attempts: int = 1,
    lag_us: int = 100,
    true_ttft_ms: float = 0.0,
) -> Turn:
    """A turn that was due then: 1 ms in the pipeline, and saved 3 ms after its end."""
    asked_ns = at_ns + int(late_ms * MS)
    ready_ns = at_ns + int(waited_ms * MS)
    sent_ns = asked_ns + MS
    first_ns = sent_ns + int(ttft_ms * MS)
    last_ns = first_ns + int(gap_ms * MS) * (chunks - 1)
    ended_ns = last_ns + MS
    if status != "answered":
        return Turn(
            session=session,
            index=index,
            phase=phase,
            status=status,
            intended_ns=at_ns,
            asked_ns=asked_ns,
            ready_ns=ready_ns,
            sent_ns=sent_ns,
            done_ns=ended_ns,
            error=error or status,
            message=f"it went wrong: {error}",
            http_status=http_status,
            attempts=attempts,
        )
    return Turn(
        session=session,
        index=index,
        phase=phase,
        status=status,
        intended_ns=at_ns,
        asked_ns=asked_ns,
        ready_ns=ready_ns,
        begun_ns=asked_ns,
        sent_ns=sent_ns,
        connected_ns=sent_ns + MS // 10,
        headers_ns=sent_ns + MS // 2,
        first_byte_ns=first_ns,
        first_content_ns=first_ns,
        last_content_ns=last_ns,
        ended_ns=ended_ns,
        done_ns=ended_ns + MS,
        saved_ns=ended_ns + 3 * MS,
        attempts=attempts,
        chunks=chunks,
        gaps_us=[int(gap_ms * 1000)] * (chunks - 1),
        input_tokens=10 * (index + 1),
        output_tokens=output_tokens,
        lag_us=lag_us,
        true_arrived_ns=sent_ns + MS // 10 if true_ttft_ms else 0,
        true_first_ns=sent_ns + MS // 10 + int(true_ttft_ms * MS) if true_ttft_ms else 0,
        true_lags_us=[150] * chunks if true_ttft_ms else [],
    )
