"""`chatbot simulate`: many sessions in the seat of the UI, and a report of how they were served.

    process.py     the process in the UI's place: has its seat put the run on, says how it went (start here)
    seat.py        the seat: goes through the stages of the run, and may be ended in any of them
    news.py        what it hears besides: how the other processes are
    programme.py   the stages of a run, one after the other, from the first or from where the seat was killed
    stages.py      the run itself, and what is measured before and after it where the server tells no times (pure)
    stage.py       one of them: asks what is due, takes what has ended
    schedule.py    when which session asks its next turn (pure)
    room.py        since when there was room for a turn: whose fault it is that it is asked late (pure)
    arrivals.py    the times of an open load (pure)
    draw.py        the numbers that thinking and prompts are drawn by, the same in every run of a seed (pure)
    session.py     one simulated session: its id, what was said in it (pure)
    prompts.py     what it says (pure)
    measured.py    a turn, from the message that ended it (pure)
    turn.py        one turn, as it was measured; what follows from that (pure)
    journal.py     the files of a run, written as it goes, so that it can be taken up again after a kill
    past.py        what those files say
    restore.py     what was counted before a kill, counted again
    accounts.py    everything that is counted, and the result that it adds up to
    stats.py       what the turns add up to (pure)
    histogram.py   counts of values, to three digits, that can be merged (pure)
    timeline.py    what happened when, for a run of any length (pure)
    window.py      how much there was over a time: in the whole run, and in its steady part (pure)
    pulse.py       how it goes just now (pure)
    accuracy.py    how wrong the client's own clock readings are (pure)
    own.py         how much of the times is the client's own, and how much is too much (pure)
    machine.py     what it ran on, and what the processes used
    verdict.py     whether the result can be believed, and who was the limit (pure)
    result.py      what is reported: the form of result.json (pure)
    measures.py    what the measures are called (pure)
    display.py     what a person sees: notices and the live view on stderr, the result on stdout
    live_state.py  what is known while it goes on (pure)
    live.py        the lines that are shown of it (pure)
    painter.py     … painted over and over at the end of a terminal's output
    text.py        numbers and lines, as they are written (pure)
    screen.py      the result on one screen (pure)
    html.py        … and as a page (pure)
    page.py        the pieces that a page is made of (pure)
    theme.py       how it looks (pure)
    plots.py       which plots it has (pure)
    course.py      … of how the run went over time (pure)
    svg.py         draws them (pure)
    again.py       the report of a past run made again from its files
    sweep.py       several results, at growing load: as a table, and as a page (pure)
    compare.py     two results, side by side (pure)
    change.py      by how much they differ, with confidence intervals (pure)
    batches.py     how well a throughput is known, from how it varied within the run (pure)
    gate.py        whether that is too much (pure)

It knows nothing of HTTP, SQLite or OpenTelemetry: it sends what the terminal would send.
"""
