"""Lines of OTLP-JSON, cut down to some traces: pure.

What is kept of a line is kept byte for byte: whoever reads it next has a schema of his own.
"""

import hashlib

import msgspec

_encode = msgspec.json.Encoder().encode


class _Ids(msgspec.Struct, rename="camel", frozen=True, gc=False):
    trace_id: str = ""
    span_id: str = ""


class _Scope(msgspec.Struct, rename="camel", omit_defaults=True):
    scope: msgspec.Raw = msgspec.Raw()
    spans: list[msgspec.Raw] = []
    schema_url: str = ""


class _Source(msgspec.Struct, rename="camel", omit_defaults=True):
    resource: msgspec.Raw = msgspec.Raw()
    scope_spans: list[_Scope] = []
    schema_url: str = ""


class _Line(msgspec.Struct, rename="camel"):
    resource_spans: list[_Source]


_line = msgspec.json.Decoder(_Line)
_ids = msgspec.json.Decoder(_Ids)


class Selection:
    """Takes the spans of these traces (None: of all of them), each once, and counts them."""

    def __init__(self, trace_ids: set[str] | None = None) -> None:
        self.spans = 0
        self.traces: set[str] = set()
        self._wanted = trace_ids
        self._seen: set[bytes] = set()

    def of(self, line: bytes) -> bytes | None:
        """Return a line with what is wanted of this one; empty where that is nothing, None where it is
        no line of spans."""
        try:
            whole = _line.decode(line)
            for source in whole.resource_spans:
                for scope in source.scope_spans:
                    scope.spans = [span for span in scope.spans if self._takes(span)]
                source.scope_spans = [scope for scope in source.scope_spans if scope.spans]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        whole.resource_spans = [source for source in whole.resource_spans if source.scope_spans]
        return _encode(whole) + b"\n" if whole.resource_spans else b""

    def _takes(self, span: msgspec.Raw) -> bool:
        ids = _ids.decode(span)
        if not ids.trace_id or (self._wanted is not None and ids.trace_id not in self._wanted):
            return False
        key = hashlib.blake2b(f"{ids.trace_id}{ids.span_id}".encode(), digest_size=12).digest()
        if key in self._seen:
            return False
        self._seen.add(key)
        self.spans += 1
        self.traces.add(ids.trace_id)
        return True
