"""The write-ahead log of SQLite, as far as its header: whether it is whole, and what it tells.

Pure: https://www.sqlite.org/fileformat2.html#the_write_ahead_log. SQLite takes a log whose header is
damaged for an empty one and deletes it, with every message in it; so `files.py` looks first.
"""

import struct

HEADER_BYTES = 32
START_BYTES = HEADER_BYTES + 24 + (1 << 16)  # a header and a first frame of any size

_MAGIC = 0x377F0682  # its lowest bit: the checksums are of big-endian words
_FORMAT = 3_007_000
_SUMMED_BYTES = 24
_FRAME_BYTES = 24  # before each page
_PAGE_SIZES = {1 << power for power in range(9, 17)}
_WORD = 0xFFFF_FFFF


def is_whole(header: bytes) -> bool:
    """Whether the first bytes of a log are those that SQLite goes by."""
    if len(header) < HEADER_BYTES:
        return False
    magic, version, size, _, _, _, *sums = struct.unpack(">8I", header[:HEADER_BYTES])
    if magic & ~1 != _MAGIC or version != _FORMAT or size not in _PAGE_SIZES:
        return False
    return _checksum(header[:_SUMMED_BYTES], ">" if magic & 1 else "<") == tuple(sums)


def mended(start: bytes) -> bytes | None:
    """Return the header that a damaged log had, from its first frame; None where that is damaged too.

    A frame's checksum goes on from the header's, and each of its steps can be undone: so the frame
    tells the header's checksum, that the one number which is nowhere else, and the rest proves it.
    """
    for size in _PAGE_SIZES:
        frame = start[HEADER_BYTES : HEADER_BYTES + _FRAME_BYTES + size]
        if len(frame) < _FRAME_BYTES + size:
            continue
        salts, summed = frame[8:16], frame[:8] + frame[_FRAME_BYTES:]
        for magic, order in ((_MAGIC, "<"), (_MAGIC | 1, ">")):
            sums = _undone(struct.unpack_from(">2I", frame, 16), summed, order)
            first, second = _undone(sums, salts, order)
            _, between = _checksum(struct.pack(">2I", magic, _FORMAT), order)
            checkpoints = struct.pack(f"{order}I", (second - between - first) & _WORD)
            header = struct.pack(">3I", magic, _FORMAT, size) + checkpoints + salts
            header += struct.pack(">2I", *sums)
            if is_whole(header):
                return header
    return None


def first_page(header: bytes) -> bytes:
    """Return a first page of an empty database, for a log whose database is gone or empty.

    SQLite deletes a log beside an empty file; beside this one it reads it.
    """
    (size,) = struct.unpack_from(">I", header, 8)
    database = b"SQLite format 3\0" + struct.pack(
        ">H6B4I", size if size < 1 << 16 else 1, 2, 2, 0, 64, 32, 32, 1, 1, 0, 0
    )
    database += struct.pack(">4I", 1, 4, 0, 0) + struct.pack(">I", 1)  # schema, format; UTF-8
    table = b"\x0d" + struct.pack(">3HB", 0, 0, size & 0xFFFF, 0)
    return (database.ljust(100, b"\0") + table).ljust(size, b"\0")


def _checksum(data: bytes, order: str) -> tuple[int, int]:
    first = second = 0
    for one, two in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & _WORD
        second = (second + two + first) & _WORD
    return first, second


def _undone(sums: tuple[int, ...], data: bytes, order: str) -> tuple[int, int]:
    """Return what the checksum was before the data."""
    first, second = sums
    for one, two in reversed(list(struct.iter_unpack(f"{order}2I", data))):
        second = (second - two - first) & _WORD
        first = (first - one - second) & _WORD
    return first, second
