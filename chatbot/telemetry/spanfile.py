"""The trace file: spans gathered into lines of OTLP-JSON.

Owns what has been gathered and not yet written: at most half a second of it, 512 spans or a megabyte,
which is all that a kill can lose. It never looks at the disk: that is the stream's. Called by the
telemetry process.

A line has the spans of all processes, each under the Resource of its own; the longer they gather, the
fewer times those are written.
"""

import msgspec

from chatbot.messages import AttributeValue
from chatbot.telemetry import otlpjson
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.judge import Judged
from chatbot.telemetry.logs import printable
from chatbot.telemetry.open import Source
from chatbot.telemetry.resources import Resources

GATHER_S = 0.5

_LINE_OF = 512
_LINE_BYTES = 1024 * 1024  # a span with the messages in it may have hundreds of kilobytes
_SOURCES_AT_MOST = 1024


class SpanFile:
    """The spans on their way into the file: `written` were taken by the stream, `lost` were not.
    Times are those of any clock that never goes back."""

    def __init__(self, stream: RotatingFile, resources: Resources) -> None:
        self.written = 0
        self.lost = 0
        self._stream = stream
        self._resources = resources
        self._encoded: dict[Source, msgspec.Raw] = {}
        self._gathered: dict[Source, list[msgspec.Raw]] = {}
        self._number = 0
        self._bytes = 0
        self._due = float("inf")

    def add(self, span: Judged, source: Source) -> None:
        """Take a span that can be written as it is."""
        encoded = otlpjson.encoded(span)
        if self._bytes + len(encoded) > _LINE_BYTES:
            self.write()
        spans = self._gathered.get(source)
        if spans is None:
            spans = self._gathered[source] = []
        spans.append(msgspec.Raw(encoded))
        self._number += 1
        self._bytes += len(encoded)
        if self._number >= _LINE_OF:
            self.write()

    def write_due(self, now: float) -> None:
        """Write what has gathered for half a second."""
        if not self._number:
            return
        if now >= self._due:
            self.write()
        elif self._due == float("inf"):
            self._due = now + GATHER_S

    def write(self) -> None:
        """Write what has gathered; the stream puts it on the disk with its next flush."""
        self._due = float("inf")
        if not self._number:
            return
        line = otlpjson.line(
            (self._resource(source), spans) for source, spans in self._gathered.items()
        )
        if (
            not line.isascii() or b"\x7f" in line
        ):  # JSON itself escapes the other control characters
            line = printable(line.decode()).encode()
        if self._stream.write_lines(line + b"\n"):
            self.written += self._number
        else:
            self.lost += self._number
        self._number = self._bytes = 0
        self._gathered.clear()

    def _resource(self, source: Source) -> msgspec.Raw:
        encoded = self._encoded.get(source)
        if encoded is None:
            if len(self._encoded) >= _SOURCES_AT_MOST:
                self._encoded.clear()
            attributes: dict[str, AttributeValue] = dict(self._resources.of(source).attributes)  # type: ignore[arg-type] # the SDK's type is wider than what we put there
            encoded = self._encoded[source] = otlpjson.resource(attributes)
        return encoded
