"""What has come of an answer so far: its text, its end, and what the server said about itself. Pure."""

import io
from collections.abc import Iterable

from chatbot.errors import WireError
from chatbot.messages import Completion, Durations
from chatbot.wire.format import (
    Event,
    Finished,
    Identified,
    Reasoning,
    Served,
    Text,
    Used,
    count_tokens,
)

MAX_CHARS = 3 * 1024 * 1024 // 4  # so that it fits into a frame, whatever the script
MAX_NAME_CHARS = 200  # ids, models, reasons and the names of counts: beyond, they are nonsense
MAX_COUNTS = 64


class Answer:
    """Gathers events. `fresh` hands out the text that came since it was last called; where nobody will
    ask for that, `is_streamed` False spares the keeping.

    `finished` says that the server told the end, and not only that it stopped. `texts` and `thoughts`
    count the pieces, as the server cut them.
    """

    def __init__(self, *, is_streamed: bool = True) -> None:
        self.response_id = ""
        self.model = ""
        self.finish_reason = ""
        self.finished = False
        self.usage: dict[str, int] = {}
        self.served: Durations | None = None
        self.texts = 0
        self.thoughts = 0
        # Buffers, and not lists: a piece is a few characters, the object around it fifty bytes.
        self._text = io.StringIO()
        self._reasoning = io.StringIO()
        self._is_streamed = is_streamed
        self._runs: list[tuple[bool, list[str]]] = []
        self._chars = 0

    def take_all(self, events: Iterable[Event]) -> None:
        """Do as `take` with each of them."""
        write, is_streamed = self._text.write, self._is_streamed
        for event in events:
            if is_streamed or type(event) is not Text:
                self.take(event)
                continue
            self._chars += len(event.text)
            if self._chars > MAX_CHARS:
                raise _too_long()
            write(event.text)
            self.texts += 1

    def take(self, event: Event) -> None:
        """Take an event in. Raises WireError when the answer grows beyond what can be kept."""
        match event:
            case Text():
                self._add(self._text, event.text, False)  # noqa: FBT003 - the kind, as in `fresh`
                self.texts += 1
            case Reasoning():
                self._add(self._reasoning, event.text, True)  # noqa: FBT003
                self.thoughts += 1
            case Identified(response_id, model):
                self.response_id = response_id[:MAX_NAME_CHARS]
                self.model = model[:MAX_NAME_CHARS]
            case Used(usage):
                for name, value in usage.items():
                    if name in self.usage or self._has_room_for(name):
                        self.usage[name] = value
            case Served(durations):
                self.served = durations
            case Finished(reason):
                self.finish_reason = reason[:MAX_NAME_CHARS]
                self.finished = True

    def fresh(self) -> list[tuple[str, bool]]:
        """Return the new pieces in order, what belongs together joined; True marks reasoning."""
        runs, self._runs = self._runs, []
        return [("".join(pieces), reasoning) for reasoning, pieces in runs]

    @property
    def text(self) -> str:
        """The visible text so far."""
        return self._text.getvalue()

    @property
    def reasoning(self) -> str:
        """The model's thinking so far."""
        return self._reasoning.getvalue()

    @property
    def tokens(self) -> tuple[int | None, int | None]:
        """Input and output tokens; None where they are unknown."""
        return count_tokens(self.usage)

    def completion(self, asked_model: str) -> Completion:
        """Return the whole answer."""
        return Completion(
            self.text,
            self.model or asked_model,
            self.finish_reason,
            self.reasoning,
            self.response_id,
            self.usage,
            *self.tokens,
        )

    def _add(self, kept: io.StringIO, piece: str, is_reasoning: bool) -> None:
        self._chars += len(piece)
        if self._chars > MAX_CHARS:
            raise _too_long()
        kept.write(piece)
        if not self._is_streamed:
            return
        if self._runs and self._runs[-1][0] is is_reasoning:
            self._runs[-1][1].append(piece)
        else:
            self._runs.append((is_reasoning, [piece]))

    def _has_room_for(self, name: str) -> bool:
        return len(self.usage) < MAX_COUNTS and len(name) <= MAX_NAME_CHARS


def _too_long() -> WireError:
    return WireError("malformed", "the answer is too long to be kept")
