"""The pieces of answers as they go on the wire, made once for all answers of one second.

The words are few, and around them stands the same in every chunk but the id of the response: what is
made here holds a mark in its place, as long as an id is.
"""

from collections.abc import Callable

from chatbot.simserver.http1 import wrap_chunk
from chatbot.wire.format import Format

_MARK = b"sim-????????"  # no model has such a name, and no word
_MOST_KINDS = 32
_MOST_PIECES = 2048

Wrap = Callable[[bytes], bytes]
Key = tuple[Format, str, int, bool, bool, bool]


class Pieces(dict[str, bytes]):
    """The bytes of each piece, made when they are first asked for."""

    def __init__(self, make: Callable[[str], bytes], wrap: Wrap) -> None:
        super().__init__()
        self._make = make
        self._wrap = wrap

    def __missing__(self, piece: str) -> bytes:
        made = self._wrap(self._make(piece))
        if len(self) < _MOST_PIECES:
            self[piece] = made
        return made


class Frames:
    """The pieces of an answer that come after the first of their kind, which may open a block."""

    def __init__(self, key: Key) -> None:
        wire_format, model, created_s, include_usage, chunked, thinks = key
        wrap: Wrap = wrap_chunk if chunked else bytes
        made = wire_format.producer(_MARK.decode(), model, created_s, include_usage)
        if thinks:
            made.reasoning(".")
            thinking = wire_format.producer(_MARK.decode(), model, created_s, include_usage)
            thinking.reasoning(".")
            self.reasoning = Pieces(thinking.reasoning, wrap)
        else:
            self.reasoning = Pieces(made.reasoning, wrap)
        made.text(".")
        self.text = Pieces(made.text, wrap)
        self._has_id = _MARK in made.text(".")

    def join(self, parts: list[bytes], response_id: str) -> bytes:
        """Return the parts as one, with the id of a response in them."""
        data = b"".join(parts)
        return data.replace(_MARK, response_id.encode()) if self._has_id else data


class FrameCache:
    """The frames by what they depend on; bounded."""

    def __init__(self) -> None:
        self._made: dict[Key, Frames] = {}

    def get(
        self,
        wire_format: Format,
        model: str,
        created_s: int,
        *,
        include_usage: bool,
        chunked: bool,
        thinks: bool,
    ) -> Frames:
        """Return the frames of answers that have all this in common."""
        key = (wire_format, model, created_s, include_usage, chunked, thinks)
        frames = self._made.get(key)
        if frames is None:
            if len(self._made) >= _MOST_KINDS:
                self._made.clear()
            frames = self._made[key] = Frames(key)
        return frames
