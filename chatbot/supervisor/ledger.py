"""What the store was told and has not acknowledged, in order."""

from chatbot.messages import Answered, Ask, Cancelled, Failed, Interrupted, Load, Message, Terminal

TERMINALS: tuple[type[Message], ...] = (Answered, Failed, Cancelled, Interrupted)


class Ledger:
    """Remembers each message to the store until its acknowledgement, to repeat it after a restart.

    The order is kept: in a session, an answer is saved before the question that follows it.
    `gone` is empty while there is a store or will be one again; then it says why not.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, type[Message]], Ask | Terminal | Load] = {}
        self.up = False
        self.gone = ""

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, message: Ask | Terminal | Load) -> None:
        """Remember a message until it is acknowledged."""
        self._entries[message.request_id, type(message)] = message

    def asked(self, request_id: str) -> bool:
        """Whether an `Ask` of this request stands unacknowledged."""
        return (request_id, Ask) in self._entries

    def acknowledge(self, request_id: str, *kinds: type[Message]) -> None:
        """Forget the messages of these kinds: the store has them."""
        for kind in kinds:
            self._entries.pop((request_id, kind), None)

    def unacknowledged(self) -> list[Ask | Terminal | Load]:
        """Return what a store that has just started must be told again."""
        return list(self._entries.values())

    def abandon(self, reason: str) -> list[Ask | Terminal | Load]:
        """There will be no store: forget everything, and return it."""
        entries = self.unacknowledged()
        self._entries.clear()
        self.up = False
        self.gone = reason
        return entries
