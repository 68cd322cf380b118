"""Traces: what the trace files hold, read back and drawn as text.

    logs/extrachat_traces_process.log, its backups ──▶ files ──lines──▶ spans ──▶ archive ──▶ trace ──▶ waterfall
                                                         └────▶ lines ──▶ export, send      └▶ turn ──▶ listing

Reading order: `files` (the lines of all the files, rotated and compressed ones too) · `damage` (what of them could
not be read; pure) · `spans` (a line becomes spans; pure) · `trace` (the spans of one trace as a tree, and its critical path; pure) · `turn` (what a trace
was about; pure) · `archive` (which traces there are, and one of them) · `lines` (cut down to some traces; pure) ·
`style` (characters, colours, widths; pure) · `waterfall` and `listing` (how it looks; pure).

This room reads what telemetry writes, and shares nothing with it but the names of the files: it imports
no OpenTelemetry, starts no process, and changes nothing. Called by the command line and by the terminal.
"""
