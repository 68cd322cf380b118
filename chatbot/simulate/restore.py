"""What was counted of a stage before a kill is counted again: by the next process, and for a report that is made later."""

import time
from collections.abc import Callable

from chatbot.simulate.accounts import Accounts
from chatbot.simulate.journal import Journal
from chatbot.simulate.measured import lost
from chatbot.simulate.past import Past, beating
from chatbot.simulate.stages import Kind
from chatbot.simulate.turn import Turn

_KILLED = "the process of the sessions was killed"


def restore(
    past: Past,
    kind: Kind,
    accounts: Accounts,
    journal: Journal,
    killed_ns: int,
    beat: Callable[[], None],
) -> list[Turn]:
    """Begin a stage anew in the accounts, and count its turns; return them, in the order in which they were asked.

    Those that had not ended were lost `killed_ns`, and that is written down. `beat` is called again and again.
    """
    turns = past.turns(kind)
    for each in past.open(kind):
        phase = kind.phase or each.start.phase
        turns.append(lost(each.start, phase, each.asked_ns, killed_ns, "killed", _KILLED))
        journal.ended(turns[-1])
    turns.sort(key=lambda turn: turn.asked_ns)
    accounts.begin(kind, past.begins.get(kind.number, _first_ns(turns)))
    for turn in beating(turns, beat):
        accounts.restore(turn)
    if over := past.overs.get(kind.number):
        accounts.end(over.end_ns, over.dropped)
    return turns


def _first_ns(turns: list[Turn]) -> int:
    """Return when a stage began at the latest, of which that was not written."""
    return min((turn.intended_ns for turn in turns), default=time.perf_counter_ns())
