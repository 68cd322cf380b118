"""What the processes of a run used: of each its own, since the measuring began."""

import os

import psutil

from chatbot import host
from chatbot.messages import ProcessStatus
from chatbot.simulate.machine import Usage, describe, read_process


def status(pid: int, *, restarts: int = 0) -> ProcessStatus:
    return ProcessStatus("worker", pid % 10, pid, "ready", 1.0, restarts=restarts)


class Processes:
    """What they have used so far, by pid; one that is not in it has died."""

    def __init__(self, **used: tuple[float, float]) -> None:
        self.used = {int(name.removeprefix("p")): values for name, values in used.items()}

    def __call__(self, pid: int) -> tuple[float, float] | None:
        return self.used.get(pid)


def test_what_was_used_before_is_not_counted() -> None:
    processes = Processes(p1=(5.0, 10.0))
    usage = Usage(processes)
    usage.look([status(1)])
    processes.used[1] = (7.0, 10.0)
    usage.begin([status(1)])
    processes.used[1] = (7.5, 10.0)
    usage.look([status(1)])
    [process] = usage.processes(1000)
    assert (process.role, process.slot, process.pid) == ("worker", 1, 1)
    assert (process.cpu_s, process.cpu_us_per_turn) == (0.5, 500.0)


def test_a_process_that_was_born_later_counts_from_its_birth() -> None:
    processes = Processes(p1=(5.0, 10.0), p2=(0.25, 10.0))
    usage = Usage(processes)
    usage.begin([status(1)])
    usage.look([status(1), status(2, restarts=1)])
    first, second = usage.processes(0)
    assert (first.cpu_s, second.cpu_s) == (0.0, 0.25)
    assert (first.restarts, second.restarts) == (0, 1)
    assert first.cpu_us_per_turn is None  # of no turn


def test_one_that_has_died_keeps_what_was_last_seen_of_it() -> None:
    processes = Processes(p1=(1.0, 10.0))
    usage = Usage(processes)
    usage.begin([status(1)])
    processes.used[1] = (3.0, 10.0)
    usage.look([status(1)])
    del processes.used[1]
    usage.look([status(1), status(2)])
    [process] = usage.processes(4)
    assert (process.cpu_s, process.cpu_us_per_turn) == (2.0, 500_000.0)


def test_of_the_memory_the_most_is_kept_that_was_seen_since_it_began() -> None:
    processes = Processes(p1=(0.0, 900.0))
    usage = Usage(processes)
    usage.look([status(1)])
    seen: list[float] = []
    for mb in (100.0, 300.0, 200.0):
        processes.used[1] = (0.0, mb)
        if not seen:
            usage.begin([status(1)])
        usage.look([status(1)])
        seen.append(usage.processes(1)[0].rss_mb)
    assert seen == [100.0, 300.0, 300.0]


def test_this_process_is_read_as_it_is() -> None:
    before = psutil.Process().cpu_times()
    found = read_process(os.getpid())
    after = psutil.Process().cpu_times()
    assert found is not None
    cpu_s, rss_mb = found
    assert before.user + before.system <= cpu_s <= after.user + after.system
    assert 1 < rss_mb < psutil.virtual_memory().total / 2**20
    assert read_process(2**31 - 7) is None  # there is no such process


def test_the_machine_is_described_as_the_host_knows_it() -> None:
    machine = describe()
    assert (machine.cores, machine.cpu) == (host.cores(), host.processor())
    assert machine.memory_mb == psutil.virtual_memory().total // 2**20
    assert machine.libraries["msgspec"]
