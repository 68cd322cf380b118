"""The worker's room with real pipes and real sockets; its `main` runs in a thread.

`Room` is what the other worker tests use too: the worker, and the supervisor's ends of its pipes.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import socket
import threading
from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any, Self

import msgspec
import pytest

from chatbot.backends import BACKENDS, Backend
from chatbot.distribution import constant
from chatbot.errors import ExitCode
from chatbot.mailbox import Inbox, Outbox, Reader, encode, frame_of
from chatbot.messages import (
    Answered,
    BackendName,
    Beat,
    Call,
    Cancel,
    Cancelled,
    ChatMessage,
    ContextRead,
    Delta,
    Failed,
    FromAny,
    FromWorker,
    LogRecord,
    Measurement,
    Message,
    ModelsListed,
    Options,
    Ready,
    Record,
    Report,
    Retrying,
    Sending,
    SpanRecord,
    Stop,
    Target,
)
from chatbot.otel import Tracing
from chatbot.settings import SimServerSettings, WorkerSettings
from chatbot.simserver.server import SimServer
from chatbot.tracing import Recorder
from chatbot.worker import call as call_room
from chatbot.worker import process
from tests.fake_llm import DEADLINE_S, FakeLlm, Gate, Visit, nobody_listens, piece

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
KEY = "sk-test-Dk3vQ8zLw0TnR5yB7xJm"
KEYED: BackendName = "openai"

Terminal = Answered | Failed | Cancelled
TERMINALS = (Answered, Failed, Cancelled, ModelsListed, ContextRead)


def settings_for(base_url: str = "", api_key: str = KEY, **limits: Any) -> WorkerSettings:
    """Return settings whose every backend is at this address, with that key."""
    backends: dict[BackendName, Backend] = {
        b.name: msgspec.structs.replace(
            b, base_url=base_url, api_key=api_key if b.key_variables else ""
        )
        for b in BACKENDS
    }
    defaults: dict[str, Any] = {"connect_timeout_s": 5.0, "read_timeout_s": 10.0}
    return WorkerSettings(backends=backends, **{**defaults, **limits})


class Room:
    """The worker in a thread, to be used in a `with`: left, it is stopped and has been read out."""

    def __init__(self, settings: WorkerSettings, tracing: Tracing = Tracing()) -> None:  # noqa: B008 - frozen
        pipe = get_context("spawn").Pipe
        inbox_end, self._to_worker = pipe(duplex=False)
        self.from_worker, self._outbox_end = pipe(duplex=False)
        self._settings = settings
        self._tracing = tracing
        self._inbox: Inbox[Any] = Inbox(inbox_end, process.INBOX)
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._serial = itertools.count()
        self.messages: list[Message] = []
        self.records: list[Record] = []
        self.said: list[Message] = []  # both, in the order of the pipe
        self.exit_code: ExitCode | None = None

    def __enter__(self) -> Self:
        Reader(self.from_worker, FromWorker | FromAny, self._sort, lambda _: self._ended.set())
        outbox = Outbox(self._outbox_end)
        recorder = Recorder("worker", 0, outbox.offer, self._tracing)

        def run() -> None:
            self.exit_code = process.main(self._settings, self._inbox, outbox, recorder)
            recorder.flush()
            outbox.close(DEADLINE_S)
            self._outbox_end.close()  # the reader sees the end of the pipe, after all that was sent

        self._thread = threading.Thread(target=run)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the worker, and read all it sent."""
        with contextlib.suppress(OSError):  # it has been stopped before
            self.send(Stop())
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        assert self._ended.wait(DEADLINE_S)
        self._to_worker.close()  # the inbox's thread ends as well
        assert self.exit_code is ExitCode.OK

    def send(self, *messages: Message) -> None:
        """Send messages in one frame, which the worker takes as one batch."""
        self._to_worker.send_bytes(frame_of([encode(message) for message in messages]))

    def call(
        self,
        backend: BackendName = KEYED,
        *,
        stream: bool = True,
        base_url: str = "",
        traceparent: str = PARENT,
        options: Options | None = None,
        content: str = "hello",
        system: str | None = None,
        model: str = "m",
    ) -> str:
        """Ask for a call; return its request id."""
        request_id = f"r{next(self._serial)}"
        target = Target(backend, model, system, options or {})
        asked = (ChatMessage("user", content),)
        self.send(
            Call(request_id, 1, "s", target, asked, stream, base_url, traceparent=traceparent)
        )
        return request_id

    def wait_for(self, kind: type[Message] | tuple[type[Message], ...], request_id: str) -> Any:
        """Return the first message of that kind about the request."""

        def found() -> Message | None:
            return next((m for m in self.of(request_id) if isinstance(m, kind)), None)

        with self._changed:
            assert self._changed.wait_for(found, DEADLINE_S), (kind, self.of(request_id))
            return found()

    def wait_for_count(self, request_id: str, count: int) -> None:
        """Wait until so many messages have come about the request."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.of(request_id)) >= count, DEADLINE_S)
        assert came, self.of(request_id)

    def end_of(self, request_id: str) -> Any:
        """Return the request's terminal message."""
        return self.wait_for(TERMINALS, request_id)

    def of(self, request_id: str) -> list[Message]:
        """Return what has come about the request, in order."""
        return [m for m in self.messages if getattr(m, "request_id", None) == request_id]

    def ask(self, backend: BackendName = KEYED, **about: Any) -> Any:
        """Make a call and return its terminal message."""
        return self.end_of(self.call(backend, **about))

    def spans(self, name: str) -> list[SpanRecord]:
        """Return the spans of that name; only after the stop."""
        return [r for r in self.records if isinstance(r, SpanRecord) and r.name == name]

    def logged(self) -> list[LogRecord]:
        """Return the log; only after the stop."""
        return [r for r in self.records if isinstance(r, LogRecord)]

    def measured(self, name: str) -> list[Measurement]:
        """Return the measurements of that name; only after the stop."""
        return [r for r in self.records if isinstance(r, Measurement) and r.name == name]

    def _sort(self, batch: list[Message]) -> None:
        with self._changed:
            for message in batch:
                if isinstance(message, Report):
                    records = msgspec.msgpack.decode(message.payload, type=list[Record])
                    self.records += records
                    self.said += records
                    continue
                self.said.append(message)
                if not isinstance(message, Beat):
                    self.messages.append(message)
            self._changed.notify_all()


