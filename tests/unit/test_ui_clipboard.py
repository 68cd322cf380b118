"""What is copied gets into a clipboard, by whatever there is."""

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chatbot.errors import ChatbotError
from chatbot.ui import clipboard
from chatbot.ui.clipboard import copy, osc52
from tests.fakes import eventually

TEXT = "Rayleigh: ½ 日本 👩\u200d💻\n\tescaped \x1b]0;x\x07 end"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="these are the tools of this system")


def tool(directory: Path, name: str, body: str) -> None:
    """Put a program on the PATH that is this directory."""
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!{sys.executable}\nimport sys, os, time\n{body}\n")
    program.chmod(0o755)


def saves(directory: Path, name: str) -> Path:
    """Put a program there that writes its input to a file; return that file."""
    taken = directory.parent / f"{name}.taken"
    body = f"open({str(taken)!r}, 'wb').write(repr(sys.argv[1:]).encode() + b'|' + sys.stdin.buffer.read())"
    tool(directory, name, body)
    return taken


def environment(directory: Path, **others: str) -> dict[str, str]:
    """Return what a program of a desktop finds around it."""
    return {"PATH": str(directory), **others}


def decoded(sequence: str) -> str:
    """Return the text in a sequence, as a terminal takes it."""
    match = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    assert match
    return base64.b64decode(match[1], validate=True).decode()


@LINUX
@pytest.mark.parametrize(
    ("name", "variable", "arguments"),
    [
        ("wl-copy", "WAYLAND_DISPLAY", []),
        ("xclip", "DISPLAY", ["-selection", "clipboard"]),
        ("xsel", "DISPLAY", ["--clipboard", "--input"]),
        ("tmux", "TMUX", ["load-buffer", "-w", "-"]),
    ],
)
def test_a_program_of_the_desktop_is_given_the_text(
    name: str, variable: str, arguments: list[str], tmp_path: Path
) -> None:
    taken = saves(tmp_path / "bin", name)
    around = environment(tmp_path / "bin", **{variable: "x"})
    assert copy(TEXT, None, around) == f"with {name}"
    assert taken.read_bytes() == repr(arguments).encode() + b"|" + TEXT.encode()


@LINUX
def test_a_program_is_not_tried_without_its_display(tmp_path: Path) -> None:
    taken = [
        saves(tmp_path / "bin", name) for name in ("wl-copy", "xclip", "xsel", "tmux", "pbcopy")
    ]
    written: list[str] = []
    said = copy(TEXT, written.append, environment(tmp_path / "bin", SSH_CONNECTION="x"))
    assert "OSC 52" in said
    assert decoded("".join(written)) == TEXT
    assert not any(file.exists() for file in taken)


@LINUX
def test_one_that_fails_or_hangs_is_followed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipboard, "_PATIENCE_S", 0.3)
    tool(tmp_path / "bin", "wl-copy", "sys.exit(1)")
    tool(tmp_path / "bin", "xclip", "time.sleep(1000)")
    around = environment(tmp_path / "bin", WAYLAND_DISPLAY="x", DISPLAY=":0")
    written: list[str] = []
    assert "OSC 52" in copy(TEXT, written.append, around)
    assert decoded("".join(written)) == TEXT
    with pytest.raises(ChatbotError, match="wl-copy and xclip failed"):
        copy(TEXT, None, around)
    taken = saves(tmp_path / "bin", "xsel")
    assert copy(TEXT, None, around) == "with xsel"
    assert taken.exists()


@LINUX
def test_one_that_stays_to_serve_the_text_is_not_waited_for(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    # As xclip does: it reads, leaves a process of its own behind, with all that was open, and ends.
    body = (
        f"sys.stdin.read()\nif os.fork():\n    os._exit(0)\nopen({str(alive)!r}, 'w').write(str(os.getpid()))\n"
        f"\nwhile os.path.exists({str(alive)!r}): time.sleep(0.01)"
    )
    tool(tmp_path / "bin", "xclip", body)
    assert copy(TEXT, None, environment(tmp_path / "bin", DISPLAY=":0")) == "with xclip"
    assert eventually(alive.exists)
    alive.unlink()  # ends it


def test_without_any_way_it_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ChatbotError) as raised:
        copy(TEXT, None, environment(tmp_path, SSH_TTY="x"))
    assert "\n" not in str(raised.value)
    assert "/export" in str(raised.value)


def test_what_is_too_long_for_a_terminal_is_not_sent(tmp_path: Path) -> None:
    written: list[str] = []
    around = environment(tmp_path, SSH_TTY="x")
    copy("x" * 75_000, written.append, around)
    assert decoded(written.pop()) == "x" * 75_000
    with pytest.raises(ChatbotError, match="75001 bytes are too much"):
        copy("x" * 75_001, written.append, around)
    assert written == []


def test_a_sequence_is_our_own_whatever_the_text_holds() -> None:
    for text in (TEXT, "", "\x07\x1b\\", "\ud83d", "\x9c"):
        decoded(osc52(text))
        wrapped = osc52(text, in_tmux=True)
        assert wrapped.startswith("\x1bPtmux;\x1b\x1b]52;c;")
        assert wrapped.endswith("\x07\x1b\\")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
def test_tmux_takes_it_for_its_own_person(tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    tmux = ("tmux", "-S", str(socket), "-f", "/dev/null")
    subprocess.run([*tmux, "new-session", "-d", "-s", "here", "cat"], check=True, timeout=20)
    try:
        pid = subprocess.run(
            [*tmux, "display-message", "-p", "#{pid}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        real = Path(shutil.which("tmux") or "").parent
        around = environment(real, TMUX=f"{socket},{pid},0")
        assert copy(TEXT, None, around) == "with tmux"
        shown = subprocess.run([*tmux, "show-buffer"], check=True, capture_output=True, timeout=20)
        assert shown.stdout == TEXT.encode()
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, timeout=20)
