"""How much memory processes have: resident, by pid."""

from collections.abc import Iterable


def resident(pids: Iterable[int]) -> dict[int, int]:
    """Return the bytes of each process that is there and may be looked at."""
    import psutil  # only /top needs it

    found: dict[int, int] = {}
    for pid in pids:
        try:
            found[pid] = psutil.Process(pid).memory_info().rss
        except (psutil.Error, ValueError):  # it has just ended
            continue
    return found
