"""Telemetry: the room that turns what every process records into files and OpenTelemetry data.

    Report ──▶ process ──┬─ SpanRecord ──▶ spans ──▶ export ──▶ extrachat_traces_process.log, OTLP
                         │            └──▶ logs ────────────▶ chatbot_traces.log
                         ├─ LogRecord ───▶ logs ────────────▶ chatbot.log
                         └─ Measurement ─▶ metrics ─────────▶ extrachat_metrics_process.log, OTLP

Reading order: `process` (the loop and its wiring) · `logs` and `redact` (lines for people) · `spans`
(a record becomes an SDK span) · `metrics` (the instruments) · `export` (batches, files, where OTLP
goes) · `otlp` (the network, imported only when an endpoint is configured) · `files` (rotation).

This is the only room that imports `opentelemetry`, and the only process that writes the log files.
"""
