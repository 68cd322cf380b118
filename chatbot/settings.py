"""Settings: one frozen struct per room, merged once, handed in.

Weakest first: the defaults below, `config.toml`, the environment, the command line. `merged` is the
only function that reads them together, and notes where each value came from; it is pure (the caller passes
the environment and the text of the file). No room reads the environment or a file of settings itself.
What the file may say is in `config_file`.
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from chatbot.backends import BACKENDS, Backend, configured, normalise_ollama_model, parse_base_url
from chatbot.config_file import NAME, BackendTable, ConfigFile, parse_config, storable, within
from chatbot.config_file import Price as Price
from chatbot.distribution import Distribution, constant
from chatbot.errors import UsageError
from chatbot.merge import Merge, Taken, without_password
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


class UiSettings(msgspec.Struct, frozen=True):
    """What the person asked for. `resume_latest` is `--continue`; `session_id` `--session-id`.

    A resumed session goes on with its own backend, model, system prompt and options, except for what
    is explicit: what was given on the command line. `log_dir` is where traces are read; `colour`
    whether a terminal may be given colours; `is_dumb`: it knows no escape sequences at all.
    `options_of` are what each backend is asked with by default, `explicit_options` among them; `prices` is by
    `BACKEND:MODEL`; `context_lengths` holds what the file says of servers that do not tell. `history_file`
    keeps what was typed; empty: nothing does. `system_of` are the system prompts that new sessions begin with,
    by backend. `bell` rings when an answer is complete. `extract`: of the answer only its first code block.
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
    system_of: dict[BackendName, str] = {}
    bell: bool = False
    extract: bool = False


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


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """The command line, parsed but not yet judged. None: not given. `home` is the directory that `~` in the
    file stands for; `history` where what was typed is kept, unless the file says otherwise."""

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
    extract: bool = False
    manage: Manage | None = None
    home: str = ""
    history: str = ""
    sim_server: SimServerSettings = SimServerSettings()


class Merged(NamedTuple):
    """The settings, and where each value of them came from, by its key."""

    settings: Settings
    taken: dict[str, Taken]


class _Sources(NamedTuple):
    """All who have a say, and the merge that notes who had the last one."""

    merge: Merge
    file: ConfigFile
    environ: Mapping[str, str]
    arguments: Arguments

    def table(self, backend: BackendName) -> BackendTable:
        """Return what the file says of a backend."""
        return self.file.backends.get(backend, BackendTable())

    def path(self, key: str, default: str, file: str | None, given: str | None) -> str:
        """Take a path; an empty one is none."""
        return self.merge.take(key, default, file=self.at_home(file or ""), given=given or None)

    def at_home(self, path: str) -> str | None:
        """Return a path of the file, in which `~` is the person's own directory; None for an empty one."""
        home = self.arguments.home
        if home and (path == "~" or path.startswith(("~/", "~\\"))):
            return home + path[1:]
        return path or None


def load(
    arguments: Arguments, environ: Mapping[str, str], config: str = "", path: str = NAME
) -> Settings:
    """Merge defaults, the text of `config.toml` at `path`, the environment and the command line.

    Raises UsageError with one line that names the key and what is allowed.
    """
    return merged(arguments, environ, config, path).settings


def merged(
    arguments: Arguments, environ: Mapping[str, str], config: str = "", path: str = NAME
) -> Merged:
    """Do the same, and tell where each value came from. Raises UsageError."""
    file = parse_config(config, path)
    arguments = _resolved(arguments, file)
    sources = _Sources(merge := Merge(path), file, environ, arguments)
    backend = _asked(sources)
    backends = _backends(sources, backend)
    store = _store(sources)
    ui = _ui(sources, backend, backends)
    if ui.manage is not None:
        manage = msgspec.structs.replace(ui.manage, db=store.path)
        ui = msgspec.structs.replace(ui, manage=manage)
    if arguments.extract and (arguments.mode != "oneshot" or arguments.json):
        raise UsageError(
            "--extract prints the code of one answer as text: give a PROMPT, and no --json"
        )
    debug = merge.take("debug", default=False, given=arguments.debug or None)
    telemetry = {name: value for name, value in environ.items() if name.startswith("OTEL_")}
    for name, value in sorted(telemetry.items()):
        merge.take(name, "", environment=(name, value))
        merge.shown(name, "set" if name.endswith("_HEADERS") else without_password(value))
    settings = Settings(
        supervisor=_supervisor(sources),
        ui=ui,
        store=store,
        worker=WorkerSettings(
            backends=backends,
            proxies=_proxies(sources),
            ca_file=_variable(sources, "SSL_CERT_FILE"),
        ),
        tracing=tracing_of(environ, debug=debug),
        telemetry=TelemetrySettings(log_dir=ui.log_dir, debug=debug, environ=telemetry),
        sim_server=arguments.sim_server,
    )
    return Merged(settings, merge.taken)


