"""The command line of `simulate`: what its options mean, and what is refused before anything is started."""

import errno
import io
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from chatbot import cli, host
from chatbot.cli import load
from chatbot.cli.results import run_compare
from chatbot.cli.sweep import parse_sweep, without
from chatbot.distribution import Distribution, constant
from chatbot.errors import UsageError
from chatbot.settings import Arguments, Settings
from chatbot.settings import load as load_settings
from chatbot.simulate.display import Display
from chatbot.simulation import Simulation, Slo
from chatbot.supervisor import process
from tests import results
from tests.results import result


class Simulate:
    """Runs `simulate` up to the point where processes would be started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings: Settings | None = None
        self._capsys = capsys
        monkeypatch.setattr(process, "run", self._run)

    def _run(self, settings: Settings) -> int:
        self.settings = settings
        return 0

    def __call__(self, *argv: str) -> Settings:
        assert cli.main(["simulate", *argv]) == 0, self._capsys.readouterr().err
        assert self.settings is not None
        return self.settings

    def simulation(self, *argv: str) -> Simulation:
        simulation = self(*argv).ui.simulation
        assert simulation is not None
        return simulation

    def refusal(self, *argv: str) -> str:
        try:
            code: object = cli.main(["simulate", *argv])
        except SystemExit as left:
            code = left.code
        out, err = self._capsys.readouterr()
        assert (code, out, self.settings) == (2, "", None)
        assert len(err.splitlines()) == 1
        return err


@pytest.fixture
def simulate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Simulate:
    config = tmp_path / "config.toml"
    config.touch()
    monkeypatch.setenv("CHATBOT_CONFIG", str(config))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(host, "raise_file_limit", lambda wanted: min(wanted, 20_000))
    return Simulate(monkeypatch, capsys)


def test_without_options_the_simulated_server_is_asked_for_a_few_seconds(
    simulate: Simulate,
) -> None:
    settings = simulate()
    simulation = settings.ui.simulation
    assert simulation is not None
    assert settings.ui.mode == "simulate"
    assert settings.ui.target.backend == "sim"
    assert (simulation.sessions, simulation.turns, simulation.duration_s) == (16, 3, 8.0)
    assert (settings.ui.cache, settings.sim_server.truth) == ("off", True)
    out = Path(simulation.out)
    assert out.parent == Path("simulations")
    assert [path.name for path in out.iterdir()] == ["logs"]
    assert settings.store.path == str(out / "chatbot.db")
    assert settings.telemetry.log_dir == settings.ui.log_dir == str(out / "logs")
    assert settings.store.saves


def test_every_option_arrives(simulate: Simulate) -> None:
    settings = simulate(
        *("--sessions", "5000", "--turns", "4", "--think", "exp:2s", "--arrival", "gamma"),
        *("--rate", "12.5", "--burstiness", "0.5", "--ramp", "10s", "--warmup", "500ms"),
        *("--duration", "1m", "--max-concurrency", "3000", "--prompts", "tokens:256±64"),
        *("--slo", "ttft:200ms,tpot:30ms", "--seed", "7", "--workers", "3", "--out", "run"),
        *("--no-save", "--trace-ratio", "0.25", "--profile", "--json", "--no-live", "--plain"),
        *("--debug", "-m", "other", "-s", "be brief", "-o", "max_tokens", "9"),
        *("--first-token", "5ms", "--fault", "429:1%", "--retries", "1", "--timeout", "90s"),
        *("--calibration", "3s"),
    )
    pipeline = settings.ui.simulation.pipeline if settings.ui.simulation else {}
    assert settings.ui.simulation == Simulation(
        out="run",
        sessions=5000,
        turns=4,
        think=Distribution("exp", 2.0),
        arrival="gamma",
        rate=12.5,
        burstiness=0.5,
        ramp_s=10.0,
        warmup_s=0.5,
        duration_s=60.0,
        max_concurrency=3000,
        prompt_tokens=Distribution("normal", 256.0, 64.0),
        slos=(Slo("ttft", 200.0), Slo("tpot", 30.0)),
        seed=7,
        saves=False,
        profile=True,
        command=settings.ui.simulation.command if settings.ui.simulation else "",
        workers=3,
        live=False,
        calibration_s=3.0,
        pipeline=pipeline,
    )
    server = pipeline.pop("server")
    assert pipeline == {"retries": 1, "timeout_s": 90.0, "trace_ratio": 0.25}
    assert isinstance(server, dict)
    assert (server["first_token"][:2], server["faults"]) == (["constant", 0.005], {"429": 0.01})
    assert not {"host", "port", "truth"}.intersection(server)
    assert (settings.worker.max_retries, settings.worker.total_timeout_s) == (1, 90.0)
    assert settings.ui.simulation.command.startswith("chatbot simulate --sessions 5000 --turns 4")
    assert settings.supervisor.workers == 3
    assert settings.supervisor.credit == 3000
    assert settings.supervisor.max_in_flight == 3000 + 4096  # and what else there is to be sent
    assert settings.tracing.sample_ratio == 0.25
    assert not settings.store.saves
    assert (settings.ui.json, settings.ui.plain, settings.telemetry.debug) == (True, True, True)
    target = settings.ui.target
    assert (target.model, target.system, target.options) == ("other", "be brief", {"max_tokens": 9})
    assert settings.sim_server.first_token == constant(0.005)
    assert settings.sim_server.faults == {"429": 0.01}


@pytest.mark.parametrize(
    ("argv", "sessions", "duration_s", "requests"),
    [
        ("--turns 2", 16, 0.0, 0),
        ("--turns 2 --duration 3", 16, 3.0, 0),
        ("--requests 100", 16, 0.0, 100),
        ("--sessions 2", 2, 8.0, 0),
        ("--arrival constant --rate 5", 0, 8.0, 0),
        ("--arrival poisson --rate 5 --sessions 4 --turns 9", 4, 8.0, 0),
        ("--arrival poisson --rate 5 --requests 4", 0, 0.0, 4),
    ],
)
def test_how_long_it_lasts_follows_from_what_is_given(
    simulate: Simulate, argv: str, sessions: int, duration_s: float, requests: int
) -> None:
    found = simulate.simulation(*argv.split())
    assert (found.sessions, found.duration_s, found.requests) == (sessions, duration_s, requests)


def test_prompts_are_a_text_or_the_lines_of_a_file(simulate: Simulate) -> None:
    assert simulate.simulation("--prompts", "why?").prompts == ("why?",)
    Path("prompts.txt").write_text("one\n\n  two \n", encoding="utf-8")
    assert simulate.simulation("--prompts", "prompts.txt", "--out", "b").prompts == ("one", "two")
    assert simulate.simulation("--prompts", "file:prompts.txt", "--out", "c").prompts == (
        "one",
        "two",
    )
    given = simulate.simulation("--prompts", "text:see notes/a.txt", "--out", "d").prompts
    assert given == ("see notes/a.txt",)
    Path("prompts.txt").write_text("x" * ((1 << 20) + 1), encoding="utf-8")
    simulate.settings = None
    assert "at most 1 MiB" in simulate.refusal("--prompts", "prompts.txt")
    Path("prompts.txt").write_text("\n", encoding="utf-8")
    assert "no line" in simulate.refusal("--prompts", "prompts.txt")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--sessions 0", "--sessions: '0'"),
        ("--sessions 1000000", "from 1 to 100,000"),
        ("--sessions 90000", "20,000 are allowed"),
        ("--turns 0", "--turns"),
        ("--arrival poisson", "takes a --rate"),
        ("--arrival poisson --rate 0", "above 0"),
        ("--arrival poisson --rate nan", "--rate"),
        ("--rate 3", "--arrival"),
        ("--arrival weibull --rate 3", "there is no 'weibull'"),
        ("--burstiness 2", "--arrival gamma"),
        ("--think zipf:3", "no distribution 'zipf'"),
        ("--think file:missing", "--think: missing: No such file"),
        ("--duration 5s --requests 3", "one of them"),
        ("--duration 0", "above 0"),
        ("--duration exp:3s", "--duration"),
        ("--requests 0", "--requests"),
        ("--slo ttft", "METRIC:TIME"),
        ("--slo speed:3s", "METRIC:TIME"),
        ("--workers many", "--workers"),
        ("--trace-ratio 1.5", "from 0 to 1"),
        ("--calibration exp:1s", "--calibration"),
        ("--first-token 5x", "--first-token"),
        ("--sweep turns=1,2", "sessions=… or rate=…"),
        ("--sweep sessions=", "sessions=… or rate=…"),
        ("--sweep sessions=1,x", "no number"),
        ("--sweep sessions=1,0", "--sessions: '0'"),
        ("--sweep sessions=1,1", "each of them once"),
        ("--sweep rate=1,2", "--arrival"),
        ("--backend grok", "API key"),
        ("--unknown", "unrecognized"),
        ("compare a", "required"),
        ("compare a b", "a: No such file"),
        ("compare a b --fail-on speed:+1%", "no figure 'speed'"),
        ("report nowhere", "nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(simulate: Simulate, argv: str, said: str) -> None:
    assert said in simulate.refusal(*argv.split())
    assert list(Path.cwd().iterdir()) == []


def test_what_is_no_result_is_not_compared(simulate: Simulate) -> None:
    Path("a.json").write_text('{"version": 1}', encoding="utf-8")
    assert "no result" in simulate.refusal("compare", "a.json", "a.json")


def test_a_gate_on_a_figure_that_a_run_does_not_have_fails(
    simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, turns in (("a.json", 3000), ("b.json", 50)):
        Path(name).write_bytes(msgspec.json.encode(results.result(turns=turns)))
    argv = ["a.json", "b.json", "--fail-on"]
    assert run_compare([*argv, "ttft.p99:+5%"]) == 1
    assert "not known: ttft.p99:+5%" in capsys.readouterr().out
    assert run_compare([*argv, "throughput:-100%"]) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/nonexistent/x.txt", "there is no such file; if it is a prompt, give it as text:"),
        ("nonexistent/x", "no such file"),
        ("x.jsonl", "no such file"),
        ("file:x", "x: No such file"),
        ("", "the prompt is empty"),
        ("  ", "the prompt is empty"),
        ("text:", "the prompt is empty"),
        ("tokens:0", "at least one token"),
    ],
)
def test_what_is_no_prompt_is_not_asked(simulate: Simulate, given: str, said: str) -> None:
    assert said in simulate.refusal("--prompts", given)
    assert list(Path.cwd().iterdir()) == []


def test_an_open_load_is_bounded_by_the_files_that_are_allowed(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("--arrival", "constant", "--rate", "400")
    assert simulate.simulation(*argv, "--out", "a").max_concurrency == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(host, "raise_file_limit", lambda wanted: min(wanted, 300))
    assert simulate.simulation(*argv, "--out", "b").max_concurrency == 150
    [line] = capsys.readouterr().err.splitlines()
    assert "at most 150 turns are under way at once" in line
    assert "ulimit -n" in line
    few = simulate.simulation("--arrival", "constant", "--rate", "2", "--out", "c")
    assert (few.max_concurrency, capsys.readouterr().err) == (0, "")


class Full(io.StringIO):
    """A stdout that takes nothing, as on a full disk."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def fileno(self) -> int:
        return self._file.fileno()

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stdout_that_takes_nothing_is_a_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(msgspec.json.encode(result(turns=100)))
    said = "chatbot: stdout: No space left on device\n"
    with monkeypatch.context() as patched, (tmp_path / "stdout").open("wb") as file:
        patched.setattr(sys, "stdout", Full(file))
        assert cli.main(["simulate", "compare", str(path), str(path)]) == 1
        assert capsys.readouterr().err == said
        display = Display(
            load_settings(Arguments(mode="simulate"), {}, "").ui, Simulation(out="run")
        )
        display.end(result(turns=100), ["result.json"], "")
        assert capsys.readouterr().err == f"{said}written to run: result.json\n"


