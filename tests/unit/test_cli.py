"""The command line: what it means, what it refuses, and what it must not import."""

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chatbot import cli
from chatbot.settings import Manage, Settings, UiMode
from chatbot.supervisor import process

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("msgspec", "multiprocessing", "asyncio", "httpx", "sqlite3", "opentelemetry")


class Stdin(io.StringIO):
    """Standard input; a terminal or a pipe."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class CommandLine:
    """Runs `main` up to the point where processes would be started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings: Settings | None = None
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setattr(process, "run", self._run)
        for name in ("OLLAMA_HOST", "OPENAI_API_KEY", "OPENAI_BASE_URL", "CHATBOT_CONFIG"):
            monkeypatch.delenv(name, raising=False)

    def _run(self, settings: Settings) -> int:
        self.settings = settings
        return 0

    def __call__(self, *argv: str, terminal: bool = True) -> Settings:
        self._monkeypatch.setattr(sys, "stdin", Stdin(is_terminal=terminal))
        assert cli.main(argv) == 0, self._capsys.readouterr().err
        assert self.settings is not None
        return self.settings

    def refusal(self, *argv: str) -> str:
        """Return the one line with which a command line is refused, before anything is started."""
        self._monkeypatch.setattr(sys, "stdin", Stdin(is_terminal=True))
        try:
            code: object = cli.main(argv)
        except SystemExit as left:
            code = left.code
        out, err = self._capsys.readouterr()
        assert (code, out, self.settings) == (2, "", None)
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        return err


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> CommandLine:
    command_line = CommandLine(monkeypatch, capsys)
    empty = tmp_path / "config.toml"
    empty.touch()
    monkeypatch.setenv("CHATBOT_CONFIG", str(empty))
    return command_line


@pytest.mark.parametrize(
    ("argv", "terminal", "mode"),
    [
        ([], True, "chat"),
        ([], False, "script"),
        (["hi"], True, "oneshot"),
        (["hi"], False, "oneshot"),
        (["-"], False, "oneshot"),
        ([""], True, "oneshot"),
        (["models"], True, "models"),
        (["models"], False, "models"),
    ],
)
def test_the_mode_follows_from_the_prompt_and_stdin(
    run: CommandLine, argv: list[str], terminal: bool, mode: UiMode
) -> None:
    assert run(*argv, terminal=terminal).ui.mode == mode


def test_the_words_of_a_prompt_are_joined_around_the_options(run: CommandLine) -> None:
    settings = run("why", "--backend", "sim", "is it", "--json", "so?", "-o", "seed", "1")
    assert settings.ui.prompt == "why is it so?"
    assert (settings.ui.target.backend, settings.ui.json) == ("sim", True)
    assert settings.ui.target.options == {"seed": 1}


def test_a_prompt_may_begin_with_a_dash_after_two(run: CommandLine) -> None:
    assert run("--backend", "sim", "--", "--json", "-c").ui.prompt == "--json -c"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_dash_alone_takes_all_of_stdin(run: CommandLine, terminal: bool) -> None:
    ui = run("-", terminal=terminal).ui
    assert (ui.prompt, ui.prompt_from_stdin) == ("", True)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_pipe_goes_before_the_prompt_and_a_terminal_is_not_read(
    run: CommandLine, terminal: bool
) -> None:
    ui = run("hi", terminal=terminal).ui
    assert (ui.prompt, ui.prompt_from_stdin) == ("hi", not terminal)


def test_options_come_in_pairs_and_as_often_as_one_likes(run: CommandLine) -> None:
    settings = run("-o", "temperature", "0.5", "--option", "seed", "-1", "-o", "stop", "end")
    assert settings.ui.target.options == {"temperature": 0.5, "seed": -1, "stop": "end"}
    assert "expected 2 arguments" in run_refusal(run, "-o", "seed")


def run_refusal(run: CommandLine, *argv: str) -> str:
    run.settings = None
    return run.refusal(*argv)


