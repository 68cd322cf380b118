"""Settings: one frozen struct per room, merged once, handed in.

Weakest first: the defaults below, `config.toml`, the environment, the command line. `load` is the
only function that reads them together; it is pure (the caller passes the environment and the text
of the file). No room reads the environment or a file of settings itself.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from chatbot.backends import (
    BACKENDS,
    Backend,
    from_environment,
    normalise_ollama_model,
    parse_base_url,
)
from chatbot.distribution import Distribution, constant
from chatbot.errors import UsageError
from chatbot.messages import BackendName, CachePolicy, Options, Target
from chatbot.otel import Tracing
from chatbot.otel import from_environment as tracing_of
from chatbot.simulation import Simulation

UiMode = Literal["chat", "oneshot", "script", "models", "manage", "simulate"]


class SupervisorSettings(msgspec.Struct, frozen=True):
    """`credit`: calls one worker may hold at once. `max_in_flight`: requests in the whole program."""

    workers: int = 2
    credit: int = 256
    max_in_flight: int = 4096


class Manage(msgspec.Struct, frozen=True):
    """What `chatbot sessions …` and `chatbot cache …` are to do; each action has its own parts.

    `text` is what to search for, or a new title; `out` a file, empty for stdout; `yes` the consent
    to what cannot be undone; `db` the path of the database, as a person knows it.
    """

    action: Literal[
        "list",
        "show",
        "search",
        "export",
        "rename",
        "delete",
        "prune",
        "recover",
        "cache-stats",
        "cache-clear",
    ]
    session_ids: tuple[str, ...] = ()
    text: str = ""
    limit: int = 20
    format: Literal["md", "json"] = "md"
    out: str = ""
    older_than_s: float = 0.0
    keep_last: int = 0
    dry_run: bool = False
    yes: bool = False
    db: str = ""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a million tokens cost, in dollars. `cached_input` is for input that the server had in a cache of
    its own; None: the same as `input`."""

    input: float
    output: float
    cached_input: float | None = None


class UiSettings(msgspec.Struct, frozen=True):
    """What the person asked for. `resume_latest` is `--continue`; `session_id` `--session-id`.

    A resumed session goes on with its own backend, model, system prompt and options, except for what
    is explicit: what was given on the command line. `log_dir` is where traces are read; `colour`
    whether a terminal may be given colours; `is_dumb`: it knows no escape sequences at all.
    `options_of` are what each backend is asked with by default, `explicit_options` aside; `prices` is by
    `BACKEND:MODEL`; `context_lengths` holds what the file says of servers that do not tell. `history_file`
    keeps what was typed; empty: nothing does.
    """

    mode: UiMode
    target: Target
    default_models: dict[BackendName, str]
    backend_is_explicit: bool = False
    model_is_explicit: bool = False
    system_is_explicit: bool = False
    explicit_options: Options = {}
    prompt: str = ""
    prompt_from_stdin: bool = False
    session_id: str = ""
    resume_latest: bool = False
    cache: CachePolicy = "use"
    json: bool = False
    plain: bool = False
    models_of: tuple[BackendName, ...] = ()
    restarted: bool = False
    manage: Manage | None = None
    simulation: Simulation | None = None
    log_dir: str = "logs"
    colour: bool = False
    is_dumb: bool = False
    options_of: dict[BackendName, Options] = {}
    aliases: dict[str, tuple[BackendName, str]] = {}
    prices: dict[str, Price] = {}
    context_lengths: dict[BackendName, int] = {}
    history_file: str = ""


class StoreSettings(msgspec.Struct, frozen=True):
    """`memory_cache_bytes` bounds the memory level of the answer cache; `cache_bytes` and
    `cache_age_s` its SQLite level. `must_exist`: a missing database is not to be created.
    `recovers`: the database is damaged and stays closed; only a `Recover` is served. `saves` False: there
    is to be no store at all. `prices`, by `BACKEND:MODEL`, are put into the table of that name.
    """

    path: str = "chatbot.db"
    memory_cache_bytes: int = 64 * 1024 * 1024
    cache_bytes: int = 256 * 1024 * 1024
    cache_age_s: float = 30 * 86400.0
    must_exist: bool = False
    recovers: bool = False
    saves: bool = True
    prices: dict[str, Price] = {}


