"""Past traces, read back with the real program: by the command line, and by /trace in the chat."""

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatbot.settings import SPAN_FILE
from chatbot.traces.spans import decode
from tests.fake_llm import FakeLlm, Gate, Visit, nobody_listens
from tests.system.conftest import Chatbot
from tests.unit.test_telemetry_send import collector

RECORDED = Path(__file__).parents[1] / "data" / "traces.jsonl"
SIM = ("--backend", "sim")


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def recorded(chatbot: Chatbot) -> Chatbot:
    """The program with two traces in its files, the older one answered, the newer one cached."""
    logs = chatbot.directory / "logs"
    logs.mkdir()
    (logs / SPAN_FILE).write_bytes(RECORDED.read_bytes() + b'{"resourceSpans":[{"torn')
    return chatbot


def test_traces_are_listed_and_shown_past_a_torn_line(recorded: Chatbot) -> None:
    listed = recorded("trace", "list", "--json")
    assert (listed.code, listed.err) == (0, "")
    cached, answered = events(listed.out)
    assert (cached["status"], answered["status"]) == ("cached", "answered")
    assert answered["first_token_ms"] > 0
    assert len(events(recorded("trace", "list", "--limit", "1", "--json").out)) == 1
    last = recorded("trace", "show")
    assert last.out.startswith(f"trace {cached['trace_id']}")
    for wanted in (answered["trace_id"], answered["trace_id"][:6], answered["trace_id"][-6:]):
        shown = recorded("trace", "show", wanted)
        assert (shown.code, shown.err) == (0, "")
        assert "HTTP 503" in shown.out
        assert "retry_backoff" in shown.out
        assert "\x1b" not in shown.out
    (whole,) = events(recorded("trace", "show", answered["trace_id"], "--json").out)
    assert len(whole["tree"]) == whole["spans"] == answered["spans"]
    assert sum(share["part"] for share in whole["critical_path"]) > 0.9


