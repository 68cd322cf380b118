import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.errors import WireError
from chatbot.wire.format import MAX_LINE_BYTES, MAX_RESPONSE_BYTES
from chatbot.wire.lines import LineSplitter, NdjsonDecoder, SseDecoder
from tests.strategies_wire import cut

places = st.lists(st.integers(0, 10_000), max_size=8)


def lines_of(parts: list[bytes]) -> list[bytes]:
    splitter = LineSplitter()
    return [line for part in parts for line in splitter.feed(part)] + [splitter.close()]


def events_of(parts: list[bytes]) -> list[tuple[str, bytes]]:
    decoder = SseDecoder()
    return [event for part in parts for event in decoder.feed(part)] + list(decoder.close())


def test_lines_end_at_lf_crlf_and_cr() -> None:
    assert lines_of([b"a\nb\r\nc\rd"]) == [b"a", b"b", b"c", b"d"]


def test_a_line_separator_of_unicode_is_no_line_end() -> None:
    data = "a\u2028b\u0085c\x0b\x0cd".encode()
    assert lines_of([data + b"\n"]) == [data, b""]


def test_crlf_split_across_two_feeds_is_one_line_end() -> None:
    assert lines_of([b"a\r", b"\nb\n"]) == [b"a", b"b", b""]


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"data: x", b"event: e", b":"])), places
)
def test_the_splits_make_no_difference(tokens: list[bytes], at: list[int]) -> None:
    data = b"".join(tokens)
    assert lines_of(cut(data, at)) == lines_of([data]) == lines_of(cut(data, list(range(99))))
    assert events_of(cut(data, at)) == events_of([data]) == events_of(cut(data, list(range(99))))


@pytest.mark.parametrize("step", [MAX_LINE_BYTES * 2, 65_536])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_endless_line_is_given_up_after_the_lines_before_it(step: int, end: bytes) -> None:
    splitter = LineSplitter()
    data = b"first\n" + b"x" * (MAX_LINE_BYTES + 1) + end
    seen: list[bytes] = []
    parts = (data[start : start + step] for start in range(0, len(data), step))
    lines = (line for part in parts for line in splitter.feed(part))
    with pytest.raises(WireError) as caught:
        seen.extend(lines)  # what came before the error is in, as with a loop
    assert caught.value.kind == "malformed"
    assert seen == [b"first"]


def test_a_line_of_exactly_the_cap_passes() -> None:
    assert lines_of([b"x" * MAX_LINE_BYTES + b"\n"])[0] == b"x" * MAX_LINE_BYTES


def test_a_flood_of_comments_counts_against_the_cap_of_the_response() -> None:
    decoder = SseDecoder()
    flood = b": ping\n\n" * 4096
    for _ in range(MAX_RESPONSE_BYTES // len(flood)):
        assert list(decoder.feed(flood)) == []
    with pytest.raises(WireError, match="16 MiB"):
        list(decoder.feed(flood))


def test_events_carry_their_name_and_their_lines_joined() -> None:
    stream = b"event: a\ndata: 1\ndata:2\ndata\n\ndata: 3\n\n"
    assert events_of([stream]) == [("a", b"1\n2\n"), ("", b"3")]


def test_comments_ids_and_unknown_fields_are_left_out() -> None:
    assert events_of([b": ping\nid: 1\nretry: 5\nwhat: ever\ndata: x\n\n"]) == [("", b"x")]


def test_an_event_without_data_is_none_and_its_name_is_forgotten() -> None:
    assert events_of([b"event: a\n\ndata: x\n\n"]) == [("", b"x")]


def test_only_one_space_after_the_colon_is_removed() -> None:
    assert events_of([b"data:  x\n\n"]) == [("", b" x")]


def test_a_byte_order_mark_is_skipped_at_the_start_only() -> None:
    assert events_of([b"\xef\xbb", b"\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n"]) == [("", b"x")]


def test_an_event_without_its_blank_line_is_read_at_the_end() -> None:
    assert events_of([b"data: [DONE]"]) == [("", b"[DONE]")]


def test_an_event_name_that_is_not_utf8_is_mended() -> None:
    assert events_of([b"event: \xff\ndata: x\n\n"]) == [("\ufffd", b"x")]


def test_blank_lines_between_json_lines_are_skipped() -> None:
    decoder = NdjsonDecoder()
    payloads = [*decoder.feed(b"{}\n\n \r\n[]"), *decoder.close()]
    assert payloads == [("", b"{}"), ("", b"[]")]