class Reading(NamedTuple):
    """What those need who only read the traces."""

    log_dir: str
    plain: bool


def for_reading(arguments: Arguments, config: str, path: str = NAME) -> Reading:
    """Return it, whatever else is wrong with the settings. Raises UsageError."""
    sources = _Sources(Merge(path), parse_config(config, path), {}, arguments)
    return Reading(_log_dir(sources), _plain(sources))


def wants_colour(environ: Mapping[str, str], *, plain: bool) -> bool:
    """Whether a terminal may be given colours: see https://no-color.org."""
    return not plain and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _resolved(arguments: Arguments, file: ConfigFile) -> Arguments:
    """Return the command line with the backend and the model that `-m ALIAS` stands for."""
    name = arguments.model
    if name is None or name not in file.aliases:
        return arguments
    backend, model = file.aliases[name]
    if arguments.backend not in (None, backend):
        raise UsageError(
            f"-m {name} is an alias of {_joined(backend, model)}, which --backend {arguments.backend} "
            "contradicts: give one of them"
        )
    return msgspec.structs.replace(arguments, backend=backend, model=model or None)


def _asked(sources: _Sources) -> BackendName:
    """Return whom to ask first. A throughput test asks whom the command line names: the file says whom a
    person talks to."""
    simulates = sources.arguments.mode == "simulate"
    default: BackendName = "sim" if simulates else "ollama"
    file = None if simulates else sources.file.backend
    return sources.merge.take("backend", default, file=file, given=sources.arguments.backend)


def _resumes(arguments: Arguments) -> bool:
    """Whether a session says whom to ask."""
    return bool(arguments.session_id or arguments.resume_latest) and arguments.backend is None


def _backends(sources: _Sources, asked: BackendName) -> dict[BackendName, Backend]:
    """Return the backends, and refuse when the one that is asked cannot be. Raises UsageError."""
    arguments = sources.arguments
    resumes = _resumes(arguments)
    given: dict[BackendName, str] = {}
    if arguments.ollama_model is not None:
        given["ollama"] = normalise_ollama_model(arguments.ollama_model)
    if arguments.model and not resumes:  # else it is for the session's own backend
        ollama = asked == "ollama"
        given[asked] = normalise_ollama_model(arguments.model) if ollama else arguments.model
    found = {each.name: _backend(sources, each, given.get(each.name)) for each in BACKENDS}
    asks_nobody = resumes or arguments.mode == "manage"
    if (fault := found[asked].fault) and not asks_nobody:
        raise UsageError(fault)
    asks_it = arguments.mode == "simulate" or (arguments.mode == "oneshot" and not resumes)
    if (asks_it or (arguments.mode == "models" and arguments.backend)) and (
        reason := found[asked].obstacle
    ):
        raise UsageError(reason)
    return found


def _backend(sources: _Sources, backend: Backend, model: str | None) -> Backend:
    """Return a backend as it is configured; what is wrong with its variables stays in it. Raises UsageError
    for what is wrong with the file."""
    merge, table, key = sources.merge, sources.table(backend.name), f"backends.{backend.name}"
    model = merge.take(f"{key}.model", backend.model, file=table.model or None, given=model)
    backend = msgspec.structs.replace(backend, model=model)
    url_key = f"{key}.base_url"
    if table.base_url and not backend.url_variable:
        raise UsageError(f"{merge.path}: {url_key}: it has no address to be set")
    if not backend.url_variable:
        return backend
    in_file = parse_base_url(f"{merge.path}: {url_key}", table.base_url) if table.base_url else None
    url = merge.take(
        url_key,
        backend.base_url,
        file=in_file,
        environment=(backend.url_variable, _said(sources, backend.url_variable)),
    )
    variable, secret = next(
        ((name, said) for name in backend.key_variables if (said := _said(sources, name))), ("", "")
    )
    found = configured(backend, url, secret, url_named=merge.named(url_key), key_named=variable)
    if backend.key_variables:
        merge.take(f"{key}.api_key", "", environment=(variable, secret or None))
        merge.shown(f"{key}.api_key", f"set ({variable})" if secret else "not set")
    if found.fault:
        merge.shown(url_key, f"cannot be used: {found.fault}")
    return found


