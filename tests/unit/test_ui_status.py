"""`/top`: the table of the processes, and the lines about their work."""

from chatbot.messages import ProcessStatus, StatusRead, WorkStatus
from chatbot.ui import status


def test_every_process_has_a_row_under_the_heads() -> None:
    processes = (
        ProcessStatus("supervisor", 0, 100, "ready", 3725.4),
        ProcessStatus("worker", 1, 102, "ready", 61.0, queued=3, in_flight=12, restarts=2),
        ProcessStatus("telemetry", 0, 0, "waiting", 0.0, restarts=1),
    )
    work = WorkStatus(
        answered=7,
        cached=1,
        failed=2,
        stopped=3,
        in_flight=12,
        waiting=4,
        first_token_ms=(51.2, 80.0),
        duration_ms=(410.0, 600.4),
        unsaved=1,
        dropped=5,
        collector="http://127.0.0.1:4318",
    )
    lines = list(
        status.top(StatusRead("r", processes, work), {100: 41 * 1024**2, 102: 2 * 1024**3})
    )
    assert max(map(len, lines)) < 80
    assert lines == [
        "process     pid    state    since  queued  in flight  restarts   memory",
        "supervisor  100    ready  1:02:05       0          -         0  41.0 MB",
        "worker 1    102    ready     1:01       3         12         2   2.0 GB",
        "telemetry     -  waiting        -       0          -         1        -",
        "requests: 7 answered, 1 from the cache, 2 failed, 3 stopped",
        "at work: 12 under way, 4 waiting for a worker",
        "first token: 51 ms median, 80 ms 95th percentile",
        "answer: 410 ms median, 600 ms 95th percentile",
        "saving: 1 message still to be saved",
        "telemetry: 5 records dropped; exported to http://127.0.0.1:4318",
    ]


def test_what_is_not_known_has_no_line() -> None:
    lines = list(status.top(StatusRead("r"), {}))
    assert lines[1:] == [
        "requests: 0 answered, 0 from the cache, 0 failed, 0 stopped",
        "at work: 0 under way, 0 waiting for a worker",
        "telemetry: 0 records dropped; not exported just now",
    ]


def test_where_nothing_is_recorded_it_says_so_and_why() -> None:
    work = WorkStatus(dropped=12, not_recording="cannot write logs")
    assert list(status.top(StatusRead("r", (), work), {}))[-1] == (
        "telemetry: not running (cannot write logs); nothing is recorded, 12 records dropped"
    )


def test_the_widest_row_fits_a_terminal_of_80_columns() -> None:
    widest = ProcessStatus("sim-server", 0, 4194304, "stopping", 359999.0, 99999, 0, 999)
    worker = ProcessStatus("worker", 63, 4194304, "stopping", 359999.0, 99999, 99999, 999)
    read = StatusRead("r", (widest, worker))
    lines = list(status.top(read, {4194304: 1023 * 1024**2}))
    assert max(map(len, lines[:3])) <= 80
