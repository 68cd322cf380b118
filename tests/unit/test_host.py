import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chatbot import host
from tests.fakes import eventually


@pytest.mark.parametrize("code", [-signal.SIGTERM, -signal.SIGINT, 0xC000013A])
def test_a_process_that_was_told_to_stop_is_known_by_its_exit_code(code: int) -> None:
    assert host.was_told_to_stop(code)


@pytest.mark.parametrize("code", [0, 1, 3, 70, -9, -11])
def test_any_other_end_is_not_one_that_somebody_wished(code: int) -> None:
    assert not host.was_told_to_stop(code)


def test_a_socket_that_is_to_be_reset_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname(), 5)
        far, _ = server.accept()
    host.reset_when_closed(far)
    far.close()
    with near, pytest.raises(ConnectionResetError):
        near.recv(1)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit there")
def test_the_limit_of_open_files_is_raised_as_far_as_it_goes_and_never_lowered() -> None:
    program = (
        "import resource as r; from chatbot.host import raise_file_limit as up;"
        "r.setrlimit(r.RLIMIT_NOFILE, (100, 300));"
        "print(up(50), up(200), up(10**6), r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "100 200 300 (300, 300)\n"


def test_a_share_of_the_processors_counts_as_so_many(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    every = host.cores(str(quota))
    assert 1 <= every <= (os.cpu_count() or 1)
    for said, number in (
        ("max 100000", every),
        ("50000 100000", 1),
        ("100000 100000", 1),
        (f"{every * 100_000 - 1} 100000", every),
        ("99900000 100000", every),
        ("nonsense", every),
    ):
        quota.write_text(f"{said}\n", encoding="ascii")
        assert host.cores(str(quota)) == number, said
    assert host.processor()


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="there is no such policy here")
def test_who_yields_does_not_push_others_off_and_neither_do_its_children() -> None:
    child = "import os; print(os.sched_getscheduler(0) == os.SCHED_BATCH)"
    program = (
        "import subprocess, sys; from chatbot.host import yield_to_who_runs;"
        f"yield_to_who_runs(); subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "True\n"


def test_what_one_has_locked_nobody_else_gets_until_it_is_closed(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with (
        open(host.open_private(path, os.O_RDWR | os.O_CREAT), "r+b") as first,
        open(host.open_private(path, os.O_RDWR), "r+b") as second,
    ):
        assert host.lock_whole(first)
        assert not host.lock_whole(second)
        program = "import sys; from chatbot.host import lock_whole; print(lock_whole(open(sys.argv[1], 'r+b')))"
        other = (sys.executable, "-c", program, path)
        assert subprocess.run(other, check=True, capture_output=True).stdout.split() == [b"False"]
        first.close()
        assert subprocess.run(other, check=True, capture_output=True).stdout.split() == [b"True"]
        assert host.lock_whole(second)


@pytest.mark.parametrize(
    ("system", "around", "names"),
    [
        ("linux", {}, []),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, ["wl-copy", "xclip", "xsel"]),
        ("linux", {"SSH_TTY": "x", "DISPLAY": "localhost:10.0"}, ["xclip", "xsel"]),
        ("linux", {"SSH_CONNECTION": "x", "TMUX": "x"}, ["tmux"]),
        ("darwin", {"TMUX": "x"}, ["pbcopy", "tmux"]),
        ("darwin", {"SSH_CONNECTION": "x"}, []),
        ("win32", {}, ["clip"]),
        ("win32", {"SSH_CONNECTION": "x"}, []),
    ],
)
def test_the_clipboard_that_is_tried_is_the_persons_own(
    system: str, around: dict[str, str], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert [command[0] for command, _ in host.copying_tools(around)] == names


RESTORES = """
import os, sys
from chatbot import host
modes = host.TerminalModes()
os.set_blocking(1, False)
try:
    while True:
        os.write(1, b"x" * 100)
except BlockingIOError:
    os.set_blocking(1, True)
modes.restore(console=True)
os._exit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_that_does_not_read_keeps_nobody_who_gives_it_back() -> None:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", RESTORES])
    ended: list[int] = []

    def has_ended() -> bool:
        which, status = os.waitpid(pid, os.WNOHANG)
        ended.extend([os.waitstatus_to_exitcode(status)] if which else [])
        return bool(ended)

    try:
        assert eventually(has_ended, 20)
        assert ended == [7]
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)
