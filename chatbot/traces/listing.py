"""The rows of `trace list`: pure."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from chatbot.traces.style import Style, columns_of, moment
from chatbot.traces.turn import Turn

SHORT = 8

_STATUS = 11
_TARGET_AT_LEAST, _TARGET_AT_MOST = 6, 32
_ERROR_AT_MOST = 32
_DROPPED = ("spans", "1st token", "error", "asked", "date", "seconds")  # in this order


def rows(turns: Sequence[Turn], style: Style, known: Sequence[Turn] = ()) -> Iterator[str]:
    """Return a line for each trace, below one that names the columns. The ids are as short as they can
    be among all that are `known`. Where it is too narrow for all columns, the least important are left out."""
    if not turns:
        return
    short = short_ids(known or turns)
    ids = max(len(short[turn.trace_id]) for turn in turns)
    targets = [style.safe(turn.target) for turn in turns]
    errors = [style.safe(t.error) if t.error != t.status else "" for t in turns]
    error_width = min(max(map(columns_of, errors)), _ERROR_AT_MOST)
    widths = {
        "spans": 6,
        "1st token": 11,
        "error": error_width + 2 if error_width else 0,
        "asked": _TARGET_AT_LEAST + 2,
        "date": 6,
        "seconds": 3,
    }
    left_out: set[str] = set()
    room = style.columns - ids - len("  00:00") - 10 - 2 - _STATUS - sum(widths.values())
    for name in _DROPPED:
        if room >= 0:
            break
        left_out.add(name)
        room += widths[name]
    target_width = min(max(_TARGET_AT_LEAST, *map(columns_of, targets)), _TARGET_AT_MOST)
    target_width = min(target_width, _TARGET_AT_LEAST + max(room, 0))
    times = slice(11 if "date" in left_out else 5, 16 if "seconds" in left_out else 19)

    def row(
        values: dict[str, str], paint: Callable[[str], str], paint_error: Callable[[str], str]
    ) -> str:
        parts = [values["trace"].ljust(ids), "  ", values["time"].ljust(times.stop - times.start)]
        if "asked" not in left_out:
            parts += "  ", style.fit(values["asked"], target_width)
        parts += "  ", values["duration"].rjust(8)
        if "1st token" not in left_out:
            parts += "  ", values["1st token"].rjust(9)
        parts += "  ", paint(style.fit(values["status"], _STATUS))
        if "spans" not in left_out:
            parts += " ", values["spans"].rjust(5)
        if values["error"] and "error" not in left_out:
            width = min(columns_of(values["error"]), error_width)
            parts += "  ", paint_error(style.fit(values["error"], width))
        return "".join(parts)

    names = ("trace", "time", "asked", "duration", "1st token", "status", "spans")
    yield style.dim(row({**{name: name for name in names}, "error": ""}, str, str).rstrip())
    for turn, target, error in zip(turns, targets, errors, strict=True):
        values = {
            "trace": short[turn.trace_id],
            "time": moment(turn.start_ns)[times],
            "asked": target,
            "duration": style.duration(turn.duration_ns),
            "1st token": "" if turn.first_token_ns is None else style.duration(turn.first_token_ns),
            "status": style.safe(turn.status) or style.safe(turn.name),
            "spans": str(turn.spans),
            "error": error,
        }
        failed = turn.status in ("failed", "interrupted")
        yield row(values, style.alarm if failed else str, style.alarm)


def short_ids(known: Sequence[Turn]) -> dict[str, str]:
    """Return the first digits of each trace's id: eight, or all where two would share them."""
    count = Counter(turn.trace_id[:SHORT] for turn in known)
    return {
        turn.trace_id: turn.trace_id[:SHORT] if count[turn.trace_id[:SHORT]] == 1 else turn.trace_id
        for turn in known
    }
