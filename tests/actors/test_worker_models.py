"""The lists of models, the context of one, and the ways to a server: proxies and TLS."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from chatbot.messages import BackendName, ContextRead, Failed, ListModels, ModelsListed, ReadContext
from chatbot.otel import Tracing
from chatbot.simserver.model import MODELS
from chatbot.simserver.server import CONTEXT_TOKENS
from chatbot.worker import context as context_room
from chatbot.worker import models as models_room
from tests.actors.test_worker import KEY, Room, settings_for, sim_server
from tests.fake_llm import FakeLlm, Visit, nobody_listens
from tests.fakes import eventually


def listed(room: Room, backend: BackendName = "openai", base_url: str = "") -> ModelsListed:
    """Ask for the models of a backend."""
    room.send(ListModels("models", backend, base_url, 2))
    answer = room.end_of("models")
    assert isinstance(answer, ModelsListed)
    assert (answer.backend, answer.attempt) == (backend, 2)
    return answer


@pytest.mark.parametrize("backend", ["ollama", "anthropic", "grok", "openai", "sim"])
def test_every_backend_lists_its_models_sorted(backend: BackendName) -> None:
    with sim_server() as url:
        base_url = {"grok": f"{url}/v1", "openai": f"{url}/v1"}.get(backend, url)
        with Room(settings_for(base_url)) as room:
            answer = listed(room, backend, url if backend == "sim" else "")
    names = [f"{name}:latest" for name in MODELS] if backend == "ollama" else list(MODELS)
    assert answer.names == tuple(sorted(names))
    assert answer.error == ""


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b'{"error":{"message":"wrong key %s"}}' % KEY.encode(), "OPENAI_API_KEY"),
        (500, b"<html>oops</html>", "try again later"),
        (302, b"", "OPENAI_BASE_URL"),
        (200, b"no JSON", "OPENAI_BASE_URL"),
        (200, b'{"data":[{"id":"' + b"x" * 3_000_000, "OPENAI_BASE_URL"),
    ],
)
def test_a_list_that_does_not_come_is_told_in_one_line(status: int, body: bytes, said: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.respond(status, body)

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        answer = listed(room)
    assert answer.names == ()
    assert said in answer.error
    assert "\n" not in answer.error
    assert KEY not in repr(answer)


def test_a_list_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_room, "WITHIN_S", 0.1)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.closed()

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert "within 0.1 s" in listed(room).error


def test_a_backend_without_its_key_is_not_asked() -> None:
    with Room(settings_for("https://api.example.com", api_key="")) as room:
        assert "ANTHROPIC_API_KEY" in listed(room, "anthropic").error


def test_nobody_listening_is_told_with_the_remedy() -> None:
    with nobody_listens() as url, Room(settings_for(url)) as room:
        assert "`ollama serve`" in listed(room, "ollama").error


def test_a_defect_ends_the_question_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(models_room, "_fetch", explode)
    with Room(settings_for("http://127.0.0.1:1")) as room:
        assert "ZeroDivisionError" in listed(room).error
    assert [r.event for r in room.logged()] == ["crashed"]


# --- the context ---------------------------------------------------------------------------------


def context(
    room: Room, backend: BackendName = "ollama", model: str = "llama3:latest"
) -> int | None:
    """Ask how much context a model has."""
    name = f"context {len(room.messages)}"
    room.send(ReadContext(name, backend, model, attempt=3))
    read = room.end_of(name)
    assert read == ContextRead(name, backend, model, read.tokens, 3)
    tokens: int | None = read.tokens
    return tokens


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("sim", CONTEXT_TOKENS),
        ("sim-large:latest", CONTEXT_TOKENS),
        ("sim?first_token=0s", None),  # which nobody has asked yet
        ("llama3:latest", None),
    ],
)
def test_the_context_of_a_loaded_model_is_what_its_server_says(
    model: str, tokens: int | None
) -> None:
    with sim_server() as url, Room(settings_for(url)) as room:
        assert context(room, model=model) == tokens
        if model.startswith("sim?"):
            room.ask("ollama", model=model)
            assert context(room, model=model) == CONTEXT_TOKENS


def test_only_the_loaded_models_are_asked_for() -> None:
    async def script(visit: Visit) -> None:
        request = await visit.request()
        assert (request.method, request.path) == ("GET", "/api/ps")
        await visit.respond(200, b'{"models":[{"name":"llama3:latest","context_length":4096}]}')

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert context(room) == 4096
    assert len(server.requests) == 1


@pytest.mark.parametrize("backend", ["anthropic", "grok", "openai", "sim"])
def test_a_server_of_another_format_is_not_asked(backend: BackendName) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        raise AssertionError("it was asked")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert context(room, backend) is None
    assert server.connections == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"models":[]}'),
        (200, b'{"models":[{"name":"llama3:latest"}]}'),
        (200, b"no JSON"),
        (200, b'{"models":[{"name":"' + b"x" * 3_000_000),
        (404, b'{"error":"not found"}'),
        (500, b"<html>oops</html>"),
    ],
)
def test_a_context_that_does_not_come_is_unknown_and_no_error(status: int, body: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.respond(status, body)

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert context(room) is None
    assert len(server.requests) == 1  # and it is not asked a second time
    assert room.logged() == []


def test_why_a_context_is_unknown_stands_in_the_verbose_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(context_room, "WITHIN_S", 0.1)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.closed()

    verbose = Tracing(debug=True)
    with FakeLlm(script) as server, Room(settings_for(server.base_url), verbose) as room:
        assert context(room) is None
    with nobody_listens() as url, Room(settings_for(url), verbose) as other:
        assert context(other) is None
    said = [
        (record.level, record.fields["reason"])
        for each in (room, other)
        for record in each.logged()
        if record.event == "context_unknown"
    ]
    assert [level for level, _ in said] == ["debug", "debug"]
    assert said[0][1] == "no answer within 0.1 s"
    assert said[1][1]


def test_a_defect_in_reading_a_context_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(context_room, "_fetch", explode)
    with Room(settings_for("http://127.0.0.1:1")) as room:
        assert context(room) is None
    assert [r.event for r in room.logged()] == ["crashed"]


def test_a_worker_that_is_stopped_meanwhile_leaves_a_context_unknown() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.closed()

    with FakeLlm(script) as server:
        with Room(settings_for(server.base_url)) as room:
            room.send(ReadContext("context", "ollama", "m", attempt=1))
            assert eventually(lambda: len(server.requests) == 1)
        assert ContextRead("context", "ollama", "m", None, 1) in room.messages


# --- proxies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_a_proxy_never_catches_an_address_on_this_machine(variable: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.answer("direct")

    with nobody_listens() as proxy, FakeLlm(script) as server:
        for host in ("127.0.0.1", "localhost"):
            base_url = server.base_url.replace("127.0.0.1", host)
            with Room(settings_for(base_url, proxies={variable: proxy})) as room:
                assert room.ask().completion.text == "direct"


@pytest.mark.parametrize("write", ["{}", "{}/"])
def test_a_proxy_is_asked_for_an_address_elsewhere(write: str) -> None:
    async def script(visit: Visit) -> None:
        request = await visit.request()
        assert request.path == "http://models.invalid/chat/completions"
        await visit.answer("by proxy")

    with FakeLlm(script) as proxy:
        address = write.format(proxy.base_url.removeprefix("http://"))
        proxies = {"http_proxy": address}
        with Room(settings_for("http://models.invalid", proxies=proxies)) as room:
            assert room.ask().completion.text == "by proxy"


def test_no_proxy_is_heeded() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        raise AssertionError("the proxy was asked")

    with FakeLlm(script) as proxy:
        proxies = {"http_proxy": proxy.base_url, "no_proxy": "other.test,.invalid"}
        settings = settings_for("http://models.invalid", proxies=proxies, max_retries=0)
        with Room(settings) as room:
            assert room.ask().kind == "unreachable"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://", "gopher://x", "http://["])
def test_a_proxy_that_cannot_be_used_is_named(proxy: str) -> None:
    with Room(settings_for("http://models.invalid", proxies={"all_proxy": proxy})) as room:
        failed = room.ask()
    assert failed.kind == "unreachable"
    assert "ALL_PROXY" in failed.message


def test_a_password_is_for_the_proxy_and_a_key_for_the_server() -> None:
    async def script(visit: Visit) -> None:
        request = await visit.request()
        assert request.headers["proxy-authorization"] == "Basic bWU6b3BlbiBzZXNhbWU="
        assert request.headers["x-api-key"] == KEY
        assert "authorization" not in request.headers
        await visit.respond(400)

    with FakeLlm(script) as proxy:
        address = proxy.base_url.replace("http://", "http://me:open%20sesame@")
        settings = settings_for("http://models.invalid", proxies={"http_proxy": address})
        with Room(settings) as room:
            assert room.ask("anthropic").status == 400
    assert len(proxy.requests) == 1


def test_a_proxy_that_refuses_is_not_asked_again_and_its_password_is_not_told() -> None:
    async def script(visit: Visit) -> None:
        head = await visit.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"CONNECT models.invalid:443")
        assert b"proxy-authorization: basic" in head.lower()
        await visit.send(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n")

    with FakeLlm(script) as proxy:
        address = proxy.base_url.replace("http://", "http://me:open-sesame@")
        proxies = {"https_proxy": address}
        with Room(settings_for("https://models.invalid", proxies=proxies)) as room:
            failed = room.ask()
    assert failed.kind == "unreachable"
    assert "407" in failed.message
    assert proxy.connections == 1
    assert "open-sesame" not in repr((room.messages, room.records))


# --- TLS -------------------------------------------------------------------------------------


def test_certificates_are_read_for_https_only(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = ssl.SSLContext.load_verify_locations

    def spy(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        read.append("certificates")
        original(self, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", spy)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.answer("plain")

    with FakeLlm(script) as server, Room(settings_for(server.base_url)) as room:
        assert room.ask().completion.text == "plain"
        assert not read
    with nobody_listens() as url, Room(settings_for(url.replace("http:", "https:"))) as room:
        assert room.ask().kind == "unreachable"
    assert read


def test_a_server_without_tls_is_told_as_such_and_not_asked_again() -> None:
    async def script(visit: Visit) -> None:
        await visit.reader.read(1)
        await visit.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        FakeLlm(script) as server,
        Room(settings_for(server.base_url.replace("http:", "https:"))) as room,
    ):
        failed = room.ask()
    assert failed.kind == "unreachable"
    assert "TLS" in failed.message
    assert server.connections == 1


class TlsServer:
    """Where a TLS server listens, and the file with the certificate that vouches for it."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)

    def ask(self, **settings: Any) -> Failed:
        """Serve connections that are closed at once, and return how a call to it fails."""

        async def serve() -> Failed:
            server = await asyncio.start_server(
                lambda r, w: w.close(), "127.0.0.1", 0, ssl=self._context
            )
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with server:
                return await asyncio.to_thread(ask, url)

        def ask(url: str) -> Failed:
            with Room(settings_for(url, **settings)) as room:
                failed = room.ask()
            assert isinstance(failed, Failed)
            return failed

        return asyncio.run(serve())


def test_a_certificate_that_is_not_trusted_is_told_as_such(tmp_path: Path) -> None:
    failed = TlsServer(tmp_path).ask()
    assert failed.kind == "unreachable"
    assert "not trusted" in failed.message


def test_a_certificate_that_the_settings_vouch_for_is_trusted(tmp_path: Path) -> None:
    server = TlsServer(tmp_path)
    assert server.ask(ca_file=str(server.ca_file)).kind == "connection_lost"


def test_certificates_that_cannot_be_read_are_told_as_such(tmp_path: Path) -> None:
    failed = TlsServer(tmp_path).ask(ca_file=str(tmp_path / "missing.pem"))
    assert failed.kind == "unreachable"
    assert "SSL_CERT_FILE" in failed.message
