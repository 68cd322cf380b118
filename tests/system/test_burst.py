"""100,000 spans while telemetry stands still: memory stays bounded, and what is lost is told."""

import gzip
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chatbot.settings import METRIC_FILE, SPAN_FILE
from tests.otlp_files import totals
from tests.system.burst.seat import RESULT, SPANS, Burst
from tests.system.program import clean_environment

if not hasattr(signal, "SIGSTOP"):
    pytest.skip("a process cannot be made to stand still here", allow_module_level=True)

_MB = 2**20


def spans_in_files(logs: Path) -> int:
    """Count the burst's spans in the trace file and its backups."""
    parts = [gzip.decompress(path.read_bytes()) for path in logs.glob(f"{SPAN_FILE}.*.gz")]
    assert len(parts) < 3, "older ones may have been removed"
    lines = b"".join([*parts, (logs / SPAN_FILE).read_bytes()]).splitlines()
    return sum(
        span["name"] == "burst"
        for line in lines
        for resource in msgspec.json.decode(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    )


def test_a_burst_that_telemetry_cannot_take_is_dropped_counted_and_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.burst.run"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    burst = msgspec.json.decode((tmp_path / RESULT).read_bytes(), type=Burst)
    logs = tmp_path / "logs"
    written = spans_in_files(logs)
    counted = totals(
        logs / METRIC_FILE, "chatbot.telemetry.dropped", "reason", "chatbot.process.role"
    )
    of_the_burst = counted["queue_full", "ui"]
    assert written > 0
    assert of_the_burst > 0
    assert written + of_the_burst == SPANS
    assert burst.dropped_meanwhile >= of_the_burst
    assert burst.dropped == sum(counted.values())
    # 115 MB of spans were made. 16 MB of them are kept, twice: as they came, and ready to be sent.
    assert burst.supervisor_grew < 90 * _MB
    assert burst.telemetry_grew < 90 * _MB
