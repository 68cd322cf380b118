"""`/top` as lines of text: pure."""

from collections.abc import Iterator, Mapping

from chatbot.messages import ProcessStatus, StatusRead, WorkStatus
from chatbot.sanitize import one_line
from chatbot.ui.listing import counted, size

_HEADS = ("process", "pid", "state", "since", "queued", "in flight", "restarts", "memory")


def top(status: StatusRead, memory: Mapping[int, int]) -> Iterator[str]:
    """A table of the processes, and a few lines about their work. `memory` is by pid, in bytes."""
    rows = [_HEADS, *(_row(process, memory.get(process.pid)) for process in status.processes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    for row in rows:
        name, *others = row
        yield "  ".join((name.ljust(widths[0]), *map(str.rjust, others, widths[1:]))).rstrip()
    yield from _work(status.work)


def _row(process: ProcessStatus, memory: int | None) -> tuple[str, ...]:
    name = f"{process.role} {process.slot}" if process.role == "worker" else process.role
    return (
        name,
        str(process.pid) if process.pid else "-",
        process.state,
        _clock(process.age_s) if process.pid else "-",
        str(process.queued),
        str(process.in_flight) if process.role == "worker" else "-",
        str(process.restarts),
        "-" if memory is None else size(memory),
    )


def _work(work: WorkStatus) -> Iterator[str]:
    yield (  # a person's terminal may have no more than 80 columns
        f"requests: {work.answered} answered, {work.cached} from the cache, {work.failed} failed,"
        f" {work.stopped} stopped"
    )
    yield f"at work: {work.in_flight} under way, {work.waiting} waiting for a worker"
    for name, latency in (("first token", work.first_token_ms), ("answer", work.duration_ms)):
        if latency is not None:
            yield f"{name}: {latency[0]:.0f} ms median, {latency[1]:.0f} ms 95th percentile"
    if work.unsaved:
        yield f"saving: {counted(work.unsaved, 'message')} still to be saved"
    if work.not_recording:
        why = one_line(work.not_recording)
        gone = f"nothing is recorded, {counted(work.dropped, 'record')} dropped"
        yield f"telemetry: not running ({why}); {gone}"
        return
    to = f"exported to {one_line(work.collector)}" if work.collector else "not exported just now"
    yield f"telemetry: {counted(work.dropped, 'record')} dropped; {to}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
