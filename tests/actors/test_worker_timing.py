"""What a call that is measured says of its times, against a server whose order of events is known."""

import time
from typing import Any

import pytest

from chatbot.messages import (
    Answered,
    BackendName,
    Call,
    Cancel,
    Cancelled,
    ChatMessage,
    Durations,
    Failed,
    Sending,
    Target,
    Timing,
)
from chatbot.simulate.measured import turn_of
from chatbot.simulate.schedule import Start
from chatbot.worker import lag
from tests.actors.test_worker import KEYED, Room, settings_for
from tests.fake_llm import FakeLlm, Gate, Visit, nobody_listens, piece

OPENAI = (
    piece("thought").replace(b'"content"', b'"reasoning_content"'),
    piece("one "),
    piece("two"),
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
)


def anthropic(kind: str, field: str, text: str) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"%b_delta","%b":"%b"}}\n\n'
        % (kind.encode(), field.encode(), text.encode())
    )


ANTHROPIC = (
    anthropic("thinking", "thinking", "thought"),
    anthropic("text", "text", "one "),
    anthropic("text", "text", "two"),
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)
OLLAMA = (
    b'{"message":{"content":"","thinking":"thought"},"done":false}\n',
    b'{"message":{"content":"one "},"done":false}\n',
    b'{"message":{"content":"two"},"done":false}\n',
    b'{"message":{"content":""},"done":true,"done_reason":"stop"}\n',
)


def numbers(packed: bytes) -> list[int]:
    return [int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed), 4)]


def measured(room: Room, request_id: str = "m", backend: BackendName = KEYED) -> str:
    target = Target(backend, "m")
    room.send(
        Call(request_id, 1, "s", target, (ChatMessage("user", "hi"),), stream=True, measured=True)
    )
    return request_id


