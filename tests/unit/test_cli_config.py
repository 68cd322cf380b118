"""`chatbot config`: what it prints, from the command line to the rows; no process is started for it."""

import json
from pathlib import Path

import pytest

from chatbot import cli
from chatbot.supervisor import process


class Config:
    """Runs `chatbot config …` with a file and an environment of its own."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path
    ) -> None:
        self.path = path
        self.set = monkeypatch.setenv
        self.unset = monkeypatch.delenv
        self._capsys = capsys
        for name in (
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "OLLAMA_HOST",
            "HTTPS_PROXY",
            "https_proxy",
        ):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("CHATBOT_CONFIG", str(path))
        monkeypatch.setenv("XDG_STATE_HOME", "/state")
        monkeypatch.setattr(process, "run", None)  # whoever starts one fails

    def __call__(self, *argv: str) -> str:
        assert cli.main(["config", *argv]) == 0, self._capsys.readouterr().err
        out, err = self._capsys.readouterr()
        assert err == ""
        return out

    def rows(self, *argv: str) -> dict[str, list[str]]:
        """Return value and origin by key."""
        first, empty, head, *rows = self("show", *argv).splitlines()
        assert first.startswith("file: ")
        assert (empty, head.split()) == ("", ["key", "value", "from"])
        width, end = head.index("value"), head.index("from")
        assert all(row[width - 2 : width] == "  " for row in rows)
        return {row[:width].rstrip(): [row[width:end].rstrip(), row[end:]] for row in rows}

    def refusal(self, *argv: str) -> str:
        assert cli.main(["config", *argv]) == 2
        out, err = self._capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        return err


@pytest.fixture
def config(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Config:
    path = tmp_path / "c.toml"
    path.write_text('workers = 3\n[options]\nseed = 1\n[aliases]\nfast = "openai:x"\n')
    return Config(monkeypatch, capsys, path)


def test_every_value_is_told_with_where_it_came_from(config: Config) -> None:
    config.set("OPENAI_BASE_URL", "http://localhost:1/v1")
    rows = config.rows("--db", "x.db")
    assert rows["workers"] == ["3", str(config.path)]
    assert rows["db"] == ["x.db", "command line"]
    assert rows["log_dir"] == ["logs", "default"]
    assert rows["backends.openai.base_url"] == [
        "http://localhost:1/v1",
        "environment variable OPENAI_BASE_URL",
    ]
    assert rows["options.seed"] == ["1", str(config.path)]
    assert rows["aliases.fast"] == ["openai:x", str(config.path)]
    assert rows["system"] == ["not set", "default"]


def test_options_may_stand_before_the_action_and_be_those_of_the_chat(config: Config) -> None:
    assert "command line" in config("--db", "x.db", "show")
    rows = config.rows("-m", "fast", "-o", "seed", "2", "-s", "brief", "--plain", "--debug")
    for key, value in (
        ("backend", "openai"),
        ("backends.openai.model", "x"),
        ("options.seed", "2"),
        ("system", "brief"),
        ("plain", "true"),
        ("debug", "true"),
    ):
        assert rows[key] == [value, "command line"]


def test_a_key_is_told_by_its_variable_and_never_itself(config: Config) -> None:
    config.set("OPENAI_API_KEY", "sk-secret")
    config.set("HTTPS_PROXY", "http://me:sk-secret@proxy:1")
    for shown in (config("show"), config("show", "--json")):
        assert "sk-secret" not in shown
        assert "set (OPENAI_API_KEY)" in shown
        assert "http://***@proxy:1" in shown
    assert config.rows()["backends.openai.api_key"][1] == "environment variable OPENAI_API_KEY"


def test_json_is_one_object_a_line(config: Config) -> None:
    about, *settings = [json.loads(line) for line in config("show", "--json").splitlines()]
    assert about == {"event": "config", "path": str(config.path), "exists": True}
    by_key = {each["key"]: each for each in settings}
    assert by_key["workers"] == {
        "event": "setting",
        "key": "workers",
        "value": 3,
        "source": "file",
        "name": str(config.path),
    }
    assert (by_key["plain"]["value"], by_key["plain"]["source"]) == (False, "default")


def test_the_path_is_that_of_the_file_that_is_or_would_be_read(
    config: Config, tmp_path: Path
) -> None:
    assert config("path") == f"{config.path}\n"
    assert config("path", "--config", "/nowhere/x.toml") == "/nowhere/x.toml\n"
    config.unset("CHATBOT_CONFIG")
    config.set("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    path = config("path").strip()
    assert path.endswith("config.toml")
    assert json.loads(config("path", "--json")) == {
        "event": "config",
        "path": path,
        "exists": False,
    }
    assert config("show").startswith(f"file: {path} (there is none)\n")
    Path(path).parent.mkdir(parents=True)
    Path(path).write_text("workers = 7\n")
    assert config.rows()["workers"] == ["7", path]


def test_what_was_typed_is_kept_in_the_persons_state(config: Config, tmp_path: Path) -> None:
    value, origin = config.rows()["history"]
    assert (Path(value).name, origin) == ("history", "default")
    config.path.write_text("history = false\n")
    assert config.rows()["history"] == ["false", str(config.path)]


def test_a_bad_file_is_one_line_and_a_bad_variable_a_row(config: Config) -> None:
    config.set("OLLAMA_HOST", "http://")
    assert "cannot be used: OLLAMA_HOST" in config("show")
    config.path.write_text("wokers = 3\n")
    line = config.refusal("show")
    assert f"{config.path}: wokers: there is no such key, did you mean workers?" in line
    assert config("path") == f"{config.path}\n"
    assert "did you mean 'show'?" in config.refusal("shwo")


def test_nothing_in_a_value_moves_the_cursor(config: Config) -> None:
    config.path.write_text('system = "a\\u001b[2J\\nb"\n')
    shown = config("show")
    assert "\x1b" not in shown
    assert "a␛[2J b" in shown
