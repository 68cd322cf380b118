"""The true times in a stream of the simulated server."""

import asyncio
import re
import socket
import time

import pytest
from msgspec.structs import replace

from chatbot import host
from chatbot.distribution import constant
from chatbot.settings import SimServerSettings
from chatbot.simserver.http1 import Connection, Exchange
from chatbot.wire.format import Event, Finished
from tests.actors.test_simserver import connect, exchange, get, serving, unchunk
from tests.actors.test_simserver_faults import NAMES, chat, formats, read, texts

_STAMP = re.compile(rb'(?:"sim_arrived_ns":(\d+),)?"sim_sent_ns":(\d+)')
PACED = SimServerSettings(
    first_token=constant(0.02),
    inter_chunk=constant(0.01),
    chunks=constant(6),
    reasoning=constant(3),
    truth=True,
)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_stamps_are_when_the_writes_were_made(name: str) -> None:
    """Every read is stamped here when it has come; the stamps in it lie before that, and in order."""
    with serving(PACED) as (_, address), connect(address) as sock:
        asked_ns = time.perf_counter_ns()
        sock.sendall(chat(name))
        arrived: list[int] = []
        sent: list[int] = []
        rest = b""
        while part := sock.recv(65536):
            read_ns = time.perf_counter_ns()
            for its_arrived, its_sent in _STAMP.findall(part):
                arrived += [int(its_arrived)] if its_arrived else []
                assert (sent or arrived)[-1] <= int(its_sent) <= read_ns
                sent.append(int(its_sent))
            rest += part
    assert len(arrived) == 1
    assert asked_ns <= arrived[0]
    assert sent[0] >= arrived[0] + 20_000_000
    assert sent == sorted(set(sent))
    assert 1 < len(sent) <= 9  # a write may hold several pieces that had fallen due
    assert sent[-1] - arrived[0] >= 100_000_000  # the last of nine pieces is due then
    events, error = read(name, unchunk(rest))
    assert error is None
    assert isinstance(events[-1], Finished)


def test_a_stamp_stands_before_what_was_written_with_it_and_not_before_the_role(name: str) -> None:
    with serving(PACED) as (_, address):
        body = unchunk(exchange(address, chat(name)))
    first = _STAMP.search(body)
    assert first is not None
    for opening in (b'"role":"assistant","content":""},"fin', b"message_start", b"event: ping"):
        assert body.rfind(opening) < first.start()
    thought = re.search(rb'"(?:reasoning_content|thinking)":"[^"]', body)
    assert thought is not None
    assert first.start() < thought.start()
    if name == "ollama":
        assert body.startswith(b'{"sim_arrived_ns":')
    else:
        assert re.search(rb'^:"sim_arrived_ns":\d+,"sim_sent_ns":\d+\n\n', body, re.MULTILINE)
        assert re.search(rb'^:"sim_sent_ns":\d+\n\n', body, re.MULTILINE)


def test_an_answer_that_leaves_at_once_has_one_stamp(name: str) -> None:
    instant = SimServerSettings(first_token=constant(0), inter_chunk=constant(0), truth=True)
    with serving(instant) as (_, address):
        body = unchunk(exchange(address, chat(name)))
    assert len(_STAMP.findall(body)) == 1
    assert _STAMP.findall(body)[0][0]


def test_the_stamps_change_nothing_else(name: str) -> None:
    def events_of(truth: bool) -> list[Event]:
        settings = SimServerSettings(
            first_token=constant(0), inter_chunk=constant(0.001), reasoning=constant(2), truth=truth
        )
        with serving(settings) as (_, address):
            return read(name, unchunk(exchange(address, chat(name))))[0]

    with_truth, without = events_of(truth=True), events_of(truth=False)
    assert texts(with_truth) == texts(without)
    assert with_truth[1:-2] == without[1:-2]


def test_without_truth_and_in_whole_answers_there_are_none(name: str) -> None:
    with serving(PACED) as (_, address):
        whole = exchange(address, chat(name, stream=False))
    with serving(SimServerSettings(first_token=constant(0))) as (_, address):
        stream = exchange(address, chat(name))
    assert b"sim_sent_ns" not in whole + stream
    assert formats[name].parse_whole(whole.partition(b"\r\n\r\n")[2])


def test_what_is_written_leaves_in_the_call() -> None:
    """The client reads in the very callback that writes: what waits for the loop is not there yet."""

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        came = loop.create_future()

        def handle(exchange: Exchange) -> None:
            exchange.send(b"now")
            try:
                came.set_result(client.recv(100))
            except TimeoutError as error:
                came.set_exception(error)

        server = await loop.create_server(lambda: Connection(handle, set()), "127.0.0.1", 0)
        client = await asyncio.to_thread(
            socket.create_connection, server.sockets[0].getsockname(), 2.0
        )
        client.sendall(get("/"))
        try:
            return bytes(await came)
        finally:
            client.close()
            server.close()

    assert host.run_async(run()) == b"now"


def test_all_events_of_a_response_have_its_id_and_no_other_has() -> None:
    with serving(replace(PACED, truth=False)) as (_, address):
        bodies = [exchange(address, chat("openai")) for _ in range(2)]
    ids = [set(re.findall(rb'"id":"([^"]*)"', body)) for body in bodies]
    assert ids == [{b"sim-00000001"}, {b"sim-00000002"}]
