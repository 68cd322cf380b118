"""The telemetry of one attempt: its CLIENT span and its measurements.

Names follow the GenAI semantic conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/) and
those for HTTP (https://opentelemetry.io/docs/specs/semconv/http/http-spans/), with the two names of
the original beside them: `backend`, and the request's duration in ms.

The conventions' `time_per_output_chunk` is left out: it has a value for every chunk, which would cost
more than all the rest together.
"""

import time
from functools import lru_cache

from chatbot.backends import Backend
from chatbot.messages import AttributeValue, Call, Options
from chatbot.tracing import CLIENT, Recorder
from chatbot.wire.anthropic import DEFAULT_MAX_TOKENS
from chatbot.worker import content
from chatbot.worker.answer import Answer
from chatbot.worker.client import Server

PROVIDERS = {"grok": "x_ai"}

# What the options are called, by the user or by a server → the attribute for it.
_OPTION_ATTRIBUTES = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "num_predict": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "n": "gen_ai.request.choice.count",
}
_STOP_OPTIONS = ("stop", "stop_sequences")
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

Labels = dict[str, AttributeValue]


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
        self._call = call
        self._of = (backend.name, call.target.model, server.host, server.port)
        self._first_chunk_s: float | None = None
        self._status = 0
        self._error_type = ""
        self._span = recorder.span(f"{backend.name}_api_call", kind=CLIENT, parent=parent)
        self._started = time.perf_counter()
        if self._span.is_recorded:
            self._describe(call, backend, retries)

    @property
    def traceparent(self) -> str:
        """The header to send with the request; empty: none."""
        return self._span.traceparent

    def begin(self, method: str, base_url: str, path: str) -> None:
        """Note the request, and that it is being sent now. The URL has no query and no user in it:
        the settings refuse one that has."""
        if self._span.is_recorded:
            self._span.update({"http.request.method": method, "url.full": base_url + path})
            self._span.announce()

    def responded(self, status: int) -> None:
        """Note that the response's head has come. The transport speaks one version of HTTP."""
        self._status = status
        self._span.update({"http.response.status_code": status, "network.protocol.version": "1.1"})

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
        span, first_s, observe = self._span, self._first_chunk_s, self._recorder.observe
        trace = span.exemplar
        if span.is_recorded:
            self._describe_answer(answer, first_s)
        typed = _labels(*self._of, answer.model, self._error_type)
        http = _http_labels(self._of[0], self._status, self._error_type)
        observe("http.client.request.duration", duration_s * 1000, http, trace)
        observe("gen_ai.client.operation.duration", duration_s, typed, trace)
        if first_s is not None:
            labels = _labels(*self._of, answer.model)
            observe("gen_ai.client.operation.time_to_first_chunk", first_s, labels, trace)
        if answer.usage:
            self._count_tokens(answer, trace)
        span.end()
        if self._recorder.tracing.debug:
            self._recorder.log(
                "debug",
                "call_ended",
                traceparent=span.traceparent,
                backend=self._of[0],
                status=self._status,
                error_type=self._error_type,
                duration_ms=duration_s * 1000,
            )

    def _describe(self, call: Call, backend: Backend, retries: int) -> None:
        span = self._span
        span.update(_labels(*self._of))
        span.update({"gen_ai.conversation.id": call.session_id, "gen_ai.request.stream": True})
        if backend.wire_format == "anthropic":
            span.set("gen_ai.request.max_tokens", DEFAULT_MAX_TOKENS)  # unless it is an option
        if call.target.options:
            span.update(_option_attributes(call.target.options))
        if retries:
            span.set("http.request.resend_count", retries)

    def _describe_answer(self, answer: Answer, first_s: float | None) -> None:
        span = self._span
        if answer.model:
            span.set("gen_ai.response.model", answer.model)
        if answer.response_id:
            span.set("gen_ai.response.id", answer.response_id)
        if answer.finish_reason:
            span.set("gen_ai.response.finish_reasons", (answer.finish_reason,))
        if first_s is not None:
            span.set("gen_ai.response.time_to_first_chunk", first_s)
        for name, value in answer.usage.items():
            for attribute in _USAGE_ATTRIBUTES.get(name, ()):
                span.set(attribute, value)
        for kind, tokens in zip(("input", "output"), answer.tokens, strict=True):
            if tokens is not None:
                span.set(f"gen_ai.usage.{kind}_tokens", tokens)
        tracing = self._recorder.tracing
        if tracing.content:
            span.update(content.attributes(self._call, answer, tracing.longest_value))

    def _count_tokens(self, answer: Answer, trace: str) -> None:
        backend = _http_labels(self._of[0])
        for name, value in answer.usage.items():
            self._recorder.count(f"llm.usage.{name}", value, backend, trace)
        for kind, tokens in zip(("input", "output"), answer.tokens, strict=True):
            if tokens is not None:
                typed = _labels(*self._of, answer.model, "", kind)
                self._recorder.observe("gen_ai.client.token.usage", tokens, typed, trace)


# The same few label sets stand on every record: they are made once, and never changed.


@lru_cache(maxsize=1024)
def _labels(
    backend: str,
    model: str,
    host: str,
    port: int,
    response_model: str = "",
    error_type: str = "",
    token_type: str = "",
) -> Labels:
    labels: Labels = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS.get(backend, backend),
        "gen_ai.request.model": model,
        "server.address": host,
        "server.port": port,
    }
    if response_model:
        labels["gen_ai.response.model"] = response_model
    if error_type:
        labels["error.type"] = error_type
    if token_type:
        labels["gen_ai.token.type"] = token_type
    return labels


@lru_cache(maxsize=1024)
def _http_labels(backend: str, status: int = 0, error_type: str = "") -> Labels:
    labels: Labels = {"backend": backend}
    if status:
        labels["http.response.status_code"] = status
    if error_type:
        labels["error.type"] = error_type
    return labels


def _option_attributes(options: Options) -> Labels:
    attributes: Labels = {
        attribute: options[name]
        for name, attribute in _OPTION_ATTRIBUTES.items()
        if name in options
    }
    stops = tuple(str(options[name]) for name in _STOP_OPTIONS if name in options)
    if stops:
        attributes["gen_ai.request.stop_sequences"] = stops
    return attributes
