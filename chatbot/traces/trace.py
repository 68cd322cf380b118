"""The spans of one trace as a tree, and where its time went: pure.

A message's `process X` hangs under its `send X`, which is over long before: so a node reaches from the first
start to the last end of all that is below it. The critical path is walked back from the end of the turn, as
in CRISP (Zhang et al., USENIX ATC 2022): at each moment it belongs to what was waited for last.
"""

from collections.abc import Iterable, Iterator

import msgspec

from chatbot.traces.spans import CONSUMER, PRODUCER, Span

_SLACK_NS = 100_000  # two processes' clocks, read one after the other, differ by less


class Node(msgspec.Struct, eq=False, gc=True):
    """A span in its tree. `first_ns` to `last_ns` is what it and all below it took. `is_orphan`: its
    parent is not in the files."""

    span: Span
    is_orphan: bool = False
    depth: int = 0
    children: list["Node"] = []
    first_ns: int = 0
    last_ns: int = 0


class Segment(msgspec.Struct, frozen=True, eq=False):
    """A part of the critical path: this time belongs to this node, and to none below it."""

    node: Node
    start_ns: int
    end_ns: int


class Share(msgspec.Struct, frozen=True, eq=False):
    """How much of the turn a span has on the critical path, from 0 to 1."""

    node: Node
    part: float


class Trace:
    """A trace. `roots` are its trees in the order of their starts; `nodes` all of them, parents first."""

    def __init__(self, spans: Iterable[Span]) -> None:
        """Build the trees of a trace's spans, at least one; what comes twice is taken once."""
        self.roots = _trees(spans)
        self.nodes = list(_walk(self.roots))
        for node in reversed(self.nodes):  # children before their parents
            below = node.children
            span = node.span
            node.first_ns = min([span.start_ns, *(child.first_ns for child in below)])
            ends = [span.end_ns, span.start_ns, *(child.last_ns for child in below)]
            node.last_ns = max(ends)
        self.root = next((node for node in self.roots if not node.is_orphan), self.roots[0])
        self.start_ns = min(node.first_ns for node in self.roots)
        self.end_ns = max(node.last_ns for node in self.roots)
        self.critical = _critical_path(self.root)

    @property
    def trace_id(self) -> str:
        """The 32 digits."""
        return self.root.span.trace_id

    @property
    def processes(self) -> int:
        """How many processes it went through."""
        return len({(n.span.process, n.span.pid) for n in self.nodes})

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing: no parent, and no `process X` of a `send X`."""
        return all(
            not node.is_orphan
            and (
                node.span.kind != PRODUCER
                or any(child.span.kind == CONSUMER for child in node.children)
            )
            for node in self.nodes
        )

    def shares(self) -> list[Share]:
        """Return what each span has on the critical path, the largest first."""
        total = sum(segment.end_ns - segment.start_ns for segment in self.critical)
        parts: dict[str, float] = {}
        nodes: dict[str, Node] = {}
        for segment in self.critical:
            key = segment.node.span.span_id
            nodes[key] = segment.node
            parts[key] = parts.get(key, 0.0) + (segment.end_ns - segment.start_ns) / total
        return sorted((Share(nodes[key], part) for key, part in parts.items()), key=_largest_first)

    def chain(self, at_least: float = 0.01) -> list[Share]:
        """Return the critical path in the order of time, without what is hardly seen on it."""
        total = sum(segment.end_ns - segment.start_ns for segment in self.critical)
        chain: list[Share] = []
        for segment in self.critical:
            part = (segment.end_ns - segment.start_ns) / total
            if part < at_least:
                continue
            if chain and chain[-1].node is segment.node:
                part += chain.pop().part
            chain.append(Share(segment.node, part))
        return chain


def self_ns(node: Node) -> int:
    """Return how much of a span's own time none of its children covers."""
    span = node.span
    covered, reached = 0, span.start_ns
    for child in sorted(node.children, key=_start):
        start = max(child.span.start_ns, reached)
        end = min(child.span.end_ns, span.end_ns)
        if end > start:
            covered += end - start
            reached = end
    return span.duration_ns - covered


def _trees(spans: Iterable[Span]) -> list[Node]:
    nodes: dict[str, Node] = {}
    for span in sorted(spans, key=lambda span: (span.start_ns, -span.end_ns)):
        nodes.setdefault(span.span_id, Node(span))
    roots = []
    for node in nodes.values():
        parent = nodes.get(node.span.parent_id)
        if parent is None or parent is node:
            node.is_orphan = bool(node.span.parent_id)
            roots.append(node)
        else:
            parent.children.append(node)
    reached = {id(node) for node in _walk(roots)}
    for node in nodes.values():  # what is its own ancestor hangs nowhere: its first is cut off
        if id(node) not in reached:
            nodes[node.span.parent_id].children.remove(node)
            node.is_orphan = True
            roots.append(node)
            reached |= {id(below) for below in _walk([node])}
    return roots


def _walk(roots: list[Node]) -> Iterator[Node]:
    """Return all nodes, each before its children; without recursion, whatever the depth."""
    waiting = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        yield node
        for child in reversed(node.children):
            child.depth = node.depth + 1
            waiting.append(child)


def _critical_path(root: Node) -> list[Segment]:
    """Return the path in the order of time; its segments follow one another from start to end."""
    path: list[Segment] = []
    waiting: list[tuple[Node, int, int, bool]] = [
        (root, root.span.start_ns, root.span.end_ns, False)
    ]
    while waiting:
        node, start_ns, end_ns, is_own = waiting.pop()
        if end_ns <= start_ns:
            continue
        if is_own:
            path.append(Segment(node, start_ns, end_ns))
            continue
        cursor = end_ns
        parts: list[tuple[Node, int, int, bool]] = []
        for child in sorted(node.children, key=_last, reverse=True):
            begin, finish = max(child.first_ns, start_ns), min(child.last_ns, cursor)
            # What outlasts the one above it, as a save does, was not waited for.
            if child.last_ns > cursor + _SLACK_NS or finish <= begin:
                continue
            parts += ((node, finish, cursor, True), (child, begin, finish, False))
            cursor = begin
        parts.append((node, start_ns, cursor, True))
        waiting += parts  # the first of them is the last in time: the stack turns them round
    return path


def _start(node: Node) -> int:
    return node.span.start_ns


def _last(node: Node) -> tuple[int, int]:
    return node.last_ns, node.first_ns


def _largest_first(share: Share) -> float:
    return -share.part