class WorkerSettings(msgspec.Struct, frozen=True):
    """Limits of one LLM call. `read_timeout_s` is silence between bytes, `content_timeout_s` silence
    between pieces of content (pings do not count), `total_timeout_s` the whole call with its retries.
    `ca_file` holds the certificates to trust instead of the usual ones; empty: the usual ones.
    """

    backends: dict[BackendName, Backend]
    connect_timeout_s: float = 60.0
    read_timeout_s: float = 60.0
    content_timeout_s: float = 120.0
    total_timeout_s: float = 3600.0
    max_retries: int = 2
    proxies: dict[str, str] = {}
    ca_file: str = ""

    def __repr__(self) -> str:  # the URL of a proxy may hold a password
        return f"WorkerSettings({self.backends!r}, proxies for {sorted(self.proxies)})"


LOG_FILE = "chatbot.log"
TRACE_LOG_FILE = "chatbot_traces.log"
SPAN_FILE = "extrachat_traces_process.log"
METRIC_FILE = "extrachat_metrics_process.log"


class TelemetrySettings(msgspec.Struct, frozen=True):
    """`environ` holds the `OTEL_*` variables as they were at the start."""

    log_dir: str = "logs"
    debug: bool = False
    environ: dict[str, str] = {}

    def __repr__(self) -> str:  # OTEL_EXPORTER_OTLP_HEADERS may hold a key
        return f"TelemetrySettings({self.log_dir!r}, {self.debug}, {sorted(self.environ)})"


FaultKind = Literal[
    "429", "500", "503", "529", "error", "disconnect", "truncate", "stall", "malformed"
]


class SimServerSettings(msgspec.Struct, frozen=True):
    """The simulated LLM. Its text, times and faults are made from `seed` and the conversation.

    `first_token` and `inter_chunk` are in seconds; `prefill_s` is added to the first for every token of
    the prompt; all of them are multiplied by 1 + `slowdown` · (other answers under way). An answer has
    `reasoning` chunks of thinking and then `chunks` of text, each of so many tokens. At most
    `max_running` answers are generated at once (0: no bound), and `max_queue` wait; the next is refused
    with 429 and `retry_after_s`. `faults` are the shares of the requests that go wrong, by how. `truth`
    puts the true time of each write into the stream.
    """

    host: str = "127.0.0.1"
    port: int = 0
    first_token: Distribution = constant(0.05)
    inter_chunk: Distribution = constant(0.01)
    chunks: Distribution = constant(32.0)
    tokens_per_chunk: Distribution = constant(1.0)
    reasoning: Distribution = constant(0.0)
    prefill_s: float = 0.0
    slowdown: float = 0.0
    max_running: int = 0
    max_queue: int = 1_000_000
    faults: dict[FaultKind, float] = {}
    retry_after_s: float = 1.0
    truth: bool = False
    seed: int = 0


class Settings(msgspec.Struct, frozen=True):
    """All of it."""

    supervisor: SupervisorSettings
    ui: UiSettings
    store: StoreSettings
    worker: WorkerSettings
    telemetry: TelemetrySettings
    tracing: Tracing
    sim_server: SimServerSettings


class BackendTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[backends.NAME]` in the file."""

    base_url: str = ""
    model: str = ""


class CacheTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[cache]` in the file: the bounds of the answers that are kept in the database."""

    max_mb: int | float | None = None
    max_days: int | float | None = None


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`config.toml`; every key is optional."""

    backend: BackendName | None = None
    system: str | None = None
    workers: int | None = None
    db: str | None = None
    log_dir: str | None = None
    options: dict[str, int | float | str | bool] = {}
    backends: dict[BackendName, BackendTable] = {}
    cache: CacheTable = CacheTable()


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """The command line, parsed but not yet judged. None: not given."""

    mode: UiMode
    backend: BackendName | None = None
    model: str | None = None
    ollama_model: str | None = None
    system: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    session_id: str = ""
    resume_latest: bool = False
    no_cache: bool = False
    refresh: bool = False
    json: bool = False
    plain: bool = False
    debug: bool = False
    workers: int | None = None
    db: str | None = None
    log_dir: str | None = None
    prompt: str = ""
    prompt_from_stdin: bool = False
    manage: Manage | None = None
    sim_server: SimServerSettings = SimServerSettings()


