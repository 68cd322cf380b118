"""The stamps of a simulated server, found in bytes that are split anywhere."""

import sys
from array import array

from hypothesis import given
from hypothesis import strategies as st

from chatbot.messages import Truth
from chatbot.worker import truth as truth_room
from chatbot.worker.truth import TruthScanner, clipped_us, packed
from tests.strategies_wire import cut

STREAM = (
    b': {"sim_arrived_ns":1000}\n\ndata: {"x":1}\n\n'
    b': {"sim_sent_ns":2000000}\n\ndata: {"content":"\\"sim_sent_ns\\":77 "}\n\n'
    b'{"message":"a","sim_sent_ns":5000000}\n: {"sim_sent_ns":9000000000000000000}\n'
)


def lags_of(truth: Truth) -> list[int]:
    lags = array("I", truth.lags)
    if sys.byteorder == "big":
        lags.byteswap()
    return list(lags)


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_every_stamp_is_found_once_however_the_bytes_are_split(at: list[int]) -> None:
    scanner = TruthScanner()
    for part in cut(STREAM, at):
        scanner.scan(part, 7_000_000)
    truth = scanner.truth()
    assert truth is not None
    assert (truth.arrived_ns, truth.first_ns, truth.last_ns) == (1000, 2_000_000, 9 * 10**18)
    assert lags_of(truth) == [5000, 2000, 0]  # a stamp of the future has no lag


def test_a_lag_ends_with_the_read_that_completed_the_stamp() -> None:
    scanner = TruthScanner()
    scanner.scan(b': {"sim_sent_ns":100', 1_000_000)
    assert scanner.truth() is None
    scanner.scan(b"0", 2_000_000)
    scanner.scan(b"}", 3_001_000)
    truth = scanner.truth()
    assert truth is not None
    assert truth.first_ns == 1000
    assert lags_of(truth) == [3000]


def test_a_stream_without_stamps_has_no_truth() -> None:
    scanner = TruthScanner()
    scanner.scan(b'data: {"choices":[{"delta":{"content":"\\"sim_sent_ns\\":5}"}}]}\n\n', 1)
    assert scanner.truth() is None


def test_a_flood_of_stamps_is_kept_to_its_limit() -> None:
    scanner = TruthScanner()
    count = truth_room.MOST_LAGS + 10
    for _ in range(10):
        scanner.scan(b'"sim_sent_ns":1,' * (count // 10), 5)
    truth = scanner.truth()
    assert truth is not None
    assert len(truth.lags) == 4 * truth_room.MOST_LAGS


def test_numbers_are_packed_as_little_endian() -> None:
    assert packed(array("I", [1, 2**32 - 1])) == b"\x01\0\0\0\xff\xff\xff\xff"
    assert (clipped_us(-5), clipped_us(1999), clipped_us(2**63)) == (0, 1, 2**32 - 1)
