"""`run.py simulate` as a program of its own, and its result."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import figures
from chatbot.simulate.result import Result, decode

ROOT = Path(__file__).resolve().parents[2]
INSTANT = ("--first-token", "0", "--inter-chunk", "0", "--chunks", "32")


def environment() -> dict[str, str]:
    """Return this environment without OpenTelemetry's variables: made-up turns go to no collector."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    return {**kept, **none, "PYTHONPATH": str(ROOT)}


def simulate(out: Path, *arguments: str) -> Result:
    """Run it into a new directory."""
    figures.progress(f"simulate {' '.join(arguments)}")
    command = [sys.executable, str(ROOT / "run.py"), "simulate", "--no-live", "--profile"]
    done = subprocess.run(
        [*command, "--out", str(out), *arguments],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"simulate ended with {done.returncode}: {done.stderr}")
    return decode((out / "result.json").read_bytes(), "result.json")
