"""The rows of `trace list`: pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from chatbot.traces.style import Style, columns_of, moment
from chatbot.traces.turn import Turn

SHORT = 8

_STATUS = 11
_TARGET_AT_MOST = 32


def rows(turns: Sequence[Turn], style: Style, known: Sequence[Turn] = ()) -> Iterator[str]:
    """Return a line for each trace, below one that names the columns. The ids are as short as they can
    be among all that are `known`."""
    if not turns:
        return
    short = short_ids(known or turns)
    ids = max(len(short[turn.trace_id]) for turn in turns)
    targets = [style.safe(turn.target) for turn in turns]
    target_width = min(max(6, *(columns_of(target) for target in targets)), _TARGET_AT_MOST)
    target_width = max(min(target_width, style.columns - ids - 58), 6)
    yield style.dim(
        f"{'trace':<{ids}}  {'time':<14}  {'asked':<{target_width}}  {'duration':>8}  {'1st token':>9}"
        f"  {'status':<{_STATUS}} spans"
    )
    for turn, target in zip(turns, targets, strict=True):
        first = "" if turn.first_token_ns is None else style.duration(turn.first_token_ns)
        status = style.fit(style.safe(turn.status) or style.safe(turn.name), _STATUS)
        failed = turn.status in ("failed", "interrupted")
        line = (
            f"{short[turn.trace_id]:<{ids}}  {moment(turn.start_ns)[5:19]:<14}"
            f"  {style.fit(target, target_width)}  {style.duration(turn.duration_ns):>8}  {first:>9}"
            f"  {style.alarm(status) if failed else status} {turn.spans:>5}"
        )
        if turn.error and turn.error != turn.status:
            line += "  " + style.alarm(style.safe(turn.error))
        yield line


def short_ids(known: Sequence[Turn]) -> dict[str, str]:
    """Return the first digits of each trace's id: eight, or all where two would share them."""
    count = Counter(turn.trace_id[:SHORT] for turn in known)
    return {
        turn.trace_id: turn.trace_id[:SHORT] if count[turn.trace_id[:SHORT]] == 1 else turn.trace_id
        for turn in known
    }
