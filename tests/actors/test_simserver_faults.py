"""What goes wrong in the simulated server, in every format, on the wire and as a worker sees it."""

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chatbot.distribution import constant
from chatbot.errors import CallError, WireError
from chatbot.messages import Answered, BackendName, Call, ChatMessage, Failed, Target
from chatbot.settings import FaultKind, SimServerSettings
from chatbot.wire import FORMATS
from chatbot.wire.format import Event, Finished, Format, Reasoning, Text
from tests.actors.test_simserver import (
    INSTANT,
    ask,
    connect,
    eventually,
    exchange,
    post,
    read_to_end,
    serving,
    status_of,
    unchunk,
)
from tests.actors.test_worker import Room, settings_for

STATUSES: list[FaultKind] = ["429", "500", "503", "529"]
BROKEN: list[FaultKind] = ["error", "disconnect", "truncate", "stall", "malformed"]
NAMES = ["openai", "anthropic", "ollama"]
formats: dict[str, Format] = dict(FORMATS)  # type: ignore[arg-type] # the keys are text


def always(kind: FaultKind, **more: Any) -> SimServerSettings:
    settings = {"first_token": constant(0), "inter_chunk": constant(0), "chunks": constant(9)}
    return SimServerSettings(**{**settings, "faults": {kind: 1.0}, **more})


def chat(name: str, text: str = "hello there", stream: bool = True, model: str = "sim") -> bytes:
    messages = [{"role": "user", "content": text}]
    body = ask(stream, model=model, messages=messages, max_tokens=99)
    return post(formats[name].chat_path, body)


def read(name: str, body: bytes) -> tuple[list[Event], CallError | None]:
    """Return what a client makes of a body: its events, and how it ends."""
    parser = formats[name].parser()
    events: list[Event] = []
    try:
        events.extend(parser.feed(body))
        events += parser.close()
    except WireError as error:
        return events, error
    return events, None


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Text)]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", STATUSES)
def test_a_status_refuses_the_request_in_the_words_of_its_format(
    name: str, kind: FaultKind, stream: bool
) -> None:
    with serving(always(kind, retry_after_s=2.5)) as (server, address):
        response = exchange(address, chat(name, stream=stream))
        assert (server.served, server.active) == (0, 0)
    head, _, body = response.partition(b"\r\n\r\n")
    assert status_of(response) == int(kind)
    assert (b"\r\nretry-after: 2.5\r\n" in head) == (kind == "429")
    assert b"as it was told to" in json.dumps(json.loads(body)["error"]).encode()


def test_an_error_event_ends_a_stream_in_its_middle(name: str) -> None:
    with serving(always("error")) as (_, address):
        events, error = read(name, unchunk(exchange(address, chat(name))))
    assert 1 <= len(texts(events)) < 9
    assert error is not None
    assert error.kind == "server_error"
    assert "has failed" in str(error)


def test_a_truncated_stream_ends_cleanly_and_is_not_whole(name: str) -> None:
    with serving(always("truncate")) as (_, address):
        events, error = read(name, unchunk(exchange(address, chat(name))))
    assert 1 <= len(texts(events)) < 9
    assert not any(isinstance(event, Finished) for event in events)
    assert error is not None
    assert error.kind == "connection_lost"


def test_a_malformed_line_stands_in_the_middle_of_the_others(name: str) -> None:
    with serving(always("malformed")) as (server, address):
        body = unchunk(exchange(address, chat(name)))
        assert server.served == 1
    events, error = read(name, body)
    assert 1 <= len(texts(events)) < 9
    assert error is not None
    assert error.kind == "malformed"
    lines = re.findall(rb"^(?:data: )?(\{.*)$", body, re.MULTILINE)
    broken = [line for line in lines if not is_json(line)]
    assert (len(broken), lines.index(broken[0]) < len(lines) - 1) == (1, True)


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_a_disconnect_is_a_reset_after_some_of_the_answer(name: str) -> None:
    with serving(always("disconnect")) as (server, address), connect(address) as sock:
        sock.sendall(chat(name))
        came = sock.recv(65536)  # what was sent before is not lost
        with pytest.raises(ConnectionResetError):
            read_to_end(sock)
        assert came.startswith(b"HTTP/1.1 200 OK")
        assert not came.endswith(b"0\r\n\r\n")
        eventually(lambda: server.active == 0)


def test_a_stall_is_silence_until_the_client_goes(name: str) -> None:
    with serving(always("stall")) as (server, address):
        with connect(address) as sock:
            sock.sendall(chat(name))
            came = sock.recv(65536)
            exchange(address, post("/nowhere", {}))  # the loop has turned
            sock.settimeout(0)
            with pytest.raises(BlockingIOError):
                sock.recv(65536)
            assert came.startswith(b"HTTP/1.1 200 OK")
            assert server.active == 1
        eventually(lambda: server.active == 0)
        assert server.served == 0


@pytest.mark.parametrize("kind", BROKEN)
def test_who_asks_for_the_whole_is_failed_too(name: str, kind: FaultKind) -> None:
    with serving(always(kind)) as (server, address), connect(address) as sock:
        sock.sendall(chat(name, stream=False))
        if kind == "stall":
            eventually(lambda: server.active == 1)
            return
        if kind == "disconnect":
            with pytest.raises(ConnectionResetError):
                read_to_end(sock)
            return
        response = read_to_end(sock)
        body = response.partition(b"\r\n\r\n")[2]
        if kind == "error":
            assert status_of(response) == 500
            return
        with pytest.raises(WireError):
            formats[name].parse_whole(body)