@contextlib.contextmanager
def sim_server(**timing: Any) -> Iterator[str]:
    """Yield the base URL of the project's own simulated server, in a thread."""
    loop = asyncio.new_event_loop()
    server = SimServer(
        SimServerSettings(**{"first_token": constant(0), "inter_chunk": constant(0), **timing})
    )
    base_url = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield base_url
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(DEADLINE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()


def text_of(messages: list[Message]) -> str:
    """Return what the deltas bring, joined."""
    return "".join(m.text for m in messages if isinstance(m, Delta) and not m.reasoning)


# --- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["ollama", "anthropic", "grok", "openai", "sim"])
def test_every_backend_is_answered_by_the_simulated_server(backend: BackendName) -> None:
    with sim_server(chunks=constant(8)) as url:
        base_url = {"grok": f"{url}/v1", "openai": f"{url}/v1"}.get(backend, url)
        with Room(settings_for(base_url)) as room:
            request_id = room.call(
                backend, base_url=url if backend == "sim" else "", options={"max_tokens": 5}
            )
            refused = room.end_of(request_id)  # there is no model called m
            assert isinstance(refused, Failed)
            assert refused.kind == "model_not_found"
            room.send(
                Call(
                    "good",
                    3,
                    "s",
                    Target(backend, "sim"),
                    (ChatMessage("user", "hello"),),
                    base_url=url if backend == "sim" else "",
                )
            )
            answered = room.end_of("good")
            messages = room.of("good")
    assert isinstance(answered, Answered), answered
    assert isinstance(messages[0], Sending)
    deltas = [m for m in messages if isinstance(m, Delta)]
    assert [d.seq for d in deltas] == list(range(len(deltas)))
    assert {m.attempt for m in messages} == {3}  # type: ignore[attr-defined]
    assert text_of(messages) == answered.completion.text != ""
    assert answered.completion.output_tokens == 8
    assert messages[-1] is answered
    assert answered.first_token_ms is not None
    assert answered.first_token_ms <= answered.duration_ms


def test_many_streams_run_at_once_in_one_worker() -> None:
    gate = Gate()
    arrived = threading.Semaphore(0)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        await visit.send(piece("first "))
        arrived.release()
        await gate.passed()
        await visit.send(piece("and last") + b"data: [DONE]\n\n")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        ids = [room.call() for _ in range(250)]
        for _ in ids:
            assert arrived.acquire(timeout=DEADLINE_S)  # all are open before any has ended
        gate.open()
        answers = [room.end_of(request_id) for request_id in ids]
    assert {type(a) for a in answers} == {Answered}
    assert server.connections == 250


def test_sending_is_in_the_pipe_before_the_server_sees_a_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No thread writes this outbox out: only what the worker itself writes reaches the pipe.
    monkeypatch.setattr(Outbox, "_run", lambda self: None)
    seen_at_first_byte: list[bytes] = []
    done = threading.Event()

    async def script(visit: Visit) -> None:
        await visit.reader.readexactly(1)
        while room.from_worker.poll(0):
            seen_at_first_byte.append(room.from_worker.recv_bytes())
        done.set()
        await visit.closed()

    with FakeLlm(script) as server:
        room = Room(settings_for(server.base_url))
        monkeypatch.setattr("tests.actors.test_worker.Reader", lambda *_: room._ended.set())
        with room:
            room.call()
            assert done.wait(DEADLINE_S)
    decoder = msgspec.msgpack.Decoder(list[FromWorker | FromAny])
    messages = [m for frame in seen_at_first_byte for m in decoder.decode(frame)]
    assert any(isinstance(m, Sending) for m in messages), messages


def test_a_call_without_stream_sends_no_delta() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.answer("one ", "two")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call(stream=False)
        answered = room.end_of(request_id)
        assert answered.completion.text == "one two"
        assert [type(m) for m in room.of(request_id)] == [Sending, Answered]


def test_deltas_are_numbered_from_0() -> None:
    gates = [Gate() for _ in range(4)]

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        for number, gate in enumerate(gates):
            await visit.send(piece(str(number)))
            await gate.passed()  # so that no two pieces come in one read
        await visit.send(b"data: [DONE]\n\n")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        for number, gate in enumerate(gates):
            room.wait_for_count(request_id, number + 2)
            gate.open()
        room.end_of(request_id)
        deltas = [m for m in room.of(request_id) if isinstance(m, Delta)]
    assert [(d.attempt, d.seq, d.text) for d in deltas] == [(1, n, str(n)) for n in range(4)]


def test_reasoning_and_text_come_in_the_order_they_were_sent() -> None:
    def thought(text: str) -> bytes:
        return piece(text).replace(b'"content"', b'"reasoning_content"')

    async def script(visit: Visit) -> None:
        await visit.request()
        body = piece("a") + thought("b") + thought("c") + piece("d") + b"data: [DONE]\n\n"
        await visit.respond(200, body)

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        answered = room.end_of(request_id)
        deltas = [(m.text, m.reasoning) for m in room.of(request_id) if isinstance(m, Delta)]
    assert deltas == [("a", False), ("bc", True), ("d", False)]
    assert (answered.completion.text, answered.completion.reasoning) == ("ad", "bc")


def test_a_server_that_keeps_the_body_open_after_the_end_does_not_hang_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatbot.worker.reading.END_OF_BODY_S", 0.05)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        await visit.send(piece("whole") + b"data: [DONE]\n\n")
        while not visit.reader.at_eof():  # a flood of pings after the end must not extend the wait
            await visit.send(b": ping\n\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(visit.reader.read(1), 0.005)

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert room.ask().completion.text == "whole"
        assert room.ask().completion.text == "whole"
    assert server.connections == 2  # the open one was closed, not used again


def test_a_connection_is_used_again_after_a_whole_answer() -> None:
    async def script(visit: Visit) -> None:
        for _ in range(3):
            await visit.request()
            await visit.answer("hi", connection="keep-alive")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        for _ in range(3):
            assert room.ask().completion.text == "hi"
    assert server.connections == 1


# --- cancel and stop -------------------------------------------------------------------------


def test_a_cancel_in_mid_stream_closes_the_socket_and_keeps_the_text() -> None:
    closed = threading.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        await visit.send(piece("half an "))
        await visit.closed()
        closed.set()

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        room.wait_for(Delta, request_id)
        room.send(Cancel(request_id))
        cancelled = room.end_of(request_id)
        assert closed.wait(DEADLINE_S)
        room.send(Cancel(request_id), Cancel("never heard of"))  # both are ignored
        assert isinstance(cancelled, Cancelled)
        assert cancelled.text == "half an "
        assert cancelled.first_token_ms is not None
    assert [type(m) for m in room.of(request_id)] == [Sending, Delta, Cancelled]
    (span,) = room.spans("openai_api_call")
    assert span.attributes["error.type"] == "cancelled"
    assert span.attributes["http.response.status_code"] == 200
    (parent,) = room.spans("process llm.requests")
    assert parent.attributes["cancelled"] is True
    assert not parent.error


def test_a_cancel_before_the_response_closes_the_socket() -> None:
    arrived, closed = threading.Event(), threading.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        arrived.set()
        await visit.closed()
        closed.set()

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        assert arrived.wait(DEADLINE_S)
        room.send(Cancel(request_id))
        assert isinstance(room.end_of(request_id), Cancelled)
        assert closed.wait(DEADLINE_S)


def test_a_cancel_closes_the_socket_of_a_server_that_does_not_read() -> None:
    gate = Gate()

    async def script(visit: Visit) -> None:
        await visit.reader.readexactly(10)
        visit.stop_reading()
        await gate.passed()

    with FakeLlm(script, receive_buffer=4096) as server:
        with Room(settings_for(server.base_url)) as room:
            request_id = room.call(content="x" * 3_900_000)
            assert gate.reached.wait(DEADLINE_S)
            room.send(Cancel(request_id))
            assert isinstance(room.end_of(request_id), Cancelled)
        gc.collect()  # a socket left open would be told of now, and fail the test
        gate.open()


def test_a_cancel_before_the_first_step_sends_nothing() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        call = Call("both", 1, "s", Target(KEYED, "m"), ())
        room.send(call, Cancel("both"))
        assert isinstance(room.end_of("both"), Cancelled)
        assert [type(m) for m in room.of("both")] == [Cancelled]
    assert server.connections == 0


def test_a_cancel_during_the_wait_for_a_retry_ends_it() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.respond(503, retry_after="50")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        request_id = room.call()
        retrying = room.wait_for(Retrying, request_id)
        assert retrying.delay_s == 50
        room.send(Cancel(request_id))
        assert isinstance(room.end_of(request_id), Cancelled)
    assert len(server.requests) == 1


def test_a_stop_cancels_what_runs_and_reports_it() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.begin()
        await visit.send(piece("so far"))
        await visit.closed()

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        ids = [room.call() for _ in range(5)]
        for request_id in ids:
            room.wait_for(Delta, request_id)
        room.stop()
        ends = [room.end_of(request_id) for request_id in ids]
    assert [(type(m), m.text) for m in ends] == [(Cancelled, "so far")] * 5


def test_a_call_that_comes_with_the_stop_is_not_begun() -> None:
    with Room(settings_for()) as room:
        room.send(Stop(), Call("late", 1, "s", Target(KEYED, "m"), ()))
    assert [type(m) for m in room.messages] == [Ready]


# --- defects and other people's business -----------------------------------------------------


def test_a_defect_costs_its_own_call_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()

    async def script(visit: Visit) -> None:
        await visit.request()
        await gate.passed()
        await visit.answer("fine")

    def explode(*_: object) -> None:
        raise ZeroDivisionError(f"with {KEY} in it")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        other = room.call()
        assert gate.reached.wait(DEADLINE_S)
        with monkeypatch.context() as patch:
            patch.setattr(call_room.LlmCall, "_record_wait", explode)
            failed = room.ask()
        gate.open()
        assert room.end_of(other).completion.text == "fine"
    assert isinstance(failed, Failed)
    assert failed.kind == "internal"
    assert "ZeroDivisionError" in failed.message
    assert "\n" not in failed.message
    (crash,) = [r for r in room.logged() if r.event == "crashed"]
    assert "explode" in str(crash.fields["traceback"])
    assert KEY not in repr(room.records)


def test_a_message_that_cannot_be_sent_ends_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.answer("x" * 500_000)

    monkeypatch.setattr("chatbot.mailbox.MAX_MESSAGE_BYTES", 100_000)
    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        failed = room.ask(stream=False)
    assert isinstance(failed, Failed)
    assert failed.kind == "internal"
    assert "MessageTooLarge" in failed.message


def test_what_the_libraries_have_to_say_goes_to_the_log_without_keys(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        logging.getLogger("aiohttp.client").warning("odd cookie: %s", KEY)
        await visit.answer("x")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        room.ask()
    (record,) = [r for r in room.logged() if r.event == "library"]
    assert record.fields == {"logger": "aiohttp.client", "message": "odd cookie: [redacted]"}
    assert capfd.readouterr().err == ""


def test_sending_does_not_wait_for_the_server_to_accept() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with Room(settings_for(f"http://127.0.0.1:{listening.getsockname()[1]}")) as room:
            request_id = room.call()
            room.wait_for(Sending, request_id)
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(DEADLINE_S)
                assert connection.recv(4) == b"POST"
                room.send(Cancel(request_id))
                assert isinstance(room.end_of(request_id), Cancelled)


def test_without_a_key_nothing_is_sent_and_the_line_names_the_variable() -> None:
    with Room(settings_for("https://api.example.com", api_key="")) as room:
        request_id = room.call("anthropic")
        failed = room.end_of(request_id)
        assert failed.kind == "auth"
        assert "ANTHROPIC_API_KEY" in failed.message
        assert [type(m) for m in room.of(request_id)] == [Failed]


def test_nobody_listening_here_is_told_at_once() -> None:
    with nobody_listens() as url, Room(settings_for(url)) as room:
        request_id = room.call("ollama")
        failed = room.end_of(request_id)
        assert failed.kind == "unreachable"
        assert "`ollama serve`" in failed.message
        assert "connection refused" in failed.message
        assert [type(m) for m in room.of(request_id)] == [Sending, Failed]
