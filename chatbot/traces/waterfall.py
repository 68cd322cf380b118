"""A trace as lines of text: one for each span, its bar on an axis of time: pure.

    name and tree        process     0 ms      100 ms     …                  duration
    what there is to say about a span stands below it: an error, its first token, a link

A bar is solid where its span is on the critical path, that is where the turn waited for it and for nothing below
it; dotted where that is the way from the one who sent something to the one who took it.
"""

from collections.abc import Callable, Iterator

from chatbot.traces.spans import Span
from chatbot.traces.style import Style, columns_of, counted, moment
from chatbot.traces.trace import Node, Trace
from chatbot.traces.turn import Turn

_PROCESS = 10
_DURATION = 8
_NAMES_AT_MOST = 44
_TIMES = {"1": "second", "2": "third"}
_MS_10 = 10_000_000
_TICK_EVERY = 10  # columns at least, so that two labels never touch


def waterfall(trace: Trace, turn: Turn, style: Style) -> Iterator[str]:
    """Return the lines of a trace."""
    yield from _header(trace, turn, style)
    yield ""
    sheet = _Sheet(trace, style)
    yield sheet.axis()
    for node in trace.nodes:
        yield sheet.row(node)
        yield from sheet.notes(node)
    yield ""
    yield from _footer(trace, style)


def _header(trace: Trace, turn: Turn, style: Style) -> Iterator[str]:
    dot = f" {style.characters.dot} "
    yield from style.wrapped("", [f"trace {turn.trace_id}", moment(turn.start_ns)], dot, 2)
    if turn.status in ("answered", "cached"):
        ended = f"{turn.status} in {style.duration(turn.duration_ns)}"
    else:
        error = f" ({style.safe(turn.error)})" if turn.error not in ("", turn.status) else ""
        ended = (
            f"{style.safe(turn.status) or 'done'}{error} after {style.duration(turn.duration_ns)}"
        )
    parts = [ended]
    if turn.first_token_ns is not None:
        parts.append(f"first token after {style.duration(turn.first_token_ns)}")
    if turn.target:
        parts.append(style.safe(turn.target))
    processes = counted(trace.processes, "process")
    parts.append(f"{counted(len(trace.nodes), 'span')} in {processes}")
    yield from style.wrapped("", parts, dot, 2)


def _footer(trace: Trace, style: Style) -> Iterator[str]:
    shares = trace.shares()
    failed = f" {style.characters.failed}"
    if not shares:  # it took no time at all
        return
    chain = [
        f"{style.safe(s.node.span.name)}{failed if s.node.span.error else ''} {s.part:.0%}"
        for s in trace.chain()
    ]
    between = f" {style.characters.then} "
    yield from style.wrapped("critical path: ", chain, between, 4)
    slowest = shares[0]
    span = slowest.node.span
    itself = ", itself" if slowest.node.children else ""
    name, process = style.safe(span.name), style.safe(span.process)
    yield style.cut(f"slowest: {name}{itself} {slowest.part:.0%} ({process})")


