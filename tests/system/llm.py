"""A server on loopback that answers as it is told, in the formats of OpenAI and of Ollama, whichever it is asked in.

What it was asked can be read; an answer can be held in the middle, and tells whether its client has left.
"""

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Self

from tests.fake_llm import END, FakeLlm, Gate, Visit

NDJSON = "application/x-ndjson"


class Answer:
    """What is said to one question. With `held`, only `pieces` come until `go_on`, then `rest`.

    `read` and `written` are tokens, as they are reported; `status` other than 200 fails with `body`.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        *,
        held: bool = False,
        rest: Sequence[str] = (),
        thinking: Sequence[str] = (),
        model: str = "",
        read: int | None = 7,
        written: int = 5,
        status: int = 200,
        body: str = "",
    ) -> None:
        self.pieces, self.rest, self.thinking = pieces, rest, thinking
        self.model, self.read, self.written = model, read, written
        self.status, self.body = status, body
        self.taken = False
        self.left = threading.Event()  # the client has closed the connection before the end
        self._gate = Gate()
        if not held:
            self._gate.open()

    def go_on(self) -> None:
        """Let the rest of it come."""
        self._gate.open()

    async def is_held(self, visit: Visit) -> bool:
        """Wait for `go_on`; return whether the client is still there."""
        go, gone = asyncio.ensure_future(self._gate.passed()), asyncio.ensure_future(visit.closed())
        done, _ = await asyncio.wait({go, gone}, return_when=asyncio.FIRST_COMPLETED)
        for each in {go, gone} - done:
            each.cancel()
        if gone in done:
            self.left.set()
        return go in done and gone not in done


class Llm:
    """The server, to be used in a `with`. `asked` holds the bodies of what it was asked, in order."""

    def __init__(self, models: Sequence[str] = ("m-1",)) -> None:
        self._fake = FakeLlm(self._serve)
        self._models = models
        self._answers: list[Answer] = []
        self._numbers: Iterator[int] = itertools.count(1)
        self.asked: list[dict[str, Any]] = []
        self.said: list[str] = []  # the texts that were sent to their ends
        self.context_length: int | None = None  # what Ollama says of the model that it has loaded

    def __enter__(self) -> Self:
        self._fake.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for answer in self._answers:
            answer.go_on()
        self._fake.__exit__(*exc_info)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that let the program ask this server."""
        base = self._fake.base_url
        return {"OPENAI_BASE_URL": f"{base}/v1", "OLLAMA_HOST": base}

    @property
    def questions(self) -> list[str]:
        """The last message of all that was asked."""
        return [body["messages"][-1]["content"] for body in list(self.asked)]

    def will(self, *pieces: str, **more: Any) -> Answer:
        """Say this next, or to the next question for `model`. What is not told is `Answer N.`"""
        self._answers.append(Answer(pieces, **more))
        return self._answers[-1]

    async def _serve(self, visit: Visit) -> None:
        request = await visit.request()
        ollama = request.path.startswith("/api/")
        if request.method == "GET" or not request.path.endswith(("/chat", "/completions")):
            await visit.respond(200, self._about(request.path), content_type="application/json")
            return
        body = json.loads(request.body)
        answer = self._next(body["model"])
        self.asked.append(body)
        if answer.status != 200:
            await visit.respond(answer.status, answer.body.encode(), content_type="text/plain")
            return
        if ollama:
            await visit.begin(NDJSON)
            whole = await _say_ollama(visit, body["model"], answer)
        else:
            await visit.begin()
            whole = await _say_openai(visit, body["model"], answer)
        if whole:
            self.said.append("".join((*answer.pieces, *answer.rest)))

    def _next(self, model: str) -> Answer:
        for answer in self._answers:
            if answer.model in ("", model) and not answer.taken:
                answer.taken = True
                return answer
        return Answer([f"Answer {next(self._numbers)}."])

    def _about(self, path: str) -> bytes:
        if path.endswith("/api/ps"):
            told = {} if self.context_length is None else {"context_length": self.context_length}
            names = (*self._models, *(f"{name}:latest" for name in self._models))
            loaded = [{"name": name, "model": name, **told} for name in names]
            return json.dumps({"models": loaded}).encode()
        if path.startswith("/api/"):
            return json.dumps({"models": [{"name": name} for name in self._models]}).encode()
        return json.dumps({"data": [{"id": name} for name in self._models]}).encode()


async def _say_openai(visit: Visit, model: str, answer: Answer) -> bool:
    async def send(delta: dict[str, str]) -> None:
        chunk = {"id": "r-1", "model": model, "choices": [{"index": 0, "delta": delta}]}
        await visit.send(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    for thought in answer.thinking:
        await send({"reasoning_content": thought})
    for piece in answer.pieces:
        await send({"content": piece})
    if not await answer.is_held(visit):
        return False
    for piece in answer.rest:
        await send({"content": piece})
    if answer.read is not None:
        usage = {"prompt_tokens": answer.read, "completion_tokens": answer.written}
        said = {"id": "r-1", "model": model, "choices": [], "usage": usage}
        await visit.send(b"data: " + json.dumps(said).encode() + b"\n\n")
    await visit.send(END)
    return True


async def _say_ollama(visit: Visit, model: str, answer: Answer) -> bool:
    async def send(**fields: Any) -> None:
        await visit.send(json.dumps({"model": model, **fields}).encode() + b"\n")

    for thought in answer.thinking:
        await send(message={"role": "assistant", "content": "", "thinking": thought}, done=False)
    for piece in answer.pieces:
        await send(message={"role": "assistant", "content": piece}, done=False)
    if not await answer.is_held(visit):
        return False
    for piece in answer.rest:
        await send(message={"role": "assistant", "content": piece}, done=False)
    counts = {"eval_count": answer.written, "eval_duration": 10**9}
    if answer.read is not None:
        counts["prompt_eval_count"] = answer.read
    end = {"role": "assistant", "content": ""}
    await send(message=end, done=True, done_reason="stop", **counts)
    return True
