"""The answer cache: the key of a request, and the memory level over the SQLite level.

Pure: `now` is handed in. It never looks at the database; `process.py` asks this level first, then
the table `cache`, and puts every answer into both. Only complete answers come here.
"""

import hashlib
from collections import OrderedDict

import msgspec

from chatbot.messages import Ask, Completion, Hit

# An entry comes back inside an `Accepted`, which must fit into a frame whatever is around it.
MAX_ENTRY_BYTES = 3 * 1024 * 1024
ENTRY_OVERHEAD_BYTES = (
    300  # what Python keeps besides the data: key, objects, links (measured: 284)
)

_KEY_VERSION = 1  # raise it when the meaning of a key's parts changes: old entries are then missed
_key_encoder = msgspec.msgpack.Encoder()
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Completion)


class Entry(msgspec.Struct, frozen=True):
    """A cached answer as both levels hold it: the completion as JSON, and when it was generated."""

    data: bytes
    created_at: float


def key_of(ask: Ask) -> str:
    """Return the hex SHA-256 of all that decides the answer: the messages and the target.

    MessagePack marks where each part ends and what type it has, so that no two requests encode
    alike; options count by name, whatever order they were given in. Who asks, and when, is left out.
    """
    target = ask.target
    parts = (
        _KEY_VERSION,
        target.backend,
        target.model,
        target.system,
        sorted(target.options.items()),
        ask.history,
        ask.content,
    )
    return hashlib.sha256(_key_encoder.encode(parts)).hexdigest()


def entry_of(completion: Completion, now: float) -> Entry | None:
    """Return the entry to keep; None for an answer without text, or one too large for a frame.

    A server that was only loading its model ends without text: that must not be its answer for ever.
    """
    if not completion.text:
        return None
    data = _encoder.encode(completion)
    return Entry(data, now) if len(data) <= MAX_ENTRY_BYTES else None


def hit_of(entry: Entry, now: float) -> Hit | None:
    """Return the entry as a hit; None for one that this version cannot read, which is then a miss."""
    try:
        completion = _decoder.decode(entry.data)
    except msgspec.DecodeError:
        return None  # the answer about to be generated replaces it
    return Hit(completion, max(0.0, now - entry.created_at))


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
        replaced = self._entries.pop(key, None)
        if replaced is not None:
            self._size -= _cost_of(replaced)
        if _cost_of(entry) > self._limit:
            return
        self._entries[key] = entry
        self._size += _cost_of(entry)
        while self._size > self._limit:
            _, oldest = self._entries.popitem(last=False)
            self._size -= _cost_of(oldest)

    def clear(self) -> None:
        """Forget everything; the SQLite level still has it."""
        self._entries.clear()
        self._size = 0


def _cost_of(entry: Entry) -> int:
    return len(entry.data) + ENTRY_OVERHEAD_BYTES
