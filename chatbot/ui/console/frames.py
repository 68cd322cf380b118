"""When a frame may be drawn: so seldom that drawing never costs much, so soon that nobody waits for it. Pure.

Frames are tokens in a bucket: thirty come in a second, three fit into it. So the first piece of an answer is
drawn at once, with the few that follow it, and a long stream thirty times a second. What a frame has cost is
then left to the others threefold, so that on a slow machine there are fewer.
"""

FRAMES_PER_S = 30.0
BURST = 3
_REST = 3.0  # times the cost of the frame before: a quarter of a core at most


class Pace:
    """Says when the next frame may be drawn. Times are seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self._tokens = float(BURST)
        self._counted_at = float("-inf")
        self._rested_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """Return in how many seconds a frame may be drawn; 0: now."""
        missing = 1.0 - self._tokens_at(now)
        return max(missing / FRAMES_PER_S, self._rested_at - now, 0.0)

    def drawn(self, began: float, ended: float) -> None:
        """A frame was drawn between these times."""
        self._tokens = max(self._tokens_at(began) - 1.0, 0.0)
        self._counted_at = began
        self._rested_at = ended + _REST * (ended - began)

    def _tokens_at(self, now: float) -> float:
        if self._counted_at == float("-inf"):
            return self._tokens
        return min(self._tokens + (now - self._counted_at) * FRAMES_PER_S, float(BURST))
