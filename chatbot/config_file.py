"""`config.toml`: its tables and keys, and what each may say. Pure.

Owns what can be wrong with the text of the file: every mistake is one line that names the file, the key and
what is allowed. What a value is merged with, and which one wins, is said by `settings`.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from chatbot.aliases import BACKEND_NAMES, parse_target
from chatbot.errors import UsageError
from chatbot.messages import BackendName, Options

NAME = "config.toml"

_MOST_CONTEXT = 1_000_000_000
_MOST_DOLLARS = 1_000_000.0
_NO_ALIAS = frozenset(
    ' \t\n,:"'
)  # what separates targets from each other, and models from backends


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a million tokens cost, in dollars. `cached_input` is for input that the server had in a cache of
    its own; None: the same as `input`."""

    input: float
    output: float
    cached_input: float | None = None


class BackendTable(msgspec.Struct, frozen=True):
    """`[backends.NAME]` in the file. `context` is in tokens."""

    base_url: str | None = None
    model: str | None = None
    system: str | None = None
    context: int | None = None
    options: Options = {}


class CacheTable(msgspec.Struct, frozen=True):
    """`[cache]` in the file: the bounds of the answers that are kept in the database."""

    max_mb: int | float | None = None
    max_days: int | float | None = None


class ConfigFile(msgspec.Struct, frozen=True):
    """`config.toml`; every key is optional. `prices` is by `BACKEND:MODEL`."""

    backend: BackendName | None = None
    system: str | None = None
    workers: int | None = None
    db: str | None = None
    log_dir: str | None = None
    history: bool | str | None = None
    plain: bool | None = None
    bell: bool | None = None
    options: Options = {}
    backends: dict[BackendName, BackendTable] = {}
    cache: CacheTable = CacheTable()
    prices: dict[str, Price] = {}
    aliases: dict[str, tuple[BackendName, str]] = {}


_Table = TypeVar("_Table", bound=msgspec.Struct)

_EXPECTED: dict[object, str] = {
    str | None: "a text in quotes",
    int | None: "a whole number",
    int | float | None: "a number",
    float: "a number",
    float | None: "a number",
    bool | None: "true or false",
    bool | str | None: "true, false, or a path in quotes",
}


def parse_config(text: str, path: str = NAME) -> ConfigFile:
    """Parse the text of the file at `path`. Raises UsageError."""
    import tomllib  # here: who only knows what the tables are called reads no file

    try:
        return _config(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, UsageError) as error:
        raise UsageError(f"{path}: {error}") from error


def within(key: str, value: int | float, least: int, most: int) -> None:
    """Refuse a number that is not from `least` to `most`, as a NaN is not either."""
    if not least <= value <= most:
        raise UsageError(f"{key}: {value} is not allowed, give a number from {least} to {most}")


