"""The supervisor: owns every pipe, routes what comes through them, restarts what dies.

Reading order: `plan` (what runs, and what each process may say) · `dispatch` and `flight` (who gets
which request, and how each one ends) · `policy` (when a dead process is started again) · `child` (one
process and its two pipes) · `process` (the loop that obeys the other three).

It imports no aiohttp, no sqlite3, no opentelemetry and no terminal library, so that it starts at once
and has little in it that could break.
"""
