"""What was given up: counted in the metric for its reason, and told where it is really gone."""

import json
from pathlib import Path
from typing import Any

from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.life import Life
from chatbot.telemetry.logs import LogFile, TraceLog
from chatbot.telemetry.sdk import Sdk
from tests.fakes import NO_COLLECTOR


def test_what_only_a_collector_has_missed_is_not_gone(tmp_path: Path) -> None:
    names = ("spans", "metrics", "log", "traces")
    spans, metrics, log, traces = (RotatingFile(tmp_path / name) for name in names)
    life = Life(tmp_path)
    sdk = Sdk(NO_COLLECTOR, spans, metrics, LogFile(log, 1, debug=False), TraceLog(traces), life)
    sdk.dropped(3, "export_otlp_traces", "telemetry")
    sdk.dropped(2, "queue_full", "worker")
    assert sdk.dropped_so_far == 2
    sdk.close()
    life.end()
    for stream in (spans, metrics, log, traces):
        stream.close()
    (resource,) = json.loads((tmp_path / "metrics").read_text())["resourceMetrics"]
    by_reason: dict[str, Any] = {}
    for metric in resource["scopeMetrics"][0]["metrics"]:
        for point in metric["sum"]["dataPoints"]:
            (reason,) = (a["value"] for a in point["attributes"] if a["key"] == "reason")
            by_reason[reason["stringValue"]] = point["asInt"]
    assert by_reason == {"export_otlp_traces": "3", "queue_full": "2"}
