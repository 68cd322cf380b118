"""The time without a store, and when to try again whether there can be one: pure.

A store that is given up is tried again all the same, ever less often: a disk gets room again, a lock
is released. What it is to save waits in the ledger.
"""

TRY_AGAIN_S = (1.0, 5.0, 10.0, 30.0, 60.0)  # the last one repeats


class Outage:
    """Why there is no store; `reason` is empty while there is one. `is_lasting`: it is not to be
    tried again."""

    def __init__(self) -> None:
        self.reason = ""
        self.is_lasting = False
        self._failures = 0

    def failed(self, reason: str) -> tuple[float, bool]:
        """Note that there is no store; return in how many seconds to try again, and whether the
        reason is news to the user."""
        is_news = reason != self.reason
        self.reason = reason
        after_s = TRY_AGAIN_S[min(self._failures, len(TRY_AGAIN_S) - 1)]
        self._failures += 1
        return after_s, is_news

    def ended(self) -> bool:
        """Note that there is a store; return whether that is news to the user."""
        was_on = bool(self.reason)
        self.reason = ""
        self._failures = 0
        return was_on
