"""What was typed before: kept on disk, for every chat that runs."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot import host
from chatbot.sanitize import well_formed
from chatbot.ui.console.past import Past

ROOT = Path(__file__).resolve().parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes are another thing there")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history"


def test_what_was_typed_is_there_for_the_next_chat(path: Path) -> None:
    past = Past(str(path))
    assert past.load() == []
    for text in ("one", "two\nlines", "日本 \u2028 👩\u200d💻", "one"):
        past.append(text)
    assert Past(str(path)).load() == ["one", "two\nlines", "日本 \u2028 👩\u200d💻", "one"]
    assert past.take_fault() == ""


@given(st.lists(st.text()))
def test_any_text_comes_back_as_it_can_be_stored(texts: list[str]) -> None:
    past = Past("")
    for text in texts:
        past.append(text)
    kept = [well_formed(text) for text in texts if text.strip()]
    assert past.load() == [
        text for number, text in enumerate(kept) if number == 0 or kept[number - 1] != text
    ]


def test_a_text_is_not_kept_twice_in_a_row_by_whomever(path: Path) -> None:
    first, second = Past(str(path)), Past(str(path))
    for past in (first, second, first):
        past.append("same")
    assert path.read_bytes() == b'"same"\n'
    first.append('say "e')
    second.append("e")  # its line is the end of the one before
    first.append(" ")
    first.append("same")
    assert first.load() == ["same", 'say "e', "e", "same"]


def test_nothing_is_read_or_made_without_need(path: Path) -> None:
    path.parent.mkdir()
    assert Past(str(path)).load() == []
    assert list(path.parent.iterdir()) == []


@POSIX
def test_nobody_else_may_read_it_also_where_they_could_before(path: Path) -> None:
    past = Past(str(path))
    before = os.umask(0)
    try:
        past.append("one")
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for name in (path, Path(f"{path}.lock")):
            assert stat.S_IMODE(name.stat().st_mode) == 0o600
        path.chmod(0o644)
        past.append("two")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o664)
        past.load()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        small = Past(str(path), most_texts=1)
        small.load()
        small.append("three")  # the file is another one now
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_lines_that_are_broken_are_left_out(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'"one"\nplain\n{"a": 1}\n\xff\xfe\n"\xff"\n\n"two"\r\n"thr')
    past = Past(str(path))
    assert past.load() == ["one", "two"]
    past.append("four")
    assert past.load() == ["one", "two", "four"]


def test_it_is_bounded_in_texts_and_the_newest_stay(path: Path) -> None:
    past = Past(str(path), most_texts=20)
    for number in range(100):
        past.append(str(number))
        assert path.read_bytes().count(b"\n") <= 20
    assert past.load()[-10:] == [str(number) for number in range(90, 100)]


def test_it_is_bounded_in_bytes_and_a_text_that_is_too_long_is_not_kept(path: Path) -> None:
    past = Past(str(path), most_bytes=1000)
    for number in range(100):
        past.append(f"{number} {'x' * 50}")
        assert path.stat().st_size <= 1000
    past.append("y" * 1000)
    texts = past.load()
    assert texts[-1].startswith("99 ")
    assert len(texts) > 10
    assert past.take_fault() == ""


def test_of_a_file_that_is_too_large_only_the_end_is_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"".join(b'"%d"\n' % number for number in range(10, 100)))
    assert Past(str(path), most_bytes=50).load() == [str(number) for number in range(90, 100)]
    assert Past(str(path), most_bytes=52).load() == [str(number) for number in range(90, 100)]
    assert Past(str(path), most_texts=3).load() == ["97", "98", "99"]
    path.write_bytes(b'"say \\"e"\n"two"\n')
    assert Past(str(path), most_bytes=9).load() == ["two"]  # what is cut off is not read as "e"


@pytest.mark.parametrize("kind", ["a directory", "in a file", "a pipe"])
def test_a_place_that_cannot_be_used_is_told_once_in_one_line(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "history"
    if kind == "a directory":
        place.mkdir()
    elif kind == "in a file":
        place.write_text("")
        place = place / "history"
    elif hasattr(os, "mkfifo"):
        os.mkfifo(place)
    else:
        pytest.skip("there are no such pipes")
    past = Past(str(place))
    assert past.load() == []
    past.append("one")
    past.append("two")
    fault = past.take_fault()
    assert fault.startswith("cannot ")
    assert str(place) in fault
    assert "\n" not in fault
    past.append("three")
    assert past.take_fault() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_device_is_no_place_for_it(tmp_path: Path) -> None:
    (tmp_path / "history").symlink_to("/dev/full")
    past = Past(str(tmp_path / "history"))
    past.append("one")
    assert "not a file" in past.take_fault()


def test_who_keeps_the_lock_is_not_waited_for_without_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.ui.console.past._PATIENCE_S", 0.0)
    past = Past(str(path))
    past.append("one")
    with Path(f"{path}.lock").open("r+b") as file:
        assert host.lock_whole(file)
        past.append("two")
    assert "another program keeps it locked" in past.take_fault()
    past.append("three")
    assert past.load() == ["one", "three"]


_APPEND = """
import sys
from chatbot.ui.console.past import Past
path, name, count, most = sys.argv[1:]
past = Past(path, most_texts=int(most))
past.load()
print("ready", flush=True)
sys.stdin.read(1)
for number in range(int(count)):
    past.append(f"{name} {number} " + "x" * (number % 97))
print(past.take_fault())
"""


def append_at_once(path: Path, processes: int, count: int, most: int) -> list[tuple[str, int]]:
    """Have several processes append at once; return what is in the file, as names and numbers."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _APPEND, str(path), f"p{number}", str(count), str(most)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write("g")
        child.stdin.flush()
    for child in children:
        said, _ = child.communicate(timeout=50)
        assert said == "\n"
        assert child.returncode == 0
    lines = [json.loads(line).split() for line in path.read_bytes().splitlines()]
    return [(words[0], int(words[1])) for words in lines]


def test_several_chats_that_type_at_once_lose_nothing(path: Path) -> None:
    found = append_at_once(path, processes=5, count=200, most=10_000)
    for name in (f"p{number}" for number in range(5)):
        assert [number for who, number in found if who == name] == list(range(200))


def test_they_lose_nothing_that_is_new_while_one_of_them_shortens_it(path: Path) -> None:
    found = append_at_once(path, processes=5, count=200, most=100)
    # Each knows of its own lines, so that there may be some more than the most for a while.
    assert 0 < len(found) <= 5 * 100
    for name in {who for who, _ in found}:
        numbers = [number for who, number in found if who == name]
        assert numbers == list(range(numbers[0], 200))