def test_what_cannot_be_read_is_told_by_every_action(recorded: Chatbot) -> None:
    logs = recorded.directory / "logs"
    packed = gzip.compress(RECORDED.read_bytes())
    (logs / f"{SPAN_FILE}.1.gz").write_bytes(packed[: len(packed) // 2])
    (logs / f"{SPAN_FILE}.3.gz").write_bytes(b"no gzip at all")
    with (logs / SPAN_FILE).open("ab") as file:
        file.write(b"\n\x00\xff\xfe\n")  # behind a torn line, as after a restart
    files = f"{SPAN_FILE}.3.gz, {SPAN_FILE}.1.gz, {SPAN_FILE}"
    told = f"chatbot: 4 places in the trace files could not be read ({files})"
    with collector() as server:
        for action in (("list",), ("show",), ("export",), ("send", server.url)):
            result = recorded("trace", *action)
            assert result.code == 0
            assert result.err.splitlines()[-1] == told


def test_what_is_not_there_is_told_and_has_its_own_code(chatbot: Chatbot) -> None:
    assert chatbot("trace", "list").code == 2
    (chatbot.directory / "logs").mkdir()
    for arguments in (("list",), ("show",), ("export",)):
        result = chatbot("trace", *arguments)
        assert (result.code, result.out) == (1, "")
        assert "there are no traces" in result.err
    (chatbot.directory / "logs" / SPAN_FILE).write_bytes(RECORDED.read_bytes())
    result = chatbot("trace", "show", "ffffffffffff")
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1


def test_an_id_that_stands_for_several_shows_the_choices(recorded: Chatbot) -> None:
    text = RECORDED.read_text(encoding="utf-8")
    ids = [e["trace_id"] for e in events(recorded("trace", "list", "--json").out)]
    text = text.replace(ids[0], "abcd" + ids[0][4:]).replace(ids[1], "abcd" + ids[1][4:])
    (recorded.directory / "logs" / SPAN_FILE).write_text(text, encoding="utf-8")
    result = recorded("trace", "show", "abcd")
    assert (result.code, result.out) == (2, "")
    assert all(f"abcd{each[4:8]}" in result.err for each in ids)


def test_an_export_is_a_new_file_of_the_wanted_spans(recorded: Chatbot) -> None:
    cached = events(recorded("trace", "list", "--json").out)[0]["trace_id"]
    path = recorded.directory / "one.jsonl"
    done = recorded("trace", "export", cached, "-o", str(path), "--json")
    (event,) = events(done.out)
    assert (event["event"], event["traces"], event["file"]) == ("exported", 1, str(path))
    spans = [s for each in path.read_bytes().splitlines() for s in decode(each)]
    assert {s.trace_id for s in spans} == {cached}
    assert len(spans) == event["spans"]
    assert recorded("trace", "export", "-o", str(path)).code == 1
    everything = recorded("trace", "export")
    assert everything.code == 0
    assert all("resourceSpans" in each for each in events(everything.out))
    whole = [s for each in everything.out.encode().splitlines() for s in decode(each)]
    assert whole == [s for each in RECORDED.read_bytes().splitlines() for s in decode(each)]


def test_past_traces_arrive_where_they_are_sent(recorded: Chatbot) -> None:
    recorded_ids = {
        (s.trace_id, s.span_id, s.parent_id)
        for each in RECORDED.read_bytes().splitlines()
        for s in decode(each)
    }
    with collector() as server:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=k"}
        result = recorded("trace", "send", server.url, **headers)
    assert (result.code, result.out) == (0, "")
    assert "2 traces" in result.err
    arrived = [span for batch in server.spans for span in batch]
    assert len(arrived) == len(recorded_ids)
    assert {
        (s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex()) for s in arrived
    } == recorded_ids
    assert server.headers[0]["x-key"] == "k"
    with nobody_listens() as url:
        result = recorded("trace", "send", url)
    assert (result.code, result.out, len(result.err.splitlines())) == (1, "", 1)


def test_a_reader_that_has_seen_enough_is_no_error(recorded: Chatbot) -> None:
    process = recorded.start("trace", "export")
    assert process.stdout
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr
    assert process.stderr.read() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals of that kind")
def test_ctrl_c_while_it_is_sending_ends_it_without_a_traceback(recorded: Chatbot) -> None:
    asked = Gate()

    async def never_answer(visit: Visit) -> None:
        await visit.request()
        await asked.passed()

    with FakeLlm(never_answer) as server:
        process = recorded.start("trace", "send", server.base_url)
        assert asked.reached.wait(30)
        process.send_signal(signal.SIGINT)
        result = recorded.finish(process)
        asked.open()
    assert (result.code, result.err) == (130, "")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals of that kind")
def test_waiting_for_a_busy_receiver_is_told_and_ends_at_ctrl_c(recorded: Chatbot) -> None:
    with collector(503, retry_after="50") as server:
        process = recorded.start("trace", "send", server.url)
        assert process.stderr
        assert process.stderr.readline() == "chatbot: waiting: it answers 503\n"
        process.send_signal(signal.SIGINT)
        result = recorded.finish(process)
    assert (result.code, result.out, len(server.paths)) == (130, "", 1)


def test_a_turn_of_this_conversation_is_drawn_in_a_script(chatbot: Chatbot) -> None:
    lines = "one\ntwo\n/trace 1\n/trace\n/trace 3\n"
    result = chatbot(*SIM, "--json", stdin=lines)
    assert result.code == 2  # there is no third turn
    assert "there is no turn 3" in result.err
    ended = [e["trace_id"] for e in events(result.out) if e["event"] == "answered"]
    shown = [e for e in events(result.out) if e["event"] == "trace"]
    assert [e["trace_id"] for e in shown] == ended
    for trace in shown:
        names = [span["name"] for span in trace["tree"]]
        for sent in [name for name in names if name.startswith("send ")]:
            assert sent.replace("send", "process") in names
        assert {"chat_turn", "sim_api_call"} <= set(names)


def test_a_turn_of_a_session_that_goes_on_is_drawn_with_its_retry(chatbot: Chatbot) -> None:
    async def refuse_once(visit: Visit) -> None:
        await visit.request()
        if visit.number == 0:
            await visit.respond(503, retry_after_ms="1")
        else:
            await visit.answer("yes")

    with FakeLlm(refuse_once) as server:
        arguments = ("--backend", "openai", "really?")
        assert chatbot(*arguments, OPENAI_BASE_URL=f"{server.base_url}/v1").code == 0
    result = chatbot("--continue", stdin="/trace 1\n")
    assert (result.code, result.out) == (0, "")
    assert "HTTP 503" in result.err
    assert "sent a second time" in result.err
    assert "critical path: " in result.err


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_SDK_DISABLED", "true", "OTEL_SDK_DISABLED is set"),
        ("OTEL_TRACES_SAMPLER", "always_off", "OTEL_TRACES_SAMPLER keeps none"),
    ],
)
def test_a_turn_that_was_not_traced_is_told_in_one_line(
    chatbot: Chatbot, variable: str, value: str, said: str
) -> None:
    result = chatbot(*SIM, stdin="one\n/trace\n", **{variable: value})
    assert result.code == 1
    assert said in result.err
    assert len(result.err.splitlines()) == 1


def test_what_a_file_holds_can_not_drive_a_terminal(recorded: Chatbot) -> None:
    text = RECORDED.read_text(encoding="utf-8").replace("chat_turn", "\\u001b[2J\\u009b")
    (recorded.directory / "logs" / SPAN_FILE).write_text(text, encoding="utf-8")
    for action in ("list", "show"):
        result = recorded("trace", action)
        assert result.code == 0
        assert not {"\x1b", "\x9b"} & set(result.out)


def test_a_terminal_without_the_characters_gets_others(recorded: Chatbot) -> None:
    environment = {**recorded.environment(PYTHONIOENCODING="ascii"), "PYTHONUTF8": "0"}
    command = recorded.command("trace", "show")
    done = subprocess.run(
        command, cwd=recorded.directory, env=environment, capture_output=True, check=True
    )
    assert done.stdout.isascii()
    assert b"`-process store.asks" in done.stdout