def load(arguments: Arguments, environ: Mapping[str, str], config: str = "") -> Settings:
    """Merge defaults, the text of `config.toml`, the environment and the command line.

    Raises UsageError with one line that names the key and what is allowed.
    """
    file = parse_config(config)
    backends = {b.name: from_environment(_from_file(b, file), environ) for b in BACKENDS}
    backend = arguments.backend or file.backend or "ollama"
    resumes = bool(arguments.session_id or arguments.resume_latest) and arguments.backend is None
    asks_nobody = resumes or arguments.manage is not None
    if (fault := backends[backend].fault) and not asks_nobody:
        raise UsageError(fault)
    if arguments.ollama_model is not None:
        name = normalise_ollama_model(arguments.ollama_model)
        backends["ollama"] = msgspec.structs.replace(backends["ollama"], model=name)
    model = arguments.model or backends[backend].model
    for_another = resumes and arguments.model is not None  # for the session's own backend
    if backend == "ollama" and not for_another:
        model = normalise_ollama_model(model)
    options: Options = {key: _storable(key, value) for key, value in file.options.items()}
    explicit: Options = {key: parse_option_value(value, key) for key, value in arguments.options}
    options.update(explicit)
    workers = arguments.workers if arguments.workers is not None else file.workers
    supervisor = SupervisorSettings()
    if workers is not None:
        if not 1 <= workers <= 64:
            raise UsageError(f"workers: {workers} is not allowed, give a number from 1 to 64")
        supervisor = msgspec.structs.replace(supervisor, workers=workers)
    asks_it = arguments.mode == "simulate" or (arguments.mode == "oneshot" and not resumes)
    if (asks_it or (arguments.mode == "models" and arguments.backend)) and (
        reason := backends[backend].obstacle
    ):
        raise UsageError(reason)
    system = file.system if arguments.system is None else arguments.system
    default_models: dict[BackendName, str] = {b.name: b.model for b in backends.values()}
    if not for_another:
        default_models[backend] = model
    store = _store(arguments, file)
    manage = arguments.manage and msgspec.structs.replace(arguments.manage, db=store.path)
    return Settings(
        supervisor=supervisor,
        ui=UiSettings(
            mode=arguments.mode,
            target=Target(backend, model, system or None, options),
            default_models=default_models,
            backend_is_explicit=arguments.backend is not None,
            model_is_explicit=arguments.model is not None,
            system_is_explicit=arguments.system is not None,
            explicit_options=explicit,
            prompt=arguments.prompt,
            prompt_from_stdin=arguments.prompt_from_stdin,
            session_id=arguments.session_id,
            resume_latest=arguments.resume_latest,
            cache="off" if arguments.no_cache else "refresh" if arguments.refresh else "use",
            json=arguments.json,
            plain=arguments.plain,
            models_of=(arguments.backend,)
            if arguments.backend
            else tuple(b.name for b in backends.values() if not b.obstacle),
            manage=manage,
            log_dir=_log_dir(arguments.log_dir, file),
            colour=wants_colour(environ, plain=arguments.plain),
            is_dumb=environ.get("TERM") == "dumb",
        ),
        store=store,
        worker=WorkerSettings(
            backends=backends,
            proxies=_proxies(environ),
            ca_file=environ.get("SSL_CERT_FILE", ""),
        ),
        tracing=tracing_of(environ, debug=arguments.debug),
        telemetry=TelemetrySettings(
            log_dir=_log_dir(arguments.log_dir, file),
            debug=arguments.debug,
            environ={k: v for k, v in environ.items() if k.startswith("OTEL_")},
        ),
        sim_server=arguments.sim_server,
    )


