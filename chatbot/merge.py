"""How a setting is chosen among those who have a say in it, and who it was that had the last one. Pure.

Every setting goes through `Merge.take` once, so that what is told of its origin is what happened.
"""

from typing import Literal, TypeVar

import msgspec

from chatbot.messages import Options

Source = Literal["default", "file", "environment", "command line"]
Plain = int | float | str | bool | None

_T = TypeVar("_T")


class Taken(msgspec.Struct, frozen=True):
    """A setting: its key as in the file, its value as it may be shown, and who said so. `name` is the path
    of the file, or the environment's variable. None: not set."""

    key: str
    value: Plain
    source: Source = "default"
    name: str = ""

    @property
    def origin(self) -> str:
        """Who said so, in words."""
        if self.source == "file":
            return self.name
        return f"environment variable {self.name}" if self.source == "environment" else self.source


class Merge:
    """Weakest first: the default, the file, the environment, the command line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.taken: dict[str, Taken] = {}

    def take(
        self,
        key: str,
        default: _T,
        *,
        file: _T | None = None,
        environment: tuple[str, _T | None] = ("", None),
        given: _T | None = None,
    ) -> _T:
        """Return the strongest that is not None. `environment` is the variable and what it says."""
        variable, said = environment
        if given is not None:
            return self._note(key, given, "command line")
        if said is not None:
            return self._note(key, said, "environment", variable)
        if file is not None:
            return self._note(key, file, "file", self.path)
        return self._note(key, default, "default")

    def options(self, key: str, *, file: Options, given: Options) -> Options:
        """Return options, each of which is a setting of its own."""
        return {
            name: self.take(f"{key}.{name}", value, file=file.get(name), given=given.get(name))
            for name, value in (file | given).items()
        }

    def shown(self, key: str, value: Plain) -> None:
        """Let a setting be shown otherwise than it is: a secret, or one that cannot be used."""
        self.taken[key] = msgspec.structs.replace(self.taken[key], value=value)

    def named(self, key: str) -> str:
        """Return what is to be named when a value turns out to be wrong: a variable, or the key."""
        taken = self.taken[key]
        if taken.source == "file":
            return f"{self.path}: {key}"
        return taken.name if taken.source == "environment" else key

    def _note(self, key: str, value: _T, source: Source, name: str = "") -> _T:
        shown = value if isinstance(value, int | float | str) or value is None else str(value)
        self.taken[key] = Taken(key, shown, source, name)
        return value


def without_password(url: str) -> str:
    """Return the URL of a proxy without the user's name and password, whichever of its many forms it has."""
    before, at, host = url.rpartition("@")
    scheme, separator, _ = before.partition("://")
    if not at:
        return url
    return f"{scheme}://***@{host}" if separator else f"***@{host}"