def test_a_gate_that_cannot_be_judged_ends_in_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(msgspec.json.encode(result(turns=50)))
    both = ["simulate", "compare", str(path), str(path), "--fail-on"]
    assert cli.main([*both, "ttft.p50:+5%"]) == 0
    assert cli.main([*both, "ttft.p99:+5%"]) == 1
    assert "not known: ttft.p99:+5%" in capsys.readouterr().out


def test_a_directory_that_holds_something_is_not_written_to(simulate: Simulate) -> None:
    Path("old").mkdir()
    assert simulate.simulation("--out", "old").out == "old"
    simulate.settings = None
    assert "not empty" in simulate.refusal("--out", "old")
    Path("file").touch()
    assert "--out: file" in simulate.refusal("--out", "file")


def test_a_backend_that_costs_money_is_asked_only_with_consent(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    argv = ("--backend", "anthropic", "--requests", "10", "--turns", "1", "-o", "max_tokens", "50")
    said = simulate.refusal(*argv)
    assert "about 10 turns, 160 tokens in and 500 out" in said
    assert "give --yes" in said
    in_all = simulate.refusal(*argv, "--sweep", "sessions=1,2")
    assert "2 runs (sessions=1, 2), in all about 20 turns, 320 tokens in and 1,000 out" in in_all
    assert "give --yes" in in_all
    assert list(Path.cwd().iterdir()) == []
    assert simulate(*argv, "--yes").ui.target.backend == "anthropic"
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    assert simulate(*argv, "--out", "free").ui.target.backend == "anthropic"


def test_the_most_that_can_be_under_way_is_what_bounds_it() -> None:
    assert load.most_in_flight(Simulation(out="", sessions=5)) == 5
    assert load.most_in_flight(Simulation(out="", sessions=5, max_concurrency=3)) == 3
    assert load.most_in_flight(Simulation(out="", sessions=0)) == load.MOST_SESSIONS


def test_a_sweep_passes_on_what_is_not_its_own() -> None:
    argv = [
        "--sweep",
        "rate=1",
        "--rate=3",
        "--out",
        "x",
        "--turns",
        "2",
        "--sweep=rate=1",
        "--json",
    ]
    assert without(argv, ("--sweep", "--out", "--rate")) == ["--turns", "2", "--json"]
    assert parse_sweep("sessions=1, 8,64") == ("sessions", ("1", "8", "64"))
    with pytest.raises(UsageError):
        parse_sweep("sessions")


def test_the_help_of_the_program_names_the_throughput_test(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert "chatbot simulate --sessions" in out
    assert "chatbot simulate compare A B" in out


def test_help_shows_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["simulate", "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    for option in ("--sessions", "--think", "--sweep", "--first-token", "--yes", "compare A B"):
        assert option in out
