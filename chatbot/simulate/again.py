"""The report of a run made again from its files; of one that was killed, with what had been written till then.

A run that came to its end has left its result, and only the report is made anew. Else the turns are added up again, and
those that were asked and did not end are counted as lost. What the processes used is not known then.
"""

import random
from pathlib import Path

import msgspec

from chatbot.errors import UsageError
from chatbot.simulate import stages
from chatbot.simulate.accounts import Accounts
from chatbot.simulate.html import page
from chatbot.simulate.journal import (
    ASKED,
    REPORT,
    RESULT,
    Asked,
    Journal,
    read_run,
    read_turns,
    take_up,
    to_text,
)
from chatbot.simulate.measured import lost
from chatbot.simulate.result import Result, decode
from chatbot.simulate.schedule import Schedule
from chatbot.simulate.screen import screen
from chatbot.simulate.stages import Kind
from chatbot.simulate.turn import Turn

_KILLED = "it was killed, and this was made from what it had written"
_WIDTH = 100


def report(directory: Path, *, as_json: bool) -> list[str]:
    """Write result.json, report.html and turns.csv; return the lines to show. Raises UsageError, OSError."""
    result = result_of(directory)
    journal = Journal(directory)
    journal.finish({RESULT: to_text(result), REPORT: page(result)})
    if journal.fault:
        raise OSError(journal.fault)
    return [msgspec.json.encode(result).decode()] if as_json else screen(result, _WIDTH)


def result_of(directory: Path) -> Result:
    """Return the result of a run from its files. Raises UsageError, OSError."""
    run = read_run(directory)
    path = directory / RESULT
    if path.exists() and not (directory / ASKED).exists():
        return decode(path.read_bytes(), str(path))
    accounts = Accounts(run)
    accounts.ended_early = _KILLED
    asked: tuple[Asked, ...] = ()
    if (directory / ASKED).exists():
        asked = take_up(directory).asked
    ended = tuple(read_turns(directory))
    if not asked and not ended:
        raise UsageError(f"{directory}: the run ended before its first turn did")
    simulation = run.simulation
    for kind in (
        stages.before(simulation),
        stages.run(simulation, run.target),
        stages.after(simulation, None),
    ):
        of_kind = [each for each in asked if each.stage == kind.number]
        _restore(accounts, kind, of_kind, [turn for turn in ended if stages.is_of(turn, kind)])
    return accounts.result()


def _restore(accounts: Accounts, kind: Kind, asked: list[Asked], ended: list[Turn]) -> None:
    """Add up the turns of one stage."""
    if not asked and not ended:
        return
    start_ns = min(
        *(each.start.intended_ns for each in asked), *(turn.intended_ns for turn in ended), 1 << 63
    )
    last_ns = max(*(each.asked_ns for each in asked), *(turn.done_ns for turn in ended), 0)
    chance = random.Random(kind.simulation.seed)  # noqa: S311 - it must be the same again
    schedule = Schedule(kind.simulation, start_ns, chance)
    accounts.begin(kind, schedule, start_ns)
    turns = {(turn.session, turn.index): turn for turn in ended}
    for each in asked:
        key = each.start.session, each.start.index
        if key not in turns:
            phase = kind.phase or each.start.phase
            turns[key] = lost(each.start, phase, each.asked_ns, last_ns, "killed", _KILLED)
    for turn in sorted(turns.values(), key=lambda turn: turn.asked_ns):
        accounts.restore(turn)
    if kind.simulation.is_open:  # in a closed load nothing falls due while nothing ends
        known = sorted(turns.values(), key=lambda turn: turn.intended_ns)
        schedule.resume(
            [(turn.session, turn.index, turn.intended_ns, turn.done_ns) for turn in known], last_ns
        )
        schedule.stop()
    accounts.end(last_ns)
