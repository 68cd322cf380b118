"""The header of a write-ahead log, by logs that SQLite itself has written."""

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

from chatbot.store import wal

ROWS = 50


@pytest.fixture(params=[512, 4096, 65536])
def log(tmp_path: Path, request: pytest.FixtureRequest) -> bytes:
    """Return the log of a database with a table of fifty rows, of which all is in the log."""
    path = tmp_path / "written.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {request.param}")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connection.execute("CREATE TABLE t (a)")
        for number in range(ROWS):
            connection.execute("INSERT INTO t VALUES (?)", (f"row {number} " * 20,))
        return Path(f"{path}-wal").read_bytes()


def big_endian(log: bytes) -> bytes:
    """Return a log's header as a machine of the other byte order writes it."""
    summed = struct.pack(">I", 0x377F0683) + log[4:24]
    return summed + struct.pack(">2I", *wal._checksum(summed, ">"))


def test_the_header_that_sqlite_writes_is_whole(log: bytes) -> None:
    assert wal.is_whole(log)
    assert wal.is_whole(log[:32])
    assert wal.is_whole(big_endian(log))


def test_a_header_with_any_byte_changed_is_not_whole(log: bytes) -> None:
    for at in range(32):
        changed = bytearray(log[:32])
        changed[at] ^= 0x81
        assert not wal.is_whole(bytes(changed)), at
    assert not wal.is_whole(log[:31])
    assert not wal.is_whole(bytes(32))


def test_the_first_frame_tells_the_header(log: bytes) -> None:
    assert wal.mended(bytes(32) + log[32:]) == log[:32]
    assert wal.mended((bytes(32) + log[32:])[: wal.START_BYTES]) == log[:32]


def test_nothing_is_made_of_a_frame_that_is_damaged(log: bytes) -> None:
    assert wal.mended(bytes(40) + b"\xaa" + log[41:]) is None
    assert wal.mended(bytes(len(log))) is None
    assert wal.mended(b"") is None


def test_sqlite_reads_a_log_beside_an_empty_first_page(log: bytes, tmp_path: Path) -> None:
    path = tmp_path / "read.db"
    path.write_bytes(wal.first_page(log))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    Path(f"{path}-wal").write_bytes(log)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
