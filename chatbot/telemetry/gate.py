"""The gate before a collector: open while it takes what it is sent, and shut while there is none.

Owns the looking whether anybody listens, the exporter while there is one, and the judgement when to
look again: at once, then after 1, 2, 4, 8 and at last every 10 s; a success begins anew. While it is
shut what comes is given up at once, so that nothing waits for nobody: the files have it all. It never
retries a batch and knows nothing of OpenTelemetry: `connect` makes the exporter. A thread of its own
sends through it (`courier`).
"""

import socket
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

from chatbot.backends import is_loopback
from chatbot.telemetry.destination import Endpoint, Route, Signal

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 10.0

# Somebody who listens on this machine answers at once; only a Windows that has nobody there lets us
# wait (it knocks three times, for two seconds).
_LOOK_S = 0.04


class NotTaken(Exception):
    """A batch that was not taken, and why. `refused`: somebody is there, and will not have it."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class Exporter(Protocol):
    """What the SDK's exporters of all signals have in common."""

    def export(self, batch: Any, /) -> Enum:
        """Send; the result's name is SUCCESS or FAILURE. Raises NotTaken where it knows why."""

    def shutdown(self) -> None:
        """Have whoever waits in `export` give up, where that is possible."""


class News(Protocol):
    """Who is told what became of the collector: found, back, gone, unreachable or refused."""

    def __call__(self, change: str, signal: Signal, where: str, reason: str = "") -> None:
        """Tell it."""


class Gate:
    """One signal's gate. `sent` and `lost` (the collector did not take them) count what it was given;
    what came while there was none is not counted."""

    def __init__(
        self,
        signal: Signal,
        route: Route,
        connect: Callable[[Endpoint, Signal], Exporter],
        news: News,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sent = 0
        self.lost = 0
        self.alive_at = float("-inf")  # the last sign of life, by `clock`
        self._signal = signal
        self._searched = route.searched
        self._endpoints = list(route.endpoints)
        self._connect = connect
        self._news = news
        self._clock = clock
        self._endpoint: Endpoint | None = None
        self._exporter: Exporter | None = None
        self._works = False
        self._worked_before = False
        self._look_at = float("-inf")
        self._pause_s = FIRST_PAUSE_S
        self._hurried = False
        self._abandoned = False

    @property
    def where(self) -> str:
        """Where the signal goes just now; empty while it goes nowhere."""
        endpoint = self._endpoint
        return endpoint.base if endpoint is not None and self._works else ""

    def is_due(self) -> bool:
        """Whether it is worth while to send: it is open, or it is time to look."""
        return self._exporter is not None or self._clock() >= self._look_at

    def send(self, batch: Sequence[Any], number: int) -> bool:
        """Send a batch of so many items; return whether the collector has taken it.

        Blocks as long as the exporter's timeout. One thread at a time.
        """
        exporter = self._exporter or self._open()
        if exporter is None:
            return False
        error = NotTaken("it does not take what it is sent")
        try:
            taken = exporter.export(batch).name == "SUCCESS"
        except NotTaken as known:
            taken, error = False, known
        except Exception as unknown:  # noqa: BLE001 - whatever a library raises, the next batch is tried
            taken, error = False, NotTaken(repr(unknown))
        if taken:
            self._succeeded(number)
        else:
            self.lost += number
            self._failed(exporter, error)
        return taken

    def hurry(self) -> None:
        """The program ends: look once more at this machine, at nobody else who was not there, and
        give up with the first failure."""
        if self._exporter is None and any(is_loopback(each.host) for each in self._endpoints):
            self._look_at = float("-inf")
        self._hurried = True

    def abandon(self) -> None:
        """Give up, even what is being sent just now."""
        self._abandoned = True
        if (exporter := self._exporter) is not None:
            exporter.shutdown()

    def _open(self) -> Exporter | None:
        if self._abandoned or self._clock() < self._look_at:
            return None
        self._endpoint = next((each for each in self._endpoints if listens(each)), None)
        if self._endpoint is None:
            self._shut(NotTaken("nobody listens there"))
            return None
        try:
            self._exporter = self._connect(self._endpoint, self._signal)
        except (ImportError, OSError, RuntimeError, ValueError) as error:  # its variables are wrong
            self._endpoints.clear()
            self._look_at = float("inf")
            self._news("refused", self._signal, self._endpoint.shown, str(error))
            return None
        self.alive_at = self._clock()  # its libraries took their time
        return self._exporter

    def _succeeded(self, number: int) -> None:
        self.sent += number
        self.alive_at = self._clock()
        self._pause_s = FIRST_PAUSE_S
        if not self._works and self._endpoint is not None:
            change = "back" if self._worked_before else "found"
            self._works = self._worked_before = True
            self._news(change, self._signal, self._endpoint.shown)

    def _failed(self, exporter: Exporter, error: NotTaken) -> None:
        # A new exporter next time: gRPC's channel would wait for longer and longer by itself.
        self._exporter = None
        if not self._abandoned:  # else it is shut down already
            exporter.shutdown()
        endpoint = self._endpoint
        if endpoint is not None and len(self._endpoints) > 1 and listens(endpoint):
            # Somebody is there, but no collector: the other one comes first next time.
            self._endpoints.remove(endpoint)
            self._endpoints.append(endpoint)
        self._shut(error)

    def _shut(self, error: NotTaken) -> None:
        failed = self._endpoint or self._endpoints[0]
        change = "refused" if error.refused else "gone" if self._works else "unreachable"
        if self._works or not self._searched or self._endpoint is not None:
            self._news(change, self._signal, failed.shown, str(error))
        self._works = False
        self._endpoint = None
        self._look_at = float("inf") if self._hurried else self._clock() + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


def listens(endpoint: Endpoint) -> bool:
    """Whether somebody listens there. Only of this machine the answer comes at once.

    Others are taken to be there: a name server that is down takes longer than we have, and their
    exporter finds out by itself.
    """
    if not is_loopback(endpoint.host):
        return True
    try:
        socket.create_connection((endpoint.host, endpoint.port), timeout=_LOOK_S).close()
    except OSError:
        return False
    return True
