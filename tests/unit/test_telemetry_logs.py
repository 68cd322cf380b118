"""The lines for people: valid JSON, without secrets, and nothing in them can drive a terminal."""

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.messages import LogRecord, SpanEvent, SpanRecord
from chatbot.telemetry import redact
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.logs import LogFile, SdkLogHandler, TraceLog, iso_time, printable

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
NOON_NS = 1_700_000_000_123_456_789

ANTHROPIC = "sk-ant-api03-abcdefghijklmnop-QRSTUV_wxyz"
OPENAI = "sk-proj-0123456789abcdef"
XAI = "xai-0123456789abcdefXYZ"


class Logs:
    def __init__(self, directory: Path) -> None:
        self.stream = RotatingFile(directory / "chatbot.log")
        self.traces = RotatingFile(directory / "chatbot_traces.log")

    def lines(self) -> list[dict[str, Any]]:
        self.stream.flush()
        return [json.loads(line) for line in self.stream.path.read_text().splitlines()]

    def trace_lines(self) -> list[str]:
        self.traces.flush()
        return self.traces.path.read_text().splitlines()


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    opened = Logs(tmp_path)
    yield opened
    opened.stream.close()
    opened.traces.close()


def test_a_log_line_is_one_json_object_with_its_place_in_the_trace(logs: Logs) -> None:
    log = LogFile(logs.stream, 1, debug=False)
    fields: dict[str, Any] = {"backend": "sim", "attempt": 2, "reasons": ("a", "b\nc")}
    log.add(LogRecord(NOON_NS, "info", "call", f"00-{TRACE}-{SPAN}-01", fields), "worker", 4711)
    assert logs.lines() == [
        {
            "timestamp": "2023-11-14T22:13:20.123456Z",
            "level": "info",
            "event": "call",
            "process": "worker",
            "pid": 4711,
            "trace_id": TRACE,
            "span_id": SPAN,
            "fields": {"backend": "sim", "attempt": 2, "reasons": ["a", "b\nc"]},
        }
    ]


def test_without_a_trace_its_ids_are_empty(logs: Logs) -> None:
    LogFile(logs.stream, 1, debug=False).own("warning", "something", why="because")
    (line,) = logs.lines()
    assert (line["trace_id"], line["span_id"], line["process"], line["pid"]) == (
        "",
        "",
        "telemetry",
        1,
    )


@pytest.mark.parametrize(("debug", "events"), [(False, ["i"]), (True, ["d", "i"])])
def test_debug_records_are_written_only_when_debugging(
    logs: Logs, debug: bool, events: list[str]
) -> None:
    log = LogFile(logs.stream, 1, debug=debug)
    log.add(LogRecord(NOON_NS, "debug", "d"), "ui", 1)
    log.add(LogRecord(NOON_NS, "info", "i"), "ui", 1)
    assert [line["event"] for line in logs.lines()] == events


@pytest.mark.parametrize("time_ns", [-1, 0, 2**63, 10**30])
def test_a_time_of_no_calendar_is_written_as_its_nearest(time_ns: int) -> None:
    assert iso_time(time_ns)[:4] in ("1970", "2262", "9999")


def test_a_span_line_is_readable_and_one_line(logs: Logs) -> None:
    log = TraceLog(logs.traces)
    span = SpanRecord(TRACE, SPAN, "", "send store.asks", 3, NOON_NS - 1_500_000, NOON_NS)
    log.add(span, "ui", 12)
    failed = msgspec.structs.replace(span, parent_id=SPAN, error="HTTP 503\nretry")
    log.add(failed, "ui", 12)
    assert logs.trace_lines() == [
        f"2023-11-14T22:13:20.123456Z span process=ui pid=12 trace={TRACE} span={SPAN} parent=-"
        ' name="send store.asks" duration_ms=1.500 status=unset',
        f"2023-11-14T22:13:20.123456Z span process=ui pid=12 trace={TRACE} span={SPAN} parent={SPAN}"
        ' name="send store.asks" duration_ms=1.500 status=error "HTTP 503\\nretry"',
    ]


def test_an_export_decision_is_a_line_too(logs: Logs) -> None:
    TraceLog(logs.traces).export("decision", signal="traces", otlp="no endpoint is set")
    (line,) = logs.trace_lines()
    assert line.endswith(' export decision signal=traces otlp="no endpoint is set"')


@given(st.text())
def test_a_printable_line_is_printable_and_means_the_same(text: str) -> None:
    line = printable(msgspec.json.encode({"text": text.encode(errors="replace").decode()}).decode())
    assert line.isprintable()
    assert json.loads(line)["text"] == text.encode(errors="replace").decode()