def test_the_same_requests_fail_whatever_the_format() -> None:
    settings = always("error", faults={"error": 0.4, "500": 0.2})
    outcomes = {}
    for name in NAMES:
        with serving(settings) as (_, address):
            outcomes[name] = [
                (status_of(response), len(texts(read(name, unchunk(response))[0])))
                if status_of(response) == 200
                else (status_of(response), 0)
                for response in (exchange(address, chat(name, f"question {n}")) for n in range(20))
            ]
    assert outcomes["openai"] == outcomes["anthropic"] == outcomes["ollama"]
    assert {status for status, _ in outcomes["openai"]} == {200, 500}
    assert len({pieces for _, pieces in outcomes["openai"]}) > 2


@pytest.fixture
def worker() -> Iterator[Room]:
    with Room(settings_for(read_timeout_s=0.5, max_retries=1)) as room:
        yield room


def call(room: Room, backend: BackendName, address: str, text: str = "hello there") -> Any:
    messages = (ChatMessage("user", text),)
    room.send(Call(text, 1, "s", Target(backend, "sim"), messages, base_url=address))
    return room.end_of(text)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("429", "rate_limited"),
        ("500", "server_error"),
        ("503", "server_error"),
        ("529", "server_error"),
        ("error", "server_error"),
        ("disconnect", "connection_lost"),
        ("truncate", "connection_lost"),
        ("stall", "timeout"),
        ("malformed", "malformed"),
    ],
)
def test_a_worker_tells_the_faults_apart(worker: Room, kind: FaultKind, seen: str) -> None:
    with serving(always(kind, retry_after_s=0.01)) as (_, address):
        failed = call(worker, "sim", address)
    assert isinstance(failed, Failed)
    assert failed.kind == seen


def test_a_worker_that_is_told_when_asks_again_then_and_succeeds(worker: Room) -> None:
    settings = always("429", faults={"429": 0.5}, retry_after_s=0.02)
    with serving(settings) as (server, address):
        ended = [call(worker, "sim", address, f"question {n}") for n in range(12)]
        assert server.served == sum(isinstance(end, Answered) for end in ended) > 6
    kinds = {end.kind for end in ended if isinstance(end, Failed)}
    assert kinds <= {"rate_limited"}


# --- limits ----------------------------------------------------------------------------------


def test_beyond_the_queue_it_is_429_with_a_time_to_come_back(name: str) -> None:
    busy = SimServerSettings(first_token=constant(60), max_running=1, max_queue=1, retry_after_s=7)
    with serving(busy) as (server, address), connect(address) as one, connect(address) as two:
        one.sendall(chat(name))
        eventually(lambda: server.active == 1)
        two.sendall(chat(name))
        eventually(lambda: server.waiting == 1)
        refused = exchange(address, chat(name))
        assert (status_of(refused), b"\r\nretry-after: 7\r\n" in refused) == (429, True)
        assert (server.active, server.waiting) == (1, 1)
        two.close()
        eventually(lambda: server.waiting == 0)
        one.close()
        eventually(lambda: server.active == 0)


def test_who_waits_is_begun_when_a_place_is_free_and_its_wait_is_told() -> None:
    settings = SimServerSettings(
        first_token=constant(0.1), inter_chunk=constant(0), chunks=constant(3), max_running=1
    )
    with serving(settings) as (server, address), connect(address) as one, connect(address) as two:
        begun = time.perf_counter()
        one.sendall(chat("ollama"))
        eventually(lambda: server.active == 1)
        two.sendall(chat("ollama"))
        first = read_to_end(one)
        second = read_to_end(two)
        took_s = time.perf_counter() - begun
    ends = [json.loads(unchunk(body).splitlines()[-1]) for body in (first, second)]
    assert took_s >= 0.2
    assert ends[0]["load_duration"] < 50_000_000 < ends[1]["load_duration"] <= took_s * 1e9
    for end in ends:
        parts = ("load_duration", "prompt_eval_duration", "eval_duration")
        assert end["total_duration"] == sum(end[part] for part in parts)
        assert end["prompt_eval_duration"] >= 100_000_000
        assert end["eval_duration"] > 0


def test_a_stop_ends_those_that_wait(name: str) -> None:
    settings = SimServerSettings(first_token=constant(60), max_running=1)
    with serving(settings) as (server, address):
        socks: list[socket.socket] = [connect(address) for _ in range(4)]
        for sock in socks:
            sock.sendall(chat(name))
        eventually(lambda: server.waiting == 3)
    for sock in socks:
        sock.close()
    assert (server.active, server.waiting) == (0, 0)


# --- what a model's name asks for ------------------------------------------------------------


def test_a_request_can_ask_for_more_by_its_models_name(name: str) -> None:
    with serving(INSTANT) as (_, address):
        asked = chat(name, model="sim?chunks=6&reasoning=3&tokens_per_chunk=2")
        events, error = read(name, unchunk(exchange(address, asked)))
    thoughts = [event.text for event in events if isinstance(event, Reasoning)]
    assert error is None
    assert [len(piece.split()) for piece in thoughts + texts(events)] == [2] * 9


def test_a_wish_that_is_none_is_refused_with_what_is_allowed(name: str) -> None:
    with serving(INSTANT) as (_, address):
        response = exchange(address, chat(name, model="sim?speed=3"))
    assert status_of(response) == 400
    assert b"there are: first_token, inter_chunk" in response


def test_many_sockets_at_once_are_all_served() -> None:
    slow = SimServerSettings(first_token=constant(0.2), chunks=constant(2))
    with serving(slow) as (server, address):
        socks = [connect(address) for _ in range(400)]
        for sock in socks:
            sock.sendall(chat("openai"))
        assert all(read_to_end(sock).endswith(b"0\r\n\r\n") for sock in socks)
        for sock in socks:
            sock.close()
        assert server.served == 400
