"""From Enter to the first token of an answer on the terminal, beside a bare curl; and to one from the cache."""

import re
import shutil
import statistics
import subprocess
import urllib.request

from benchmarks.figures import heading, row
from benchmarks.terminal.tty import PROMPT, Tty, chatbot

_TOKEN = re.compile(rb"token-\d+-")


def run(directory: str, url: str, turns: int) -> None:
    """Print the medians of Enter to text, of curl's time to the first byte, and what is between them."""
    curl = shutil.which("curl")
    asks = ("--backend", "openai", "--model", "instant")
    fresh: list[float] = []
    bare: list[float] = []
    with chatbot(directory, url, *asks, "--no-cache") as tty:
        tty.until(PROMPT)
        for turn in range(turns + 1):
            taken = _ask(tty, f"question {turn}")
            if turn:  # the first is for the caches
                fresh.append(taken)
                if curl:
                    bare.append(_curl(curl, url))
        tty.end("/quit\r")
    heading(f"Enter to text, median of {turns} turns, ms", "ms", "min", "max")
    _row("first token", fresh)
    if bare:
        _row("curl -N, to its first byte", bare)
        row("above curl", statistics.median(fresh) - statistics.median(bare), digits=1)
    cached: list[float] = []
    with chatbot(directory, url, *asks) as tty:
        tty.until(PROMPT)
        for turn in range(turns + 1):
            taken = _ask(tty, "the same question")
            if turn:
                cached.append(taken)
            tty.send("/new-session\r")
            tty.quiet()
        tty.end("/quit\r")
    _row("answer from the cache", cached)


def _ask(tty: Tty, question: str) -> float:
    """Return the milliseconds from Enter to the answer's text."""
    tty.quiet()
    tty.send(question)
    before = tty.quiet()
    pressed = tty.send("\r")
    shown = tty.until(b"token-", before)
    while not _TOKEN.search(tty.raw, before):
        shown = tty.until(b"-", len(tty.raw))
    return (shown - pressed) * 1000


def _curl(curl: str, url: str) -> float:
    """Send the last question again, with curl; return the milliseconds from its start to the first byte, as
    it measures them itself: without the start of a process."""
    with urllib.request.urlopen(f"{url}/last") as response:
        body = response.read()
    command = [curl, "-sN", "-o", "/dev/null", "-w", "%{time_starttransfer}", "--data-binary", "@-"]
    command += ["-H", "content-type: application/json", f"{url}/v1/chat/completions"]
    done = subprocess.run(command, input=body, check=True, capture_output=True)
    return float(done.stdout) * 1000


def _row(name: str, values: list[float]) -> None:
    row(name, statistics.median(values), min(values), max(values), digits=1)