def storable(key: str, value: int | float | str | bool) -> int | float | str | bool:
    """Return the value of an option; refuse a number that JSON or 64 bits cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{key}: {value} is not allowed, give a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UsageError(f"{key}: {value} is too large, give a number of at most 64 bits")
    return value


def _config(tables: dict[str, Any]) -> ConfigFile:
    """Return what the tables say. Raises UsageError, which does not name the file yet."""
    tables = dict(tables)
    nested = {
        key: _table(key, tables.pop(key, {}))
        for key in ("options", "backends", "cache", "prices", "aliases")
    }
    backend = tables.get("backend")
    if backend is not None and backend not in BACKEND_NAMES:
        raise UsageError(
            _no_such(f"backend: {_shown(backend)}", str(backend), BACKEND_NAMES, "backend")
        )
    file = _struct(
        ConfigFile, "", {key: value for key, value in tables.items() if key != "backend"}
    )
    if file.workers is not None:
        within("workers", file.workers, 1, 64)
    cache = _struct(CacheTable, "cache", nested["cache"])
    _above_0("cache.max_mb", cache.max_mb, 1_000_000)
    _above_0("cache.max_days", cache.max_days, 36_500)
    return msgspec.structs.replace(
        file,
        backend=backend,
        options=_options("options", nested["options"]),
        backends=_backends(nested["backends"]),
        cache=cache,
        prices=_prices(nested["prices"]),
        aliases=_aliases(nested["aliases"]),
    )


def _backends(tables: dict[str, Any]) -> dict[BackendName, BackendTable]:
    found: dict[BackendName, BackendTable] = {}
    for name, given in tables.items():
        key = f"backends.{name}"
        backend = next((each for each in BACKEND_NAMES if each == name), None)
        if backend is None:
            raise UsageError(_no_such(key, name, BACKEND_NAMES, "backend"))
        values = dict(_table(key, given))
        options = _options(f"{key}.options", _table(f"{key}.options", values.pop("options", {})))
        table = _struct(BackendTable, key, values)
        if table.context is not None:
            within(f"{key}.context", table.context, 1, _MOST_CONTEXT)
        if table.model:
            _, model = _target(f"{key}.model", f"{backend}:{table.model}", {})
            table = msgspec.structs.replace(table, model=model)
        found[backend] = msgspec.structs.replace(table, options=options)
    return found


def _prices(tables: dict[str, Any]) -> dict[str, Price]:
    found: dict[str, Price] = {}
    names: dict[str, str] = {}
    for name, given in tables.items():
        target, price = _price(name, given)
        if target in found:
            raise UsageError(
                f'prices."{name}": it is the same model as prices."{names[target]}", keep one of them'
            )
        found[target], names[target] = price, name
    return found


def _price(name: str, given: Any) -> tuple[str, Price]:
    """Return the price of one model, and what it is kept by. There is none for all models of a backend: what
    one of them costs says nothing of the next."""
    key = f'prices."{name}"'
    backend, model = _target(key, name, {})
    if not model or model == "*":
        raise UsageError(f'{key}: a price is that of one model, write [prices."{backend}:MODEL"]')
    table = _table(key, given)
    for needed in ("input", "output"):
        if needed not in table:
            _struct(
                Price, key, table | {"input": 0.0, "output": 0.0}
            )  # a mistyped one is told as such
            raise UsageError(f"{key}: {needed} is missing, give dollars per million tokens")
    price = _struct(Price, key, table)
    for part in Price.__struct_fields__:
        value = getattr(price, part)
        if value is not None and not 0 <= value <= _MOST_DOLLARS:
            raise UsageError(
                f"{key}.{part}: {value} is not allowed, give dollars per million tokens, "
                f"from 0 to {_MOST_DOLLARS:.0f}"
            )
    return f"{backend}:{model}", price


def _aliases(given: dict[str, Any]) -> dict[str, tuple[BackendName, str]]:
    found = {}
    for name, value in given.items():
        key = f"aliases.{name}"
        if name.lower() in BACKEND_NAMES:
            raise UsageError(f"{key}: it is the name of a backend, give another name")
        if not name or not name.isprintable() or _NO_ALIAS & set(name) or name[0] in "-/":
            raise UsageError(
                f"{key}: a name has no spaces, commas, colons or quotes, and no dash or slash before it"
            )
        if not isinstance(value, str):
            raise UsageError(f"{key}: {_shown(value)} is not allowed, give BACKEND:MODEL in quotes")
        found[name] = _target(key, value, given)
    return found


def _target(key: str, text: str, names: Mapping[str, Any]) -> tuple[BackendName, str]:
    """Return the backend and the model that BACKEND:MODEL means."""
    if text.strip() in names:
        raise UsageError(f"{key}: {text!r} is an alias itself, give BACKEND:MODEL")
    try:
        return parse_target(text, {})
    except UsageError as error:
        raise UsageError(f"{key}: {error}") from error


def _options(key: str, given: dict[str, Any]) -> Options:
    for name, value in given.items():
        if not isinstance(value, int | float | str):
            raise UsageError(
                f"{key}.{name}: {_shown(value)} is not allowed, give a text in quotes, a number, true or false"
            )
        storable(f"{key}.{name}", value)
    return given


def _table(key: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UsageError(f"{key}: {_shown(found)} is not allowed, it is a table: [{key}]")
    return found


def _struct(kind: type[_Table], key: str, table: dict[str, Any]) -> _Table:
    """Return the values of a table, each of the kind that its key has."""
    dot = f"{key}." if key else ""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    values = {}
    for name, value in table.items():
        if name not in fields:
            raise UsageError(_no_such(f"{dot}{name}", name, fields))
        try:
            values[name] = msgspec.convert(value, fields[name])
        except msgspec.ValidationError as error:
            expected = _EXPECTED[fields[name]]
            raise UsageError(
                f"{dot}{name}: {_shown(value)} is not allowed, give {expected}"
            ) from error
    return kind(**values)


def _above_0(key: str, value: int | float | None, most: int) -> None:
    if value is not None and not 0 < value <= most:
        raise UsageError(f"{key}: {value} is not allowed, give a number above 0, at most {most}")


def _no_such(key: str, name: str, known: Iterable[str], what: str = "key") -> str:
    """Return the line for a name that is none."""
    import difflib  # here: only a mistyped name has to wait for it

    known = tuple(known)
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f", did you mean {close[0]}?" if close else ""
    if name.lower().endswith("key"):
        hint = ", keys are taken from the environment only"
    return f"{key}: there is no such {what}{hint} (allowed: {', '.join(known)})"


def _shown(value: object) -> str:
    """Return a value as the file has it, roughly, and not too much of it."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