def log_dir_of(given: str | None, config: str) -> str:
    """Return the log directory, for a program that needs no other setting. Raises UsageError."""
    return _log_dir(given, parse_config(config))


def _log_dir(given: str | None, file: ConfigFile) -> str:
    return given or file.log_dir or "logs"


def wants_colour(environ: Mapping[str, str], *, plain: bool) -> bool:
    """Whether a terminal may be given colours: see https://no-color.org."""
    return not plain and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _store(arguments: Arguments, file: ConfigFile) -> StoreSettings:
    """Return the settings of the store. Raises UsageError for a bound that is none."""
    defaults = StoreSettings()
    cache_bytes, cache_age_s = defaults.cache_bytes, defaults.cache_age_s
    if file.cache.max_mb is not None:
        cache_bytes = int(_within("cache.max_mb", file.cache.max_mb, 1_000_000) * 1024 * 1024)
    if file.cache.max_days is not None:
        cache_age_s = _within("cache.max_days", file.cache.max_days, 36_500) * 86400.0
    manage = arguments.manage
    return StoreSettings(
        path=arguments.db or file.db or defaults.path,
        cache_bytes=cache_bytes,
        cache_age_s=cache_age_s,
        must_exist=manage is not None,
        recovers=manage is not None and manage.action == "recover",
    )


def _within(key: str, value: int | float, most: int) -> int | float:
    """Return the value; refuse one that is not above 0 and at most `most`, as a NaN is not either."""
    if not 0 < value <= most:
        raise UsageError(
            f"config.toml: {key}: {value} is not allowed, give a number above 0, at most {most}"
        )
    return value


def parse_config(text: str) -> ConfigFile:
    """Parse the text of `config.toml`. Raises UsageError naming the key and what is allowed."""
    try:
        return msgspec.convert(tomllib.loads(text), ConfigFile)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"config.toml: {error}") from error
    except msgspec.ValidationError as error:
        raise UsageError(f"config.toml: {error}{_allowed(str(error))}") from error


def _allowed(error: str) -> str:
    """Return what the file may say where msgspec only says what it may not."""
    if "enum value" in error:
        return f", allowed: {', '.join(get_args(BackendName))}"
    if "unknown field" in error:
        tables = {"`$.backends": BackendTable, "`$.cache": CacheTable}
        table = next((table for path, table in tables.items() if path in error), ConfigFile)
        return f", allowed: {', '.join(table.__struct_fields__)}"
    return ""


def parse_option_value(text: str, key: str = "option") -> int | float | str | bool:
    """Read the VALUE of `-o KEY VALUE`: a number or true/false where it looks like one, else text.

    Raises UsageError for a number that cannot be sent.
    """
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?[0-9]{1,25}", text):
        return _storable(key, int(text))
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return _storable(key, float(text))
    return text


def _storable(key: str, value: int | float | str | bool) -> int | float | str | bool:
    """Return the value; refuse a number that JSON or 64 bits cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"option {key}: {value} is not allowed, give a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UsageError(f"option {key}: {value} is too large, give a number of at most 64 bits")
    return value


def _from_file(backend: Backend, file: ConfigFile) -> Backend:
    """Overlay the file's table on a backend's defaults. Raises UsageError."""
    table = file.backends.get(backend.name, BackendTable())
    changes: dict[str, Any] = {}
    if table.model:
        ollama = backend.name == "ollama"
        changes["model"] = normalise_ollama_model(table.model) if ollama else table.model
    if table.base_url and not backend.url_variable:
        raise UsageError(f"backends.{backend.name}.base_url: it has no address to be set")
    if table.base_url:
        key = f"backends.{backend.name}.base_url"
        changes["base_url"] = parse_base_url(key, table.base_url)
    return msgspec.structs.replace(backend, **changes)


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy for each scheme, from the usual variables (lower case wins, as in curl)."""
    found: dict[str, str] = {}
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        value = environ.get(name) or environ.get(name.upper()) or ""
        if value:
            found[name] = value
    return found
