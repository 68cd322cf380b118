"""The terminal: what a person types goes out as messages, what comes back goes on the screen.

Reading order: `process` (the modes) · `desk` (what a person or a script sits at) · `chat` (what a line does) ·
`asking` (a turn, or several at once) · `exchange` (all that is waited for) · `conversation` (what the chat knows;
pure) · `commands` and `command_table` (lines that begin with a slash; pure).

    lines in     keyboard · terminal (pipes, plain terminals, Ctrl-C) · events · compose in console/
    turns        lastturn (undo, pick, copy) · resuming (a session that goes on) · contexts and context (how full the
                 model's context is) · editor · clipboard
    sessions     manage · listing and export (as text, Markdown, JSON; pure) · newfile
    on screen    view (the contract) · textview, jsonview, codeview · streams · fan · footer, cost, stats, status (pure)
                 traces (a turn's waterfall) · memory · lines, live, state (what the console draws; pure)
    console/     the live terminal
    markdown/    Markdown as lines, while it comes
"""
