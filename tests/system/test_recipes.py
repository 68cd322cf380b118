"""The README's recipes work on the files of a real run, and what they say is true."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chatbot.settings import LOG_FILE
from tests import otlp_files
from tests.system.eventful import Eventful
from tests.system.program import ROOT

if not hasattr(signal, "SIGKILL"):
    pytest.skip("there is no SIGKILL here", allow_module_level=True)
if shutil.which("jq") is None and sys.platform != "linux":
    pytest.skip("there is no jq here", allow_module_level=True)

# Attributes of what does not happen in the run: nobody asks for the content, sets options, or stops
# an answer, and the servers say nothing of these.
NOT_IN_THIS_RUN = {
    "cancelled",
    "chatbot.end_unknown",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.request.choice.count",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.max_tokens",
    "gen_ai.request.presence_penalty",
    "gen_ai.request.seed",
    "gen_ai.request.stop_sequences",
    "gen_ai.request.temperature",
    "gen_ai.request.top_k",
    "gen_ai.request.top_p",
    "gen_ai.system_instructions",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
}

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README[README.index("### Recipes") : README.index("## Collector")]
RECIPES = dict(re.findall(r"^([A-Z][^\n]*?)[:.,][^\n]*\n\n```sh\n(.*?)^```$", SECTION, re.M | re.S))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Eventful:
    return Eventful(tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="module")
def spans(run: Eventful) -> list[dict[str, Any]]:
    return otlp_files.spans(run.logs)


def cook(run: Eventful, name: str, trace: str = "") -> list[list[str]]:
    """Run a recipe as it stands in the README, in the directory of the run; return its table."""
    assert shutil.which("jq") is not None, "install jq: the README's recipes are made with it"
    done = subprocess.run(
        ["sh", "-euc", RECIPES[name]],
        cwd=run.logs.parent,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "trace": trace},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("\t") for line in done.stdout.splitlines()]


def ms(span: dict[str, Any]) -> float:
    return (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6


def process(span: dict[str, Any]) -> str:
    return str(span["resource"]["service.name"])


def calls(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [span for span in spans if span["kind"] == 3]


def test_every_recipe_of_the_section_is_tested_here() -> None:
    blocks = SECTION.count("```sh")
    tested = set(re.findall(r'cook\(\s*run,\s*"([^"]+)"', Path(__file__).read_text("utf-8")))
    assert tested == RECIPES.keys()
    assert len(tested) == blocks == 10


def test_the_slowest_spans(run: Eventful, spans: list[dict[str, Any]]) -> None:
    table = cook(run, "The slowest spans")
    assert len(table) == 20
    times = [float(row[0]) for row in table]
    slowest = sorted((ms(span) for span in spans), reverse=True)[:20]
    assert times == pytest.approx(slowest, abs=0.002)
    known = {(process(span), span["name"], span["traceId"]) for span in spans}
    assert {tuple(row[1:]) for row in table} <= known


def test_spans_per_process(run: Eventful, spans: list[dict[str, Any]]) -> None:
    table = cook(run, "Spans per process")
    assert {row[0]: int(row[1]) for row in table} == Counter(process(span) for span in spans)
    for service, _, total in table:
        of_it = sum(ms(span) for span in spans if process(span) == service)
        assert float(total) == pytest.approx(of_it, abs=1)


def test_the_timeline_of_a_turn(run: Eventful, spans: list[dict[str, Any]]) -> None:
    trace = run.trace_ids["retried"]
    table = cook(run, "The timeline of one turn", trace)
    members = [span for span in spans if span["traceId"] == trace]
    assert sorted((row[2], row[3]) for row in table) == sorted(
        (process(span), span["name"]) for span in members
    )
    assert table[0][0] == "0"
    starts = [float(row[0]) for row in table]
    assert starts == sorted(starts)
    assert table[0][3] == "chat_turn"
    assert {"retry_backoff", "openai_api_call"} <= {row[3] for row in table}


def test_calls_by_backend(run: Eventful, spans: list[dict[str, Any]]) -> None:
    table = cook(run, "LLM calls by backend")
    assert {row[0]: int(row[1]) for row in table} == Counter(s["name"] for s in calls(spans))
    for name, count, median, p95, longest in table:
        times = sorted(ms(span) for span in calls(spans) if span["name"] == name)
        assert float(longest) == pytest.approx(times[-1], abs=1)
        assert times[0] - 1 <= float(median) <= float(p95) <= float(longest)
        below = sum(time <= float(median) + 1 for time in times)
        assert below * 2 >= int(count)


def test_first_tokens(run: Eventful, spans: list[dict[str, Any]]) -> None:
    table = cook(run, "How long the first token took")
    key = "gen_ai.response.time_to_first_chunk"
    expected = {
        (span["attributes"]["gen_ai.request.model"], span["traceId"]): span["attributes"][key]
        for span in calls(spans)
        if key in span["attributes"]
    }
    assert {"m-1", "sim"} <= {model for model, _ in expected}
    assert {(row[1], row[2]): float(row[0]) for row in table} == pytest.approx(expected)


def test_calls_that_were_sent_again(run: Eventful) -> None:
    assert cook(run, "The calls that were sent again") == [
        [run.trace_ids["retried"], "openai_api_call", "1", "200"]
    ]


def test_what_failed(run: Eventful, spans: list[dict[str, Any]]) -> None:
    table = cook(run, "What failed")
    failed = [span for span in spans if span.get("status", {}).get("code") == 2]
    assert sorted(map(tuple, table)) == sorted(
        (process(s), s["name"], s["status"].get("message", ""), s["traceId"]) for s in failed
    )
    found = [(row[0], row[1], row[3]) for row in table]
    for name in ("retried", "failed"):
        assert ("chatbot-worker", "openai_api_call", run.trace_ids[name]) in found


def test_all_tokens(run: Eventful, spans: list[dict[str, Any]]) -> None:
    table = {name: int(value) for name, value in cook(run, "All tokens so far")}
    simulated = [s["attributes"] for s in calls(spans) if s["name"] == "sim_api_call"]
    output = sum(attributes["gen_ai.usage.output_tokens"] for attributes in simulated)
    assert table["llm.usage.completion_tokens"] == run.answers * 3 + output
    assert table["llm.usage.prompt_tokens_details.cached_tokens"] == run.answers * 2
    assert "llm.usage.prompt_tokens_details.audio" not in table  # a boolean is no number
    total = sum(attributes["gen_ai.usage.input_tokens"] for attributes in simulated) + output
    assert table["llm.usage.total_tokens"] == run.answers * 10 + total


def log_lines(run: Eventful) -> list[Any]:
    text = (run.logs / LOG_FILE).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_what_went_wrong(run: Eventful) -> None:
    table = cook(run, "What went wrong")
    assert [tuple(row) for row in table] == [
        (line["timestamp"], line["process"], line["event"], line["trace_id"])
        for line in log_lines(run)
        if line["level"] in ("warning", "error")
    ]
    assert ("worker", "call_failed", run.trace_ids["failed"]) in [tuple(row[1:]) for row in table]
    assert ("supervisor", "ended") in [tuple(row[1:3]) for row in table]  # the worker, by a kill


def test_the_log_lines_of_a_turn(run: Eventful) -> None:
    trace = run.trace_ids["retried"]
    table = cook(run, "The log lines of one turn", trace)
    keys = ("timestamp", "level", "process", "event", "fields")
    expected = [[line[k] for k in keys] for line in log_lines(run) if line["trace_id"] == trace]
    assert [json.loads(row) for (row,) in table] == expected
    assert [line[3] for line in expected] == ["retrying", "turn_ended"]


def test_they_read_rotated_files_and_pass_over_a_torn_line(run: Eventful, tmp_path: Path) -> None:
    """As the section says they do, with what it says to put before them."""
    logs = tmp_path / "logs"
    shutil.copytree(run.logs, logs)
    name = "extrachat_traces_process.log"
    whole = (logs / name).read_bytes().splitlines(keepends=True)
    (logs / f"{name}.1").write_bytes(whole[0])
    subprocess.run(["gzip", str(logs / f"{name}.1")], check=True, timeout=30)
    (logs / name).write_bytes(b"".join(whole[1:]) + whole[-1][:100])
    for said in ("zcat -f $(ls -r FILE*) | jq …", "jq -R 'fromjson?' FILE | jq …"):
        assert f"`{said}`" in SECTION
    ids_of = "jq -r '.resourceSpans[].scopeSpans[].spans[].spanId'"
    read = f"zcat -f $(ls -r logs/{name}*) | jq -R 'fromjson?' | {ids_of}"
    done = subprocess.run(
        ["sh", "-c", read], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    ids = done.stdout.split()
    assert sorted(ids) == sorted(span["spanId"] for span in otlp_files.spans(run.logs))


def table(first_head: str) -> list[list[str]]:
    """Return the names in the first column of a table of the README, by row."""
    rows = README[README.index(f"| {first_head} |") :].split("\n\n")[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in rows]


def test_the_table_of_spans_has_every_span_and_all_of_them_happen(
    spans: list[dict[str, Any]],
) -> None:
    named = {name for names in table("span") for name in names}
    calls = {name for name in named if name.endswith("_api_call")}
    seen = {span["name"] for span in spans}
    assert seen - calls == named - calls
    assert seen & calls == {"openai_api_call", "sim_api_call"}


def test_the_table_of_attributes_has_every_attribute(spans: list[dict[str, Any]]) -> None:
    named = {name for names in table("attribute") for name in names}
    seen = {key for span in spans for key in (*span["attributes"], *span["resource"])}
    assert seen <= named
    assert named - seen == NOT_IN_THIS_RUN
