"""chatbot: a terminal LLM chat client and throughput tester, built as a pipeline of processes.

One turn, as it goes through the processes (every arrow is a message in `messages/`):

    ui ──Ask──▶ store ──Accepted──▶ dispatcher ──Call──▶ worker ──Sending · Delta… · Answered──▶ ui
                saved, looked up    (supervisor)                                        └──▶ store ──Saved──▶ ui

The rooms, one per process, and what they stand on:

    cli          argv → Settings → a program; the exit codes
    supervisor   owns every pipe, routes, restarts; the dispatcher decides who gets what
    ui           the terminal
    store        the only one that touches SQLite: sessions, messages, cache
    worker       LLM calls over HTTP, many at once in each
    telemetry    the only one that imports OpenTelemetry; the one writer of the log files
    simserver    a simulated LLM that speaks all the wire formats
    simulate     many sessions in the seat of the UI: throughput tests
    traces       the trace files read back: a turn's waterfall in the terminal
    wire         the formats of the LLM servers, both directions, as pure functions
    actor        the shell of every child process
    mailbox      frames and batches over pipes
    tracing      spans, log lines and measurements as small records
    sums         measurements, added up where they arise
    host         the one place that knows the operating system
    ids          ids that no other request or session has
    history      what was said in a conversation, with the digest that grows with it
    sanitize     text from elsewhere, made safe for a terminal
    messages     all that crosses a process boundary
    backends     the LLM servers that can be asked
    instruments  what is measured: names, units, buckets
    otel         the standard variables that every process obeys: sampling, content
    settings     everything that can be configured, merged once
    config_file  `config.toml`: its keys, and what each may say
    merge        which source of a setting wins, and which one did
    simulation   what a throughput test is asked to do
    distribution how a duration or a count varies
    errors       everything that is raised on purpose; the exit codes

To follow one message through the code, read: `messages/` → `supervisor/plan.py` → `ui/process.py` →
`store/process.py` → `supervisor/dispatch.py` → `worker/process.py` → `worker/call.py` → `wire/openai.py`.
`docs/architecture.md` says why it is built this way.
"""
