"""The LLM servers that can be asked: where each listens, how it talks, what it needs. Pure.

What is wrong with a backend's variables is kept in it, and told when it is asked: a mistake in one
does not stop the others.
"""

import ipaddress
import re
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from chatbot.errors import UsageError
from chatbot.messages import BackendName

WireFormat = Literal["ollama", "anthropic", "openai"]


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


def configured(
    backend: Backend, base_url: str, key: str, *, url_named: str, key_named: str
) -> Backend:
    """Return the backend with an address and a key. What is wrong with them, by the names of where they come
    from, is told when it is asked."""
    try:
        url = parse_base_url(url_named, base_url)
    except UsageError as error:
        return msgspec.structs.replace(backend, base_url="", fault=str(error))
    found = msgspec.structs.replace(backend, base_url=url, api_key=key)
    fault = ""
    if key and not (key.isascii() and key.isprintable()):
        fault = f"{key_named}: the key contains characters that no HTTP header can carry"
    elif key and url.startswith("http://") and not found.is_loopback:
        fault = f"{url_named}: refusing to send an API key over plain http to another machine, use https"
    if fault:
        return msgspec.structs.replace(backend, base_url="", api_key="", fault=fault)
    return found
