"""The terminal: what a person types goes out as messages, what comes back goes on the screen.

Reading order: `process` (the modes) · `chat` (what a line does, a session that goes on) · `exchange` (the
turn, and all else that is said to and heard from the other processes) · `conversation` (what the chat
knows; pure) · `commands` and `command_table` (lines that begin with a slash; pure) · `manage` (saved sessions
and the cache) · `listing` and `export` (how they look as text, Markdown, JSON; pure) · `newfile` ·
`clipboard` · `traces` (a turn's waterfall) · `view` (the one place that writes to the terminal) ·
`terminal` (lines in, and Ctrl-C) · `console/` (the live terminal).
"""
