"""Rows as structs, whatever another program has written into them.

SQLite lets every column hold everything, and a person may edit the database: one value that is not
what it should be must not take a whole list away. `sessions.py` and `search.py` read through here.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar, cast, get_args

import msgspec

from chatbot.store import text
from chatbot.store.database import Database, Value

S = TypeVar("S", bound=msgspec.Struct)

_NOTHING: dict[type, Any] = {str: "", float: 0.0, int: 0, bool: False}


@contextmanager
def reading(database: Database, sql: str, **values: Value) -> Iterator[Iterator[tuple[Any, ...]]]:
    """Read the rows of a query as far as they are wanted: the statement ends with the block.

    Otherwise it would end some time after an error, perhaps when the database is closed already.
    """
    rows = cast("Generator[tuple[Any, ...]]", database.rows(sql, **values))
    with closing(rows):
        yield rows


def converted(row: tuple[Any, ...], kind: type[S]) -> S:
    """Return a row as a struct of this kind, its columns in the order of the fields.

    A value that cannot be one of its field is left out: a time that is not a number becomes 0.0.
    """
    try:
        return msgspec.convert(row, kind, strict=False)
    except msgspec.ValidationError:
        fields = msgspec.structs.fields(kind)
        values = (_fitting(value, field) for value, field in zip(row, fields, strict=False))
        return kind(*values)


def _fitting(value: Any, field: msgspec.structs.FieldInfo) -> Any:
    if field.type is str and isinstance(value, bytes):
        return text.clean(value.decode(errors="replace"))
    try:
        return msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError:
        if field.default is not msgspec.NODEFAULT:
            return field.default
        if field.type in _NOTHING:
            return _NOTHING[field.type]
        return get_args(field.type)[0]  # a literal, which only a switched-off CHECK lets pass
