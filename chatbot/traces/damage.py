"""What could not be read of the trace files, for a person: which files, and how many places in all. Pure.

Handed into a reading and filled there; asked by whoever tells the person.
"""

_NAMES_AT_MOST = 3


class Damage:
    """The places that could not be read. A file that is read again begins anew."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def begin(self, file: str) -> None:
        """A file is read from its start."""
        self._places.pop(file, None)

    def add(self, file: str) -> None:
        """A line, or the rest of this file, could not be read."""
        self._places[file] = self._places.get(file, 0) + 1

    @property
    def places(self) -> int:
        """How many there are."""
        return sum(self._places.values())

    def __str__(self) -> str:
        """One line; empty where everything was read."""
        if not self._places:
            return ""
        names = list(self._places)
        named = names[:_NAMES_AT_MOST] + ["and others"] * (len(names) > _NAMES_AT_MOST)
        places = f"{self.places} place{'' if self.places == 1 else 's'}"
        return f"{places} in the trace files could not be read ({', '.join(named)})"
