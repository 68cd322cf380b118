"""What the README shows is true: its commands, options, tables and examples."""

import re
import time
import tomllib
from pathlib import Path

import msgspec
import pytest

from chatbot import cli
from chatbot.backends import BACKENDS
from chatbot.cli import config
from chatbot.cli.common import Config
from chatbot.cli.results import compare_parser, report_parser, run_compare
from chatbot.cli.sim_server import sim_server_parser
from chatbot.cli.simulate import simulate_parser
from chatbot.config_file import BackendTable, CacheTable, ConfigFile, Price, parse_config
from chatbot.instruments import DECLARED
from chatbot.messages import SearchHit, Session
from chatbot.settings import (
    LOG_FILE,
    METRIC_FILE,
    SPAN_FILE,
    TRACE_LOG_FILE,
    Arguments,
    StoreSettings,
    load,
    merged,
)
from chatbot.simulate.result import decode
from chatbot.simulate.screen import screen
from chatbot.telemetry.files import BACKUPS, MAX_BYTES
from chatbot.traces import archive
from chatbot.traces import listing as trace_listing
from chatbot.traces.style import Style
from chatbot.traces.waterfall import waterfall
from chatbot.ui import command_table, listing

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "simulate"
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_first_two_blocks_start_a_chat_and_run_the_tests_from_nothing() -> None:
    (_, chat), (_, tests) = BLOCKS[:2]
    for command in (chat, tests):
        assert command.startswith("python3 -m venv .venv && ")
        assert command.count("\n") == 1
    assert chat.rstrip().endswith("run.py --backend sim")
    assert tests.rstrip().endswith("-m pytest -n 2 --dist loadfile")


def test_they_are_on_the_first_screen() -> None:
    assert len(README[: README.index(BLOCKS[1][1])].splitlines()) < 24


def test_every_option_it_names_exists() -> None:
    known = {name for action in cli.chat_parser()._actions for name in action.option_strings}
    known |= {
        name
        for action in cli.CONFIG
        for each in cli.config_parser(action)._actions
        for name in each.option_strings
    }
    managing = (
        cli.manage_parser(program, name) for program in cli.MANAGED for name in cli.MANAGED[program]
    )
    tracing = (cli.trace_parser(name) for name in cli.TRACING)
    simulating = (sim_server_parser(), simulate_parser(), compare_parser(), report_parser())
    known |= {
        name
        for parser in (*managing, *tracing, *simulating)
        for action in parser._actions
        for name in action.option_strings
    }
    other_options = {"--quiet", "--no-deps", "--dist"}
    # Of jq, and of the programs that the last section starts.
    others = {"--arg", "--set", "--config", "--enable-feature", "--homepath", "--storage"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+(?!\.)\b", README))
    assert named <= known | other_options | others


def test_the_table_of_commands_is_what_the_chat_knows() -> None:
    table = README[README.index("| in the chat") :].split("\n\n")[0]
    assert table.splitlines()[2:] == [
        f"| {', '.join(f'`{name}`' for name in command.names)} | {command.line} |"
        for command in command_table.COMMANDS
    ]


def test_the_table_of_keys_is_what_the_chat_tells() -> None:
    table = README[README.index("| key | what it does |") :].split("\n\n")[0]
    assert table.splitlines()[2:] == [
        f"| {', '.join(f'`{key}`' for key in keys.split(', '))} | {does} |"
        for keys, does in command_table.KEYS
    ]


def test_the_table_of_sessions_has_every_action() -> None:
    table = README[README.index("| `sessions list") :].split("\n\n")[0]
    named = set(re.findall(r"`((?:sessions|cache) [a-z]+)", table))
    assert named == {
        f"{program} {name}" for program in cli.MANAGED for name in cli.MANAGED[program]
    }


def test_the_table_of_traces_has_every_action() -> None:
    table = README[README.index("| `trace list") :].split("\n\n")[0]
    assert set(re.findall(r"`trace ([a-z]+)", table)) == set(cli.TRACING)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="its time zone cannot be set")
