"""The answer cache: the key of a request, and the memory level over the SQLite level.

Pure: `now` is handed in. It never looks at the database; `process.py` asks this level first, then
the table `cache` (cached.py), and puts every answer into both. Only complete answers come here.
"""

import hashlib
from collections import OrderedDict

import msgspec

from chatbot.history import DIGEST_OF_NOTHING, extended
from chatbot.messages import Ask, Completion, Hit

# An entry comes back inside an `Accepted`, which must fit into a frame whatever is around it.
MAX_ENTRY_BYTES = 3 * 1024 * 1024
ENTRY_OVERHEAD_BYTES = (
    350  # what Python keeps besides data and traceparent: key, objects, links (measured: 341)
)

_KEY_VERSION = 2  # raise it when the meaning of a key's parts changes: old entries are then missed
_key_encoder = msgspec.msgpack.Encoder()
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Completion)


class Entry(msgspec.Struct, frozen=True):
    """A cached answer as both levels hold it: the completion as JSON, when it was generated, and the
    span of the call that generated it; empty where there was no trace."""

    data: bytes
    created_at: float
    traceparent: str = ""


def key_of(ask: Ask) -> str:
    """Return the hex SHA-256 of all that decides the answer: the messages and the target.

    MessagePack marks where each part ends and what type it has, so that no two requests encode
    alike; options count by name, whatever order they were given in. Who asks, and when, is left out.
    The history counts by its digest, which grows with the conversation: a turn costs what it adds.
    """
    target = ask.target
    digest = ask.history_digest or extended(DIGEST_OF_NOTHING, ask.history)
    parts = (
        _KEY_VERSION,
        target.backend,
        target.model,
        target.system,
        sorted(target.options.items()),
        digest,
        ask.content,
    )
    return hashlib.sha256(_key_encoder.encode(parts)).hexdigest()


def entry_of(completion: Completion, now: float, traceparent: str = "") -> Entry | None:
    """Return the entry to keep; None for an answer without text, or one too large for a frame.

    A server that was only loading its model ends without text: that must not be its answer for ever.
    """
    if not completion.text:
        return None
    data = _encoder.encode(completion)
    return Entry(data, now, traceparent) if len(data) <= MAX_ENTRY_BYTES else None


def hit_of(entry: Entry, now: float) -> Hit | None:
    """Return the entry as a hit; None for one that this version cannot read, which is then a miss."""
    try:
        completion = _decoder.decode(entry.data)
    except msgspec.DecodeError:
        return None  # the answer about to be generated replaces it
    return Hit(completion, max(0.0, now - entry.created_at), entry.traceparent)


class Memory:
    """The memory level: the entries used last, up to `limit_bytes` of them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._size = 0

    @property
    def size_bytes(self) -> int:
        """What the entries take up, never above the limit."""
        return self._size

    def get(self, key: str) -> Entry | None:
        """Return the entry, and count it as used just now."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Keep the entry in place of an older one; those used longest ago make room for it."""
        self.drop(key)
        if _cost_of(entry) > self._limit:
            return
        self._entries[key] = entry
        self._size += _cost_of(entry)
        while self._size > self._limit:
            _, oldest = self._entries.popitem(last=False)
            self._size -= _cost_of(oldest)

    def drop(self, key: str) -> None:
        """Forget an entry."""
        dropped = self._entries.pop(key, None)
        if dropped is not None:
            self._size -= _cost_of(dropped)

    def clear(self) -> None:
        """Forget everything; the SQLite level still has it."""
        self._entries.clear()
        self._size = 0


def _cost_of(entry: Entry) -> int:
    return len(entry.data) + len(entry.traceparent) + ENTRY_OVERHEAD_BYTES
