"""OTLP: spans, metrics and log lines over the network, to a collector.

Owns the couriers of the signals and their end: a collector that does not answer costs a second at
exit, one that is not there nothing. It never touches the files. The libraries that speak to a
collector (`otlp_http`, `otlp_grpc`) are imported only when there is one: they take longer to load than
all the rest of the room. Called by `sdk`.

    span, line, metrics ──▶ Courier (queue, thread) ──▶ Gate ──▶ the SDK's exporter ──▶ collector
"""

import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from sys import getsizeof
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource

from chatbot.messages import AttributeValue, LogRecord
from chatbot.telemetry import redact
from chatbot.telemetry.courier import Courier
from chatbot.telemetry.destination import GRPC, SIGNALS, Endpoint, Signal, route
from chatbot.telemetry.gate import Exporter, Gate
from chatbot.telemetry.judge import Judged
from chatbot.telemetry.logs import LogFile, TraceLog

SILENCE_S = 1.0  # so long a collector may be silent at the end
SHUTDOWN_S = 3.0  # and so long may it all take, while it still answers

_QUEUE = 2048
_DELAY_S = 1.0
_TELL_AGAIN_S = 60.0
_FRAME_BYTES = 1024  # of a record, beside the values of its attributes


class FinishedSpan(NamedTuple):
    """A span, and the process that it is of."""

    judged: Judged
    resource: Resource


class LogLine(NamedTuple):
    """A line of the log, and the process that it is of."""

    record: LogRecord
    resource: Resource


class Otlp:
    """The signals that have somewhere to go."""

    def __init__(self, environ: Mapping[str, str], log: LogFile, trace_log: TraceLog) -> None:
        self._couriers: dict[Signal, Courier] = {}
        self._news = Newspaper(log, trace_log)
        self._began_to_end = 0.0
        self._routes = {signal: route(environ, signal) for signal in SIGNALS}
        for signal, way in self._routes.items():
            if way.endpoints:
                gate = Gate(signal, way, connect, self._news)
                newest = signal == "metrics"  # they are cumulative: the last ones say it all
                delay_s = 0.0 if newest else _DELAY_S
                size = _SIZES[signal]
                self._couriers[signal] = Courier(gate, _QUEUE, delay_s, size, newest=newest)
        self.add_span: Callable[[FinishedSpan], None] = self._adder("traces")
        self.add_line: Callable[[LogLine], None] = self._adder("logs")
        self.add_metrics: Callable[[MetricsData], None] = self._adder("metrics")

    def _adder(self, signal: Signal) -> Callable[[object], None]:
        courier = self._couriers.get(signal)
        return courier.add if courier is not None else _nowhere

    @property
    def collector(self) -> str:
        """Where telemetry goes just now; empty: nowhere."""
        return next((c.gate.where for c in self._couriers.values() if c.gate.where), "")

    @property
    def lost(self) -> dict[str, int]:
        """What a collector did not get though there was one, by signal. Of metrics nothing is ever
        lost: they are cumulative, and the next ones say it again."""
        return {
            signal: courier.lost
            for signal, courier in self._couriers.items()
            if signal != "metrics"
        }

    @property
    def sent_spans(self) -> int:
        """How many spans a collector has taken."""
        courier = self._couriers.get("traces")
        return courier.gate.sent if courier is not None else 0

    def announce(self) -> None:
        """Tell what was decided."""
        for signal, way in self._routes.items():
            self._news("decision", signal, way.decision)
            if way.refused:
                self._news("refused", signal, "", way.refused)

    def begin_shutdown(self) -> None:
        """Begin to send the spans that are left; with no collector there is no waiting."""
        self._began_to_end = time.monotonic()
        for courier in self._couriers.values():
            courier.gate.hurry()
        if "traces" in self._couriers:
            self._couriers["traces"].close()

    def finish_shutdown(self) -> None:
        """Send all that is left, until the collector has been silent for a second; then give up."""
        for courier in self._couriers.values():
            courier.close()
        for courier in self._couriers.values():
            while not courier.join(0.02):
                now = time.monotonic()
                gates = [each.gate for each in self._couriers.values()]
                alive_at = max(self._began_to_end, *(gate.alive_at for gate in gates))
                if now - alive_at >= SILENCE_S or now - self._began_to_end >= SHUTDOWN_S:
                    for gate in gates:
                        gate.abandon()
                    return


class NewestExporter:
    """The SDK's exporter of metrics, given batches of one collection."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def export(self, collections: Sequence[MetricsData], /) -> Enum:
        """Send the last one."""
        return self._exporter.export(collections[-1])

    def shutdown(self) -> None:
        """Have whoever waits in `export` give up."""
        self._exporter.shutdown()


class Newspaper:
    """Tells what became of the collector: every change in the trace log, in the log only what is
    wrong with an endpoint that was asked for. What is said again within a minute is left out."""

    def __init__(self, log: LogFile, trace_log: TraceLog) -> None:
        self._log = log
        self._trace_log = trace_log
        self._told_at: dict[tuple[str, ...], float] = {}

    def __call__(self, change: str, signal: Signal, where: str, reason: str = "") -> None:
        """Tell it, from any thread."""
        details = {"reason": redact.text(reason)} if reason else {}
        is_change = change not in ("unreachable", "refused")
        if is_change or self._is_new("trace_log", change, signal):
            self._trace_log.export(change, signal=signal, otlp=where, **details)
        if change in ("gone", "unreachable", "refused") and self._is_new("log", change):
            self._log.own("warning", f"otlp_{change}", signal=signal, otlp=where, **details)

    def _is_new(self, *what: str) -> bool:
        now = time.monotonic()
        if now - self._told_at.get(what, float("-inf")) < _TELL_AGAIN_S:
            return False
        self._told_at[what] = now
        return True


def connect(endpoint: Endpoint, signal: Signal) -> Exporter:
    """Return the exporter of a signal. Raises OSError, RuntimeError or ValueError when a variable
    that it reads holds what it cannot use."""
    if endpoint.protocol == GRPC:
        from chatbot.telemetry.otlp_grpc import exporter
    else:
        from chatbot.telemetry.otlp_http import exporter
    made: Exporter = exporter(endpoint, signal)
    if signal == "traces":
        from chatbot.telemetry.otlp_spans import SpanExporter

        return SpanExporter(made)
    if signal == "logs":
        from chatbot.telemetry.otlp_logs import LineExporter

        return LineExporter(made)
    return NewestExporter(made)


def size_of_span(span: FinishedSpan) -> int:
    """Return about how many bytes a span takes."""
    record = span.judged.record
    size = _FRAME_BYTES + _size(record.attributes) + len(record.error)
    for event in record.events:
        size += _FRAME_BYTES + _size(event.attributes)
    return size


def size_of_line(line: LogLine) -> int:
    """Return about how many bytes a line takes."""
    return _FRAME_BYTES + _size(line.record.fields)


def _size(attributes: dict[str, AttributeValue]) -> int:
    size = sum(map(getsizeof, attributes.values()))
    for value in attributes.values():
        if type(value) is tuple:
            size += sum(map(getsizeof, value))
    return size


_SIZES: dict[Signal, Callable[[Any], int]] = {
    "traces": size_of_span,
    "logs": size_of_line,
    "metrics": lambda _: 0,  # only one waits
}


def _nowhere(item: object) -> None:
    """The way of a signal that goes nowhere."""
