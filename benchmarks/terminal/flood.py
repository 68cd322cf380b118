"""A very long answer that comes very fast: what it costs, whether keys are still shown, and what is left of it."""

import importlib
import importlib.util
import statistics
import time

import psutil

from benchmarks.figures import heading, progress, row
from benchmarks.terminal.answers import long_answer, pieces
from benchmarks.terminal.tty import COLUMNS, PROMPT, ROWS, Tty, chatbot

_KEYS = [chr(code) for code in range(0x0430, 0x0450)] + [chr(code) for code in range(0x3B1, 0x3C9)]
_EVERY_S = 0.15
_LOST_S = 5.0
_LAST = b"flood has ended."


def run(directory: str, url: str, lines: int, rate: int) -> None:
    """Print processor time of the terminal's process in % of a core, the echo of keys, and its memory."""
    text = long_answer(lines)
    arguments = ("--backend", "openai", "--model", f"flood-{lines}-{rate}", "--no-cache")
    with chatbot(directory, url, *arguments) as tty:
        tty.until(PROMPT)
        ui = psutil.Process(tty.pid("ui"))
        tty.quiet()
        before, memory = _cpu_s(ui), ui.memory_info().rss
        since = len(tty.raw)
        pressed = tty.send("go\r")
        echoes = _type(tty, since)
        taken = time.perf_counter() - pressed
        cpu = (_cpu_s(ui) - before) / taken * 100
        tty.quiet()
        after = ui.memory_info().rss
        written = len(tty.raw) - since
        tty.end("\x03", "\x04")
        raw = bytes(tty.raw)
    count = len(pieces(text))
    heading(f"{lines:,} lines in {count:,} pieces, {rate:,} a second", "")
    row("seconds from Enter to the end", taken, digits=1)
    row("seconds at that rate", count / rate, digits=1)
    row("processor time of the ui, % of a core", cpu, digits=1)
    row("a typed key to its echo, ms: median", statistics.median(echoes) if echoes else "none")
    row("a typed key to its echo, ms: longest", max(echoes) if echoes else "none")
    row("written to the terminal, of the text's own size", written / len(text), digits=2)
    row("RSS of the ui before, MB", memory / 1e6, digits=1)
    row("RSS of the ui after, MB", after / 1e6, digits=1)
    row("scrollback as a rendering of the whole", _compared(raw, text))


def _type(tty: Tty, since: int) -> list[float]:
    """Type a key now and then until the answer has ended; return the milliseconds to each one's echo,
    infinite for a key that was lost."""
    tty.until(
        b"Part 0", since
    )  # before that, plain chats change from one editor of keys to another
    echoes: list[float] = []
    keys = list(_KEYS)
    pressed, wanted = 0.0, b""
    seen = since
    while True:
        tty.read(0.005)
        now = time.perf_counter()
        if wanted and wanted in tty.raw[seen:]:
            echoes.append((now - pressed) * 1000)
            wanted = b""
        if wanted and now - pressed > _LOST_S:
            echoes.append(float("inf"))
            wanted = b""
        if _LAST in tty.raw[max(since, len(tty.raw) - 100_000) :]:
            return echoes
        if keys and not wanted and now - pressed > _EVERY_S:
            seen = len(tty.raw)
            wanted = keys[0].encode()
            pressed = tty.send(keys.pop(0))
        if tty.process.poll() is not None:
            raise RuntimeError(f"the chat has ended: {bytes(tty.raw[-2000:])!r}")


def _compared(raw: bytes, text: str) -> str:
    """Say whether what the terminal keeps is what a rendering of the whole answer at once looks like."""
    if importlib.util.find_spec("chatbot.ui.console.console") is None:
        return "no console"
    import pyte

    from chatbot.ui.lines import line, plain

    rendered = importlib.import_module("chatbot.ui.markdown.stream").rendered

    progress("comparing the scrollback")
    wanted = [plain(each).rstrip() for each in rendered(text, COLUMNS, line("Bot: "))]
    screen = pyte.HistoryScreen(COLUMNS, ROWS, history=20 * text.count("\n"))
    pyte.Stream(screen).feed(raw.decode("utf-8", "replace"))
    rows = [*screen.history.top, *(screen.buffer[number] for number in range(ROWS))]
    shown = ["".join(cells[n].data for n in range(COLUMNS)).rstrip() for cells in rows]
    starts = [number for number, each in enumerate(shown) if each == wanted[0]]
    for start in starts:
        found = shown[start : start + len(wanted)]
        if found == wanted:
            return "equal"
        differs = next(n for n, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b)
        progress(f"line {differs}: {found[differs]!r} is not {wanted[differs]!r}")
    return "differs"


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
