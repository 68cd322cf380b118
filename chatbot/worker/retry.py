"""Whether and when to repeat a request that failed: pure.

The numbers are those of the official clients: two retries, on connection errors and on 408, 409, 429
and 5xx, after the server's own `retry-after` or else after half a second that doubles up to eight,
less up to a quarter by chance. Stricter than they are in two things: a request that may have been
taken (and paid for) is never repeated, so neither silence nor a lost connection is retried; and a
server that wants more than a minute is not asked again before that.
"""

from chatbot.errors import CallError

RETRIED_STATUSES = frozenset({408, 409, 429})
LONGEST_RETRY_AFTER_S = 60.0


def delay_s(error: CallError, retries: int, max_retries: int, chance: float) -> float | None:
    """Return how long to wait before the next try, in seconds, or None to give up.

    `retries` counts those already made; `chance` is a random number from 0 to 1. A `retry-after` of
    0 (or a date that is past) is no wish: it would only hammer a server that is busy.
    """
    if retries >= max_retries or not _is_retryable(error):
        return None
    if error.retry_after_s:
        return error.retry_after_s if error.retry_after_s <= LONGEST_RETRY_AFTER_S else None
    return float(min(0.5 * 2**retries, 8.0)) * (1 - 0.25 * chance)


def _is_retryable(error: CallError) -> bool:
    if error.status is None and error.kind != "unreachable":
        return False  # no response, but it may have been taken
    if error.should_retry is not None:
        return error.should_retry
    return error.status is None or error.status in RETRIED_STATUSES or error.status >= 500
