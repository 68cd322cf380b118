"""The ways in which a simulation can be asked for, each as a program: quick runs, of which only what is special is looked at."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from chatbot.cli.sweep import Sweep
from chatbot.simulate.past import REPORT, RESULT, TABLE, TURNS
from chatbot.simulate.result import Result, decode
from tests.fakes import eventually
from tests.system.program import ROOT, clean_environment
from tests.system.simulation import QUICK, adds_up, sim_server


def call(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Call what starts no process of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "simulate", *arguments],
        cwd=directory,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


def test_turns_by_the_clock_with_a_ramp_and_objectives(simulate: Any) -> None:
    run = simulate(
        *("--arrival", "constant", "--rate", "50", "--duration", "1s", "--turns", "2"),
        *("--ramp", "400ms", "--warmup", "200ms", "--no-live"),
        *("--slo", "ttft:10s,latency:1ms", "--trace-ratio", "0", "--json", *QUICK),
    )
    code, out, errors = run.finish()
    assert code == 0, errors
    result = adds_up(run)
    assert msgspec.json.decode(out, type=Result) == result
    assert result.requested_rate == 50
    assert result.totals.asked == 50  # in one second; what fell due before is not measured
    warm = [turn for turn in run.turns() if turn["phase"] == "warmup"]
    assert len(warm) == 20  # the half of 0.4 s · 50, and 0.2 s · 50
    met = {slo.metric: slo.met for slo in result.slos}
    assert met == {"ttft": 50, "latency": 0}
    pipeline = result.settings["pipeline"]
    assert isinstance(pipeline, dict)
    assert (pipeline["trace_ratio"], pipeline["retries"]) == (0.0, 0)
    spans = run.out / "logs" / "extrachat_traces_process.log"
    assert not spans.exists() or '"chat_turn"' not in spans.read_text(encoding="utf-8")


def test_no_more_turns_are_under_way_than_are_allowed(simulate: Any) -> None:
    run = simulate(
        *("--sessions", "6", "--turns", "2", "--max-concurrency", "2", "--no-live", *QUICK)
    )
    code, _, errors = run.finish()
    assert code == 0, errors
    assert adds_up(run).totals.answered == 12
    moments = sorted(
        moment for turn in run.turns() for moment in ((turn["asked_ns"], 1), (turn["done_ns"], -1))
    )
    under_way = [sum(change for _, change in moments[:end]) for end in range(len(moments) + 1)]
    assert max(under_way) == 2


def test_without_a_calibration_only_the_run_is_asked(simulate: Any, tmp_path: Path) -> None:
    with sim_server(tmp_path) as address:
        run = simulate(
            *("--backend", "ollama", "--model", "sim", "--sessions", "2", "--turns", "2"),
            *("--calibration", "0", "--no-live"),
            OLLAMA_HOST=address,
        )
        code, _, errors = run.finish()
    assert code == 0, errors
    result = adds_up(run)
    assert {turn["phase"] for turn in run.turns()} == {"run"}
    assert [accuracy.where for accuracy in result.accuracy] == ["run"]
    pipeline = result.settings["pipeline"]
    assert isinstance(pipeline, dict)
    assert "server" not in pipeline  # of another program nothing is known


def test_a_run_is_compared_with_itself_and_with_a_slower_one(simulate: Any, tmp_path: Path) -> None:
    load = ("--sessions", "4", "--turns", "1", "--requests", "60", "--no-save", "--no-live")
    fast = simulate(*load, *QUICK)
    assert fast.finish()[0] == 0
    slow = simulate(*load, *QUICK, "--first-token", "200ms")
    assert slow.finish()[0] == 0
    gate = ("--fail-on", "ttft.p50:+50%")
    same = call(tmp_path, "compare", str(fast.out), str(fast.out / RESULT), *gate)
    assert (same.returncode, same.stderr) == (0, "")
    assert "passed: ttft.p50:+50%" in same.stdout
    assert "differs" not in same.stdout
    other = call(tmp_path, "compare", str(fast.out), str(slow.out), *gate)
    assert (other.returncode, other.stderr) == (1, "")
    assert "failed: ttft.p50:+50%" in other.stdout
    assert "pipeline.server.first_token differs" in other.stdout
    told = json.loads(call(tmp_path, "compare", str(fast.out), str(slow.out), "--json").stdout)
    assert {row["name"]: row["judgement"] for row in told["rows"]}["ttft.p50"] == "worse"


def test_a_report_is_made_again(simulate: Any, tmp_path: Path) -> None:
    run = simulate("--sessions", "2", "--turns", "2", "--no-live", *QUICK)
    assert run.finish()[0] == 0
    before = run.result()
    for name in (REPORT, TABLE):
        (run.out / name).unlink()
    again = call(tmp_path, "report", str(run.out), "--json")
    assert (again.returncode, again.stderr) == (0, "")
    assert decode(again.stdout.encode(), RESULT) == before
    assert all((run.out / name).exists() for name in (REPORT, TABLE))


def sweep_in(directory: Path) -> Sweep:
    return msgspec.json.decode((directory / "sweep.json").read_bytes(), type=Sweep)


def begin_sweep(directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a sweep in a directory that is not the checkout, with nothing that leads to it."""
    environment = clean_environment()
    del environment["PYTHONPATH"]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "simulate", "--out", "out", *arguments],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def test_a_sweep_is_made_from_any_directory(tmp_path: Path) -> None:
    sweep = begin_sweep(
        tmp_path, "--sweep", "sessions=1,3", "--turns", "2", "--seed", "5", "--no-live", *QUICK
    )
    out, errors = sweep.communicate(timeout=60)
    assert sweep.returncode == 0, errors
    found = sweep_in(tmp_path / "out")
    assert [(point.label, point.value) for point in found.points] == [
        ("sessions=1", 1.0),
        ("sessions=3", 3.0),
    ]
    assert [point.result.totals.answered for point in found.points] == [2, 6]
    assert not found.ended_early
    assert all(f"sessions={number}" in out for number in (1, 3))
    page = (tmp_path / "out" / "sweep.html").read_text(encoding="utf-8")
    linked = [unquote(found) for found in re.findall(r'href="[.]/([^"]+)"', page)]
    for number in (1, 3):
        link = f"sessions={number}/report.html"
        assert link in linked
        assert (tmp_path / "out" / link).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to one process is POSIX's")
def test_an_interrupt_of_the_sweep_alone_ends_the_run_and_the_sweep(tmp_path: Path) -> None:
    load = ("--arrival", "constant", "--requests", "50", "--turns", "1", "--no-save", "--no-live")
    sweep = begin_sweep(tmp_path, "--sweep", "rate=500,1,2", *load, *QUICK)
    turns = tmp_path / "out" / "rate=1" / TURNS
    try:
        assert eventually(lambda: turns.exists() and turns.stat().st_size > 0, 30), sweep.poll()
        sweep.send_signal(signal.SIGINT)
        out, errors = sweep.communicate(timeout=60)
    finally:
        sweep.kill()
    assert sweep.returncode == 130, errors
    found = sweep_in(tmp_path / "out")
    assert [(point.label, point.exit_code) for point in found.points] == [
        ("rate=500", 0),
        ("rate=1", 130),
    ]
    assert found.points[0].result.totals.answered == 50
    assert found.points[1].result.ended_early == "interrupted"
    assert found.ended_early
    assert (tmp_path / "out" / "sweep.html").exists()
    assert "rate=1" in out
    assert not (tmp_path / "out" / "rate=2").exists()
