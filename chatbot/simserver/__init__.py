"""The simulated LLM: a real HTTP server whose answers are made up, and whose times are exact.

    model.py     pure: the models, the text made from seed and conversation, the plan of an answer
    http1.py     one HTTP/1.1 connection: requests in, responses out, in order
    server.py    the routes of all wire formats, and the clock that serves an answer's pieces
    process.py   the child process, and the server alone (`run.py sim-server`)

It is the default target of `simulate` and the `sim` backend: it must never be what limits a
throughput test, so everything that can be is computed ahead of the first request.
"""
