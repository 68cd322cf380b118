"""The telemetry of one attempt: its CLIENT span and its measurements.

Names follow the GenAI semantic conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/),
with the two names of the original beside them: `backend`, and the request's duration in ms.
"""

import time

from chatbot.backends import Backend
from chatbot.messages import AttributeValue, Call
from chatbot.tracing import CLIENT, Recorder, Span
from chatbot.worker.answer import Answer
from chatbot.worker.client import Server

PROVIDERS = {"grok": "x_ai"}

_REQUEST_OPTIONS = ("max_tokens", "temperature", "top_p", "top_k", "seed")
# What servers call it → the attributes for it; Jaeger still reads the older name of the last.
_USAGE_ATTRIBUTES = {
    "cache_read_input_tokens": ("gen_ai.usage.cache_read.input_tokens",),
    "prompt_tokens_details.cached_tokens": ("gen_ai.usage.cache_read.input_tokens",),
    "completion_tokens_details.reasoning_tokens": ("gen_ai.usage.reasoning.output_tokens",),
    "cache_creation_input_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
    ),
}


class Attempt:
    """What is recorded of one request, from just before it is sent until its answer has ended."""

    def __init__(
        self,
        recorder: Recorder,
        call: Call,
        backend: Backend,
        server: Server,
        parent: str,
        retries: int,
    ) -> None:
        self._recorder = recorder
        self._backend = backend
        self._started = time.perf_counter()
        self._first_chunk_s: float | None = None
        self._status: int | None = None
        self._error_type = ""
        self._labels: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDERS.get(backend.name, backend.name),
            "gen_ai.request.model": call.target.model,
            "server.address": server.host,
            "server.port": server.port,
        }
        self._span = recorder.span(f"{backend.name}_api_call", kind=CLIENT, parent=parent)
        self._set(self._labels)
        self._set({"gen_ai.conversation.id": call.session_id, "gen_ai.request.stream": True})
        options = call.target.options
        self._set({f"gen_ai.request.{k}": options[k] for k in _REQUEST_OPTIONS if k in options})
        if retries:
            self._span.set("http.request.resend_count", retries)

    @property
    def traceparent(self) -> str:
        """The header to send with the request; empty: none."""
        return self._span.traceparent

    def sent(self, method: str, url: str) -> None:
        """Note the request."""
        self._set({"http.request.method": method, "url.full": url})

    def responded(self, status: int) -> None:
        """Note that the response's head has come."""
        self._status = status
        self._span.set("http.response.status_code", status)

    def first_chunk(self) -> None:
        """Note that content has come, once."""
        if self._first_chunk_s is None:
            self._first_chunk_s = time.perf_counter() - self._started
            self._span.event("first_token")

    def fail(self, error_type: str, description: str) -> None:
        """Note why it failed."""
        self._error_type = error_type
        self._span.set("error.type", error_type)
        self._span.fail(description)

    def end(self, answer: Answer) -> None:
        """Record the measurements and the span."""
        duration_s = time.perf_counter() - self._started
        span, trace = self._span, self._span.traceparent
        observe = self._recorder.observe
        http: dict[str, AttributeValue] = {"backend": self._backend.name}
        if self._status is not None:
            http["http.response.status_code"] = self._status
        labels = self._labels
        if answer.model:
            span.set("gen_ai.response.model", answer.model)
            labels = {**labels, "gen_ai.response.model": answer.model}
        if self._error_type:
            http["error.type"] = self._error_type
        typed = {**labels, "error.type": self._error_type} if self._error_type else labels
        observe("http.client.request.duration", duration_s * 1000, http, trace)
        observe("gen_ai.client.operation.duration", duration_s, typed, trace)
        if (first_s := self._first_chunk_s) is not None:
            span.set("gen_ai.response.time_to_first_chunk", first_s)
            observe("gen_ai.client.operation.time_to_first_chunk", first_s, labels, trace)
        if answer.response_id:
            span.set("gen_ai.response.id", answer.response_id)
        if answer.finish_reason:
            span.set("gen_ai.response.finish_reasons", (answer.finish_reason,))
        self._count_tokens(answer, span, labels)
        span.end()

    def _count_tokens(self, answer: Answer, span: Span, labels: dict[str, AttributeValue]) -> None:
        backend: dict[str, AttributeValue] = {"backend": self._backend.name}
        trace = span.traceparent
        for name, value in answer.usage.items():
            self._recorder.count(f"llm.usage.{name}", value, backend, trace)
            for attribute in _USAGE_ATTRIBUTES.get(name, ()):
                span.set(attribute, value)
        for kind, tokens in zip(("input", "output"), answer.tokens, strict=True):
            if tokens is not None:
                span.set(f"gen_ai.usage.{kind}_tokens", tokens)
                typed = {**labels, "gen_ai.token.type": kind}
                self._recorder.observe("gen_ai.client.token.usage", tokens, typed, trace)

    def _set(self, attributes: dict[str, AttributeValue]) -> None:
        for name, value in attributes.items():
            self._span.set(name, value)
