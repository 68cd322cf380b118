"""The table of open spans on the disk: seldom written, never torn, and read without what has ended."""

import os
from pathlib import Path

import msgspec
import pytest

from chatbot.messages import SpanRecord, SpanStarted
from chatbot.settings import SPAN_FILE
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.judge import Judged
from chatbot.telemetry.open import OpenSpans, Source
from chatbot.telemetry.openfile import OpenFile, announced_in, claimed
from chatbot.telemetry.resources import Resources
from chatbot.telemetry.spanfile import SpanFile

WORKER = Source("worker", 1, 4711)


def started(number: int, at_s: float = 0) -> SpanStarted:
    start_ns = round(at_s * 1e9)
    return SpanStarted(f"{1:032x}", f"{number:016x}", "", f"span {number}", 2, start_ns)


def look(file: OpenFile, at_s: float) -> None:
    file.keep(at_s, round(at_s * 1e9))


def test_nothing_is_written_while_nothing_is_open_for_a_second(tmp_path: Path) -> None:
    spans = OpenSpans()
    file = OpenFile(tmp_path, spans)
    for number in range(1, 10):
        spans.began(started(number, number), WORKER)
        look(file, number + 0.9)
        spans.ended(started(number).span_id, WORKER)
    assert not list(tmp_path.iterdir())


def test_what_lasts_is_written_once_and_taken_back_when_it_has_ended(tmp_path: Path) -> None:
    spans = OpenSpans()
    file = OpenFile(tmp_path, spans)
    spans.began(started(1), WORKER)
    look(file, 0.9)
    assert not file.path.exists()
    spans.began(started(2), WORKER)
    look(file, 1.0)
    assert announced_in(file.path) == [(WORKER, started(1)), (WORKER, started(2))]
    file.path.write_text("mine")
    spans.began(started(3), WORKER)
    look(file, 1.9)  # it is not time yet
    assert file.path.read_text() == "mine"
    spans.ended(started(3).span_id, WORKER)
    spans.ended(started(1).span_id, WORKER)
    look(file, 2.0)
    assert announced_in(file.path) == [(WORKER, started(2))]
    file.path.write_text("mine")
    look(file, 4.0)  # nothing has changed
    assert file.path.read_text() == "mine"
    spans.ended(started(2).span_id, WORKER)
    look(file, 5.0)
    assert not list(tmp_path.iterdir())


def test_whose_program_lives_is_shown_by_the_age_of_the_file(tmp_path: Path) -> None:
    spans = OpenSpans()
    file = OpenFile(tmp_path, spans)
    spans.began(started(1), WORKER)
    for now in (1.0, 2.0):
        look(file, now)
    os.utime(file.path, (1, 1))
    look(file, 15.9)
    assert file.path.stat().st_mtime == 1
    look(file, 18.0)
    assert file.path.stat().st_mtime > 1


def test_what_could_not_be_written_is_tried_again(tmp_path: Path) -> None:
    spans = OpenSpans()
    file = OpenFile(tmp_path, spans)
    spans.began(started(1), WORKER)
    in_the_way = file.path.with_name(file.path.name + ".tmp")
    in_the_way.mkdir()
    with pytest.raises(OSError, match="tmp"):
        look(file, 2.0)
    in_the_way.rmdir()
    look(file, 3.0)
    assert announced_in(file.path) == [(WORKER, started(1))]


def test_of_more_than_a_megabyte_the_newest_are_kept(tmp_path: Path) -> None:
    spans = OpenSpans()
    file = OpenFile(tmp_path, spans)
    for number in range(1, 16001):
        spans.began(started(number), WORKER)
    for now in (1.0, 2.0):
        look(file, now)
    assert 900_000 < file.path.stat().st_size < 1_100_000
    assert announced_in(file.path)[-1] == (WORKER, started(16000))


def test_a_span_that_stands_in_the_trace_file_has_ended_and_one_that_is_linked_to_has_not(
    tmp_path: Path,
) -> None:
    stream = RotatingFile(tmp_path / SPAN_FILE)
    file = SpanFile(stream, Resources({}))
    link = f"00-{1:032x}-{2:016x}-01"
    ended = SpanRecord(f"{1:032x}", f"{1:016x}", f"{3:016x}", "x", 0, 1, 2, links=(link,))
    file.add(Judged(ended), WORKER)
    file.write()
    stream.close()
    path = tmp_path / f"{SPAN_FILE}.7.open"
    path.write_bytes(msgspec.json.encode([(WORKER, started(number)) for number in (1, 2, 3)]))
    assert [span.name for _, span in announced_in(path)] == ["span 2", "span 3"]


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff", b'[["worker",1,4711]]'])
def test_nothing_is_in_a_file_that_is_none_of_ours(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / f"{SPAN_FILE}.7.open"
    path.write_bytes(text)
    assert announced_in(path) == []


def test_only_one_can_claim_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / f"{SPAN_FILE}.7.open"
    path.write_bytes(b"[]")
    assert claimed(path).name == f"{SPAN_FILE}.7.{os.getppid()}.open"
    with pytest.raises(FileNotFoundError):
        claimed(path)