@pytest.mark.parametrize(
    "text",
    [
        f"401: Incorrect API key provided: {OPENAI}.",
        f"key={ANTHROPIC}",
        f"{XAI}",
        f"Authorization: Bearer {'eyJhbGciOi.J9'}",
        "authorization: BEARER abcdef",
        "Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "{'x-api-key': 'abcdefgh'}",
        '{"api_key":"abcdefgh"}',
        "x-api-key: abcdefgh",
        "https://host/v1?api_key=abcdefgh&x=1",
    ],
)
def test_a_text_that_holds_a_secret_is_suspected_and_redacted(text: str) -> None:
    assert redact.suspects(msgspec.msgpack.encode([text]))
    redacted = redact.text(text)
    assert redact.MASK in redacted
    for secret in (OPENAI, ANTHROPIC, XAI, "eyJhbGciOi", "abcdef", "dXNlcjp"):
        assert secret not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "task-1234567890 of desk-abcdefghij",
        "the bearer of this message",
        "missing api_key",
        "sk-1",
        "basic tests",
    ],
)
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert redact.text(text) == text


def test_secrets_are_redacted_in_every_string_of_a_record() -> None:
    secret = f"x {OPENAI} y"
    log = LogRecord(1, "info", "e", "", {"a": secret, "b": ("ok", secret), "api_key": "plain"})
    span = SpanRecord(
        TRACE,
        SPAN,
        "",
        secret,
        0,
        1,
        2,
        {"a": secret},
        (SpanEvent("e", 1, {"m": secret}),),
        (),
        secret,
    )
    for record in (log, span):
        text = repr(redact.record(record))
        assert OPENAI not in text
        assert "plain" not in text
        assert "x [redacted] y" in text


def test_names_that_only_sound_like_keys_keep_their_values() -> None:
    fields: dict[str, Any] = {"key_hash": "0123456789", "cache_key": "abc", "authorization": "abc"}
    assert redact.attributes(fields) == {**fields, "authorization": redact.MASK}


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=80), max_size=4))
def test_what_is_not_suspected_would_not_have_been_changed(fields: dict[str, str]) -> None:
    record = LogRecord(1, "info", "e", "", dict(fields))
    try:
        payload = msgspec.msgpack.encode([record])
    except UnicodeEncodeError:
        return
    if not redact.suspects(payload):
        assert redact.record(record) == record


@pytest.fixture
def handler(logs: Logs) -> Iterator[SdkLogHandler]:
    """The handler, attached; the loggers are given back when the test is over."""
    attached = SdkLogHandler(LogFile(logs.stream, 1, debug=False), TraceLog(logs.traces))
    attached.attach()
    yield attached
    attached.quiet()
    for name in SdkLogHandler.LOGGERS:
        logging.getLogger(name).removeHandler(attached)
        logging.getLogger(name).propagate = True


def test_the_sdk_complains_into_the_log_once_a_minute_and_never_to_the_terminal(
    logs: Logs, handler: SdkLogHandler, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        logger = logging.getLogger("opentelemetry.sdk.trace.export")
        logger.warning("no collector, key %s, %s", OPENAI, number)
    logging.getLogger("urllib3.connectionpool").error("retrying")
    logging.getLogger("opentelemetry").info("of no interest")
    handler.quiet()
    logging.getLogger("urllib3").error("already shut down")
    lines = logs.lines()
    assert [(line["level"], line["event"]) for line in lines] == [
        ("warning", "sdk"),
        ("error", "sdk"),
    ]
    assert lines[0]["fields"]["message"] == "no collector, key [redacted], 0"
    assert OPENAI not in "".join(logs.trace_lines())
    assert capfd.readouterr() == ("", "")


def test_the_sdk_complains_to_nobody_else(handler: SdkLogHandler) -> None:
    assert [name for name in handler.LOGGERS if logging.getLogger(name).propagate] == []


def test_a_complaint_that_cannot_be_formatted_is_written_as_it_is(
    logs: Logs, handler: SdkLogHandler
) -> None:
    broken = logging.LogRecord("opentelemetry", logging.ERROR, "", 0, "%d spans", ("no",), None)
    handler.handle(broken)
    assert [line["fields"]["message"] for line in logs.lines()] == ["%d spans"]


def test_a_python_warning_goes_to_the_log_as_well(
    logs: Logs, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        request.getfixturevalue("handler")
        warnings.warn("versions do not match", stacklevel=1)
    (line,) = logs.lines()
    assert "versions do not match" in line["fields"]["message"]
    assert capfd.readouterr() == ("", "")
