"""The simulated server in this process, with raw bytes on one end of its sockets."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chatbot import host
from chatbot.distribution import constant
from chatbot.errors import UsageError
from chatbot.settings import SimServerSettings
from chatbot.simserver.http1 import MAX_BODY_BYTES, MAX_HEAD_BYTES
from chatbot.simserver.model import MODELS
from chatbot.simserver.server import SimServer

DEADLINE_S = 10.0
INSTANT = SimServerSettings(first_token=constant(0), inter_chunk=constant(0), chunks=constant(4))


@contextmanager
def serving(settings: SimServerSettings = INSTANT, *limits: Any) -> Iterator[tuple[SimServer, str]]:
    """Run a server in a thread with a loop of its own; yield it and its address."""
    server = SimServer(settings, *limits)
    started = threading.Event()
    ended: list[Callable[[], object]] = []
    address: list[str] = []

    async def run() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        address.append(await server.start())
        ended.append(lambda: loop.call_soon_threadsafe(stopping.set))
        started.set()
        await stopping.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: host.run_async(run()))
    thread.start()
    assert started.wait(DEADLINE_S)
    try:
        yield server, address[0]
    finally:
        ended[0]()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def instant() -> Iterator[str]:
    with serving() as (_, address):
        yield address


def connect(address: str) -> socket.socket:
    name, port = address.removeprefix("http://").split(":")
    return socket.create_connection((name, int(port)), timeout=DEADLINE_S)


def read_to_end(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def exchange(address: str, *parts: bytes) -> bytes:
    """Send the parts one by one; return all that comes until the server closes."""
    with connect(address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            sock.sendall(part)
        return read_to_end(sock)


def eventually(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        threading.Event().wait(0.002)


def get(path: str, *headers: str, method: str = "GET", close: bool = True) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", *headers, *(["connection: close"] * close)]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, body: Any, *headers: str, close: bool = True) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return get(path, f"content-length: {len(data)}", *headers, method="POST", close=close) + data


def ask(stream: bool = True, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hello there"}]
    return {"model": "sim", "stream": stream, "messages": messages, **more}


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def unchunk(response: bytes) -> bytes:
    """Return the body of one chunked response, insisting on its framing."""
    at, body = response.index(b"\r\n\r\n") + 4, []
    while True:
        end = response.index(b"\r\n", at)
        length = int(response[at:end], 16)
        at = end + 2 + length
        body.append(response[end + 2 : at])
        assert response[at : at + 2] == b"\r\n"
        at += 2
        if not length:
            assert at == len(response)
            return b"".join(body)


CHAT = post("/v1/chat/completions", ask())


def test_a_request_may_come_in_pieces(instant: str) -> None:
    whole = unchunk(exchange(instant, CHAT))
    pieces = [CHAT[i : i + 1] for i in range(len(CHAT))]
    texts = [
        re.findall(rb'"content":"([^"]+)"', body)
        for body in (whole, unchunk(exchange(instant, *pieces)))
    ]
    assert len(texts[0]) == 4
    assert texts[0] == texts[1]


def test_each_piece_is_a_chunk_of_its_own(instant: str) -> None:
    response = exchange(instant, CHAT)
    assert b"transfer-encoding: chunked" in response
    assert len(re.findall(rb"\r\n[0-9a-f]+\r\ndata:", response)) == 6  # role, pieces, end


def test_a_connection_serves_one_request_after_the_other(instant: str) -> None:
    with connect(instant) as sock:
        sock.sendall(post("/v1/chat/completions", ask(), close=False))
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += sock.recv(65536)
        sock.sendall(get("/api/version"))
        assert b'{"version":' in read_to_end(sock)


def test_pipelined_requests_are_answered_in_order() -> None:
    with serving(
        SimServerSettings(first_token=constant(0.01), inter_chunk=constant(0), chunks=constant(1))
    ) as (_, address):
        asked = [
            post(
                "/api/chat", ask(stream=n % 2 == 0, model=f"m{n}" if n % 3 else "sim"), close=False
            )
            for n in range(40)
        ]
        response = exchange(address, b"".join(asked) + get("/api/version"))
    statuses = [int(s) for s in re.findall(rb"HTTP/1\.1 (\d+)", response)]
    assert statuses == [404 if n % 3 else 200 for n in range(40)] + [200]
    assert re.findall(rb"model 'm(\d+)'", response) == [b"%d" % n for n in range(40) if n % 3]


def test_thousands_of_pipelined_requests_do_not_exhaust_the_stack(instant: str) -> None:
    response = exchange(instant, get("/api/version", close=False) * 3000 + get("/api/version"))
    assert response.count(b"HTTP/1.1 200 OK") == 3001


def test_http_1_0_is_answered_without_chunks_and_closed(instant: str) -> None:
    request = CHAT.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"connection: close\r\n", b"")
    response = exchange(instant, request)
    assert b"chunked" not in response
    assert response.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00garbage", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (get("/", "content-length: 5", "content-length: 6"), 400),
        (get("/", "content-length: -5"), 400),
        (get("/", "upgrade: websocket", "connection: upgrade", close=False), 400),
        (get("/", f"x: {'y' * MAX_HEAD_BYTES}"), 431),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * (MAX_HEAD_BYTES * 2), 431),
        (get("/", f"content-length: {MAX_BODY_BYTES + 1}", method="POST"), 413),
        (get("/nowhere"), 404),
        (get("/v1/chat/completions"), 405),
        (get("/api/tags", method="DELETE"), 405),
        (post("/v1/chat/completions", b"{"), 400),
        (post("/v1/chat/completions", b"[]"), 400),
        (get("http://somewhere/api/version?x=1"), 200),
        (get("/"), 200),
    ],
)
def test_a_request_gets_the_status_it_deserves(
    instant: str, request_bytes: bytes, status: int
) -> None:
    assert status_of(exchange(instant, request_bytes)) == status


def test_a_chunked_body_beyond_the_cap_is_refused_and_the_refusal_arrives(instant: str) -> None:
    head = get("/api/chat", "transfer-encoding: chunked", method="POST", close=False)
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    assert status_of(exchange(instant, head + chunk * (MAX_BODY_BYTES // 0x100000 + 1))) == 413


def test_405_names_what_is_allowed(instant: str) -> None:
    assert b"\r\nallow: GET, HEAD\r\n" in exchange(instant, post("/api/tags", b""))


def test_head_has_the_head_of_get_and_no_body(instant: str) -> None:
    head, _, body = exchange(instant, get("/api/tags", method="HEAD")).partition(b"\r\n\r\n")
    assert body == b""
    same, _, whole = exchange(instant, get("/api/tags")).partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    assert int(length[1]) == len(whole) > 0
    assert head.split(b"\r\n")[2:] == same.split(b"\r\n")[2:]  # all but the date


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(instant: str) -> None:
    head, _, body = post("/api/chat", ask(stream=False), "expect: 100-continue").partition(
        b"\r\n\r\n"
    )
    with connect(instant) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert status_of(read_to_end(sock)) == 200


def test_a_client_that_leaves_stops_the_generation() -> None:
    slow = SimServerSettings(first_token=constant(0), inter_chunk=constant(30), chunks=constant(9))
    with serving(slow) as (server, address):
        for body in (ask(), ask(stream=False)):
            with connect(address) as sock:
                sock.sendall(post("/api/chat", body))
                eventually(lambda: server.active == 1)
            eventually(lambda: server.active == 0)
        assert server.served == 0


def test_stopping_ends_what_is_under_way() -> None:
    with serving(SimServerSettings(first_token=constant(60))) as (server, address):
        sock = connect(address)
        sock.sendall(post("/api/chat", ask()))
        eventually(lambda: server.active == 1)
    with sock, pytest.raises((ConnectionResetError, AssertionError)):
        assert read_to_end(sock).endswith(b"0\r\n\r\n")
    assert server.active == 0


def test_a_client_that_does_not_read_holds_the_answer_back() -> None:
    many = 100_000
    with serving(
        SimServerSettings(first_token=constant(0), inter_chunk=constant(0), chunks=constant(many))
    ) as (
        server,
        address,
    ):
        with connect(address) as sock:
            sock.sendall(post("/api/chat", ask()))
            assert sock.recv(1)
            connection = next(iter(server._connections))
            eventually(lambda: connection.paused)
            exchange(address, get("/"))  # the loop has turned: what it was sending is sent
            assert server.served == 0
            response = b"H" + read_to_end(sock)
        assert unchunk(response).count(b'"done":false') == many
        assert server.served == 1


def test_pieces_come_when_they_are_due_and_never_early() -> None:
    with (
        serving(
            SimServerSettings(
                first_token=constant(0.1), inter_chunk=constant(0.02), chunks=constant(10)
            )
        ) as (
            _,
            address,
        ),
        connect(address) as sock,
    ):
        begun = time.monotonic()
        sock.sendall(CHAT)
        came: list[float] = []
        data = b""
        while part := sock.recv(65536):
            data += part
            came += [time.monotonic() - begun] * (data.count(b'"content":"') - 1 - len(came))
    assert len(came) == 10
    assert all(at >= 0.1 + 0.02 * k for k, at in enumerate(came))
    assert came[-1] < 0.28 + 2.0  # generous: other processes share the cores


def test_a_whole_answer_comes_when_its_last_piece_is_due() -> None:
    slow = SimServerSettings(
        first_token=constant(0.05), inter_chunk=constant(0.0103), chunks=constant(4)
    )
    with serving(slow) as (_, address):
        begun = time.monotonic()
        exchange(address, post("/api/chat", ask(stream=False)))
        assert time.monotonic() - begun >= 0.05 + 3 * 0.0103


def test_models_of_different_formats_share_a_path(instant: str) -> None:
    openai = exchange(instant, get("/v1/models"))
    anthropic = exchange(instant, get("/v1/models?limit=1000", "anthropic-version: 2023-06-01"))
    assert b'"object":"list"' in openai
    assert b'"has_more":false' in anthropic


def test_all_its_models_are_loaded_with_the_most_context_that_a_request_can_fill() -> None:
    def running() -> dict[str, int]:
        _, _, body = exchange(address, get("/api/ps")).partition(b"\r\n\r\n")
        return {each["name"]: each["context_length"] for each in json.loads(body)["models"]}

    with serving() as (_, address):
        names = [f"{name}:latest" for name in MODELS]
        assert running() == dict.fromkeys(names, MAX_BODY_BYTES // 2)
        for model in ("sim?first_token=0s", "sim?chunks=uniform:1,2", "sim:latest", "nobody"):
            exchange(address, post("/api/chat", ask(model=model)))
        names += ["sim?first_token=0s:latest", "sim?chunks=uniform:1,2"]
        assert running() == dict.fromkeys(names, MAX_BODY_BYTES // 2)


def test_a_port_in_use_is_told_in_one_line_with_the_remedy(instant: str) -> None:
    port = int(instant.rsplit(":", 1)[1])
    with pytest.raises(UsageError, match=f"port {port}: the port is in use; give another"):
        host.run_async(SimServer(SimServerSettings(port=port)).start())


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match="0 to 65535"):
        host.run_async(SimServer(SimServerSettings(port=port)).start())


def test_a_server_that_has_all_its_files_open_says_so_once() -> None:
    said: list[str] = []
    with serving(INSTANT, 1 << 20, said.append) as (_, address), connect(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert said == []
    with serving(INSTANT, 4, said.append) as (_, address):
        for _ in range(3):
            with connect(address) as client:
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                assert client.recv(15) == b"HTTP/1.1 200 OK"
    [line] = said
    assert "all 4 files open" in line
    assert "ulimit -n" in line