def test_the_traces_look_as_it_shows_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    recorded = ROOT / "tests" / "data" / "traces.jsonl"
    (tmp_path / SPAN_FILE).write_bytes(recorded.read_bytes())
    turns = archive.turns(tmp_path)
    cached, answered = turns
    drawn = ["\n".join(trace_listing.rows(turns, Style(90)))]
    for turn in (answered, cached):
        found = archive.read(tmp_path, turn.trace_id)
        assert found
        drawn.append("\n".join(waterfall(*found, Style(80))))
    commands = ("trace list", f"trace show {answered.trace_id[:8]}", "trace show")
    for command, lines in zip(commands, drawn, strict=True):
        assert f"$ python run.py {command}\n{lines}\n```\n" in README, lines


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="its time zone cannot be set")
def test_the_lists_of_sessions_look_as_it_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    at, before = 1795328029.0, 1795200012.0
    sky = Session("session_1795327980_57d492", "Why is the sky blue?", at, "sim", "sim", messages=4)
    sky = msgspec.structs.replace(sky, last_time=at)
    title = "Write a commit message for this"
    other = Session("session_1_9f01ce", title, 0.0, "ollama", "x", messages=12, last_time=before)
    snippet = "the air of the sky scatters short waves most"
    hit = SearchHit(sky.session_id, sky.title, 1, "assistant", at, snippet, ((15, 18), (19, 27)))
    (shown,) = [text for _, text in BLOCKS if "sessions list" in text]
    for line in (*listing.sessions([sky, other]), *listing.found([hit])):
        assert f"{line}\n" in shown


def test_the_architecture_has_the_layers_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (layers,) = [
        each["layers"] for each in contracts["importlinter"]["contracts"] if "layers" in each
    ]
    shown = " → ".join(layers).replace("chatbot.", "")
    assert f"\n{shown}\n" in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("room", ["ui", "ui/console", "ui/markdown"])
def test_the_map_of_a_room_has_all_that_is_in_it(room: str) -> None:
    about, *modules = sorted((ROOT / "chatbot" / room).glob("*.py"))
    assert about.name == "__init__.py"
    text = about.read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", text))
    assert {module.stem for module in modules} <= named
    if room != "ui":  # whose map has many in a line
        listed = set(re.findall(r"^ {4,6}(\w+) +\S", text, re.MULTILINE))
        assert listed == {module.stem for module in modules}


def test_the_bounds_of_the_cache_it_shows_are_the_defaults() -> None:
    (toml,) = [text for language, text in BLOCKS if language == "toml"]
    store = load(Arguments(mode="chat"), {}, toml).store
    assert msgspec.structs.replace(store, prices={}) == StoreSettings()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_the_table_of_backends_is_what_the_settings_say(backend: object) -> None:
    from chatbot.backends import Backend

    assert isinstance(backend, Backend)
    (row,) = re.findall(rf"^\| `{backend.name}`.*$", README, re.MULTILINE)
    for value in (backend.base_url, backend.url_variable, backend.model, *backend.key_variables):
        assert f"`{value}`" in row or not value


def test_its_configuration_file_is_accepted() -> None:
    (toml,) = [text for language, text in BLOCKS if language == "toml"]
    assert tomllib.loads(toml)
    parse_config(toml)
    settings = load(Arguments(mode="chat"), {}, toml)
    assert settings.ui.target.model == "codellama:13b"


def test_its_configuration_file_has_every_key() -> None:
    (text,) = [text for language, text in BLOCKS if language == "toml"]
    file = tomllib.loads(text)
    assert set(file) == set(ConfigFile.__struct_fields__)
    assert set(file["cache"]) == set(CacheTable.__struct_fields__)
    backends = {key for table in file["backends"].values() for key in table}
    assert backends == set(BackendTable.__struct_fields__)
    assert {key for table in file["prices"].values() for key in table} == set(
        Price.__struct_fields__
    )


