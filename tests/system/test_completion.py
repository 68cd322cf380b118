"""Completion by Tab in real shells: bash, zsh and fish, each where it is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pexpect = pytest.importorskip("pexpect", reason="it is not for Windows")

ROOT = Path(__file__).resolve().parents[2]
ALIASES = '[aliases]\nfast = "ollama:llama3.2"\n'


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell}")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `chatbot` is this program; the working directory is to be `tmp_path/here`."""
    program = tmp_path / "bin" / "chatbot"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "run.py"}" "$@"\n')
    program.chmod(0o755)
    here = tmp_path / "here"
    (here / "a dir").mkdir(parents=True)
    (here / "a file.db").touch()
    (tmp_path / "config.toml").write_text(ALIASES)
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run(
            [str(program), "completion", shell], check=True, capture_output=True, text=True
        )
        (tmp_path / f"chatbot.{shell}").write_text(script.stdout)
    return {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CHATBOT_CONFIG": str(tmp_path / "config.toml"),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
    }


def in_bash(line: str, environment: dict[str, str]) -> list[str]:
    """Press Tab twice in bash, behind a line, and return what is offered or what the line has become."""
    home = Path(environment["HOME"])
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile", "-i"],
        env=environment | {"PS1": "$ ", "INPUTRC": "/dev/null"},
        cwd=str(home / "here"),
        encoding="utf-8",
        timeout=30,
        dimensions=(200, 200),
    )
    try:
        shell.expect_exact("$ ")
        shell.sendline(
            "bind 'set show-all-if-ambiguous on'; bind 'set page-completions off'; bind 'set bell-style none'"
        )
        shell.expect_exact("$ ")
        shell.sendline(f"source {home / 'chatbot.bash'}; echo rea''dy")
        shell.expect_exact("ready\r\n$ ")
        shell.send(f"{line}\t")
        shell.send("\x01echo '<\x05>'\r")  # the line becomes the word of an echo
        shell.expect(r"\n<(.*)>\r\n")
        return [shell.match[1], *shell.before.split()]
    finally:
        shell.close(force=True)


@needs("bash")
@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("chatbot sess", "chatbot sessions "),
        ("chatbot sessions exp", "chatbot sessions export "),
        ("chatbot --backend an", "chatbot --backend anthropic "),
        ("chatbot --backend=an", "chatbot --backend=anthropic "),
        ("chatbot --sess", "chatbot --session-id "),
        ("chatbot -m fa", "chatbot -m fast "),
        ("chatbot --model=", "chatbot --model=fast "),
        ("chatbot sessions prune --older", "chatbot sessions prune --older-than "),
        ("chatbot --db a\\ f", "chatbot --db a\\ file.db "),
        ("chatbot --log-dir a", "chatbot --log-dir a\\ dir/"),
        ("chatbot simulate --sweep x --cal", "chatbot simulate --sweep x --calibration "),
        ("chatbot --workers a", "chatbot --workers a"),
    ],
)
def test_bash_completes(line: str, becomes: str, environment: dict[str, str]) -> None:
    assert in_bash(line, environment)[0] == becomes


@needs("bash")
def test_bash_shows_all_that_may_stand(environment: dict[str, str]) -> None:
    offered = in_bash("chatbot config ", environment)
    assert {"path", "show"} <= set(offered)


@needs("fish")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("chatbot sess", ["sessions\tlist, show, search, export, rename, delete what was said"]),
        ("chatbot --backend an", ["anthropic"]),
        ("chatbot --backend=an", ["--backend=anthropic"]),
        ("chatbot -m ", ["fast\tollama:llama3.2:latest"]),
        ("chatbot cache cl", ["clear\tempty it"]),
        ("chatbot --log-dir a", ["a dir/\tDirectory"]),
        ("chatbot --db a\\ f", ["a file.db"]),
        ("chatbot --db=a\\ f", ["--db=a file.db"]),
        ("chatbot --db 'a f", ["a file.db"]),
    ],
)
def test_fish_completes(line: str, offered: list[str], environment: dict[str, str]) -> None:
    home = Path(environment["HOME"])
    script = 'source $argv[1]; complete -C "$argv[2]"'
    found = subprocess.run(
        ["fish", "--no-config", "-c", script, str(home / "chatbot.fish"), line],
        env=environment,
        cwd=home / "here",
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (found.stdout.splitlines(), found.stderr) == (offered, "")


@needs("zsh")
@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("chatbot sess", "chatbot sessions "),
        ("chatbot --backend an", "chatbot --backend anthropic "),
        ("chatbot --backend=an", "chatbot --backend=anthropic "),
        ("chatbot -m fa", "chatbot -m fast "),
        ("chatbot sessions --db x pru", "chatbot sessions --db x prune "),
        ("chatbot --db a\\ f", "chatbot --db a\\ file.db "),
        ("chatbot --log-dir a", "chatbot --log-dir a\\ dir/"),
    ],
)
def test_zsh_completes(line: str, becomes: str, environment: dict[str, str]) -> None:
    home = Path(environment["HOME"])
    setup = f"autoload -Uz compinit; compinit -u -D; source {home / 'chatbot.zsh'}"
    assert in_zsh(line, setup, environment) == becomes.rstrip()


@needs("zsh")
def test_zsh_finds_the_script_by_itself(environment: dict[str, str]) -> None:
    functions = Path(environment["HOME"]) / "functions"
    functions.mkdir()
    (functions.parent / "chatbot.zsh").rename(functions / "_chatbot")
    setup = f"fpath=({functions} $fpath); autoload -Uz compinit; compinit -u -D"
    assert in_zsh("chatbot cache st", setup, environment) == "chatbot cache stats"


def in_zsh(line: str, setup: str, environment: dict[str, str]) -> str:
    """Press Tab in zsh, behind a line, and return what the line has become."""
    shell = pexpect.spawn(
        "zsh",
        ["-f", "-i"],
        env=environment | {"PS1": "$ "},
        cwd=str(Path(environment["HOME"]) / "here"),
        encoding="utf-8",
        timeout=30,
        dimensions=(200, 200),
    )
    try:
        shell.expect_exact("$ ")
        # What the line has become is told by the shell itself, behind a key of its own.
        told = (
            "tell() { zle -I; print -r -- \"<$BUFFER>\"; BUFFER=; }; zle -N tell; bindkey '^T' tell"
        )
        shell.sendline(f"unsetopt zle_bracketed_paste; {setup}; {told}; echo rea''dy")
        shell.expect_exact("ready\r\n")
        shell.send(f"{line}\t\x14")
        shell.expect(r"<(chatbot .*?)>\r\n")
        return str(shell.match[1]).rstrip()
    finally:
        shell.close(force=True)
