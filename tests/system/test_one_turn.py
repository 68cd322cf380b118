"""One message on its way through every process, followed by what it leaves behind.

The order is that of the reading order in `chatbot/__init__.py`: the UI, the store, the dispatcher,
the worker, and back.
"""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatbot.settings import SPAN_FILE
from tests.system.program import Program


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("turn"), "--backend", "sim")
    program.say("What is a pipeline?")
    program.next("answered")
    program.say("And an actor?")
    program.next("answered")
    assert program.finish() == 0
    yield program
    program.end()


@pytest.fixture(scope="module")
def spans(program: Program) -> list[dict[str, Any]]:
    """Every span of the trace file, with the pid and service of its process."""
    found: list[dict[str, Any]] = []
    path = program.directory / "logs" / "extrachat_traces_process.log"
    for line in path.read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            attributes = resource["resource"]["attributes"]
            named = {a["key"]: next(iter(a["value"].values())) for a in attributes}
            source = {"pid": named["process.pid"], "service": named["service.name"]}
            for scope in resource["scopeSpans"]:
                found += [{**span, **source} for span in scope["spans"]]
    return found


def events(program: Program, name: str) -> list[dict[str, Any]]:
    return [event for event in program.events if event["event"] == name]


def test_the_answer_streams_to_the_ui_and_its_pieces_are_the_whole(program: Program) -> None:
    for answered in events(program, "answered"):
        pieces = [
            event["text"]
            for event in events(program, "delta")
            if event["request_id"] == answered["request_id"]
        ]
        assert len(pieces) > 1
        assert "".join(pieces) == answered["text"]
        assert answered["output_tokens"] > 0


def test_question_and_answer_are_in_the_database_in_their_order(program: Program) -> None:
    asked, _ = events(program, "asked")
    answers = [event["text"] for event in events(program, "answered")]
    connection = sqlite3.connect(program.directory / "chatbot.db")
    rows = connection.execute(
        "select session_id, role, content, status, model from messages order by id"
    ).fetchall()
    connection.close()
    assert [row[1:4] for row in rows] == [
        ("user", "What is a pipeline?", "complete"),
        ("assistant", answers[0], "complete"),
        ("user", "And an actor?", "complete"),
        ("assistant", answers[1], "complete"),
    ]
    assert {row[0] for row in rows} == {asked["session_id"]}


def test_each_turn_is_one_trace_across_four_processes_and_every_parent_is_there(
    program: Program, spans: list[dict[str, Any]]
) -> None:
    traces = {event["trace_id"] for event in events(program, "answered")}
    assert len(traces) == 2
    for trace in traces:
        members = [span for span in spans if span["traceId"] == trace]
        ids = {span["spanId"] for span in members}
        roots = [span for span in members if not span.get("parentSpanId")]
        assert [root["name"] for root in roots] == ["chat_turn"]
        assert all(span["parentSpanId"] in ids for span in members if span not in roots)
        assert len({span["pid"] for span in members}) == 4
        assert {span["service"] for span in members} == {
            "chatbot-ui",
            "chatbot-store",
            "chatbot-supervisor",
            "chatbot-worker",
        }


def test_the_spans_of_a_turn_tell_its_way(program: Program, spans: list[dict[str, Any]]) -> None:
    trace = events(program, "answered")[0]["trace_id"]
    members = [span for span in spans if span["traceId"] == trace]
    names = {span["spanId"]: span["name"] for span in members}
    edges = {(names.get(span.get("parentSpanId", ""), ""), span["name"]) for span in members}
    assert edges == {
        ("", "chat_turn"),
        ("chat_turn", "send store.asks"),
        ("send store.asks", "process store.asks"),
        ("process store.asks", "cache_lookup"),
        ("process store.asks", "commit"),
        ("chat_turn", "send llm.requests"),
        ("send llm.requests", "queue_wait"),
        ("send llm.requests", "process llm.requests"),
        ("process llm.requests", "sim_api_call"),
        ("chat_turn", "send store.answers"),
        ("send store.answers", "process store.answers"),
        ("process store.answers", "commit"),
    }


