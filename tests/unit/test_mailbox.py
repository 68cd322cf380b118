"""Frames, batches, bounds, and what becomes of a pipe whose other end dies."""

import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.errors import MessageTooLarge
from chatbot.mailbox import MAX_FRAME_BYTES, Inbox, Outbox, Reader, encode, frame_of
from chatbot.messages import Beat, Cancel, Interrupt, Load, Message, Notice, Ready, Stop
from tests.fakes import SPAWN, eventually

ANY = Ready | Beat | Cancel | Load | Notice | Stop | Interrupt


def pipe() -> tuple[Any, Any]:
    return SPAWN.Pipe(duplex=False)


def read(connection: Any, kind: Any = ANY) -> tuple[queue.Queue[list[Any]], queue.Queue[str]]:
    batches: queue.Queue[list[Any]] = queue.Queue()
    ended: queue.Queue[str] = queue.Queue()
    Reader(connection, kind, batches.put, ended.put)
    return batches, ended


def collect(batches: "queue.Queue[list[Any]]", count: int) -> list[Any]:
    messages: list[Any] = []
    while len(messages) < count:
        messages += batches.get(timeout=10)
    return messages


@pytest.fixture
def often_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@given(st.lists(st.text().map(Notice) | st.integers(0, 2**31).map(Ready), max_size=40))
def test_messages_arrive_whole_and_in_order(messages: list[Message]) -> None:
    reader, writer = pipe()
    batches, _ = read(reader)
    outbox = Outbox(writer)
    for message in messages:
        outbox.send(message)
    assert collect(batches, len(messages)) == messages
    assert outbox.close(5)


def test_what_gathers_while_a_frame_is_written_goes_out_in_one_frame() -> None:
    reader, writer = pipe()
    outbox = Outbox(writer)
    big = Notice("x" * 1_000_000)  # more than a pipe holds: the writer stands in it
    outbox.send(big)
    assert eventually(lambda: outbox.waiting == 0)
    for number in range(100):
        outbox.send(Ready(number))
    batches, _ = read(reader)
    assert batches.get(timeout=10) == [big]
    assert batches.get(timeout=10) == [Ready(number) for number in range(100)]


def test_what_was_gathered_goes_out_in_one_frame_with_the_flush_and_in_its_turn() -> None:
    reader, writer = pipe()
    batches, _ = read(reader)
    outbox = Outbox(writer)
    for number in range(100):
        outbox.gather(Ready(number))
    assert outbox.waiting == 100
    outbox.flush()
    assert batches.get(timeout=10) == [Ready(number) for number in range(100)]
    outbox.gather(Ready(1))
    outbox.post(Ready(2))
    outbox.gather_encoded(encode(Ready(3)))
    assert outbox.close(5)  # what nobody has flushed goes out, too
    assert collect(batches, 3) == [Ready(1), Ready(2), Ready(3)]


def test_what_one_thread_gathers_is_whole_and_in_order_while_another_sends(
    often_switching: None,
) -> None:
    reader, writer = pipe()
    batches, ended = read(reader)
    outbox = Outbox(writer)

    def post() -> None:
        for _ in range(50_000):
            outbox.post(Beat())

    other = threading.Thread(target=post)
    other.start()
    for number in range(50_000):
        outbox.gather(Ready(number))
    other.join()
    outbox.flush()
    assert outbox.close(10)
    writer.close()
    assert ended.get(timeout=10)
    arrived = [m for _ in range(batches.qsize()) for m in batches.get() if m != Beat()]
    assert arrived == [Ready(number) for number in range(50_000)]


def test_what_was_gathered_counts_where_an_offer_asks_for_room() -> None:
    reader, writer = pipe()
    outbox = Outbox(writer, limit=2)
    outbox.gather(Ready(1))
    outbox.gather(Ready(2))
    assert not outbox.offer(Ready(3))
    outbox.flush()
    assert eventually(lambda: outbox.offer(Ready(4)))
    batches, _ = read(reader)
    assert collect(batches, 3) == [Ready(1), Ready(2), Ready(4)]


def test_both_ends_can_write_more_than_the_pipe_holds_before_either_reads() -> None:
    (read_a, write_a), (read_b, write_b) = pipe(), pipe()
    big = Notice("x" * 1_000_000)
    Outbox(write_a).send(big)
    Outbox(write_b).send(big)
    assert collect(read(read_a)[0], 1) == [big]
    assert collect(read(read_b)[0], 1) == [big]


def test_a_message_larger_than_a_frame_is_refused_where_it_is_sent() -> None:
    _, writer = pipe()
    outbox = Outbox(writer)
    with pytest.raises(MessageTooLarge, match=r"Notice is 4\.0 MiB"):
        outbox.send(Notice("x" * MAX_FRAME_BYTES))
    with pytest.raises(MessageTooLarge):
        outbox.offer(Notice("x" * MAX_FRAME_BYTES))


def test_batches_are_split_so_that_no_frame_is_over_its_limit() -> None:
    reader, writer = pipe()
    outbox = Outbox(writer)
    messages = [Notice(letter * 1_500_000) for letter in "abcdef"]
    for message in messages:
        outbox.send(message)
    batches, ended = read(reader)
    assert collect(batches, 6) == messages
    assert ended.empty()


