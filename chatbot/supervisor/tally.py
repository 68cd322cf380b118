"""How the requests went, since the start: pure. The dispatcher keeps it, `/top` shows it."""

from collections import Counter, deque

from chatbot.messages import Answered, Cancelled, Failed, Interrupted, Terminal, WorkStatus

_LATEST = 200


class Tally:
    """Counts of how requests ended, and the latencies of the last ones that were generated."""

    def __init__(self) -> None:
        self._ended: Counter[str] = Counter()
        self._first_token_ms: deque[float] = deque(maxlen=_LATEST)
        self._duration_ms: deque[float] = deque(maxlen=_LATEST)

    def ended(self, terminal: Terminal) -> None:
        """Count the end of a request; an answer from the cache has no latency of a server."""
        match terminal:
            case Answered(cached_age_s=None):
                self._ended["answered"] += 1
                self._duration_ms.append(terminal.duration_ms)
                if terminal.first_token_ms is not None:
                    self._first_token_ms.append(terminal.first_token_ms)
            case Answered():
                self._ended["cached"] += 1
            case Failed():
                self._ended["failed"] += 1
            case Cancelled() | Interrupted():
                self._ended["stopped"] += 1

    def status(self, *, waiting: int, in_flight: int, unsaved: int) -> WorkStatus:
        """Return it all, with what is under way just now."""
        return WorkStatus(
            waiting=waiting,
            in_flight=in_flight,
            answered=self._ended["answered"],
            cached=self._ended["cached"],
            failed=self._ended["failed"],
            stopped=self._ended["stopped"],
            first_token_ms=_median_and_p95(self._first_token_ms),
            duration_ms=_median_and_p95(self._duration_ms),
            unsaved=unsaved,
        )


def _median_and_p95(values: deque[float]) -> tuple[float, float] | None:
    """Return two of the values themselves (the nearest rank), or None where there is none."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[(len(ranked) - 1) // 2], ranked[-(-len(ranked) * 95 // 100) - 1]