class Steps:
    """A server that sends one part after the other, each when the worker is known to have the last."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.gates = [Gate() for _ in parts]
        self.sent_ns: list[int] = []

    async def __call__(self, visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        for part, gate in zip(self.parts, self.gates, strict=True):
            await gate.passed()
            self.sent_ns.append(time.perf_counter_ns())
            await visit.send(part)


@pytest.mark.parametrize(
    ("backend", "parts"),
    [("openai", OPENAI), ("anthropic", ANTHROPIC), ("ollama", OLLAMA)],
)
def test_the_stamps_stand_in_the_order_in_which_it_happened(
    backend: BackendName, parts: tuple[bytes, ...]
) -> None:
    steps = Steps(*parts)
    before_ns = time.perf_counter_ns()
    with FakeLlm(steps) as server, Room(settings_for(server.base_url)) as room:
        request_id = measured(room, backend=backend)
        for number, gate in enumerate(steps.gates):
            room.wait_for_count(request_id, number + 1)  # Sending, and a Delta for each part
            gate.open()
        answered = room.end_of(request_id)
    assert isinstance(answered, Answered)
    timing = answered.timing
    assert timing is not None
    thought_ns, one_ns, two_ns, end_ns = steps.sent_ns
    assert before_ns < timing.begun_ns < timing.sent_ns < timing.connected_ns < timing.headers_ns
    assert timing.headers_ns < timing.first_byte_ns == timing.first_reasoning_ns == timing.first_ns
    assert thought_ns < timing.first_reasoning_ns < one_ns < timing.first_content_ns < two_ns
    assert two_ns < timing.last_content_ns < end_ns < timing.ended_ns < time.perf_counter_ns()
    assert (timing.attempts, timing.chunks, timing.truth) == (1, 3, None)
    gaps_ns = (
        timing.first_content_ns - timing.first_reasoning_ns,
        timing.last_content_ns - timing.first_content_ns,
    )
    assert numbers(timing.gaps) == [ns // 1000 for ns in gaps_ns]


def test_what_a_server_says_of_its_own_times_is_told_with_them_and_is_no_usage() -> None:
    end = (
        b'{"message":{"content":""},"done":true,"done_reason":"stop","eval_count":2,'
        b'"total_duration":9000,"load_duration":1000,"prompt_eval_duration":3000,"eval_duration":5000}\n'
    )
    steps = Steps(OLLAMA[2] + end)
    with FakeLlm(steps) as server, Room(settings_for(server.base_url)) as room:
        request_id = measured(room, backend="ollama")
        steps.gates[0].open()
        answered = room.end_of(request_id)
    assert isinstance(answered, Answered)
    assert answered.completion.usage == {"output_tokens": 2}
    assert answered.timing is not None
    assert answered.timing.served == Durations(9000, 1000, 3000, 5000)
    start = Start(session=0, index=0, intended_ns=1, phase="run")
    turn = turn_of(start, "run", 1, answered, 2, 2)
    assert (turn.server_total_ns, turn.server_load_ns) == (9000, 1000)
    assert (turn.server_prompt_ns, turn.server_generate_ns) == (3000, 5000)


def test_chunks_that_come_in_one_read_have_no_gap() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.answer("a", "b", "c", "d")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        timing = room.end_of(measured(room)).timing
    assert (timing.chunks, numbers(timing.gaps)) == (4, [0, 0, 0])
    assert timing.first_content_ns == timing.last_content_ns == timing.ended_ns


def test_what_is_not_to_be_measured_is_not() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.answer("x")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert room.ask().timing is None
    with nobody_listens() as url, Room(settings_for(url)) as room:
        assert room.ask().timing is None


def test_a_failure_in_mid_stream_keeps_its_stamps() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        await visit.send(piece("a") + piece("b"))

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        failed = room.end_of(measured(room))
    assert isinstance(failed, Failed)
    timing = failed.timing
    assert timing is not None
    assert timing.chunks == 2
    assert 0 < timing.headers_ns < timing.first_content_ns < timing.ended_ns


def test_a_connection_that_is_not_made_has_no_stamp_after_the_sending() -> None:
    with nobody_listens() as url, Room(settings_for(url)) as room:
        failed = room.end_of(measured(room))
    timing = failed.timing
    assert 0 < timing.begun_ns < timing.sent_ns
    assert timing == Timing(timing.begun_ns, timing.sent_ns, attempts=1, lag_us=timing.lag_us)


def test_a_call_that_fails_before_it_is_sent_was_only_begun() -> None:
    with Room(settings_for("https://api.example.com", api_key="")) as room:
        timing = room.end_of(measured(room)).timing
    assert timing.begun_ns > 0
    assert timing == Timing(timing.begun_ns, lag_us=timing.lag_us)


def test_a_cancelled_call_keeps_its_stamps() -> None:
    steps = Steps(piece("a"), b"")
    with FakeLlm(steps) as server, Room(settings_for(server.base_url)) as room:
        request_id = measured(room)
        steps.gates[0].open()
        room.wait_for_count(request_id, 2)
        room.send(Cancel(request_id))
        cancelled = room.end_of(request_id)
    assert isinstance(cancelled, Cancelled)
    timing = cancelled.timing
    assert timing is not None
    assert timing.chunks == 1
    assert timing.ended_ns == 0


def test_the_stamps_are_those_of_the_last_attempt() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        if visit.number < 2:
            await visit.respond(503, b"busy", retry_after_ms="1")
        else:
            sent_ns.append(time.perf_counter_ns())
            await visit.answer("at last")

    sent_ns: list[int] = []
    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        timing = room.end_of(measured(room)).timing
    assert timing.attempts == 3
    assert timing.begun_ns < timing.sent_ns < sent_ns[0] < timing.headers_ns < timing.ended_ns
    assert timing.connected_ns > timing.sent_ns


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
@pytest.mark.parametrize("backend", ["openai", "ollama"])
def test_what_a_simulated_server_says_of_its_times_is_read_however_it_is_split(
    backend: BackendName, size: int
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        arrived_ns = time.perf_counter_ns()
        body = b""
        for part in OPENAI if backend == "openai" else OLLAMA:
            sent.append(time.perf_counter_ns())
            if backend == "openai":
                body += b': {"sim_arrived_ns":%d,"sim_sent_ns":%d}\n\n' % (arrived_ns, sent[-1])
                body += part
            else:
                body += (
                    b'{"sim_arrived_ns":%d,"sim_sent_ns":%d,' % (arrived_ns, sent[-1]) + part[1:]
                )
        arrived.append(arrived_ns)
        await visit.begin(transfer_encoding="chunked")
        for at in range(0, len(body), size):
            await visit.chunk(body[at : at + size])
        await visit.send(b"0\r\n\r\n")

    arrived: list[int] = []
    sent: list[int] = []
    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        answered = room.end_of(measured(room, backend=backend))
        assert answered.completion.text == "one two"
    truth = answered.timing.truth
    assert (truth.arrived_ns, truth.first_ns, truth.last_ns) == (arrived[0], sent[0], sent[-1])
    lags = numbers(truth.lags)
    assert len(lags) == 4
    elapsed_us = (answered.timing.ended_ns - sent[0]) // 1000
    assert all(0 < lag_us <= elapsed_us for lag_us in lags)


def test_a_loop_that_was_held_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(*OPENAI)

    def slow(*args: Any) -> None:
        until = time.perf_counter() + 5 * lag.EVERY_S
        while time.perf_counter() < until:
            pass

    monkeypatch.setattr("chatbot.worker.record.Attempt.first_chunk", slow)
    with FakeLlm(steps) as server, Room(settings_for(server.base_url)) as room:
        request_id = measured(room)
        for gate in steps.gates:
            gate.open()
        timing = room.end_of(request_id).timing
        assert isinstance(room.of(request_id)[0], Sending)
    assert timing.lag_us > 3 * lag.EVERY_S * 1e6
