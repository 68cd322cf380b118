"""Telemetry: the room that turns what every process records into files and OpenTelemetry data.

    Report ──▶ process ──┬─ SpanRecord ──▶ spans ──▶ export ──▶ extrachat_traces_process.log, OTLP
                         │            └──▶ logs ────────────▶ chatbot_traces.log
                         ├─ LogRecord ───▶ logs ────────────▶ chatbot.log, OTLP
                         └─ Measurement ─▶ metrics ─────────▶ extrachat_metrics_process.log, OTLP

Reading order: `process` (the loop and its wiring) · `logs` and `redact` (lines for people) · `spans`
(a record becomes an SDK span) · `metrics` (the instruments) · `export` (batches and files) · `otlp`
(the network) with `destination` (where to), `courier` (a queue and its thread), `gate` (is anybody
there), and `otlp_http`, `otlp_grpc`, `otlp_logs`, which are imported only when somebody is · `files`
(rotation).

This is the only room that imports `opentelemetry`, and the only process that writes the log files.
"""
