"""The trace files, as telemetry leaves them: rotated, compressed, torn, and moving while they are read."""

import errno
import gzip
import os
from pathlib import Path

import msgspec
import pytest

from chatbot.errors import ChatbotError, UsageError
from chatbot.settings import SPAN_FILE
from chatbot.telemetry.files import RotatingFile
from chatbot.traces import archive
from chatbot.traces.archive import Ambiguous
from chatbot.traces.damage import Damage
from chatbot.traces.files import Files
from chatbot.traces.lines import Selection
from chatbot.traces.spans import decode
from tests.unit.test_traces_spans import line, span


def read(directory: Path) -> list[bytes]:
    with Files(directory) as files:
        return list(files.lines())


def backup(directory: Path, number: int, data: bytes) -> Path:
    path = directory / f"{SPAN_FILE}.{number}.gz"
    path.write_bytes(gzip.compress(data))
    return path


def test_all_that_was_written_is_read_in_its_order_whatever_was_rotated(tmp_path: Path) -> None:
    stream = RotatingFile(tmp_path / SPAN_FILE, max_bytes=60, backups=3)
    written = [f"line {number:03}\n".encode() for number in range(24)]
    for each in written:
        stream.write(each.decode())
        stream.flush()
    stream.close()
    assert len(list(tmp_path.iterdir())) == 4
    assert read(tmp_path) == written[-len(read(tmp_path)) :]
    assert len(read(tmp_path)) > 18


def test_a_file_that_is_not_compressed_yet_is_read_between_the_backups_and_the_newest(
    tmp_path: Path,
) -> None:
    backup(tmp_path, 2, b"1\n")
    backup(tmp_path, 1, b"2\n")
    (tmp_path / f"{SPAN_FILE}.100.rotated").write_bytes(b"3\n")
    (tmp_path / f"{SPAN_FILE}.200.rotated").write_bytes(b"4\n")
    (tmp_path / SPAN_FILE).write_bytes(b"5\n")
    assert read(tmp_path) == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"]


def test_a_file_that_stands_beside_its_own_backup_is_read_once(tmp_path: Path) -> None:
    backup(tmp_path, 1, b"1\n")
    (tmp_path / f"{SPAN_FILE}.100.rotated").write_bytes(b"1\n")
    (tmp_path / f"{SPAN_FILE}.200.rotated").write_bytes(b"2\n")
    assert read(tmp_path) == [b"1\n", b"2\n"]


def test_a_torn_last_line_is_left_out_and_told_only_where_it_is_not_the_newest(
    tmp_path: Path,
) -> None:
    damage = Damage()
    (tmp_path / SPAN_FILE).write_bytes(b'1\n{"reso')
    with Files(tmp_path, damage) as files:
        assert list(files.lines()) == [b"1\n"]
    assert str(damage) == ""
    for name in (f"{SPAN_FILE}.100.rotated", f"{SPAN_FILE}.200.rotated"):
        (tmp_path / name).write_bytes(b'1\n{"reso')
    (tmp_path / SPAN_FILE).write_bytes(b"1\n\x8b\x00")
    with Files(tmp_path, damage) as files:
        for _ in range(2):  # once or twice: the same places
            assert list(files.lines()) == [b"1\n"] * 3
            assert str(damage) == (
                "3 places in the trace files could not be read"
                f" ({SPAN_FILE}.100.rotated, {SPAN_FILE}.200.rotated, {SPAN_FILE})"
            )


def test_a_torn_backup_gives_what_can_be_read_and_the_rest_is_read_too(tmp_path: Path) -> None:
    packed = backup(tmp_path, 1, b"".join(b"%d %d\n" % (n, n * 7919) for n in range(50_000)))
    packed.write_bytes(packed.read_bytes()[:-1000])
    (tmp_path / f"{SPAN_FILE}.2.gz").write_bytes(b"no gzip at all")
    (tmp_path / SPAN_FILE).write_bytes(b"new\n")
    damage = Damage()
    with Files(tmp_path, damage) as files:
        lines = list(files.lines())
    assert str(damage) == (
        f"2 places in the trace files could not be read ({SPAN_FILE}.2.gz, {SPAN_FILE}.1.gz)"
    )
    assert lines[-1] == b"new\n"
    assert lines[:2] == [b"0 0\n", b"1 7919\n"]
    assert len(lines) > 40_000
    assert all(each == b"%d %d\n" % (n, n * 7919) for n, each in enumerate(lines[:-1]))


def test_what_is_rotated_away_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    stream = RotatingFile(tmp_path / SPAN_FILE, max_bytes=60, backups=3)
    stream.write("1\n2\n3\n")
    stream.flush()
    with Files(tmp_path) as files:
        lines = files.lines()
        assert next(lines) == b"1\n"
        stream.write("x" * 58 + "\n")
        stream.flush()  # rotates
        assert list(lines) == [b"2\n", b"3\n"]
    stream.close()


