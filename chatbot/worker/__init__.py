"""A worker: makes LLM calls over HTTP, many at once, on one event loop.

    process.py   messages in, messages out: a task per call, and what ends them (start here)
    announcer.py what stands in the pipe before a request is sent
    call.py      one call from its first byte to its terminal message
    reading.py   the reading of its stream
    answer.py    what has come of an answer so far (pure)
    deadline.py  a limit that is moved with every read
    record.py    the span and the measurements of one attempt
    models.py    the list of a backend's models
    context.py   the context that a model is loaded with
    client.py    HTTP: connections, proxies, certificates
    response.py  HTTP: a response, its head and its body
    faults.py    the HTTP library's exceptions → CallError
    timing.py    the stamps of a call that is measured
    truth.py     what a simulated server says of its own times (pure)
    lag.py       how late the event loop is
    retry.py     whether and when to try again (pure)
    remedy.py    the line that a person reads (pure)
    redact.py    keys out of what others wrote (pure)

It keeps nothing: whatever it knew can be lost with it, because the dispatcher knows what it had.
"""
