"""The simulated LLM: a real HTTP server whose answers are made up, and whose times are exact.

    model.py     pure: the models, how long and when, the plan of an answer
    words.py     pure: its text
    faults.py    pure: which requests go wrong, and how
    places.py    pure: how many answers at once, and who waits
    http1.py     one HTTP/1.1 connection: requests in, responses out, in order
    frames.py    the bytes of the pieces, made once for many answers
    serving.py   one answer being served by the clock
    server.py    the routes of all wire formats, and what is refused
    process.py   the child process, and the server alone (`run.py sim-server`)

It is the default target of `simulate` and the `sim` backend: it must never be what limits a
throughput test, so everything that can be is computed ahead of the first request.
"""
