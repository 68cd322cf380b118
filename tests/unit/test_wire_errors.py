import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.backends import WireFormat
from chatbot.wire import FORMATS
from chatbot.wire.failures import from_response
from tests.strategies_wire import captured, formats


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, "bad_request"),
        (400, "bad_request"),
        (401, "auth"),
        (403, "auth"),
        (404, "not_found"),
        (408, "timeout"),
        (413, "bad_request"),
        (422, "bad_request"),
        (429, "rate_limited"),
        (500, "server_error"),
        (529, "server_error"),
    ],
)
def test_a_status_says_what_kind_of_failure_it_is(status: int, kind: str) -> None:
    error = from_response(status, {}, b"")
    assert (error.kind, error.status) == (kind, status)
    assert str(status) in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"model \'m\' not found"}',
        b'{"error":{"message":"The model `m` does not exist","code":"model_not_found"}}',
        b'{"type":"error","error":{"type":"not_found_error","message":"model: m"}}',
    ],
)
def test_a_404_that_speaks_of_a_model_means_the_model(body: bytes) -> None:
    assert from_response(404, {}, body).kind == "model_not_found"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"error":{"message":"no such thing","type":"x"}}', "no such thing (HTTP 400)"),
        (b'{"type":"error","error":{"type":"x","message":"no"}}', "no (HTTP 400)"),
        (b'{"error":"model not found"}', "model not found (HTTP 400)"),
        (b'[{"error":{"message":"in an array"}}]', "in an array (HTTP 400)"),
        (b'{"detail":"from fastapi"}', "from fastapi (HTTP 400)"),
        (b'{"error":{"message":"bad \\ud800"}}', "bad \ufffd (HTTP 400)"),
        (b"plain words", "plain words (HTTP 400)"),
        (b"<html><body>nginx</body></html>", "HTTP 400 Bad Request"),
        (b"\xff\xfe", "\ufffd\ufffd (HTTP 400)"),
        (b"", "HTTP 400 Bad Request"),
        (b"123", "HTTP 400 Bad Request"),
        (b'{"error":{"message":"cut o', '{"error":{"message":"cut o (HTTP 400)'),
    ],
)
def test_a_servers_own_words_are_found_in_any_shape(body: bytes, line: str) -> None:
    assert str(from_response(400, {}, body)) == line


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("llamacpp/openai_error", "Expected 'messages' to be an array (HTTP 500)"),
        ("llamacpp/anthropic_error", "'messages' is required (HTTP 500)"),
        ("ollama-proxy/err", "Internal Server Error (HTTP 500)"),
    ],
)
def test_recorded_errors_are_understood(name: str, line: str) -> None:
    assert str(from_response(500, {}, captured(name))) == line


def test_a_message_cannot_drive_the_terminal_or_fill_the_screen() -> None:
    text = str(from_response(400, {}, b"\x1b[31mred\r\n\x07\xc2\x9b\xe2\x80\xae" + b"x" * 9999))
    assert text.isprintable()
    assert text.startswith("[31mred xxx")
    assert len(text) < 320


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "60"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "60"}, 60.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        (
            {
                "Date": "Sun, 06 Nov 1994 08:49:30 GMT",
                "Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT",
            },
            7.0,
        ),
        (
            {
                "Date": "Sun, 06 Nov 1994 08:49:37 GMT",
                "Retry-After": "Sun, 06 Nov 1994 08:49:30 -0000",
            },
            0.0,
        ),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(
    headers: dict[str, str], wait_s: float | None
) -> None:
    assert from_response(429, headers, b"").retry_after_s == wait_s


@pytest.mark.parametrize(
    ("value", "wish"), [("true", True), ("False", False), ("maybe", None), ("", None)]
)
def test_the_servers_word_on_trying_again_is_read(value: str, wish: bool | None) -> None:
    assert from_response(500, {"X-Should-Retry": value}, b"").should_retry is wish


def test_no_header_gets_into_the_message() -> None:
    headers = {"x-api-key": "secret", "www-authenticate": "secret"}
    assert "secret" not in str(from_response(401, headers, b""))


@given(formats, st.sampled_from([400, 401, 404, 413, 418, 429, 500, 529]))
def test_an_error_is_read_as_it_was_written(name: WireFormat, status: int) -> None:
    body = FORMATS[name].produce_error(status, "because of that")
    error = from_response(status, {}, body)
    assert str(error) == f"because of that (HTTP {status})"


@given(st.integers(300, 999), st.dictionaries(st.text(), st.text()), st.binary())
def test_any_response_is_one_printable_line(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    text = str(from_response(status, headers | {"retry-after": "x"}, body))
    assert text.isprintable()
    text.encode()
