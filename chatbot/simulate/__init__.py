"""`chatbot simulate`: many sessions in the seat of the UI, and a report of how they were served.

    process.py     has the run put on, and says how it went (start here)
    seat.py        … asks what is due, takes what has ended; news.py: what it hears besides
    programme.py   the stages of the run, one after the other; stages.py: which there are, stage.py: one of them
    schedule.py    when which session asks its next turn; arrivals.py has the times of an open load, room.py
                   who kept a turn waiting (pure)
    prompts.py     what it says; draw.py has the numbers for that, and for thinking (pure)
    journal.py     writes the files of a run as it goes; past.py reads them, restore.py counts them again after a kill
    turn.py        one turn, as it was measured; what follows from that (pure)
    histogram.py   counts of values, to three digits, that can be merged (pure)
    stats.py       what the turns add up to (pure): in time (timeline.py), a second (window.py), just now (pulse.py)
    accuracy.py    how wrong the client's own clock readings are (pure)
    verdict.py     whether the result can be believed, and who was the limit; own.py: how much is the client's (pure)
    result.py      what is reported: the form of result.json (pure)
    live_state.py  what is known while it goes on (pure)
    live.py        the lines that are shown meanwhile (pure)
    painter.py     … painted over and over at the end of a terminal's output
    screen.py      the result on one screen (pure)
    html.py        … and as a page: theme.py is how it looks, plots.py and timeline.py its plots, svg.py draws (pure)
    sweep.py       several results, at growing load: as a table, and as a page (pure)
    measures.py    what the measures are called; text.py writes numbers and lines (pure)
    compare.py     two results, with confidence intervals; change.py: by how much, batches.py: how
                   sure of a rate; gate.py: too much? (pure)
    again.py       the report of a past run made again from its files
    machine.py     what it ran on, and what the processes used

It knows nothing of HTTP, SQLite or OpenTelemetry: it sends what the terminal would send.
"""
