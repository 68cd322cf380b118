"""The prices of the settings file in the table `prices`, for the view `model_usage`.

Runs once, as the store begins. It never removes a row: what somebody has put in by hand stays,
except for the same model. `process.py` calls it.
"""

from collections.abc import Callable, Mapping

from chatbot.settings import Price
from chatbot.store.database import Database
from chatbot.store.faults import locked
from chatbot.store.patience import Patience


def save(database: Database, patience: Patience, prices: Mapping[str, Price]) -> int:
    """Write the prices, by `BACKEND:MODEL`, that do not stand there; return how many they were.

    Where all of them stand there nothing is locked. Raises StoreUnavailable; another program's lock is
    waited for only as long as SQLite itself does.
    """
    missing = {
        name: price
        for name, price in prices.items()
        if _read(database, name) != (price.input, price.output, price.cached_input)
    }

    def once(step: Callable[[], bool]) -> None:
        if not step():
            raise locked(database.path)

    if missing:
        with patience.transaction(once):
            for name, price in missing.items():
                _write(database, name, price)
    return len(missing)


def _read(database: Database, name: str) -> tuple[object, ...] | None:
    backend, _, model = name.partition(":")
    return database.one(
        "SELECT input, output, cached_input FROM prices WHERE backend = :backend AND model = :model",
        backend=backend,
        model=model,
    )


def _write(database: Database, name: str, price: Price) -> None:
    backend, _, model = name.partition(":")
    database.write(
        """
        INSERT INTO prices (backend, model, input, output, cached_input)
        VALUES (:backend, :model, :input, :output, :cached_input)
        ON CONFLICT (backend, model) DO UPDATE SET
            input = excluded.input, output = excluded.output, cached_input = excluded.cached_input
        """,
        backend=backend,
        model=model,
        input=price.input,
        output=price.output,
        cached_input=price.cached_input,
    )
