"""Resources: which process of this program the telemetry comes from.

Owns the Resource of every source process. Called by the telemetry process, and by the threads that
send to a collector.

Sources: https://opentelemetry.io/docs/specs/otel/resource/sdk/ for the variables, and the semantic
conventions (service, process, telemetry.sdk) for the attributes.
"""

import platform
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import unquote

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.version import __version__ as sdk_version

from chatbot.messages import AttributeValue
from chatbot.telemetry.open import Source
from chatbot.version import __version__

_SOURCES_AT_MOST = 1024


class SourceResource(Resource):
    """A Resource that knows its hash: the exporters group every batch by it, and the SDK's own
    `__hash__` writes the whole Resource as JSON each time.
    """

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class Resources:
    """The Resource of each source: which process of this program the telemetry comes from.

    `OTEL_SERVICE_NAME`, or `service.name` in `OTEL_RESOURCE_ATTRIBUTES`, names all of them alike;
    otherwise each role is a service of its own, because Jaeger tells processes apart by that only.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._given: dict[str, AttributeValue] = dict(
            parse_resource_attributes(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
        )
        if name := environ.get("OTEL_SERVICE_NAME", "").strip():
            self._given["service.name"] = name
        self._node = platform.node()
        self._cache: dict[Source, Resource] = {}

    def of(self, source: Source) -> Resource:
        """Return the Resource of a process; the same object each time."""
        resource = self._cache.get(source)
        if resource is None:
            if len(self._cache) >= _SOURCES_AT_MOST:
                self._cache.clear()
            resource = self._cache[source] = self._make(f"chatbot-{source.role}", source)
        return resource

    def of_program(self, pid: int) -> Resource:
        """Return the Resource of the metrics: they are of the program, whoever measured them."""
        return self._make("chatbot", Source("telemetry", 0, pid))

    def _make(self, service: str, source: Source) -> Resource:
        role, slot, pid = source
        attributes: dict[str, AttributeValue] = {
            "service.namespace": "chatbot",
            "service.name": service,
            "service.version": __version__,
            **self._given,
            # What tells one process from another is not for a variable to say.
            "service.instance.id": f"{role}-{slot}-{pid}@{self._node}",
            "process.pid": pid,
            "process.title": f"chatbot {role} {slot}" if role == "worker" else f"chatbot {role}",
            "chatbot.process.role": role,
            "chatbot.process.slot": slot,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
        }
        return SourceResource(attributes)


def parse_resource_attributes(text: str) -> dict[str, str]:
    """Parse `key=value,key=value` with percent-encoded values; an entry without `=` is left out."""
    pairs = (entry.split("=", 1) for entry in text.split(",") if "=" in entry)
    return {key.strip(): unquote(value.strip()) for key, value in pairs if key.strip()}
