"""One simulated session: its id, what was said in it, and the turn that is under way."""

from chatbot.messages import Ask, ChatMessage, StoredMessage, Target
from chatbot.simulate.schedule import Start


class Session:
    """`began_ns` is when its first turn was due. `is_known` False: what was said in it was said before
    this process had the seat."""

    __slots__ = (
        "_history",
        "asked_ns",
        "began_ns",
        "content",
        "is_known",
        "number",
        "session_id",
        "start",
    )

    def __init__(self, number: int, session_id: str, began_ns: int) -> None:
        self.number = number
        self.session_id = session_id
        self.began_ns = began_ns
        self.is_known = True
        self.content = ""
        self.asked_ns = 0
        self.start: Start | None = None
        self._history: tuple[ChatMessage, ...] = ()

    def ask(
        self, start: Start, request_id: str, content: str, target: Target, hop: str, turn: str
    ) -> Ask:
        """Return the question of its next turn as a message; `hop` and `turn` are traceparents."""
        self.start, self.content = start, content
        return Ask(
            request_id,
            self.session_id,
            content,
            target,
            self._history,
            "off",
            stream=False,
            traceparent=hop,
            turn_traceparent=turn,
            measured=True,
        )

    def answered(self, text: str) -> None:
        """Its turn is over; without an answer it leaves no mark on what is sent next."""
        if text:
            self._say(self.content, text)
        self.start = None

    def recall(self, messages: tuple[StoredMessage, ...]) -> None:
        """Take in what was said, as it was saved."""
        self.is_known = True
        questions: dict[str, str] = {}
        for message in messages:
            if message.role == "user":
                questions[message.request_id] = message.content
            elif message.content and message.request_id in questions:
                self._say(questions.pop(message.request_id), message.content)

    def _say(self, question: str, answer: str) -> None:
        self._history += (ChatMessage("user", question), ChatMessage("assistant", answer))
