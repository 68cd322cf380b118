"""From the start of a program to its prompt, and to the first key that its editor shows."""

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import heading, in_turns, row
from benchmarks.terminal.tty import PROMPT, Tty, chatbot, environment

_KEY = "ж"  # nothing else on the screen has it


def run(directory: str, url: str, rounds: int, peers: str) -> None:
    """Print medians, and how many times faster than the faster peer the prompt is there."""
    measures: dict[str, Callable[[], float]] = {
        "chatbot, to the prompt": lambda: _to_prompt(directory, url),
        "chatbot, to the first key shown by its editor": lambda: _to_key(directory, url),
    }
    ours = len(measures)
    found = shutil.which("llm", path=peers)
    if found:
        measures["llm chat, to the prompt"] = lambda: _llm_to_prompt(found, url)
    oterm = shutil.which("oterm", path=peers)
    if oterm:
        measures["oterm --version"] = lambda: _to_end([oterm, "--version"])
    taken = in_turns(measures, rounds)
    middle = {name: statistics.median(values) * 1000 for name, values in taken.items()}
    theirs = list(middle.values())[ours:]
    heading(f"start, median of {rounds}, ms", "ms", "min", "max", "faster peer /")
    for name, values in taken.items():
        ratio = f"{min(theirs) / middle[name]:.1f}" if theirs and "chatbot" in name else ""
        row(name, middle[name], min(values) * 1000, max(values) * 1000, ratio)
    if not theirs:
        row("no peer is installed: see --peers", "")


def _to_prompt(directory: str, url: str) -> float:
    with chatbot(directory, url, "--backend", "openai", "--model", "instant") as tty:
        taken = tty.until(PROMPT) - tty.started
        tty.quiet()
        tty.end("/quit\r")
        return taken


def _to_key(directory: str, url: str) -> float:
    with chatbot(directory, url, "--backend", "openai", "--model", "instant") as tty:
        tty.until(PROMPT)
        while not tty.is_edited():
            tty.read(0.001)
        since = len(tty.raw)
        tty.send(_KEY)
        taken = tty.until(_KEY.encode(), since) - tty.started
        tty.quiet()
        tty.end("\x7f/quit\r")
        return taken


def _llm_to_prompt(command: str, url: str) -> float:
    with tempfile.TemporaryDirectory(prefix="chatbot-benchmark-") as directory:
        model = f"- model_id: local\n  model_name: instant\n  api_base: {url}/v1\n"
        path = Path(directory) / "extra-openai-models.yaml"
        path.write_text(model + "  api_key_name: local\n", encoding="utf-8")
        (Path(directory) / "keys.json").write_text('{"local": "none"}', encoding="utf-8")
        own = environment(directory, LLM_USER_PATH=directory)
        with Tty([command, "chat", "-m", "local"], directory, own) as tty:
            return tty.until(b"\n> ") - tty.started


def _to_end(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started
