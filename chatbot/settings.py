"""Settings: one frozen struct per room, merged once, handed in.

Weakest first: the defaults below, `config.toml`, the environment, the command line. `load` is the
only function that reads them together; it is pure (the caller passes the environment and the text
of the file). No room reads the environment or a file of settings itself.
"""

import ipaddress
import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

import msgspec

from chatbot.errors import UsageError
from chatbot.messages import BackendName, CachePolicy, Options, Target

WireFormat = Literal["ollama", "anthropic", "openai"]
UiMode = Literal["chat", "oneshot", "script", "models"]

OLLAMA_MODEL = re.compile(  # [HOST[:PORT]/][NAMESPACE/]MODEL[:TAG]
    r"([a-z0-9][\w.-]*:\d+/)?[a-z0-9][\w.-]*(/[a-z0-9][\w.-]*)*(:\w[\w.-]*)?\Z", re.ASCII | re.I
)
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
OLLAMA_PORT = 11434

_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]*:[0-9a-f:.]*(%\w+)?")  # a name, an IPv4 or an IPv6 address


def is_loopback(host: str) -> bool:
    """Whether a host is this machine. A name that only begins like its address may lead anywhere."""
    if host in LOOPBACK_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Backend(msgspec.Struct, frozen=True):
    """Where an LLM listens, how it talks, and what it is asked for by default.

    `base_url` has no trailing slash. It is empty for `sim`, whose address only the supervisor knows.
    `key_variables` are the environment variables that may hold the key, the preferred one first.
    """

    name: BackendName
    wire_format: WireFormat
    base_url: str
    url_variable: str
    model: str
    key_variables: tuple[str, ...] = ()
    api_key: str = ""
    fault: str = ""

    def __repr__(self) -> str:  # a key must not reach a log or a traceback by way of repr()
        return f"Backend({self.name!r}, {self.base_url!r}, key={'set' if self.api_key else 'none'})"

    @property
    def is_loopback(self) -> bool:
        """Whether the address is on this machine: then no key is needed and no proxy is used."""
        return is_loopback(urlsplit(self.base_url).hostname or "")

    @property
    def obstacle(self) -> str:
        """The line to show when the backend cannot be asked, for want of a key or of an address that
        is one; empty when it can."""
        if self.fault:
            return self.fault
        if self.api_key or not self.key_variables or not self.base_url or self.is_loopback:
            return ""
        return (
            f"{self.name} needs an API key: set the environment variable "
            f"{' or '.join(self.key_variables)} and start again"
        )


BACKENDS: tuple[Backend, ...] = (
    Backend("ollama", "ollama", "http://localhost:11434", "OLLAMA_HOST", "llama3:latest"),
    Backend(
        "anthropic",
        "anthropic",
        "https://api.anthropic.com",
        "ANTHROPIC_BASE_URL",
        "claude-sonnet-4-20250514",
        ("ANTHROPIC_API_KEY",),
    ),
    Backend(
        "grok",
        "openai",
        "https://api.x.ai/v1",
        "GROK_BASE_URL",
        "grok-4",
        ("GROK_API_KEY", "XAI_API_KEY"),
    ),
    Backend(
        "openai",
        "openai",
        "https://api.openai.com/v1",
        "OPENAI_BASE_URL",
        "gpt-4.1-mini",
        ("OPENAI_API_KEY",),
    ),
    Backend("sim", "openai", "", "", "sim"),
)


class SupervisorSettings(msgspec.Struct, frozen=True):
    """`credit`: calls one worker may hold at once. `max_in_flight`: requests in the whole program."""

    workers: int = 2
    credit: int = 256
    max_in_flight: int = 4096


class UiSettings(msgspec.Struct, frozen=True):
    """What the person asked for. `resume_latest` is `--continue`; `session_id` `--session-id`.

    A resumed session goes on with its own backend and model, except for what is explicit.
    """

    mode: UiMode
    target: Target
    default_models: dict[BackendName, str]
    backend_is_explicit: bool = False
    model_is_explicit: bool = False
    prompt: str = ""
    prompt_from_stdin: bool = False
    session_id: str = ""
    resume_latest: bool = False
    cache: CachePolicy = "use"
    json: bool = False
    plain: bool = False
    models_of: tuple[BackendName, ...] = ()
    restarted: bool = False


class StoreSettings(msgspec.Struct, frozen=True):
    """`cache_bytes` bounds the memory level of the answer cache."""

    path: str = "chatbot.db"
    cache_bytes: int = 64 * 1024 * 1024


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


class TelemetrySettings(msgspec.Struct, frozen=True):
    """`environ` holds the `OTEL_*` variables as they were at the start."""

    log_dir: str = "logs"
    debug: bool = False
    environ: dict[str, str] = {}

    def __repr__(self) -> str:  # OTEL_EXPORTER_OTLP_HEADERS may hold a key
        return f"TelemetrySettings({self.log_dir!r}, {self.debug}, {sorted(self.environ)})"


class SimServerSettings(msgspec.Struct, frozen=True):
    """The simulated LLM: constant times, and text made from `seed` and the prompt."""

    host: str = "127.0.0.1"
    port: int = 0
    first_token_s: float = 0.05
    inter_chunk_s: float = 0.01
    chunks: int = 32
    seed: int = 0


class Settings(msgspec.Struct, frozen=True):
    """All of it."""

    supervisor: SupervisorSettings
    ui: UiSettings
    store: StoreSettings
    worker: WorkerSettings
    telemetry: TelemetrySettings
    sim_server: SimServerSettings


class BackendTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[backends.NAME]` in the file."""

    base_url: str = ""
    model: str = ""


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`config.toml`; every key is optional."""

    backend: BackendName | None = None
    system: str | None = None
    workers: int | None = None
    db: str | None = None
    log_dir: str | None = None
    options: dict[str, int | float | str | bool] = {}
    backends: dict[BackendName, BackendTable] = {}


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
    sim_server: SimServerSettings = SimServerSettings()


def load(arguments: Arguments, environ: Mapping[str, str], config: str = "") -> Settings:
    """Merge defaults, the text of `config.toml`, the environment and the command line.

    Raises UsageError with one line that names the key and what is allowed.
    """
    file = parse_config(config)
    backends = {b.name: _from_environment(_from_file(b, file), environ) for b in BACKENDS}
    backend = arguments.backend or file.backend or "ollama"
    resumes = bool(arguments.session_id or arguments.resume_latest) and arguments.backend is None
    if (fault := backends[backend].fault) and not resumes:
        raise UsageError(fault)
    if arguments.ollama_model is not None:
        name = normalise_ollama_model(arguments.ollama_model)
        backends["ollama"] = msgspec.structs.replace(backends["ollama"], model=name)
    model = arguments.model or backends[backend].model
    for_another = resumes and arguments.model is not None  # for the session's own backend
    if backend == "ollama" and not for_another:
        model = normalise_ollama_model(model)
    options: Options = {key: _storable(key, value) for key, value in file.options.items()}
    options.update({key: parse_option_value(value, key) for key, value in arguments.options})
    workers = arguments.workers if arguments.workers is not None else file.workers
    supervisor = SupervisorSettings()
    if workers is not None:
        if not 1 <= workers <= 64:
            raise UsageError(f"workers: {workers} is not allowed, give a number from 1 to 64")
        supervisor = msgspec.structs.replace(supervisor, workers=workers)
    asks_it = arguments.mode == "oneshot" and not resumes
    if (asks_it or (arguments.mode == "models" and arguments.backend)) and (
        reason := backends[backend].obstacle
    ):
        raise UsageError(reason)
    system = file.system if arguments.system is None else arguments.system
    default_models: dict[BackendName, str] = {b.name: b.model for b in backends.values()}
    if not for_another:
        default_models[backend] = model
    return Settings(
        supervisor=supervisor,
        ui=UiSettings(
            mode=arguments.mode,
            target=Target(backend, model, system or None, options),
            default_models=default_models,
            backend_is_explicit=arguments.backend is not None,
            model_is_explicit=arguments.model is not None,
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
        ),
        store=StoreSettings(path=arguments.db or file.db or "chatbot.db"),
        worker=WorkerSettings(
            backends=backends,
            proxies=_proxies(environ),
            ca_file=environ.get("SSL_CERT_FILE", ""),
        ),
        telemetry=TelemetrySettings(
            log_dir=arguments.log_dir or file.log_dir or "logs",
            debug=arguments.debug,
            environ={k: v for k, v in environ.items() if k.startswith("OTEL_")},
        ),
        sim_server=arguments.sim_server,
    )


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
        table = BackendTable if "$.backends" in error else ConfigFile
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


def normalise_ollama_model(name: str) -> str:
    """Return NAME with its tag (`latest` by default). Raises UsageError for a malformed name."""
    if not OLLAMA_MODEL.match(name):
        raise UsageError(
            f"model name {name!r} is malformed: write NAME or NAME:VERSION, for example llama3 or codellama:13b"
        )
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def parse_base_url(variable: str, text: str) -> str:
    """Return the URL without its trailing slash. Raises UsageError for anything but http(s)://HOST…

    `OLLAMA_HOST` may leave out the scheme, the host and the port, as Ollama itself allows; an
    address that only a server can listen on (0.0.0.0, ::) becomes this machine's.
    """
    ollama = variable == "OLLAMA_HOST"
    url = text.strip()
    port = None
    if ollama and "://" not in url:
        url = f"http://{'localhost' if url.startswith(':') else ''}{url}"
        port = OLLAMA_PORT
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = port if parts.port is None else parts.port
        valid = (
            parts.scheme in ("http", "https")
            and _HOST.fullmatch(host) is not None
            and port != 0
            and not parts.query
            and not parts.fragment
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(
            f"{variable}: {text!r} is not a base URL, write for example http://localhost:11434"
        )
    if "@" in parts.netloc:
        raise UsageError(f"{variable}: put no user name or password into the URL, set the API key")
    if ollama:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing listens here
    authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    return urlunsplit((parts.scheme, authority, parts.path.rstrip("/"), "", ""))


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


def _from_environment(backend: Backend, environ: Mapping[str, str]) -> Backend:
    """Overlay the environment's variables; what is wrong with them is told when it is asked."""
    try:
        url = environ.get(backend.url_variable, "").strip()
        base_url = parse_base_url(backend.url_variable, url) if url else backend.base_url
        configured = msgspec.structs.replace(
            backend, base_url=base_url, api_key=_key(backend, environ)
        )
        sent_openly = base_url.startswith("http://") and not configured.is_loopback
    except UsageError as error:
        return msgspec.structs.replace(backend, base_url="", fault=str(error))
    if configured.api_key and sent_openly:
        fault = (
            f"{backend.url_variable}: refusing to send an API key over plain http to another "
            "machine, use https"
        )
        return msgspec.structs.replace(backend, base_url="", fault=fault)
    return configured


def _key(backend: Backend, environ: Mapping[str, str]) -> str:
    """Return the key from the first variable that has one. Raises UsageError."""
    for variable in backend.key_variables:
        key = environ.get(variable, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise UsageError(
                f"{variable}: the key contains characters that no HTTP header can carry"
            )
        if key:
            return key
    return ""


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy for each scheme, from the usual variables (lower case wins, as in curl)."""
    found: dict[str, str] = {}
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        value = environ.get(name) or environ.get(name.upper()) or ""
        if value:
            found[name] = value
    return found
