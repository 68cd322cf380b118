"""Defaults, config.toml, environment, command line: who wins, and what is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.backends import Backend, is_loopback, normalise_ollama_model, parse_base_url
from chatbot.config_file import parse_config
from chatbot.errors import UsageError
from chatbot.messages import BackendName, Options, Target
from chatbot.settings import (
    Arguments,
    Price,
    Settings,
    for_reading,
    load,
    parse_option_value,
)

KEY = "sk-secret-0123456789"


def chat(config: str = "", environ: dict[str, str] | None = None, **arguments: Any) -> Settings:
    arguments.setdefault("mode", "chat")
    return load(Arguments(**arguments), environ or {}, config)


def backend(settings: Settings, name: BackendName) -> Backend:
    return settings.worker.backends[name]


def refusal(config: str = "", environ: dict[str, str] | None = None, **arguments: Any) -> str:
    with pytest.raises(UsageError) as refused:
        chat(config, environ, **arguments)
    line = str(refused.value)
    assert len(line.splitlines()) == 1
    return line


# --- who wins


def test_with_nothing_said_it_is_a_chat_with_ollamas_llama3() -> None:
    settings = chat()
    assert settings.ui.target == Target("ollama", "llama3:latest")
    assert (settings.store.path, settings.telemetry.log_dir) == ("chatbot.db", "logs")
    assert backend(settings, "ollama").base_url == "http://localhost:11434"
    assert (settings.supervisor.workers, settings.ui.cache) == (2, "use")
    assert not settings.ui.backend_is_explicit
    assert not settings.ui.model_is_explicit


CONFIG = """
backend = "openai"
system = "from the file"
workers = 3
db = "file.db"
log_dir = "file-logs"
[options]
seed = 1
top_p = 0.5
[backends.openai]
base_url = "https://file.example/v1/"
model = "file-model"
"""


def test_the_file_beats_the_defaults() -> None:
    settings = chat(CONFIG)
    options: Options = {"seed": 1, "top_p": 0.5}
    assert settings.ui.target == Target("openai", "file-model", "from the file", options)
    assert (settings.store.path, settings.telemetry.log_dir) == ("file.db", "file-logs")
    assert settings.supervisor.workers == 3
    assert backend(settings, "openai").base_url == "https://file.example/v1"


def test_the_environment_beats_the_file() -> None:
    settings = chat(CONFIG, {"OPENAI_BASE_URL": "https://environment.example"})
    assert backend(settings, "openai").base_url == "https://environment.example"


def test_the_command_line_beats_all() -> None:
    settings = chat(
        CONFIG,
        backend="grok",
        model="mine",
        system="from here",
        options=(("seed", "2"),),
        workers=4,
        db="my.db",
        log_dir="my-logs",
        no_cache=True,
        debug=True,
    )
    options: Options = {"seed": 2, "top_p": 0.5}
    assert settings.ui.target == Target("grok", "mine", "from here", options)
    assert (settings.store.path, settings.telemetry.log_dir) == ("my.db", "my-logs")
    assert (settings.supervisor.workers, settings.ui.cache) == (4, "off")
    assert settings.telemetry.debug
    assert settings.ui.backend_is_explicit
    assert settings.ui.model_is_explicit


def test_what_is_explicit_is_what_the_command_line_says() -> None:
    ui = chat(CONFIG, system="", options=(("seed", "2"),)).ui
    assert ui.system_is_explicit
    assert ui.explicit_options == {"seed": 2}
    ui = chat(CONFIG).ui
    assert not ui.system_is_explicit
    assert ui.explicit_options == {}


def test_the_file_bounds_the_cache() -> None:
    store = chat("[cache]\nmax_mb = 0.5\nmax_days = 7").store
    assert (store.cache_bytes, store.cache_age_s) == (512 * 1024, 7 * 86400.0)
    assert chat("[cache]").store == chat().store


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("max_mb = 0", "cache.max_mb: 0 is not allowed"),
        ("max_mb = -1.5", "cache.max_mb: -1.5 is not allowed"),
        ("max_mb = nan", "cache.max_mb"),
        ("max_days = inf", "at most 36500"),
        ("max_days = true", "cache.max_days: true is not allowed, give a number"),
        ("max_gb = 1", "allowed: max_mb, max_days"),
    ],
)
def test_a_bound_of_the_cache_that_is_none_is_refused(table: str, named: str) -> None:
    assert named in refusal(f"[cache]\n{table}")


def test_an_empty_system_prompt_takes_away_the_files() -> None:
    assert chat(CONFIG, system="").ui.target.system is None


def test_an_empty_variable_is_none() -> None:
    environ = {"OPENAI_BASE_URL": " ", "OPENAI_API_KEY": "", "OLLAMA_HOST": ""}
    settings = chat("", environ)
    assert settings.worker.backends == chat().worker.backends


def test_ollamas_model_is_set_whoever_is_asked_first() -> None:
    settings = chat(backend="sim", ollama_model="codellama")
    assert settings.ui.target == Target("sim", "sim")
    assert settings.ui.default_models["ollama"] == "codellama:latest"
    assert chat(ollama_model="codellama:13b").ui.target.model == "codellama:13b"
    assert chat(ollama_model="a", model="b").ui.target.model == "b:latest"


def test_ollamas_model_of_the_file_gets_its_tag_too() -> None:
    settings = chat('[backends.ollama]\nmodel = "phi"', backend="sim")
    assert settings.ui.default_models["ollama"] == "phi:latest"


def test_groks_key_has_two_names_and_the_first_wins() -> None:
    both = {"GROK_API_KEY": "one", "XAI_API_KEY": "two"}
    assert backend(chat("", both), "grok").api_key == "one"
    assert backend(chat("", {"XAI_API_KEY": "two"}), "grok").api_key == "two"


@pytest.mark.parametrize(
    ("arguments", "policy"),
    [({"refresh": True}, "refresh"), ({"no_cache": True}, "off"), ({}, "use")],
)
def test_the_cache_is_used_unless_told_otherwise(arguments: Any, policy: str) -> None:
    assert chat(**arguments).ui.cache == policy


def test_telemetry_gets_the_otel_variables_and_no_others() -> None:
    environ = {"OTEL_SERVICE_NAME": "mine", "OPENAI_API_KEY": KEY, "HOME": "/"}
    assert chat("", environ).telemetry.environ == {"OTEL_SERVICE_NAME": "mine"}


def test_proxies_are_read_in_either_case_and_the_lower_wins() -> None:
    environ = {"HTTPS_PROXY": "http://a", "https_proxy": "http://b", "NO_PROXY": "x"}
    found = chat("", environ).worker.proxies
    assert found == {"https_proxy": "http://b", "no_proxy": "x"}


# --- keys


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("grok", "GROK_API_KEY or XAI_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
    ],
)
def test_a_missing_key_ends_a_oneshot_and_not_a_chat(name: BackendName, variable: str) -> None:
    line = refusal(mode="oneshot", prompt="hi", backend=name)
    assert f"set the environment variable {variable} and start again" in line
    assert line == refusal(mode="models", backend=name)
    assert backend(chat(backend=name), name).obstacle == line


def test_a_resumed_session_is_asked_where_it_was_asked_before() -> None:
    config = 'backend = "openai"'
    assert chat(config, mode="oneshot", prompt="hi", resume_latest=True)
    assert "openai" in refusal(config, mode="oneshot", prompt="hi")


def test_a_model_for_a_resumed_session_is_left_to_its_own_backend() -> None:
    ui = chat(session_id="session_1_a", model="gpt").ui
    assert (ui.target.model, ui.default_models["ollama"]) == ("gpt", "llama3:latest")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:1", "[::1]:8080"])
def test_this_machine_needs_no_key_and_may_have_one(host: str) -> None:
    environ = {"OPENAI_BASE_URL": f"http://{host}/v1"}
    assert chat("", environ, mode="oneshot", prompt="hi", backend="openai")
    assert backend(chat("", environ | {"OPENAI_API_KEY": KEY}), "openai").api_key == KEY


@pytest.mark.parametrize(
    "url",
    ["http://example.com", "HTTP://example.com", "http://127.0.0.1.example.com", "http://10.0.0.1"],
)
def test_a_key_is_not_sent_over_plain_http_to_another_machine(url: str) -> None:
    line = refusal("", {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}, backend="openai")
    assert line.startswith("OPENAI_BASE_URL: ")
    assert "https" in line


@pytest.mark.parametrize("key", ["a\nb", "a\r\nX-Other: b", "schlüssel", "a\0b", "a\x1bb"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    line = refusal("", {"ANTHROPIC_API_KEY": key}, backend="anthropic")
    assert line.startswith("ANTHROPIC_API_KEY: ")
    assert key not in line


def test_a_newline_at_the_end_of_a_key_is_forgiven() -> None:
    assert backend(chat("", {"OPENAI_API_KEY": f"{KEY}\n"}), "openai").api_key == KEY


def test_no_repr_shows_a_key() -> None:
    environ = {
        "OPENAI_API_KEY": KEY,
        "GROK_API_KEY": KEY,
        "ANTHROPIC_API_KEY": KEY,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={KEY}",
        "HTTPS_PROXY": f"http://me:{KEY}@proxy",
    }
    settings = chat("", environ)
    assert KEY not in repr(settings)
    assert KEY not in f"{settings.worker} {settings.telemetry} {settings.worker.backends}"
    assert "key=set" in repr(settings)


# --- addresses


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("box", "http://box:11434"),
        ("h", "http://h:11434"),
        ("box:8080", "http://box:8080"),
        (":8080", "http://localhost:8080"),
        ("http://box", "http://box"),
        ("https://box/ollama/", "https://box/ollama"),
        ("box/ollama", "http://box:11434/ollama"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("http://0.0.0.0:1", "http://127.0.0.1:1"),
        ("[::]:5", "http://[::1]:5"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:11434", "http://[::1]:11434"),
        (" box ", "http://box:11434"),
        ("0.0.0.0.example.com", "http://0.0.0.0.example.com:11434"),
    ],
)
def test_ollamas_host_may_leave_out_what_ollama_allows(text: str, url: str) -> None:
    assert parse_base_url("OLLAMA_HOST", text) == url
    assert backend(chat("", {"OLLAMA_HOST": text}), "ollama").base_url == url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("HTTPS://API.example.com", "https://api.example.com"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://münchen.example", "http://münchen.example"),
        ("http://my_host:1", "http://my_host:1"),
    ],
)
def test_a_base_url_loses_only_its_slash(text: str, url: str) -> None:
    assert parse_base_url("OPENAI_BASE_URL", text) == url


MALFORMED = [
    "localhost:8000",
    "example.com",
    "ftp://example.com",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://",
    "http:///v1",
    "http://:80",
    "http://host:0",
    "http://host:65536",
    "http://host:port",
    "http://[::1",
    "http://[nonsense]",
    "http://two words",
    "http://host/a b",
    "http://host\n.example.com",
    "http://host\\.example.com",
    "http://host?key=1",
    "http://host/#top",
    "http://ho\x1b[31mst",
    "http://\udc80",
    "://",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_base_url_is_one_line_that_names_the_variable(text: str) -> None:
    line = refusal("", {"OPENAI_BASE_URL": text}, backend="openai")
    assert line.startswith("OPENAI_BASE_URL: ")
    assert "write for example http://localhost:11434" in line
    assert line.isprintable()


def test_a_malformed_base_url_of_the_file_is_named_by_its_key() -> None:
    line = refusal('[backends.grok]\nbase_url = "nonsense"')
    assert line.startswith("config.toml: backends.grok.base_url: ")


def test_what_is_wrong_with_a_backend_that_is_not_asked_is_told_only_when_it_is() -> None:
    settings = chat("", {"OPENAI_BASE_URL": "nonsense", "OPENAI_API_KEY": KEY})
    assert backend(settings, "openai").obstacle.startswith("OPENAI_BASE_URL: ")
    assert not backend(settings, "ollama").obstacle


@pytest.mark.parametrize(
    ("variable", "name"), [("OPENAI_BASE_URL", "openai"), ("OLLAMA_HOST", "ollama")]
)
def test_a_password_in_a_url_is_refused_without_showing_it(variable: str, name: str) -> None:
    line = refusal("", {variable: f"https://me:{KEY}@example.com"}, backend=name)
    assert line.startswith(f"{variable}: put no user name or password")
    assert KEY not in line


@pytest.mark.parametrize("variable", ["OLLAMA_HOST", "OPENAI_BASE_URL"])
@given(text=st.text(st.sampled_from("http://[]:@0.1?#\\ \n%éx"), max_size=20))
def test_any_text_is_a_usable_url_or_one_line(variable: str, text: str) -> None:
    try:
        url = parse_base_url(variable, text)
    except UsageError as refused:
        line = str(refused)
    else:
        line = url
        assert url.startswith(("http://", "https://"))
        assert parse_base_url(variable, url) == url
    assert line.isprintable()


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("127.evil.example", False),
        ("localhost.evil.example", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) is here


# --- the file


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("colour = 1", ["colour", "allowed: backend, system, workers"]),
        ("[backends.openai]\ncolour = 1", ["colour", "allowed: base_url, model"]),
        ("[backends.nobody]\nmodel = 'x'", ["nobody", "ollama, anthropic, grok, openai, sim"]),
        ("backend = 'nobody'", ["backend: 'nobody'", "ollama, anthropic, grok, openai, sim"]),
        ("workers = 'two'", ["workers: 'two'", "a whole number"]),
        ("workers = true", ["workers: true", "a whole number"]),
        ("system = 1", ["system: 1", "a text in quotes"]),
        ("[options]\nstop = ['a']", ["options.stop: ['a']", "a number, true or false"]),
        ("[options]\ntop_p = nan", ["options.top_p", "finite"]),
        ("[options]\nseed = 99999999999999999999", ["options.seed", "at most 64 bits"]),
        ("wokers = 2", ["wokers", "did you mean workers?"]),
        ("api_key = 'sk-1'", ["api_key", "from the environment only"]),
        ("[backends.openai]\napi_key = 'sk-1'", ["backends.openai.api_key", "environment only"]),
        ("[backends.opena]\nmodel = 'x'", ["backends.opena", "did you mean openai?"]),
        ("[backends.ollama]\nmodle = 'x'", ["backends.ollama.modle", "did you mean model?"]),
        ("[backends.ollama]\ncontext = 0", ["backends.ollama.context: 0", "from 1 to"]),
        ("[backends.ollama]\ncontext = '8k'", ["backends.ollama.context: '8k'", "whole number"]),
        ("[backends.ollama]\nsystem = true", ["backends.ollama.system: true", "text in quotes"]),
        ("[backends.ollama.options]\nstop = []", ["backends.ollama.options.stop: []", "a number"]),
        ("[backends]\nollama = 1", ["backends.ollama: 1", "a table: [backends.ollama]"]),
        ("options = 'x'", ["options: 'x'", "a table: [options]"]),
        ("history = 1", ["history: 1", "true, false, or a path in quotes"]),
        ("plain = 'yes'", ["plain: 'yes'", "true or false"]),
        ("bell = 1", ["bell: 1", "true or false"]),
        ("[prices.openai]\ninput = 1", ['prices."openai"', '[prices."openai:MODEL"]']),
        ('[prices."openai:*"]\ninput = 1', ['prices."openai:*"', '[prices."openai:MODEL"]']),
        ('[prices."gpt:x"]\ninput = 1', ['prices."gpt:x"', "ollama, anthropic"]),
        (
            '[prices."ollama:x"]\ninput = 1\noutput = 1\n'
            '[prices."ollama:x:latest"]\ninput = 2\noutput = 2',
            ['prices."ollama:x:latest": it is the same model as prices."ollama:x"'],
        ),
        ('[prices."openai:x"]\ninput = 1', ['prices."openai:x": output is missing', "dollars"]),
        ('[prices."openai:x"]\ninputs = 1', ['"openai:x".inputs', "did you mean input?"]),
        ('[prices."openai:x"]\ninput = 1\noutput = -1', ['"openai:x".output: -1', "from 0 to"]),
        ('[prices."openai:x"]\ninput = nan\noutput = 1', ['"openai:x".input: nan', "from 0 to"]),
        ('[prices."openai:x"]\ninput = "1"\noutput = 1', ["\"openai:x\".input: '1'", "a number"]),
        ("[aliases]\nOpenAI = 'sim'", ["aliases.OpenAI", "the name of a backend"]),
        (
            "[aliases]\nfast = 'gpt'",
            ["aliases.fast: 'gpt' is neither", "BACKEND:MODEL (allowed: ollama"],
        ),
        ("[aliases]\nfast = 1", ["aliases.fast: 1", "BACKEND:MODEL"]),
        ("[aliases]\nfast = 'ollama:a b'", ["aliases.fast", "'a b' is malformed"]),
        ("[aliases]\na = 'sim'\nb = 'a'", ["aliases.b: 'a' is an alias itself", "BACKEND:MODEL"]),
        ('[aliases]\n"a b" = "sim"', ["aliases.a b", "no spaces"]),
        ('[aliases]\n"a:b" = "sim"', ["aliases.a:b", "colons"]),
        ('[aliases]\n"-m" = "sim"', ["aliases.-m", "no dash"]),
        ("workers = 0", ["workers", "from 1 to 64"]),
        ("workers = 65", ["workers", "from 1 to 64"]),
        ("[backends.sim]\nbase_url = 'http://x'", ["backends.sim.base_url"]),
        ("[backends.ollama]\nmodel = 'a b'", ["'a b'", "NAME:VERSION"]),
        ("workers = ", ["config.toml", "Invalid value"]),
        ("[a\nb", ["config.toml", "line 1"]),
        ("x = 1\nx = 2", ["config.toml", "overwrite"]),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_key_and_what_is_allowed(
    config: str, named: list[str]
) -> None:
    line = refusal(config)
    assert line.startswith("config.toml: ")
    assert all(word in line for word in named), line
    assert "sk-1" not in line
    with pytest.raises(UsageError, match=r"^/etc/mine: "):
        load(Arguments(mode="chat"), {}, config, "/etc/mine")


@given(
    st.text(
        st.sampled_from('[]="ab.:\\n 1options prices aliases backends.ollama true'), max_size=60
    )
)
def test_any_file_is_read_or_is_one_line(text: str) -> None:
    line = "config.toml: "
    try:
        parse_config(text)
    except UsageError as refused:
        line = str(refused)
    assert line.startswith("config.toml: ")


# --- backends of the file, aliases, prices

TABLES = """
system = "be brief"
[options]
temperature = 0.5
seed = 1
[backends.ollama]
system = "be kind"
context = 8192
[backends.ollama.options]
seed = 2
[prices."ollama:llama3.2"]
input = 0
output = 0.5
[prices."openai:gpt"]
input = 1
output = 2
cached_input = 0.1
[aliases]
fast = "ollama:llama3.2"
any = "openai"
"""


def test_a_backends_own_options_are_above_the_common_and_below_the_command_line() -> None:
    ui = chat(TABLES).ui
    assert ui.target.options == ui.options_of["ollama"] == {"temperature": 0.5, "seed": 2}
    assert ui.options_of["openai"] == {"temperature": 0.5, "seed": 1}
    ui = chat(TABLES, options=(("seed", "3"),)).ui
    assert ui.target.options == {"temperature": 0.5, "seed": 3}
    assert {options["seed"] for options in ui.options_of.values()} == {3}


def test_a_backend_may_have_a_system_prompt_of_its_own() -> None:
    assert chat(TABLES).ui.target.system == "be kind"
    ui = chat(TABLES, backend="openai").ui
    assert (ui.target.system, ui.system_of["ollama"]) == ("be brief", "be kind")
    assert set(chat(TABLES, system="here").ui.system_of.values()) == {"here"}
    assert chat('system = "x"\n[backends.ollama]\nsystem = ""').ui.target.system is None


def test_prices_are_by_whole_names_and_the_store_gets_them_too() -> None:
    settings = chat(TABLES)
    assert settings.ui.prices == settings.store.prices
    assert settings.ui.prices == {
        "ollama:llama3.2:latest": Price(0.0, 0.5),
        "openai:gpt": Price(1.0, 2.0, 0.1),
    }
    assert chat().ui.prices == {}


def test_a_context_is_what_the_file_says_and_unknown_without() -> None:
    assert chat(TABLES).ui.context_lengths == {"ollama": 8192}


def test_an_alias_is_a_backend_and_a_model() -> None:
    settings = chat(TABLES, model="fast")
    assert settings.ui.aliases == {"fast": ("ollama", "llama3.2:latest"), "any": ("openai", "")}
    assert settings.ui.target.model == "llama3.2:latest"
    settings = chat('backend = "sim"' + TABLES, model="fast")
    assert (settings.ui.target.backend, settings.ui.target.model) == ("ollama", "llama3.2:latest")
    assert settings.ui.backend_is_explicit
    assert settings.ui.model_is_explicit
    ui = chat(TABLES, model="any").ui
    assert (ui.target.backend, ui.target.model) == ("openai", "gpt-4.1-mini")
    assert (ui.backend_is_explicit, ui.model_is_explicit) == (True, False)


def test_an_alias_agrees_with_the_backend_or_is_refused() -> None:
    assert chat(TABLES, model="fast", backend="ollama").ui.target.model == "llama3.2:latest"
    line = refusal(TABLES, model="fast", backend="openai")
    assert line == (
        "-m fast is an alias of ollama:llama3.2:latest, which --backend openai contradicts: "
        "give one of them"
    )


def test_a_throughput_test_asks_whom_the_command_line_names() -> None:
    ui = chat('backend = "openai"' + TABLES, mode="simulate").ui
    assert ui.target.backend == "sim"
    assert chat(TABLES, mode="simulate", model="fast").ui.target.backend == "ollama"


# --- what was typed, and how it looks


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ("", "/state/history"),
        ("history = true", "/state/history"),
        ("history = false", ""),
        ('history = ""', ""),
        ('history = "mine"', "mine"),
        ('history = "~/mine"', "/home/me/mine"),
        ('history = "~other/mine"', "~other/mine"),
    ],
)
def test_what_was_typed_is_kept_where_the_file_says(config: str, file: str) -> None:
    ui = chat(config, history="/state/history", home="/home/me").ui
    assert ui.history_file == file


def test_a_path_of_the_file_may_begin_with_the_persons_own_directory() -> None:
    settings = chat('db = "~/my.db"\nlog_dir = "~/logs"', home="/home/me")
    assert (settings.store.path, settings.ui.log_dir) == ("/home/me/my.db", "/home/me/logs")
    reading = for_reading(Arguments(mode="manage", home="/home/me"), 'log_dir = "~"\nplain = true')
    assert reading == ("/home/me", True)


def test_the_file_may_make_it_plain_and_ring_a_bell() -> None:
    ui = chat("plain = true\nbell = true").ui
    assert (ui.plain, ui.bell, ui.colour) == (True, True, False)
    ui = chat("plain = false").ui
    assert (ui.plain, ui.bell, ui.colour) == (False, False, True)
    assert chat("plain = false", plain=True).ui.plain


def test_code_is_extracted_from_one_answer_only() -> None:
    assert chat(mode="oneshot", prompt="hi", extract=True).ui.extract
    for mode, json in (("chat", False), ("script", False), ("oneshot", True)):
        assert "--extract" in refusal(mode=mode, prompt="hi", extract=True, json=json)


# --- numbers and names


@pytest.mark.parametrize("workers", [0, -1, 65])
def test_workers_have_a_range(workers: int) -> None:
    assert "from 1 to 64" in refusal(workers=workers)
    assert [chat(workers=n).supervisor.workers for n in (1, 64)] == [1, 64]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1", -1),
        ("0.7", 0.7),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("", ""),
        ("nano", "nano"),
        ("information", "information"),
        ("1_000", "1_000"),
        ("٣", "٣"),
        ("1.2.3", "1.2.3"),
        (" 1", " 1"),
    ],
)
def test_an_option_is_a_number_where_it_looks_like_one(text: str, value: object) -> None:
    parsed = parse_option_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text",
    ["1e999", "-1e999", "9223372036854775808", "9" * 25, "nan", "NaN", "inf", "-Inf", "+infinity"],
)
def test_a_number_that_cannot_be_sent_is_refused(text: str) -> None:
    assert refusal(options=(("seed", text),)).startswith("option seed: ")


@given(st.text())
def test_any_option_can_be_sent_or_is_refused(text: str) -> None:
    try:
        value = parse_option_value(text)
    except UsageError:
        return
    target = Target("sim", "sim", None, {"x": value})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(target), type=Target) == target


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("llama3", "llama3:latest"),
        ("codellama:13b", "codellama:13b"),
        ("llama3:2023-06-01", "llama3:2023-06-01"),
        ("qwen2.5-coder:7b-instruct-q4_K_M", "qwen2.5-coder:7b-instruct-q4_K_M"),
        ("me/model", "me/model:latest"),
        ("hf.co/bartowski/Llama-3.2-1B-GGUF:Q8_0", "hf.co/bartowski/Llama-3.2-1B-GGUF:Q8_0"),
        ("registry.example:5000/me/model:1", "registry.example:5000/me/model:1"),
        ("localhost:5000/model", "localhost:5000/model:latest"),
    ],
)
def test_an_ollama_model_gets_its_tag(name: str, whole: str) -> None:
    assert normalise_ollama_model(name) == whole
    assert normalise_ollama_model(whole) == whole


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "a:",
        ":13b",
        "a b",
        "a:b:c",
        "../a",
        "/a",
        "a/",
        "a//b",
        "-a",
        "a\n",
        "modèle",
        "a?",
    ],
)
def test_a_malformed_ollama_model_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(UsageError, match="llama3 or codellama:13b"):
        normalise_ollama_model(name)
    if name:
        assert "malformed" in refusal(ollama_model=name)


def test_the_certificates_to_trust_come_from_the_usual_variable() -> None:
    settings = load(Arguments(mode="chat"), {"SSL_CERT_FILE": "/etc/ours.pem"})
    assert settings.worker.ca_file == "/etc/ours.pem"
