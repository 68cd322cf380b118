"""How wrong the client's own clock readings are. Pure.

A server that tells when it really sent is the yardstick: what the client measured, less what was true, is the error of
the client (with the way there and back on loopback, a few dozen µs). Where the server does not tell, the client
measures itself against the simulated server, before and after the run at the same load; of the run itself only
the lateness of the workers' event loops is known then, and how long a turn took until it was sent.

There are two measures of it. The error is that of a time from the sending. The own share is that of a time from when
the turn was due: it has the client's lateness and the whole pipeline in it besides, commit and all.
"""

from collections.abc import Iterable
from typing import Literal

from chatbot.simulate.histogram import Histogram
from chatbot.simulate.result import Accuracy
from chatbot.simulate.turn import Turn, before_sending

Where = Literal["run", "before", "after"]

_NS_PER_US = 1000
_NS_PER_S = 1_000_000_000


class Errors:
    """The errors in one part of a run; it may be given every turn of that part."""

    def __init__(self, where: Where) -> None:
        self.where: Where = where
        self._turns = self._ended = 0
        self._first_ns = self._last_ns = 0
        self._ttft_true = Histogram()
        self._ttft_error = Histogram()
        self._chunk_lag = Histogram()
        self._loop_lag = Histogram()
        self._own_share = Histogram()

    def add(self, turn: Turn) -> None:
        """Take a turn that was answered; any other tells nothing of the client."""
        if turn.status != "answered" or turn.phase != self.where:
            return
        self._ended += 1
        if not self._first_ns or turn.asked_ns < self._first_ns:
            self._first_ns = turn.asked_ns
        self._last_ns = max(self._last_ns, turn.end_ns)
        self._loop_lag.record(turn.lag_us)
        first_ns = turn.first_ns
        before_us = before_sending(turn)
        if not (turn.true_first_ns and turn.true_arrived_ns and first_ns and turn.sent_ns):
            if before_us is not None:
                self._own_share.record(before_us)
            return
        self._turns += 1
        true_ns = turn.true_first_ns - turn.true_arrived_ns
        self._ttft_true.record(max(true_ns, 0) // _NS_PER_US)
        error_us = max(first_ns - turn.sent_ns - true_ns, 0) // _NS_PER_US
        self._ttft_error.record(error_us)
        if before_us is not None:
            self._own_share.record(before_us + error_us)
        self._chunk_lag.record_many(turn.true_lags_us)

    def accuracy(self) -> Accuracy | None:
        """Return what is known; None where nothing was answered.

        `turns` are those of which the truth is known: with 0 only `loop_lag` and `own_share` mean anything.
        """
        if not self._ended:
            return None
        width_s = (self._last_ns - self._first_ns) / _NS_PER_S
        return Accuracy(
            where=self.where,
            turns=self._turns,
            turns_per_s=self._ended / width_s if width_s > 0 else 0.0,
            ttft_true=self._ttft_true.metric(),
            ttft_error=self._ttft_error.metric(),
            # The chunks of one answer are read together: as many are independent as there are answers.
            chunk_lag=self._chunk_lag.metric(independent=self._turns or None),
            loop_lag=self._loop_lag.metric(),
            own_share=self._own_share.metric(),
        )


def known(errors: Iterable[Errors]) -> tuple[Accuracy, ...]:
    """Return the accuracy of each part of which something is known."""
    found = (each.accuracy() for each in errors)
    return tuple(accuracy for accuracy in found if accuracy is not None)