def test_every_option_arrives(run: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text("workers = 5\n")
    settings = run(
        *("--backend", "openai", "-m", "gpt", "-s", "be brief", "--session-id", "session_1_a"),
        *("--refresh", "--plain", "--debug", "--db", "my.db", "--log-dir", "my-logs"),
        *("--config", str(config), "--ollama-model", "phi", "-c"),
    )
    ui = settings.ui
    assert (ui.target.backend, ui.target.model, ui.target.system) == ("openai", "gpt", "be brief")
    assert (ui.session_id, ui.resume_latest, ui.cache, ui.plain) == (
        *("session_1_a", True),
        *("refresh", True),
    )
    assert (settings.store.path, settings.telemetry.log_dir) == ("my.db", "my-logs")
    assert settings.telemetry.debug
    assert settings.supervisor.workers == 5
    assert ui.default_models["ollama"] == "phi:latest"
    assert run("--no-cache").ui.cache == "off"


@pytest.mark.parametrize(
    ("argv", "manage"),
    [
        ("sessions list", Manage("list")),
        ("sessions list --limit 5", Manage("list", limit=5)),
        ("sessions show 57d492", Manage("show", ("57d492",))),
        ("sessions search blue --limit 3 sky", Manage("search", text="blue sky", limit=3)),
        ("sessions search -- --limit -x", Manage("search", text="--limit -x")),
        ("sessions export a", Manage("export", ("a",))),
        ("sessions export a -o b.JSON", Manage("export", ("a",), format="json", out="b.JSON")),
        ("sessions export a -o b.json --format md", Manage("export", ("a",), out="b.json")),
        ("sessions export a --format json -o -", Manage("export", ("a",), format="json")),
        ("sessions rename a Of the sky", Manage("rename", ("a",), text="Of the sky")),
        ("sessions delete a b --yes", Manage("delete", ("a", "b"), yes=True)),
        ("sessions prune --older-than 30d", Manage("prune", older_than_s=30 * 86400.0)),
        ("sessions prune --older-than 1.5h", Manage("prune", older_than_s=5400.0)),
        ("sessions prune --older-than 2w", Manage("prune", older_than_s=14 * 86400.0)),
        ("sessions prune --older-than 90m", Manage("prune", older_than_s=5400.0)),
        ("sessions prune --keep-last 0 --dry-run", Manage("prune", dry_run=True)),
        ("sessions prune --keep-last 7 --yes", Manage("prune", keep_last=7, yes=True)),
        ("sessions recover", Manage("recover")),
        ("cache stats", Manage("cache-stats")),
        ("cache clear --yes", Manage("cache-clear", yes=True)),
    ],
)
def test_what_is_to_be_done_with_sessions_and_the_cache(
    run: CommandLine, argv: str, manage: Manage
) -> None:
    settings = (
        run(*argv.split(), "--db", "my.db")
        if "--" not in argv.split()
        else run("sessions", "--db", "my.db", *argv.split()[1:])
    )
    assert settings.ui.manage == msgspec.structs.replace(manage, db="my.db")
    assert settings.ui.mode == "manage"
    assert (settings.store.path, settings.store.must_exist) == ("my.db", True)
    assert settings.store.recovers == (manage.action == "recover")


def test_options_of_every_program_may_stand_before_the_action(run: CommandLine) -> None:
    settings = run("sessions", "--json", "--db", "list", "--debug", "list", "--log-dir", "there")
    assert (settings.ui.json, settings.store.path) == (True, "list")
    assert (settings.telemetry.debug, settings.telemetry.log_dir) == (True, "there")


def test_sessions_can_be_read_whatever_the_backends_are(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://")
    assert run("sessions", "list").ui.manage == Manage("list", db="chatbot.db")


@pytest.mark.parametrize("program", cli.MANAGED)
def test_without_an_action_there_is_a_short_help(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([program]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(f"  {action} " in err for action in cli.MANAGED[program])
    assert cli.main([program, "--help"]) == 0
    assert capsys.readouterr().out == err


def test_a_chat_is_to_find_the_database_or_to_make_it(run: CommandLine) -> None:
    store = run("--backend", "sim").store
    assert not store.must_exist
    assert not store.recovers


def test_bytes_that_are_no_text_can_still_be_sent(run: CommandLine) -> None:
    settings = run(
        "\udcff", "-s", "\udcff", "-m", "\udcff", "-o", "stop", "\udcff", "--backend", "sim"
    )
    target = settings.ui.target
    texts = (settings.ui.prompt, target.system, target.model, target.options["stop"])
    assert texts == ("?", "?", "?", "?")


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--backend", "nobody"], "'ollama', 'anthropic', 'grok', 'openai', 'sim'"),
        (["--workers", "two"], "--workers"),
        (["--workers", "0"], "from 1 to 64"),
        (["--bogus"], "--bogus"),
        (["--back", "sim"], "--back, did you mean --backend?"),
        (["--modle", "x"], "did you mean --model?"),
        (["--modle=x"], "did you mean --model?"),
        (["sessions", "list", "--limt", "5"], "did you mean --limit?"),
        (["simulate", "--sesions", "5"], "did you mean --sessions?"),
        (["sim-server", "--falt", "5"], "did you mean --fault?"),
        (["models", "--model", "x"], "unrecognized arguments: --model x"),
        (["-m", "x", "-x"], "--extract"),
        (["-x", "--json", "hi"], "--extract"),
        (["completion"], "shell"),
        (["completion", "tcsh"], "'bash', 'zsh', 'fish'"),
        (["config", "shw"], "did you mean 'show'?"),
        (["config", "show", "x"], "unrecognized arguments: x"),
        (["--db", "x.db", "config", "show"], "goes first"),
        (["--ollama-model", "a b"], "'a b' is malformed"),
        (["--backend", "openai", "hi"], "OPENAI_API_KEY"),
        (["models", "--backend", "openai"], "OPENAI_API_KEY"),
        (["models", "extra"], "extra"),
        (["--config", "/nowhere/config.toml"], "/nowhere/config.toml"),
        (["--config", "."], "cannot read the configuration file"),
        (["sim-server", "--port", "65536"], "0 to 65535"),
        (["sim-server", "--port", "http"], "--port"),
        (["--db", "x.db", "models"], "goes first"),
        (["sim-server", "--chunks", "0"], "from 1 to 100000"),
        (["sim-server", "--first-token", "-1"], "from 0 to 3600"),
        (["sim-server", "--first-token", "abc"], "--first-token: 'abc': 'abc' is not a duration"),
        (["sim-server", "--inter-chunk", "uniform:1ms,2h"], "from 0 to 3600 s"),
        (["sim-server", "--tokens-per-chunk", "zipf:1"], "there is no distribution 'zipf'"),
        (["sim-server", "--reasoning", "file:/nowhere"], "cannot read /nowhere: No such file"),
        (["sim-server", "--prefill", "nan"], "--prefill: give seconds from 0 to 3600"),
        (["sim-server", "--slowdown", "-1"], "--slowdown: give a number from 0 to 1000"),
        (["sim-server", "--max-running", "1.5"], "--max-running"),
        (["sim-server", "--max-queue", "-1"], "--max-queue: give a number from 0"),
        (["sim-server", "--retry-after", "inf"], "--retry-after: give seconds from 0 to 3600"),
        (["sim-server", "--server-seed", "-1"], "--server-seed: give a number from 0"),
        (["sim-server", "--fault", "418:1%"], "no '418', there are: 429, 500, 503, 529, error"),
        (["sim-server", "--fault", "stall"], "a rate from 0 to 1 or in percent, such as stall:1%"),
        (["sim-server", "--fault", "stall:101%"], "'stall:101%': give a rate from 0 to 1"),
        (["sim-server", "--fault", "429:60%", "--fault", "500:0.5"], "add up to 1.1"),
        (["sessions", "lst"], "did you mean 'list'?"),
        (["sessions", "x"], "there are list, show"),
        (["cache", "clean"], "did you mean 'clear'?"),
        (["sessions", "list", "extra"], "extra"),
        (["sessions", "list", "--limit", "0"], "from 1 to 100000"),
        (["sessions", "show"], "ID is missing"),
        (["sessions", "show", "a", "b"], "unrecognized arguments: b"),
        (["sessions", "search"], "TEXT is missing"),
        (["sessions", "rename", "a"], "ID TITLE is missing"),
        (["sessions", "prune"], "--older-than, --keep-last, or both"),
        (["sessions", "prune", "--older-than", "30"], "such as 30d"),
        (["sessions", "prune", "--older-than", "0d"], "such as 30d"),
        (["sessions", "prune", "--keep-last", "-1"], "from 0 to 1000000"),
        (["sessions", "export", "a", "--json", "--format", "md"], "-o FILE"),
        (["--db", "x.db", "sessions", "list"], "goes first"),
        (["trace", "shw"], "did you mean 'show'?"),
        (["trace", "show", "a", "b"], "unrecognized arguments: b"),
        (["trace", "list", "--limit", "0"], "from 1 to 100000"),
        (["trace", "send"], "URL is missing"),
        (["trace", "send", "localhost:4318", "--log-dir", "."], "no address"),
        (["trace", "export", "-o", "x.txt", "--log-dir", "."], ".jsonl or .json"),
        (["trace", "list", "--log-dir", "/nowhere"], "/nowhere"),
        (["--log-dir", "x", "trace", "list"], "goes first"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(run: CommandLine, argv: list[str], named: str) -> None:
    assert named in run.refusal(*argv)


def test_a_bad_file_and_a_bad_variable_are_told_too(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("colour = 1\n")
    assert "colour" in run.refusal("--config", str(bad))
    bad.write_bytes(b"\xff\xfe")
    assert str(bad) in run.refusal("--config", str(bad))
    monkeypatch.setenv("OLLAMA_HOST", "http://")
    assert "OLLAMA_HOST" in run.refusal("hi")


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["sesions", "list"], "chatbot sessions list"),
        (["session", "show", "57d492"], "chatbot sessions show 57d492"),
        (["model"], "chatbot models"),
        (["simulte"], "chatbot simulate"),
        (["trase", "show"], "chatbot trace show"),
        (["confg", "path"], "chatbot config path"),
    ],
)
def test_a_prompt_that_looks_like_a_program_is_asked_after_a_hint(
    run: CommandLine, capsys: pytest.CaptureFixture[str], argv: list[str], meant: str
) -> None:
    assert run(*argv).ui.prompt == " ".join(argv)
    assert capsys.readouterr() == (
        "",
        f"chatbot: asking {argv[0]!r} as a prompt; did you mean: {meant}\n",
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["hello"],
        ["why"],
        ["session", "of", "what?"],
        ["models?"],
        ["--", "sesions"],
        ["sesions list"],
        [],
    ],
)
def test_other_prompts_have_no_hint(
    run: CommandLine, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    run(*argv)
    assert capsys.readouterr() == ("", "")


def test_a_file_may_begin_with_the_mark_that_some_editors_put_there(
    run: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_bytes(b'\xef\xbb\xbfbackend = "sim"\r\nworkers = 3\r\n')
    assert run("hi").ui.target.backend == "sim"


def test_an_alias_is_a_model_and_the_code_alone_may_be_wanted(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[aliases]\nfast = "sim:quick"\n')
    settings = run("-m", "fast", "-x", "hi")
    assert (settings.ui.target.backend, settings.ui.target.model) == ("sim", "quick")
    assert settings.ui.extract
    config.write_text("wokers = 1\n")
    run.settings = None
    assert f"{config}: wokers" in run.refusal("hi")


def test_what_was_typed_is_kept_for_a_chat_only(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Path(run("--backend", "sim").ui.history_file).name == "history"
    if sys.platform == "linux":
        assert run("--backend", "sim").ui.history_file == str(tmp_path / "chatbot" / "history")
    assert run("--backend", "sim", "hi").ui.history_file == ""


def test_a_defect_is_one_line_and_not_a_traceback(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(settings: Settings) -> int:
        raise RuntimeError("no good")

    monkeypatch.setattr(process, "run", fail)
    assert cli.main(["--backend", "sim", "hi"]) == 1
    assert capsys.readouterr() == (
        "",
        "chatbot: internal error: RuntimeError: no good (please report it)\n",
    )


def test_ctrl_c_while_starting_is_no_traceback(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(settings: Settings) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "run", interrupt)
    assert cli.main(["--backend", "sim", "hi"]) == 130


@pytest.mark.parametrize("name", cli.PROGRAMS)
def test_the_name_of_a_program_is_not_a_prompt_unless_it_follows_two_dashes(
    run: CommandLine, name: str
) -> None:
    assert run("--backend", "sim", "--", name).ui.prompt == name


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["models", "--help"],
        ["sim-server", "--help"],
        ["sessions", "--help"],
        ["sessions", "prune", "--help"],
        ["cache", "--help"],
        ["trace", "--help"],
        ["trace", "show", "--help"],
        ["config", "--help"],
        ["config", "show", "--help"],
        ["completion", "--help"],
        ["completion", "bash"],
        ["simulate", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_version_import_nothing_heavy(argv: list[str]) -> None:
    """In a new interpreter: this one has imported everything."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from chatbot.cli import main\n"
        f"try: main({argv!r})\n"
        "except SystemExit as left: assert not left.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=30
    )
    assert done.stderr == "[]\n"
    assert done.stdout.isascii()  # it can be printed whatever the encoding of the terminal
