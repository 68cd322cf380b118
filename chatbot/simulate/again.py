"""The report of a run made again from its files; of one that was killed, with what had been written till then.

A run that came to its end has left its result, and only the report is made anew. Else the turns are added up again, and
those that were asked and did not end are counted as lost, in the files too.
"""

import random
from pathlib import Path

import msgspec

from chatbot.errors import UsageError
from chatbot.simulate import stages
from chatbot.simulate.accounts import Accounts
from chatbot.simulate.html import page
from chatbot.simulate.journal import Journal, to_text
from chatbot.simulate.past import REPORT, RESULT, Past, is_over, read_run, take_up
from chatbot.simulate.restore import restore
from chatbot.simulate.result import Result, decode
from chatbot.simulate.schedule import Schedule
from chatbot.simulate.screen import screen
from chatbot.simulate.stages import Kind
from chatbot.simulate.turn import Turn

_KILLED = "it was killed, and this was made from what it had written"
_WIDTH = 100


def report(directory: Path, *, as_json: bool) -> list[str]:
    """Write result.json, report.html and turns.csv; return the lines to show. Raises UsageError, OSError."""
    run = read_run(directory)
    is_known = is_over(directory)
    past = Past(run=run) if is_known else take_up(directory)
    if not is_known and not past.asked and not past.ended:
        raise UsageError(f"{directory}: the run ended before its first turn did")
    journal = Journal(directory)
    path = directory / RESULT
    result = decode(path.read_bytes(), str(path)) if is_known else _add_up(past, journal)
    journal.finish({RESULT: to_text(result), REPORT: page(result)}, _nobody_waits)
    if journal.fault:
        raise OSError(journal.fault)
    return [msgspec.json.encode(result).decode()] if as_json else screen(result, _WIDTH)


def _add_up(past: Past, journal: Journal) -> Result:
    """Return the result of a run that was killed."""
    assert past.run is not None  # noqa: S101 - it has been read
    run, simulation = past.run, past.run.simulation
    accounts = Accounts(run)
    accounts.take_up(past)
    accounts.ended_early = _KILLED
    for kind in (
        stages.before(simulation),
        stages.run(simulation, run.target),
        stages.after(simulation, None),
    ):
        asked, turns = past.open(kind), past.turns(kind)
        if not asked and not turns:
            continue
        last_ns = max(*(each.asked_ns for each in asked), *(turn.done_ns for turn in turns), 0)
        turns = restore(past, kind, accounts, journal, last_ns, _nobody_waits)
        if kind.number not in past.overs:
            start_ns = past.begins.get(kind.number, turns[0].intended_ns)
            accounts.end(last_ns, _dropped(kind, turns, start_ns, last_ns))
    return accounts.result()


def _dropped(kind: Kind, turns: list[Turn], start_ns: int, last_ns: int) -> int:
    """Return how many turns had fallen due when it was killed, and were not asked."""
    if not kind.simulation.is_open:  # in a closed load nothing falls due while nothing ends
        return 0
    chance = random.Random(kind.simulation.seed)  # noqa: S311 - it must be the same again
    schedule = Schedule(kind.simulation, start_ns, chance)
    schedule.resume(
        [(turn.session, turn.index, turn.intended_ns, turn.done_ns) for turn in turns], last_ns
    )
    schedule.stop()
    return schedule.dropped


def _nobody_waits() -> None:
    """No process has to be told that this goes on."""
