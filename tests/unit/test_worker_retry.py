"""Whether and when a request is repeated: the table."""

import pytest

from chatbot.errors import CallError, FailureKind
from chatbot.worker.retry import delay_s


def refused(status: int, **about: object) -> CallError:
    return CallError("server_error", "no", status=status, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_these_statuses_are_tried_again(status: int) -> None:
    assert delay_s(refused(status), 0, 2, 0.0) == 0.5


@pytest.mark.parametrize("status", [204, 301, 302, 307, 400, 401, 403, 404, 413, 422])
def test_these_statuses_are_not(status: int) -> None:
    assert delay_s(refused(status), 0, 2, 0.0) is None
    assert delay_s(refused(status, retry_after_s=1.0), 0, 2, 0.0) is None


@pytest.mark.parametrize(
    "kind", ["timeout", "connection_lost", "malformed", "server_error", "rate_limited", "auth"]
)
def test_without_a_response_it_may_have_been_taken_and_is_not_sent_again(kind: FailureKind) -> None:
    assert delay_s(CallError(kind, "no"), 0, 2, 0.0) is None
    assert delay_s(CallError(kind, "no", should_retry=True), 0, 2, 0.0) is None


def test_what_was_never_sent_is_tried_again_unless_that_is_hopeless() -> None:
    assert delay_s(CallError("unreachable", "no"), 0, 2, 0.0) == 0.5
    assert delay_s(CallError("unreachable", "no", should_retry=False), 0, 2, 0.0) is None


def test_the_servers_own_word_overrides_the_status() -> None:
    assert delay_s(refused(400, should_retry=True), 0, 2, 0.0) == 0.5
    assert delay_s(refused(503, should_retry=False), 0, 2, 0.0) is None


def test_the_delay_doubles_up_to_eight_seconds_less_a_quarter_by_chance() -> None:
    assert [delay_s(refused(503), n, 9, 0.0) for n in range(6)] == [0.5, 1, 2, 4, 8, 8]
    assert delay_s(refused(503), 1, 9, 1.0) == 0.75


def test_there_is_an_end_to_it() -> None:
    assert delay_s(refused(503), 1, 2, 0.0) is not None
    assert delay_s(refused(503), 2, 2, 0.0) is None
    assert delay_s(refused(503, should_retry=True), 2, 2, 0.0) is None


@pytest.mark.parametrize(
    ("wish_s", "delay"), [(0.2, 0.2), (60.0, 60.0), (60.1, None), (0.0, 0.5), (None, 0.5)]
)
def test_the_servers_wish_is_followed_up_to_a_minute(
    wish_s: float | None, delay: float | None
) -> None:
    assert delay_s(refused(429, retry_after_s=wish_s), 0, 2, 0.0) == delay
