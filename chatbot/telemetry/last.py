"""Last words: the sums of a telemetry process, kept where its successor finds them.

Metrics are cumulative sums in memory, and their file gets a line only every ten seconds: a kill would
take all that was measured since with it. So the same line is also written to a small file next to
it, at most once a second and only when something was measured. The file is replaced as a whole, so
that no kill tears it; after a `kill -9` at most one second of sums is missing.

    extrachat_metrics_process.log             a line every 10 s
    extrachat_metrics_process.log.4711.last   the last words, by the pid of the program's supervisor

Whoever follows in the same program appends them to the metrics file before anything of its own; they
are the final export of its predecessor. Those of another program are appended when it is dead
(`life`); where that can be told by the age of the file only, a program that lives touches its own. An
orderly end writes a final line and
takes the last words back. The true total of a series is the sum of its last values over all its start
times (`startTimeUnixNano`); the same line may be there twice, and changes nothing about that.

It decides nothing about what is measured. Called by `sdk`.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, cast

from opentelemetry.exporter.otlp.json.file.metric_exporter import FileMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    MetricsData,
)

from chatbot.telemetry.files import RotatingFile, open_private
from chatbot.telemetry.life import Life

SUFFIX = ".last"

METRIC_INTERVAL_MS = 10_000

_SAVE_EVERY_S = 1.0
_TOUCH_EVERY_S = 15.0


def metric_interval_ms(environ: Mapping[str, str]) -> int:
    """Return the interval of `OTEL_METRIC_EXPORT_INTERVAL`, or 10 s where it holds no number."""
    text = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else METRIC_INTERVAL_MS


class LastWords:
    """The small file, as a stream that the official exporter writes to: one line, the newest."""

    closed = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_there = False
        self._line = b""

    def write(self, text: str) -> int:
        """Take the line."""
        self._line = text.encode()
        return len(text)

    def flush(self) -> None:
        """Put it in the place of the one before. Raises OSError."""
        line, self._line = self._line, b""
        if not line:
            return
        fresh = self.path.with_name(self.path.name + ".tmp")
        with open(fresh, "wb", opener=open_private) as file:
            file.write(line)
        fresh.replace(self.path)
        self.is_there = True

    def touch(self) -> None:
        """Show that whose they are lives. Raises OSError when they are gone."""
        os.utime(self.path)

    def take_back(self) -> None:
        """Remove the file: all that it says is in the metrics file."""
        self.path.unlink(missing_ok=True)
        self.is_there = False


class MetricFile:
    """What is `collect`ed goes into the metrics file at every interval, and into the last words when
    it is told to `keep` them. `also` hears of what goes into the file."""

    def __init__(
        self,
        stream: RotatingFile,
        interval_ms: int,
        collect: Callable[[], MetricsData | None],
        also: Callable[[MetricsData], None],
    ) -> None:
        self.interval_s = interval_ms / 1000
        self._collect = collect
        self._also = also
        self.words = LastWords(stream.path.with_name(f"{stream.path.name}.{os.getppid()}{SUFFIX}"))
        self._exporter = _exporter(stream)
        self._save_exporter = _exporter(self.words)
        self._saved_at = float("-inf")
        self._due = time.monotonic() + self.interval_s

    def write_due(self, now: float) -> None:
        """Write a line if it is time. `now` is monotonic."""
        if now >= self._due:
            self._due = now + self.interval_s
            self.write()

    def write(self) -> None:
        """Write a line, if there is anything to say. The exporter logs what goes wrong."""
        metrics = self._collect()
        if metrics is not None:
            self._exporter.export(metrics)
            self._also(metrics)

    def keep(self, *, changed: bool) -> bool:
        """Write the last words if there are new ones and it is time, or touch them; return whether
        they were written. What could not be is tried again when it is time."""
        now = time.monotonic()
        if changed and now - self._saved_at >= _SAVE_EVERY_S:
            self._saved_at = now
            return self._save()
        if self.words.is_there and now - self._saved_at >= _TOUCH_EVERY_S:
            self._saved_at = now
            try:
                self.words.touch()
            except OSError:  # somebody took them for those of the dead: write them again
                self._save()
        return False

    def _save(self) -> bool:
        metrics = self._collect()
        # It logs what goes wrong, and never raises.
        return (
            metrics is not None
            and self._save_exporter.export(metrics) is MetricExportResult.SUCCESS
        )


def adopt(stream: RotatingFile, life: Life) -> dict[str, str]:
    """Append the last words of the predecessor and of programs that are dead; return their names,
    each with the reason why it could not be done, or an empty string.

    They are removed only when the metrics file has them. What is no line of metrics is removed
    without being appended.
    """
    told: dict[str, str] = {}
    for path in sorted(stream.path.parent.glob(f"{stream.path.name}.*{SUFFIX}*")):
        try:
            if not life.is_over_for(path):
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            if path.suffix == SUFFIX and _is_line_of_metrics(text):
                stream.write(text)
                stream.flush()
                told[path.name] = stream.error if stream.is_behind else ""
            if not stream.is_behind:
                path.unlink()
        except FileNotFoundError:  # another program was faster
            continue
        except OSError as error:
            told[path.name] = str(error)
    return told


def _is_line_of_metrics(text: str) -> bool:
    try:
        return (
            text.count("\n") == 1 and text.endswith("\n") and "resourceMetrics" in json.loads(text)
        )
    except ValueError:
        return False


def _exporter(stream: RotatingFile | LastWords) -> FileMetricExporter:
    # It writes, flushes and asks for `closed`; IO[str] has two dozen methods more.
    return FileMetricExporter(
        stream=cast("IO[str]", stream),
        preferred_temporality={
            Counter: AggregationTemporality.CUMULATIVE,
            Histogram: AggregationTemporality.CUMULATIVE,
        },
    )