class _Sheet:
    """The columns of a drawing, and what goes into them."""

    def __init__(self, trace: Trace, style: Style) -> None:
        self._style = style
        self._start_ns = trace.start_ns
        self._length_ns = max(trace.end_ns - trace.start_ns, 1)
        self._lead = _leads(trace, style)
        widest = max(
            columns_of(self._lead[id(node)][0] + style.safe(node.span.name)) for node in trace.nodes
        )
        room = style.columns - _PROCESS - _DURATION - 3
        self._names = min(widest, _NAMES_AT_MOST, room - max(room // 2, 16))
        self._cells = room - self._names
        self._critical: dict[int, list[tuple[int, int]]] = {}
        for segment in trace.critical:
            times = self._critical.setdefault(id(segment.node), [])
            times.append((segment.start_ns, segment.end_ns))

    def axis(self) -> str:
        """Return the line with the times."""
        step_ns = _step(self._length_ns, self._cells)
        line = ""
        for number in range(self._length_ns // step_ns + 1):
            cell = self._cell(self._start_ns + number * step_ns)
            label = self._style.duration(number * step_ns) if number else "0"
            if cell + len(label) <= self._cells and len(line) <= cell:
                line = line.ljust(cell) + label
        return self._style.dim(" " * (self._names + _PROCESS + 2) + line).rstrip()

    def row(self, node: Node) -> str:
        """Return the line of a span."""
        style, span = self._style, node.span
        lead, _ = self._lead[id(node)]
        name = style.fit(lead + style.safe(span.name), self._names)
        at = min(len(lead), self._names)
        shown = style.dim(name[:at]) + (style.alarm(name[at:]) if span.error else name[at:])
        process = style.of_process(style.fit(style.safe(span.process), _PROCESS), span.role)
        duration = style.fit(style.duration(span.duration_ns).rjust(_DURATION), _DURATION)
        return f"{shown} {process} {self._bar(node)} {duration}"

    def notes(self, node: Node) -> Iterator[str]:
        """Return what there is to say about a span, below its line."""
        style = self._style
        _, lead = self._lead[id(node)]
        for text, paint in _said(node, style):
            line = style.fit(lead + text, style.columns).rstrip()
            yield style.dim(line[: len(lead)]) + paint(line[len(lead) :])

    def _bar(self, node: Node) -> str:
        """Return the cells of a span: solid where it is on the critical path, a tick where it took
        less than half a cell, and its moments in their places."""
        style, span = self._style, node.span
        drawn = style.characters
        first = self._cell(span.start_ns)
        last = max(self._cell(max(span.end_ns - 1, span.start_ns)), first)
        cells = [" "] * self._cells
        if span.duration_ns * self._cells * 2 < self._length_ns:
            cells[first] = drawn.tick
        else:
            cells[first : last + 1] = drawn.other * (last + 1 - first)
        for start_ns, end_ns in self._critical.get(id(node), ()):
            begin, end = self._place(start_ns), self._place(end_ns)
            for cell in range(int(begin), min(int(end) + 1, self._cells)):
                covered = min(end, cell + 1) - max(begin, cell)
                whole = min(self._place(span.end_ns), cell + 1) - max(
                    self._place(span.start_ns), cell
                )
                if cells[cell] == drawn.other and covered >= whole / 2:
                    cells[cell] = drawn.critical
                elif cells[cell] == " " and covered >= 0.5:  # sent, and not there yet
                    cells[cell] = drawn.under_way
        for event in span.events:
            cells[min(max(self._cell(event.time_ns), 0), self._cells - 1)] = drawn.moment
        bar = "".join(cells)
        return style.alarm(bar) if span.error else style.of_process(bar, span.role)

    def _cell(self, time_ns: int) -> int:
        return min(max(int(self._place(time_ns)), 0), self._cells - 1)

    def _place(self, time_ns: int) -> float:
        return (time_ns - self._start_ns) * self._cells / self._length_ns


def _said(node: Node, style: Style) -> Iterator[tuple[str, Callable[[str], str]]]:
    span, drawn = node.span, style.characters
    status = span.text("http.response.status_code")
    if span.error:
        about = style.safe(span.error)
        refused = status and status != "200" and status not in about
        http = f"HTTP {style.safe(status)}: " if refused else ""  # else it failed later
        yield f"{drawn.failed} {http}{about}", style.alarm
    if resent := span.text("http.request.resend_count"):
        yield f"{drawn.resent} {_sent(resent)} (resend_count {style.safe(resent)})", style.dim
    for event in span.events:
        after = style.duration(max(event.time_ns - span.start_ns, 0))
        named = style.safe(event.name.replace("_", " "))
        yield f"{drawn.moment} {named} after {after}", style.strong
    for link in span.links:
        yield f"{drawn.link} trace {style.safe(link.trace_id)}", style.dim
    if node.is_orphan:
        yield f"{drawn.more} below span {style.safe(span.parent_id)}, which is missing", style.dim
    if _is_hit(span):
        yield f"{drawn.moment} in the cache ({style.safe(span.text('cache.level'))})", style.strong


def _sent(resend_count: str) -> str:
    if resend_count in _TIMES:
        return f"sent a {_TIMES[resend_count]} time"
    # Not int(): what a file holds may have more digits than that takes.
    known = resend_count.isascii() and resend_count.isdecimal() and len(resend_count) < 10
    return f"sent again, attempt {int(resend_count) + 1}" if known else "sent again"


def _is_hit(span: Span) -> bool:
    return span.attributes.get("cache.hit") is True


def _leads(trace: Trace, style: Style) -> dict[int, tuple[str, str]]:
    """Return for each node what stands before its name, and before what is said below it.

    A tree that is deeper than there is room for goes on without indentation.
    """
    drawn = style.characters
    deepest = max(style.columns // 10, 4)
    leads: dict[int, tuple[str, str]] = {}
    waiting = [(root, "", "") for root in reversed(trace.roots)]
    while waiting:
        node, trunk, branch = waiting.pop()
        here = trunk if node.depth <= deepest else drawn.more + " "
        below = "" if not branch else drawn.trunk if branch == drawn.branch else "  "
        inner = trunk + below if node.depth <= deepest else trunk
        stem = drawn.trunk if node.children and node.depth < deepest else "  "
        leads[id(node)] = (here + branch, inner + stem)
        for child in reversed(node.children):
            last = child is node.children[-1]
            sign = "" if node.depth >= deepest else drawn.last if last else drawn.branch
            waiting.append((child, inner, sign))
    return leads


def _step(length_ns: int, cells: int) -> int:
    """Return the distance of two labels: 1, 2 or 5 times a power of ten; 2.5 where its multiples are
    not rounded by what is written."""
    least = length_ns * _TICK_EVERY // max(cells, 1) + 1
    power = 1000  # a microsecond
    while True:
        for step in (power, 2 * power, 5 * power // 2, 5 * power):
            if step >= least and (step != 5 * power // 2 or power >= _MS_10):
                return step
        power *= 10