def test_the_configuration_looks_as_it_shows_it() -> None:
    (text,) = [text for language, text in BLOCKS if language == "toml"]
    path = "/home/me/.config/chatbot/config.toml"
    given = Arguments(
        mode="manage",
        model="fast",
        options=(("temperature", "0"),),
        history="/home/me/.local/state/chatbot/history",
    )
    environ = {"ANTHROPIC_API_KEY": "sk-1", "HTTPS_PROXY": "http://me:pw@proxy:3128"}
    rows = config.table(
        Config(text, path, exists=True), merged(given, environ, text, path).taken.values()
    )
    shown = "\n".join(row.rstrip() for row in rows if "default" not in row)
    command = "config show -m fast -o temperature 0 | grep -v default"
    assert f"$ python run.py {command}\n{shown}\n```\n" in README, shown


def test_the_manual_has_every_option_of_the_chat() -> None:
    table = README[README.index("| option | what it does |") :].split("\n\n")[0]
    rows = [row.split(" | ")[0] for row in table.splitlines()]
    named = {
        name for row in rows for name in re.findall(r"(?<!\w)--?[a-z-]+", row) if "---" not in name
    }
    assert named == {
        name for action in cli.chat_parser()._actions for name in action.option_strings
    }


def test_the_manual_names_every_program() -> None:
    manual = README[README.index("## Manual") :]
    (line,) = [line for line in manual.splitlines() if line.startswith("chatbot models|")]
    assert set(line.split()[1].split("|")) == set(cli.PROGRAMS)


def test_the_manual_names_every_variable_that_is_told() -> None:
    table = README[README.index("| variable | what it does |") :].split("\n\n")[0]
    told = merged(Arguments(mode="manage"), {}).taken
    for name in (name for name in told if name.isupper()):
        assert f"`{name}`" in table


def test_the_lines_to_install_the_completion_are_those_of_the_scripts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert cli.main(["completion", shell]) == 0
        line = capsys.readouterr().out.split("To install it")[1].split("#   ")[1].split("\n")[0]
        assert f"`{line}`" in README


def test_the_table_of_metrics_is_what_is_declared() -> None:
    table = README[README.index("| metric |") :].split("\n\n")[0]
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\w+) \|", table, re.MULTILINE)
    declared = {name: (kind.unit, kind.instrument) for name, kind in DECLARED.items()}
    declared["llm.usage.<path>"] = ("{token}", "counter")
    assert {name: (unit, kind) for name, unit, kind in rows} == declared


def test_the_table_of_files_names_every_file() -> None:
    table = README[README.index("| file |") :].split("\n\n")[0]
    for name in (LOG_FILE, TRACE_LOG_FILE, SPAN_FILE, METRIC_FILE):
        assert f"| `{name}` |" in table
    assert f"rotated at {MAX_BYTES // 1024**2} MB" in table
    assert f"`*.{BACKUPS}.gz`" in table
    assert f"`*.{BACKUPS + 1}.gz`" not in table


def test_a_run_looks_as_it_shows_it() -> None:
    result = decode((DATA / "before.json").read_bytes(), "before.json")
    shown = "\n".join(screen(msgspec.structs.replace(result, processes=()), 100))
    command = result.command.replace("chatbot ", "python run.py ", 1)
    assert f"$ {command}\n{shown}\n```\n" in README, shown


def test_a_comparison_looks_as_it_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    command = "simulate compare before after --fail-on ttft.p95:+5%"
    results = [str(DATA / f"{name}.json") for name in ("before", "after")]
    assert run_compare([*results, "--fail-on", "ttft.p95:+5%"]) == 1
    assert f"$ python run.py {command}\n{capsys.readouterr().out}```\n" in README
