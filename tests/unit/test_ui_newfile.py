"""A new file is there whole or not at all, and takes no other's place."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatbot.errors import ChatbotError
from chatbot.ui.newfile import write_new


def without_links(*arguments: object) -> None:
    raise OSError(errno.EPERM, "not here")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_has_all_pieces_and_one_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    path = tmp_path / "new.md"
    write_new(str(path), ["one\n", "größer\n"])
    assert path.read_bytes() == "one\ngrößer\n".encode()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("appears", ["before", "meanwhile"])
def test_what_is_there_already_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appears: str, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    path = tmp_path / "old.md"

    def pieces() -> Iterator[str]:
        path.write_text("old")
        yield "new"

    if appears == "before":
        path.write_text("old")
    with pytest.raises(ChatbotError, match="exists already"):
        write_new(str(path), pieces() if appears == "meanwhile" else ["new"])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs a privilege there")
def test_a_link_to_nowhere_is_something_too(tmp_path: Path) -> None:
    path = tmp_path / "link.md"
    path.symlink_to(tmp_path / "elsewhere.md")
    with pytest.raises(ChatbotError, match="exists already"):
        write_new(str(path), ["new"])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ChatbotError("the store is gone"), KeyboardInterrupt()])
def test_a_document_that_breaks_off_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def pieces() -> Iterator[str]:
        yield "one"
        raise error

    with pytest.raises(type(error)):
        write_new(str(tmp_path / "new.md"), pieces())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "new.md"
    with pytest.raises(ChatbotError, match=r"cannot write .*new\.md: No space left on device"):
        write_new(str(path), ["one"])
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ChatbotError, match=r"cannot write .*: No such file or directory"):
        write_new(str(tmp_path / "missing" / "new.md"), ["one"])
