"""Where each signal goes by OTLP, by the standard variables: pure.

Owns the meaning of the variables. It never looks whether anybody listens there: that is `gate`'s.
Headers and certificates are not read here: the exporters of the SDK read them from the environment of
their process, and so they are in no value of ours that could be logged.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/, which counts a timeout in
milliseconds.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")

HTTP, GRPC = "http/protobuf", "grpc"
GRPC_PORT = 4317
# Where collectors listen; HTTP comes first, because its library is the lighter one.
SEARCHED = ((HTTP, 4318), (GRPC, GRPC_PORT))

_TIMEOUT_S = 10.0


class Endpoint(NamedTuple):
    """One receiver. `url` is whole for HTTP; of a gRPC one its scheme, host and port count."""

    url: str
    protocol: str = HTTP
    insecure: bool = True
    compression: str = ""
    timeout_s: float = _TIMEOUT_S

    @property
    def host(self) -> str:
        """The host's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port, which may be the scheme's own."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def base(self) -> str:
        """Scheme, host and port, for people. What else a URL may hold (a password) is left out."""
        parts = urlsplit(self.url)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{parts.scheme}://{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The address of the signal, for people."""
        return self.base + (urlsplit(self.url).path if self.protocol == HTTP else "")


class Route(NamedTuple):
    """Where a signal goes: to the first of `endpoints` that somebody listens at.

    `searched`: no variable names them, and it is quite usual that nobody listens. Without endpoints
    it goes nowhere: `refused` says what is wrong with the variables, or they say so themselves.
    """

    endpoints: tuple[Endpoint, ...] = ()
    searched: bool = False
    refused: str = ""

    @property
    def decision(self) -> str:
        """What was decided, in words."""
        shown = " or ".join(endpoint.shown for endpoint in self.endpoints)
        if self.searched:
            return f"whoever listens at {shown}"
        return shown or self.refused or "none, as the variables say"


def route(environ: Mapping[str, str], signal: Signal) -> Route:
    """Return where a signal goes. Its own variables come before the general ones."""

    def of(name: str) -> str:
        own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", "").strip()
        return own or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()

    exporters = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() or "otlp"
    chosen = {name.strip().lower() for name in exporters.split(",")}
    if "otlp" not in chosen:
        unknown = " and ".join(sorted(chosen - {"none"}))
        return Route(refused=f"exporter {unknown} is not supported, use otlp" if unknown else "")
    protocol = of("PROTOCOL").lower()
    if protocol not in ("", HTTP, GRPC):
        return Route(refused=f"protocol {protocol} is not supported, use {HTTP} or {GRPC}")

    timeout = of("TIMEOUT")
    timeout_s = int(timeout) / 1000 if timeout.isdecimal() and int(timeout) else _TIMEOUT_S
    compression = of("COMPRESSION").lower()

    def endpoint(url: str, protocol: str, *, insecure: bool) -> Endpoint:
        known = ("gzip", "deflate") if protocol == HTTP else ("gzip",)
        packed = compression if compression in known else ""
        return Endpoint(url, protocol, insecure, packed, timeout_s)

    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    given = own or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    if not given:
        urls = ((kind, f"http://127.0.0.1:{port}") for kind, port in SEARCHED)
        searched = tuple(
            endpoint(f"{url}/v1/{signal}" if kind == HTTP else url, kind, insecure=True)
            for kind, url in urls
            if protocol in ("", kind)
        )
        return Route(searched, searched=True)

    url = given
    if "://" not in given and (protocol == GRPC or given.endswith(f":{GRPC_PORT}")):
        # So gRPC's own libraries name a receiver; then a variable says whether TLS is spoken there.
        url = f"{'http' if of('INSECURE').lower() == 'true' else 'https'}://{given}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        port = parts.port
    except ValueError:
        valid, port = False, None
    if not valid:
        return Route(refused=f"{given!r} is not an http:// or https:// URL")
    insecure = parts.scheme == "http"
    if (protocol or (GRPC if port == GRPC_PORT else HTTP)) == GRPC:
        return Route((endpoint(url, GRPC, insecure=insecure),))
    # The general variable gets the signal's path appended, the signal's own is taken as it is.
    whole = url if own else f"{url.rstrip('/')}/v1/{signal}"
    return Route((endpoint(whole, HTTP, insecure=insecure),))
