"""A real store for traces takes all that we send, over HTTP and over gRPC, and understands it."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests import otlp_files
from tests.fakes import eventually
from tests.system import phoenix as installed
from tests.system.phoenix import Phoenix
from tests.system.program import Program

pytestmark = pytest.mark.phoenix

TURNS = 100


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    assert installed.python().exists(), (
        f"arize-phoenix is not installed in {installed.python()}: see the README's test command, "
        "or leave it out with -m 'not phoenix'"
    )
    server = Phoenix(tmp_path_factory.mktemp("phoenix"))
    yield server
    server.end()


@pytest.fixture(scope="module", params=["http/protobuf", "grpc"])
def run(
    request: pytest.FixtureRequest, phoenix: Phoenix, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the log directory of a hundred turns that were sent to it."""
    directory = tmp_path_factory.mktemp("turns")
    endpoint = phoenix.grpc_endpoint if request.param == "grpc" else phoenix.http_endpoint
    program = Program(
        directory,
        *("--backend", "sim", "-o", "max_tokens", "2"),
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=request.param,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_METRICS_EXPORTER="none",  # it takes traces only
        OTEL_LOGS_EXPORTER="none",
    )
    try:
        for number in range(TURNS):
            if number % 10 == 0:
                program.say("/new")
            program.say("the same" if number % 10 == 0 else f"question {number}")
            assert program.next("answered", "failed")["event"] == "answered"
        assert program.finish() == 0
    finally:
        program.end()
    return directory / "logs"


@pytest.fixture(scope="module")
def sent(run: Path) -> dict[str, dict[str, Any]]:
    """Every span of the trace file, by its id."""
    return {span["spanId"]: span for span in otlp_files.spans(run)}


@pytest.fixture(scope="module")
def stored(phoenix: Phoenix, sent: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every one of these spans that the store has, once it has stopped growing or has them all."""
    found: dict[str, dict[str, Any]] = {}

    def all_there() -> bool:
        found.update({span["context"]["span_id"]: span for span in phoenix.spans()})
        return sent.keys() <= found.keys()

    eventually(all_there, 30)
    return {span_id: span for span_id, span in found.items() if span_id in sent}


def test_every_span_of_a_hundred_turns_has_arrived(
    sent: dict[str, dict[str, Any]], stored: dict[str, dict[str, Any]]
) -> None:
    roots = [span for span in sent.values() if not span.get("parentSpanId")]
    assert len(roots) == TURNS
    assert stored.keys() == sent.keys()


def test_traces_parents_names_and_status_are_intact(
    sent: dict[str, dict[str, Any]], stored: dict[str, dict[str, Any]]
) -> None:
    for span_id, span in sent.items():
        there = stored[span_id]
        assert there["context"]["trace_id"] == span["traceId"]
        assert there["parent_id"] == span.get("parentSpanId")
        assert there["name"] == span["name"]
        status = {0: "UNSET", 2: "ERROR"}[span.get("status", {}).get("code", 0)]
        assert there["status_code"] == status
        assert [event["name"] for event in there["events"]] == [
            event["name"] for event in span.get("events", ())
        ]


def test_times_are_intact_to_the_microsecond(
    sent: dict[str, dict[str, Any]], stored: dict[str, dict[str, Any]]
) -> None:
    for span_id, span in sent.items():
        for ours, theirs in (("startTimeUnixNano", "start_time"), ("endTimeUnixNano", "end_time")):
            moment = datetime.fromisoformat(stored[span_id][theirs]).timestamp()
            assert abs(moment - int(span[ours]) / 1e9) < 2e-6


def test_every_attribute_is_there(
    sent: dict[str, dict[str, Any]], stored: dict[str, dict[str, Any]]
) -> None:
    for span_id, span in sent.items():
        there = stored[span_id]["attributes"]
        for key, value in span["attributes"].items():
            assert there[key] == value, key


def test_a_call_is_understood_as_a_call_of_a_model(
    sent: dict[str, dict[str, Any]], stored: dict[str, dict[str, Any]]
) -> None:
    """The store translates the GenAI conventions into its own, and finds all it looks for."""
    calls = {i: span for i, span in sent.items() if span["name"] == "sim_api_call"}
    assert len(calls) == TURNS - 9  # those that were cached are none
    for span_id, span in calls.items():
        there, ours = stored[span_id], span["attributes"]
        assert there["span_kind"] == "LLM"
        understood = there["attributes"]
        assert understood["llm.model_name"] == ours["gen_ai.request.model"]
        assert understood["session.id"] == ours["gen_ai.conversation.id"]
        assert understood["llm.token_count.prompt"] == ours["gen_ai.usage.input_tokens"]
        assert understood["llm.token_count.completion"] == ours["gen_ai.usage.output_tokens"]
