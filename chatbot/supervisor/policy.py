"""When to start a dead process again: a pure function of its history.

The rule is OTP's restart intensity: at most `intensity` restarts in any `period_s` seconds
(https://www.erlang.org/doc/system/sup_princ.html#maximum-restart-intensity), each after a backoff
that grows with the number of recent ones.
"""

from collections.abc import Sequence

import msgspec


class Policy(msgspec.Struct, frozen=True):
    """How often, and after which waits in seconds; the last wait repeats."""

    intensity: int
    period_s: float
    backoff_s: tuple[float, ...] = (0.0,)


class Restart(msgspec.Struct, frozen=True):
    """Start it again in so many seconds."""

    after_s: float


class GiveUp(msgspec.Struct, frozen=True):
    """Leave it dead, and say why."""

    reason: str


def decide(
    policy: Policy, history: Sequence[float], now: float, *, was_ready: bool
) -> Restart | GiveUp:
    """Decide about a process that died at `now`; `history` has the times of its restarts so far.

    A process that died before it was ever ready cannot start at all: starting it again would only
    fail again. (One that was killed by a signal while it started is not meant by that; its
    `was_ready` is True.)
    """
    if not was_ready:
        return GiveUp("it could not start")
    recent = sum(1 for restart in history if now - restart < policy.period_s)
    if recent >= policy.intensity:
        return GiveUp(f"it died {recent + 1} times within {policy.period_s:g} seconds")
    return Restart(policy.backoff_s[min(recent, len(policy.backoff_s) - 1)])
