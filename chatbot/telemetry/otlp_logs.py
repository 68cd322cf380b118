"""Lines of the log as OTLP log records.

Owns their form: the body and the event name are the event's name, its fields are the attributes, the
Resource is that of the process that logged it. Imported by `otlp` when there is a collector for logs,
so that nothing is made of lines that nobody takes.
"""

from collections.abc import Sequence
from enum import Enum

from opentelemetry._logs import LogRecord as SdkRecord
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from chatbot.messages import AttributeValue, Level, LogRecord
from chatbot.telemetry.gate import Exporter
from chatbot.telemetry.otlp import LogLine
from chatbot.tracing import span_id_of, trace_id_of
from chatbot.version import __version__

_SCOPE = InstrumentationScope("chatbot", __version__)
_SEVERITY: dict[Level, SeverityNumber] = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
}
_INT64 = 2**63


class LineExporter:
    """The SDK's exporter of log records, given lines."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def export(self, lines: Sequence[LogLine], /) -> Enum:
        """Send the lines."""
        return self._exporter.export([readable(line) for line in lines])

    def shutdown(self) -> None:
        """Have whoever waits in `export` give up."""
        self._exporter.shutdown()


def readable(line: LogLine) -> ReadableLogRecord:
    """Return a line as the SDK's exporters take it."""
    record = line.record
    made = SdkRecord(
        timestamp=min(max(record.time_ns, 0), _INT64 - 1),
        observed_timestamp=min(max(record.time_ns, 0), _INT64 - 1),
        context=_context(record),
        severity_text=record.level,
        severity_number=_SEVERITY[record.level],
        body=record.event,
        attributes={key: _exportable(value) for key, value in record.fields.items()},
        event_name=record.event,
    )
    return ReadableLogRecord(made, line.resource, _SCOPE)


def _context(record: LogRecord) -> Context | None:
    try:
        trace_id = int(trace_id_of(record.traceparent), 16)
        span_id = int(span_id_of(record.traceparent), 16)
    except ValueError:  # there is no trace
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if record.traceparent.endswith("-01") else 0)
    span = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(span))


def _exportable(value: AttributeValue) -> AttributeValue:
    """Return integers beyond 64 bits, which OTLP does not have, as text."""
    return str(value) if type(value) is int and not -_INT64 <= value < _INT64 else value