def test_a_rotation_between_two_openings_neither_doubles_nor_loses_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = RotatingFile(tmp_path / SPAN_FILE, max_bytes=20, backups=3)
    for each in ("1", "2"):
        stream.write(each * 18 + "\n")
        stream.flush()
    whole = Path.open
    rotations = iter(("3", "4"))

    def opening(path: Path, *arguments: str) -> object:
        if path.suffix == ".gz" and (each := next(rotations, "")):
            monkeypatch.setattr(Path, "open", whole)
            stream.write(each * 18 + "\n")
            stream.flush()
            monkeypatch.setattr(Path, "open", opening)
        return whole(path, *arguments)  # type: ignore[call-overload] # as it was called

    monkeypatch.setattr(Path, "open", opening)
    lines = read(tmp_path)
    stream.close()
    assert [each[:1] for each in lines] == [b"1", b"2", b"3", b"4"]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / SPAN_FILE).mkdir()
    with pytest.raises(ChatbotError) as raised, Files(tmp_path):
        pass
    assert str(raised.value).startswith(f"cannot read {tmp_path / SPAN_FILE}: ")
    assert "[Errno" not in str(raised.value)


@pytest.mark.parametrize("question", [Path.stat, os.listdir])
def test_a_directory_that_may_not_be_looked_into_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: object
) -> None:
    def refused(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    where = Path if question is Path.stat else os
    monkeypatch.setattr(where, question.__name__, refused)  # type: ignore[attr-defined] # a function has one
    with pytest.raises(ChatbotError) as raised:
        archive.turns(archive.must_be_there(str(tmp_path)))
    monkeypatch.undo()
    assert str(raised.value) in (
        f"cannot look into {tmp_path}: Permission denied",
        f"cannot read {tmp_path}: Permission denied",
    )


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    assert archive.turns(tmp_path) == []
    with pytest.raises(UsageError, match="no directory"):
        archive.must_be_there(str(tmp_path / "none"))


# --- which traces there are ----------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three traces, over two files and broken lines; one span is there twice."""
    ids = ["aa11" + "0" * 28, "aa22" + "0" * 27 + "7", "bb33" + "0" * 28]

    def lines(at: int, *which: int, **more: str) -> bytes:
        spans = [
            span(
                traceId=ids[n],
                name="chat_turn",
                startTimeUnixNano=str(at + n),
                endTimeUnixNano=str(at + n + 5),
                **more,
            )
            for n in which
        ]
        return line(*spans)

    child = {"spanId": "99" * 8, "parentSpanId": "cd" * 8}
    backup(tmp_path, 1, lines(10, 0, 1) + b"torn {\n" + lines(12, 0, **child))
    (tmp_path / SPAN_FILE).write_bytes(lines(10, 1, 2) + lines(12, 0, **child) + b'{"resou')
    return tmp_path


def test_traces_are_listed_newest_first_each_span_counted_once(three: Path) -> None:
    turns = archive.turns(three)
    assert [(t.trace_id[:4], t.spans, t.duration_ns) for t in turns] == [
        ("bb33", 1, 5),
        ("aa22", 1, 5),
        ("aa11", 2, 5),
    ]


def test_lines_that_are_none_are_told_by_every_way_of_reading(three: Path) -> None:
    known = archive.turns(three)
    told = f"1 place in the trace files could not be read ({SPAN_FILE}.1.gz)"
    listed, shown = Damage(), Damage()
    assert len(archive.turns(three, listed)) == 3
    archive.read(three, known[0].trace_id, shown)
    with Files(three) as files:
        selection = Selection()
        assert [selection.of(each) for each in files.lines()].count(None) == 1
    assert [str(listed), str(shown)] == [told, told]


def test_the_last_turn_is_the_newest_even_where_the_program_was_killed_in_it(three: Path) -> None:
    known = archive.turns(three)
    incomplete = msgspec.structs.replace(known[0], trace_id="ee" * 16, name="")
    of_models = msgspec.structs.replace(known[0], trace_id="dd" * 16, name="send llm.models")
    assert archive.find([incomplete, *known], "last") is incomplete
    assert archive.find([of_models, *known], "last") is known[0]


def test_a_trace_is_found_by_its_beginning_or_its_end(three: Path) -> None:
    known = archive.turns(three)
    assert archive.find(known, "last").trace_id.startswith("bb33")
    assert archive.find(known, "AA11").trace_id.startswith("aa11")
    assert archive.find(known, "0007").trace_id.startswith("aa22")
    with pytest.raises(Ambiguous) as raised:
        archive.find(known, "0000")
    assert [t.trace_id[:4] for t in raised.value.choices] == ["bb33", "aa11"]
    for wanted in ("aa1", "ffff", "aa1g", "", "../x"):
        with pytest.raises(UsageError):
            archive.find(known, wanted)
    with pytest.raises(ChatbotError, match="no traces"):
        archive.find([], "last")


def test_a_selection_keeps_what_is_wanted_once_and_byte_for_byte(three: Path) -> None:
    wanted = archive.find(archive.turns(three), "aa11").trace_id
    with Files(three) as files:
        everything, some = Selection(), Selection({wanted})
        all_lines = [everything.of(each) for each in files.lines()]
        chosen = b"".join(some.of(each) or b"" for each in files.lines())
    assert (everything.spans, len(everything.traces)) == (4, 3)
    assert sum(len(list(decode(each))) for each in all_lines if each) == 4
    assert (some.spans, some.traces) == (2, {wanted})
    assert [s.trace_id for each in chosen.splitlines() for s in decode(each)] == [wanted] * 2
    whole = line(span(unknown={"kept": 1.50}), **{"service.name": {"stringValue": "é"}})
    assert b'"unknown": {"kept": 1.5}' in (Selection().of(whole) or b"")