def test_an_offer_to_a_full_queue_is_refused_at_once_and_a_post_is_taken() -> None:
    reader, writer = pipe()
    outbox = Outbox(writer, limit=2)
    outbox.send(Notice("x" * 1_000_000))  # stands in the pipe until somebody reads
    assert eventually(lambda: outbox.waiting == 0)
    assert outbox.offer(Ready(1))
    assert outbox.offer(Ready(2))
    assert not outbox.offer(Ready(3))
    outbox.post(Ready(4))
    assert collect(read(reader)[0], 4)[1:] == [Ready(1), Ready(2), Ready(4)]


def test_a_send_to_a_full_queue_waits_until_there_is_room() -> None:
    reader, writer = pipe()
    outbox = Outbox(writer, limit=1)
    outbox.send(Notice("x" * 1_000_000))
    assert eventually(lambda: outbox.waiting == 0)
    outbox.send(Ready(1))
    sender = threading.Thread(target=outbox.send, args=(Ready(2),))
    sender.start()
    sender.join(0.05)
    assert sender.is_alive()
    assert collect(read(reader)[0], 3)[1:] == [Ready(1), Ready(2)]
    sender.join(10)
    assert not sender.is_alive()


def test_send_now_has_written_when_it_returns() -> None:
    reader, writer = pipe()
    Outbox(writer).send_now(Ready(1))
    assert reader.poll(0)
    assert reader.recv_bytes() == frame_of([encode(Ready(1))])


def test_send_now_keeps_the_order_of_what_was_sent_before() -> None:
    reader, writer = pipe()
    outbox = Outbox(writer)
    for number in range(50):
        outbox.send(Ready(number))
    outbox.send_now(Ready(50))
    assert collect(read(reader)[0], 51) == [Ready(number) for number in range(51)]


def test_the_end_comes_after_the_last_whole_frame() -> None:
    reader, writer = pipe()
    writer.send_bytes(frame_of([encode(Ready(1))]))
    writer.close()
    batches, ended = read(reader)
    assert ended.get(timeout=10)
    assert batches.get_nowait() == [Ready(1)]


def test_half_a_frame_ends_the_stream_without_a_message() -> None:
    reader, writer = pipe()
    os.write(writer.fileno(), (100).to_bytes(4, "big") + b"half")
    writer.close()
    batches, ended = read(reader)
    assert "end of file" in ended.get(timeout=10)
    assert batches.empty()


def test_a_frame_over_the_limit_ends_the_stream() -> None:
    reader, writer = pipe()
    os.write(writer.fileno(), (MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    _, ended = read(reader)
    assert ended.get(timeout=10)


@pytest.mark.parametrize("frame", [b"", b"\xc1", frame_of([encode(Notice("not for this inbox"))])])
def test_bytes_that_do_not_belong_into_an_inbox_end_it(frame: bytes) -> None:
    reader, writer = pipe()
    writer.send_bytes(frame)
    batches, ended = read(reader, Ready | Beat)
    assert "bad frame" in ended.get(timeout=10)
    assert batches.empty()


def test_sending_to_a_peer_that_is_gone_neither_fails_nor_blocks() -> None:
    reader, writer = pipe()
    reader.close()
    outbox = Outbox(writer, limit=1)
    for number in range(10):
        outbox.send(Ready(number))
    outbox.send_now(Ready(10))
    assert outbox.close(5)


def test_several_are_sent_now_in_one_frame_behind_what_was_offered_for_it() -> None:
    reader, writer = pipe()
    outbox = Outbox(writer, limit=1)
    assert outbox.gather_offered(Ready(1))
    assert not outbox.gather_offered(Ready(2))  # as many wait as may
    outbox.send_now(Ready(3), Ready(4))
    assert reader.recv_bytes() == frame_of([encode(Ready(n)) for n in (1, 3, 4)])


def test_an_inbox_yields_what_has_gathered_and_an_empty_batch_when_idle() -> None:
    reader, writer = pipe()
    inbox: Inbox[Any] = Inbox(reader, ANY)
    batches = inbox.batches(idle_s=0.01)
    assert next(batches) == []
    outbox = Outbox(writer)
    outbox.send_now(Ready(1))
    gathered: list[Any] = []
    while not gathered:
        gathered += next(batches)
    assert gathered == [Ready(1)]


def test_an_inbox_whose_pipe_ends_yields_a_stop() -> None:
    reader, writer = pipe()
    inbox: Inbox[Any] = Inbox(reader, ANY)
    writer.close()
    assert inbox.take(10) == [Stop()]


def test_an_inbox_that_nobody_empties_stops_reading_its_pipe() -> None:
    reader, writer = pipe()
    inbox: Inbox[Any] = Inbox(reader, ANY)
    assert inbox.take(0) == []  # starts the reader
    stuck = threading.Event()

    def flood() -> None:
        for number in range(200):
            writer.send_bytes(frame_of([encode(Notice("x" * 10_000)), encode(Ready(number))]))
        stuck.set()

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    assert not stuck.wait(0.3)
    seen: list[Any] = []
    while len(seen) < 400:
        seen += inbox.take(10)
    assert stuck.wait(10)
