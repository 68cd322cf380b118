"""When a frame may be drawn: so seldom that drawing never costs much, so soon that nobody waits for it. Pure.

Frames are tokens in a bucket: thirty come in a second, eight fit into it. So the first piece of an answer is
drawn at once, with the few that follow it, and a long stream thirty times a second. What frames have cost is
paid back fourfold in time, so that on a slow machine there are fewer; a small debt is let stand, so that the
frame of an Enter does not hold up that of the answer.
"""

FRAMES_PER_S = 30.0
BURST = 8
CREDIT_S = 0.05
_SHARE = 0.25  # of a core, at most


class Pace:
    """Says when the next frame may be drawn. Times are seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self._tokens = float(BURST)
        self._debt_s = 0.0
        self._counted_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """Return in how many seconds a frame may be drawn; 0: now."""
        tokens, debt_s = self._at(now)
        return max((1.0 - tokens) / FRAMES_PER_S, (debt_s - CREDIT_S) / _SHARE, 0.0)

    def drawn(self, began: float, ended: float) -> None:
        """A frame was drawn between these times."""
        tokens, debt_s = self._at(began)
        self._tokens = max(tokens - 1.0, 0.0)
        self._debt_s = debt_s + (ended - began)
        self._counted_at = began

    def _at(self, now: float) -> tuple[float, float]:
        """Return the tokens there are, and the seconds of drawing that are not paid back."""
        if self._counted_at == float("-inf"):
            return self._tokens, self._debt_s
        passed_s = now - self._counted_at
        tokens = min(self._tokens + passed_s * FRAMES_PER_S, float(BURST))
        return tokens, max(self._debt_s - passed_s * _SHARE, 0.0)
