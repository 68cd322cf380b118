"""A whole trace as one object for a program: what the waterfall shows, as data. Pure."""

from typing import Any

import msgspec

from chatbot.traces.trace import Node, Trace, self_ns
from chatbot.traces.turn import Turn


def as_event(trace: Trace, turn: Turn) -> dict[str, Any]:
    """Return the trace with its spans, parents first, and its critical path as parts of 1."""
    return {
        **turn.as_event(),
        "critical_path": [
            {"span_id": share.node.span.span_id, "name": share.node.span.name, "part": share.part}
            for share in trace.chain()
        ],
        "tree": [_span(node, trace.start_ns) for node in trace.nodes],
    }


def _span(node: Node, start_ns: int) -> dict[str, Any]:
    span = node.span
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "process": span.process,
        "pid": span.pid,
        "depth": node.depth,
        "start_ms": (span.start_ns - start_ns) / 1e6,
        "duration_ms": span.duration_ns / 1e6,
        "self_ms": self_ns(node) / 1e6,
        "error": span.error,
        "attributes": span.attributes,
        "events": [
            {"name": event.name, "at_ms": (event.time_ns - start_ns) / 1e6} for event in span.events
        ],
        "links": [msgspec.structs.asdict(link) for link in span.links],
    }
