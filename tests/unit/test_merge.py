"""What is told of where a setting came from is true: each source of each key is changed, and both are compared."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from chatbot.merge import Merge, Taken, without_password
from chatbot.messages import BackendName
from chatbot.settings import Arguments, Merged, Settings, merged

PATH = "/etc/mine.toml"
Value = int | float | str | bool | None


def merge(
    config: str = "", environ: dict[str, str] | None = None, given: dict[str, Any] | None = None
) -> Merged:
    arguments = Arguments(mode="manage", history="/state/history", **(given or {}))
    return merged(arguments, environ or {}, config, PATH)


class Key(NamedTuple):
    """How a key is set by each source that may, and where its value arrives. `shown`: as it is told, where
    that is not as it is."""

    read: Callable[[Settings], Value]
    file: tuple[str, Value] | None = None
    environment: tuple[str, str] | None = None
    given: tuple[dict[str, Any], Value] | None = None
    shown: Callable[[Value], Value] = lambda value: value


def _backend(name: BackendName, variable: str) -> dict[str, Key]:
    url = Key(
        lambda s: s.worker.backends[name].base_url,
        (f'[backends.{name}]\nbase_url = "https://file.example"', "https://file.example"),
        (variable, "https://environment.example"),
    )
    return {f"backends.{name}.base_url": url} if variable else {}


def _common(name: BackendName) -> dict[str, Key]:
    return {
        f"backends.{name}.model": Key(
            lambda s: s.ui.default_models[name],
            (f'[backends.{name}]\nmodel = "filed:1"', "filed:1"),
            given=({"backend": name, "model": "mine:1"}, "mine:1"),
        ),
        f"backends.{name}.context": Key(
            lambda s: s.ui.context_lengths.get(name),
            (f"[backends.{name}]\ncontext = 4096", 4096),
        ),
        f"backends.{name}.system": Key(
            lambda s: s.ui.system_of[name],
            (f'[backends.{name}]\nsystem = "file"', "file"),
        ),
        f"backends.{name}.options.seed": Key(
            lambda s: s.ui.options_of[name]["seed"],
            (f"[backends.{name}.options]\nseed = 1", 1),
        ),
    }


def _key(name: BackendName, variable: str) -> dict[str, Key]:
    read: Callable[[Settings], Value] = lambda s: s.worker.backends[name].api_key  # noqa: E731 - short
    shown: Callable[[Value], Value] = lambda v: f"set ({variable})" if v else "not set"  # noqa: E731
    return {f"backends.{name}.api_key": Key(read, environment=(variable, "sk-1"), shown=shown)}


def _variable(name: str, read: Callable[[Settings], Value], value: str) -> dict[str, Key]:
    return {name: Key(read, environment=(name, value))}


BACKENDS: tuple[tuple[BackendName, str], ...] = (
    ("ollama", "OLLAMA_HOST"),
    ("anthropic", "ANTHROPIC_BASE_URL"),
    ("grok", "GROK_BASE_URL"),
    ("openai", "OPENAI_BASE_URL"),
    ("sim", ""),
)
KEYS: dict[str, Key] = {
    "backend": Key(
        lambda s: s.ui.target.backend,
        ('backend = "sim"', "sim"),
        given=({"backend": "grok"}, "grok"),
    ),
    "system": Key(
        lambda s: s.ui.target.system or "",
        ('system = "file"', "file"),
        given=({"system": "mine"}, "mine"),
    ),
    "workers": Key(lambda s: s.supervisor.workers, ("workers = 3", 3), given=({"workers": 4}, 4)),
    "db": Key(lambda s: s.store.path, ('db = "f.db"', "f.db"), given=({"db": "my.db"}, "my.db")),
    "log_dir": Key(
        lambda s: s.telemetry.log_dir, ('log_dir = "f"', "f"), given=({"log_dir": "m"}, "m")
    ),
    "history": Key(
        lambda s: s.ui.history_file, ("history = false", ""), shown=lambda value: value or False
    ),
    "plain": Key(lambda s: s.ui.plain, ("plain = true", True), given=({"plain": True}, True)),
    "bell": Key(lambda s: s.ui.bell, ("bell = true", True)),
    "debug": Key(lambda s: s.telemetry.debug, given=({"debug": True}, True)),
    "options.seed": Key(
        lambda s: s.ui.target.options["seed"],
        ("[options]\nseed = 1", 1),
        given=({"options": (("seed", "2"),)}, 2),
    ),
    "cache.max_mb": Key(lambda s: s.store.cache_bytes / 1024**2, ("[cache]\nmax_mb = 1.5", 1.5)),
    "cache.max_days": Key(lambda s: s.store.cache_age_s / 86400, ("[cache]\nmax_days = 7", 7)),
    "aliases.fast": Key(
        lambda s: ":".join(s.ui.aliases["fast"]), ('[aliases]\nfast = "openai:x"', "openai:x")
    ),
    **{
        f'prices."openai:x".{part}': Key(
            lambda s, part=part: getattr(s.store.prices["openai:x"], part),  # type: ignore[misc]
            ('[prices."openai:x"]\ninput = 1\noutput = 2\ncached_input = 3', value),
        )
        for part, value in (("input", 1.0), ("output", 2.0), ("cached_input", 3.0))
    },
    **{key: value for name, _ in BACKENDS for key, value in _common(name).items()},
    **{key: value for pair in BACKENDS for key, value in _backend(*pair).items()},
    **_key("anthropic", "ANTHROPIC_API_KEY"),
    **_key("grok", "XAI_API_KEY"),
    **_key("openai", "OPENAI_API_KEY"),
    **_variable("NO_COLOR", lambda s: "" if s.ui.colour else "1", "1"),
    **_variable("SSL_CERT_FILE", lambda s: s.worker.ca_file, "/etc/ours.pem"),
    **{
        name: _variable(name, lambda s, n=name: s.worker.proxies.get(n.lower(), ""), "x")[name]  # type: ignore[misc]
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    },
    **_variable("OTEL_SERVICE_NAME", lambda s: s.telemetry.environ["OTEL_SERVICE_NAME"], "mine"),
}


def check(key: str, found: Merged, taken: Taken) -> None:
    assert found.taken[key] == taken
    assert KEYS[key].shown(KEYS[key].read(found.settings)) == taken.value


@pytest.mark.parametrize("key", [key for key in KEYS if key in merge().taken])
def test_what_nobody_says_is_a_default(key: str) -> None:
    found = merge()
    assert found.taken[key].source == "default"
    check(key, found, found.taken[key])


@pytest.mark.parametrize("key", [key for key, each in KEYS.items() if each.file])
def test_what_the_file_says_is_told_with_its_path(key: str) -> None:
    config, value = KEYS[key].file or ("", None)
    found = merge(config)
    check(key, found, Taken(key, KEYS[key].shown(value), "file", PATH))
    assert found.taken[key].origin == PATH


@pytest.mark.parametrize("key", [key for key, each in KEYS.items() if each.environment])
def test_what_the_environment_says_beats_the_file_and_is_told_with_its_name(key: str) -> None:
    variable, value = KEYS[key].environment or ("", "")
    config, _ = KEYS[key].file or ("", None)
    found = merge(config, {variable: value})
    check(key, found, Taken(key, KEYS[key].shown(value), "environment", variable))
    assert found.taken[key].origin == f"environment variable {variable}"


@pytest.mark.parametrize("key", [key for key, each in KEYS.items() if each.given])
def test_what_the_command_line_says_beats_all(key: str) -> None:
    given, value = KEYS[key].given or ({}, None)
    config, _ = KEYS[key].file or ("", None)
    found = merge(config, given=given)
    check(key, found, Taken(key, KEYS[key].shown(value), "command line"))
    assert found.taken[key].origin == "command line"


def test_every_key_that_is_told_is_checked_here() -> None:
    config = "\n".join(
        each.file[0] for each in KEYS.values() if each.file and "[" not in each.file[0]
    )
    config += '\n[options]\nseed = 1\n[aliases]\nfast = "sim"\n'
    config += "".join(
        f'[backends.{name}]\nsystem = "x"\n[backends.{name}.options]\nseed = 1\n'
        for name, _ in BACKENDS
    )
    config += '[prices."openai:x"]\ninput = 1\noutput = 2\n'
    assert set(merge(config, {"OTEL_SERVICE_NAME": "x"}).taken) == set(KEYS)


def test_every_key_of_the_file_is_told() -> None:
    from chatbot.config_file import BackendTable, CacheTable, ConfigFile, Price

    told = set(KEYS)
    for name in (
        *ConfigFile.__struct_fields__,
        *(f"cache.{n}" for n in CacheTable.__struct_fields__),
    ):
        assert any(key == name or key.startswith(f"{name}.") for key in told), name
    for name in BackendTable.__struct_fields__:
        assert any(key.startswith(f"backends.ollama.{name}") for key in told), name
    for name in Price.__struct_fields__:
        assert f'prices."openai:x".{name}' in told


def test_options_of_the_command_line_are_above_a_backends_own() -> None:
    config = (
        "[options]\nseed = 1\n[backends.ollama]\nsystem = 'x'\n[backends.ollama.options]\nseed = 2"
    )
    found = merge(config, given={"options": (("seed", "3"),), "system": "mine"})
    for key in ("options.seed", "backends.ollama.options.seed", "system", "backends.ollama.system"):
        assert found.taken[key].source == "command line"
    assert found.settings.ui.options_of["ollama"] == {"seed": 3}
    assert found.settings.ui.system_of["ollama"] == "mine"


def test_an_alias_is_of_the_command_line_that_names_it() -> None:
    found = merge('[aliases]\nfast = "openai:x"', given={"model": "fast"})
    assert found.taken["backend"] == Taken("backend", "openai", "command line")
    assert found.taken["backends.openai.model"].value == "x"
    assert found.taken["backends.openai.model"].source == "command line"


def test_no_secret_is_told() -> None:
    secret = "sk-secret"
    environ = {
        "OPENAI_API_KEY": secret,
        "https_proxy": f"http://me:{secret}@proxy:3128",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={secret}",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"authorization={secret}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://me:{secret}@collector",
        "OLLAMA_HOST": f"http://me:{secret}@box",
    }
    found = merge("", environ)
    assert secret not in repr(found.taken)
    assert found.taken["HTTPS_PROXY"] == Taken(
        "HTTPS_PROXY", "http://***@proxy:3128", "environment", "https_proxy"
    )


def test_an_address_that_cannot_be_used_is_told_as_such() -> None:
    taken = merge("", {"OPENAI_BASE_URL": "nonsense"}).taken["backends.openai.base_url"]
    assert str(taken.value).startswith(
        "cannot be used: OPENAI_BASE_URL: 'nonsense' is not a base URL"
    )
    assert taken.origin == "environment variable OPENAI_BASE_URL"
    config = '[backends.openai]\nbase_url = "http://box"'
    taken = merge(config, {"OPENAI_API_KEY": "sk-1"}).taken["backends.openai.base_url"]
    assert f"cannot be used: {PATH}: backends.openai.base_url: refusing" in str(taken.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://me:pw@proxy:3128", "http://***@proxy:3128"),
        ("me:p@w@proxy", "***@proxy"),
        ("http://me:p/w@proxy", "http://***@proxy"),
        ("socks5://me@proxy/", "socks5://***@proxy/"),
        ("", ""),
    ],
)
def test_a_proxy_is_told_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_the_strongest_source_wins_and_false_is_a_value() -> None:
    sources = Merge(PATH)
    assert sources.take("a", default=True, file=False) is False
    assert sources.take("b", 1, file=2, environment=("B", 3), given=4) == 4
    assert sources.take("c", 1, file=2, environment=("C", 3)) == 3
    assert [each.source for each in sources.taken.values()] == [
        "file",
        "command line",
        "environment",
    ]
    assert msgspec.json.encode(sources.taken["c"])
