"""Telemetry: the room that turns what every process records into files and OpenTelemetry data.

    Report ──▶ process ──┬─ SpanStarted ─▶ open (until its end is known, or that of its process)
                         ├─ SpanRecord ──▶ spans ──▶ export ──▶ extrachat_traces_process.log, OTLP
                         │            └──▶ logs ────────────▶ chatbot_traces.log
                         ├─ LogRecord ───▶ logs ────────────▶ chatbot.log
                         └─ Measurement ─▶ metrics ──▶ last ▶ extrachat_metrics_process.log, OTLP

Reading order: `process` (the loop and its wiring) · `logs` and `redact` (lines for people) · `open`
(spans whose process may die) · `spans` and `limits` (a record becomes an SDK span) · `metrics` and
`exemplars` (the instruments) · `last` (the metrics file, and what survives a kill) · `export`
(batches, files, where OTLP goes) · `otlp` (the network, imported only when an endpoint is configured)
· `files` (rotation).

This is the only room that imports `opentelemetry`, and the only process that writes the log files.
"""