def test_the_question_is_committed_before_the_call_is_made(
    program: Program, spans: list[dict[str, Any]]
) -> None:
    trace = events(program, "answered")[0]["trace_id"]
    times = {
        (span["name"], span["service"]): (
            int(span["startTimeUnixNano"]),
            int(span["endTimeUnixNano"]),
        )
        for span in sorted(spans, key=lambda span: -int(span["startTimeUnixNano"]))
        if span["traceId"] == trace
    }
    assert times["commit", "chatbot-store"][1] <= times["sim_api_call", "chatbot-worker"][0]


def test_the_log_has_a_line_for_every_process_and_no_content(program: Program) -> None:
    ready = {line["fields"]["role"] for line in program.log_lines("ready")}
    assert ready == {"ui", "store", "worker", "sim-server", "telemetry"}
    log = (program.directory / "logs" / "chatbot.log").read_text(encoding="utf-8")
    logged = {json.loads(line)["process"] for line in log.splitlines()}
    assert logged == {"store", "supervisor", "sim-server", "ui"}
    assert "pipeline" not in log


def test_nothing_but_events_was_written(program: Program, tmp_path: Path) -> None:
    assert program.stderr == ""
    written = {path.name for path in program.directory.rglob("*") if path.is_file()}
    assert written == {
        "chatbot.db",
        "chatbot.log",
        "chatbot_traces.log",
        "extrachat_traces_process.log",
        "extrachat_metrics_process.log",
    }


def test_a_cached_answer_is_traced_too_though_the_program_ends_at_once(tmp_path: Path) -> None:
    for expected in (False, True):
        program = Program(tmp_path, "--backend", "sim", "again")
        try:
            program.close_input()
            answered = program.next("answered")
            assert program.finish() == 0
        finally:
            program.end()
        assert answered["cached"] is expected
        traces = (tmp_path / "logs" / "extrachat_traces_process.log").read_text(encoding="utf-8")
        assert answered["trace_id"] in traces


def test_top_tells_of_every_process_and_of_the_turn(tmp_path: Path) -> None:
    program = Program(tmp_path, "--backend", "sim")
    try:
        program.say("hi")
        program.next("answered")
        worker = program.pid("worker", 1)
        program.say("/top")
        top = program.next("top")
    finally:
        program.end()
    roles = {(each["role"], each["slot"]): each for each in top["processes"]}
    assert set(roles) == {
        ("supervisor", 0),
        ("ui", 0),
        ("worker", 0),
        ("worker", 1),
        ("store", 0),
        ("sim-server", 0),
        ("telemetry", 0),
    }
    assert roles["worker", 1]["pid"] == worker
    assert {each["restarts"] for each in top["processes"]} == {0}
    work = top["work"]
    assert (work["answered"], work["failed"], work["dropped"]) == (1, 0, 0)
    first, last = work["first_token_ms"]
    assert 0 < first == last < work["duration_ms"][0]


@pytest.mark.parametrize("asked_for", [False, True])
def test_what_was_said_is_in_a_trace_only_where_the_variable_asks_for_it(
    tmp_path: Path, asked_for: bool
) -> None:
    wish = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"} if asked_for else {}
    program = Program(tmp_path, "--backend", "sim", "--debug", "-s", "zebra one", **wish)
    try:
        program.say("zebra two")
        program.next("answered")
        assert program.finish() == 0
    finally:
        program.end()
    written = {path.name: path.read_bytes() for path in (tmp_path / "logs").iterdir()}
    told = {name for name, data in written.items() if b"zebra" in data}
    assert told == ({SPAN_FILE} if asked_for else set())
    assert written[SPAN_FILE].count(b"zebra") == (2 if asked_for else 0)
