"""Telemetry: the room that turns what every process records into files and OpenTelemetry data.

    Report ──▶ process ──┬─ SpanStarted ─▶ open (until its end is known, or that of its process)
                         ├─ SpanRecord ──▶ judge ──▶ spanfile ──▶ extrachat_traces_process.log
                         │            │         └──▶ otlp
                         │            └──▶ logs ────────────────▶ chatbot_traces.log
                         ├─ LogRecord ───▶ logs ────────────────▶ chatbot.log
                         │            └──▶ otlp
                         └─ Measurement ─▶ metrics ──▶ last ────▶ extrachat_metrics_process.log
                                                         └──▶ otlp

Reading order: `process` (the loop) · `variables` (what the environment says) · `sdk` (the wiring) ·
`logs` and `redact` (lines for people) · `open`, `openfile` and `life` (spans whose process may die, or
this one) · `judge` and `limits` (what
is well formed) · `otlpjson` and `spanfile` (the trace file) · `resources` · `metrics`, `points` and
`exemplars` (the sums) · `last` (the metrics file, and what survives a kill) · `otlp` (the network) with
`destination` (where to), `courier` (a queue and its thread), `gate` (is anybody there), and `otlp_http`,
`otlp_grpc`, `otlp_spans`, `otlp_logs`, which are imported only when somebody is · `files` (rotation).

This is the only room that imports `opentelemetry`, and the only process that writes the log files.
"""