def _ui(sources: _Sources, asked: BackendName, backends: dict[BackendName, Backend]) -> UiSettings:
    arguments, file, merge = sources.arguments, sources.file, sources.merge
    explicit: Options = {key: parse_option_value(value, key) for key, value in arguments.options}
    common = merge.options("options", file=file.options, given=explicit)
    options_of: dict[BackendName, Options] = {}
    system = merge.take("system", "", file=file.system, given=arguments.system)
    system_of: dict[BackendName, str] = {}
    context_lengths: dict[BackendName, int] = {}
    for name in backends:
        table, key = sources.table(name), f"backends.{name}"
        given = {each: explicit[each] for each in table.options if each in explicit}
        options_of[name] = common | merge.options(f"{key}.options", file=table.options, given=given)
        system_of[name] = system
        if table.system is not None:
            system_of[name] = merge.take(
                f"{key}.system", "", file=table.system, given=arguments.system
            )
        if (context := merge.take(f"{key}.context", None, file=table.context)) is not None:
            context_lengths[name] = context
    for alias, (backend, model) in file.aliases.items():
        merge.take(f"aliases.{alias}", "", file=_joined(backend, model))
    for name_of, price in file.prices.items():
        for part, dollars in msgspec.structs.asdict(price).items():
            merge.take(f'prices."{name_of}".{part}', None, file=dollars)
    for_another = _resumes(arguments) and arguments.model
    model = for_another or backends[asked].model
    plain = _plain(sources)
    _variable(sources, "NO_COLOR")
    return UiSettings(
        mode=arguments.mode,
        target=Target(asked, model, system_of[asked] or None, options_of[asked]),
        default_models={each.name: each.model for each in backends.values()},
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
        plain=plain,
        models_of=(arguments.backend,)
        if arguments.backend
        else tuple(b.name for b in backends.values() if not b.obstacle),
        manage=arguments.manage,
        log_dir=_log_dir(sources),
        colour=wants_colour(sources.environ, plain=plain),
        is_dumb=sources.environ.get("TERM") == "dumb",
        options_of=options_of,
        aliases=file.aliases,
        prices=file.prices,
        context_lengths=context_lengths,
        history_file=_history(sources),
        system_of=system_of,
        bell=merge.take("bell", default=False, file=file.bell),
        extract=arguments.extract,
    )


def _history(sources: _Sources) -> str:
    """Return the file that keeps what was typed; an empty path for none."""
    usual, said = sources.arguments.history, sources.file.history
    file = usual if said is True else sources.at_home(said or "") or ""
    path = sources.merge.take("history", usual, file=None if said is None else file)
    sources.merge.shown("history", path or False)
    return path


def _plain(sources: _Sources) -> bool:
    given = sources.arguments.plain or None
    return sources.merge.take("plain", default=False, file=sources.file.plain, given=given)


def _log_dir(sources: _Sources) -> str:
    return sources.path("log_dir", "logs", sources.file.log_dir, sources.arguments.log_dir)


def _supervisor(sources: _Sources) -> SupervisorSettings:
    """Raises UsageError for a number of workers that cannot be."""
    workers = sources.merge.take(
        "workers",
        SupervisorSettings().workers,
        file=sources.file.workers,
        given=sources.arguments.workers,
    )
    within("workers", workers, 1, 64)
    return SupervisorSettings(workers=workers)


def _store(sources: _Sources) -> StoreSettings:
    defaults, bounds, manage = StoreSettings(), sources.file.cache, sources.arguments.manage
    max_mb = sources.merge.take("cache.max_mb", defaults.cache_bytes / 1024**2, file=bounds.max_mb)
    max_days = sources.merge.take(
        "cache.max_days", defaults.cache_age_s / 86400.0, file=bounds.max_days
    )
    return StoreSettings(
        path=sources.path("db", defaults.path, sources.file.db, sources.arguments.db),
        cache_bytes=int(max_mb * 1024**2),
        cache_age_s=max_days * 86400.0,
        must_exist=manage is not None,
        recovers=manage is not None and manage.action == "recover",
        prices=sources.file.prices,
    )


def parse_option_value(text: str, key: str = "option") -> int | float | str | bool:
    """Read the VALUE of `-o KEY VALUE`: a number or true/false where it looks like one, else text.

    Raises UsageError for a number that cannot be sent.
    """
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?[0-9]{1,25}", text):
        return storable(f"option {key}", int(text))
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return storable(f"option {key}", float(text))
    if re.fullmatch(r"[+-]?(nan|inf(inity)?)", text, re.IGNORECASE):
        raise UsageError(f"option {key}: {text} is no number that can be sent")
    return text


def _proxies(sources: _Sources) -> dict[str, str]:
    """Return the proxy for each scheme, from the usual variables (lower case wins, as in curl)."""
    found: dict[str, str] = {}
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        variable = name if sources.environ.get(name) else name.upper()
        value = sources.merge.take(
            name.upper(), "", environment=(variable, sources.environ.get(variable) or None)
        )
        if value:
            found[name] = value
            sources.merge.shown(name.upper(), without_password(value))
    return found


def _variable(sources: _Sources, name: str) -> str:
    """Take what only a variable of the environment says."""
    return sources.merge.take(name, "", environment=(name, sources.environ.get(name) or None))


def _said(sources: _Sources, variable: str) -> str | None:
    """Return what a variable says; an empty one says nothing."""
    return sources.environ.get(variable, "").strip() or None


def _joined(backend: BackendName, model: str) -> str:
    return f"{backend}:{model}" if model else backend
