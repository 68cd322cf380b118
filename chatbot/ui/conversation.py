"""What the chat knows: the session, whom it asks, and what was said. Pure.

The history is what the next question is sent with. Its roles alternate: a question that got no
answer at all is left out, one whose answer broke off keeps the part that came.
"""

from collections.abc import Iterable, Sequence

import msgspec

from chatbot.backends import normalise_ollama_model
from chatbot.messages import (
    Ask,
    BackendName,
    CachePolicy,
    ChatMessage,
    Session,
    StoredMessage,
    Target,
)


class Conversation:
    """The state of a chat between two turns."""

    def __init__(
        self,
        session_id: str,
        target: Target,
        models: dict[BackendName, str],
        cache: CachePolicy,
    ) -> None:
        self.session_id = session_id
        self.target = target
        self.cache: CachePolicy = cache
        self.history: tuple[ChatMessage, ...] = ()
        self._unanswered = ""
        self._models = dict(models)

    def ask(self, request_id: str, content: str, *, hop: str, turn: str) -> Ask:
        """Return the question as a message; `hop` and `turn` are traceparents."""
        return Ask(
            request_id,
            self.session_id,
            content,
            self.target,
            self.history,
            self.cache,
            traceparent=hop,
            turn_traceparent=turn,
        )

    def answered(self, question: str, answer: str) -> None:
        """A turn is over; an empty answer leaves no mark on what is sent next."""
        self._unanswered = ""
        if answer:
            self.history += (ChatMessage("user", question), ChatMessage("assistant", answer))

    def new_session(self, session_id: str) -> None:
        """Begin again with nothing said; backend and model stay."""
        self.session_id = session_id
        self.history = ()
        self._unanswered = ""

    def resume(
        self,
        session: Session,
        messages: Sequence[StoredMessage],
        *,
        keep_backend: bool = False,
        keep_model: bool = False,
    ) -> None:
        """Go on where a stored session ended, with its own backend and model, except for what is
        to be kept. Raises UsageError like `set_model`."""
        self.session_id = session.session_id
        self.history = history_of(messages)
        self._unanswered = messages[-1].content if messages and messages[-1].role == "user" else ""
        if session.backend not in self._models:  # another version of this program knows it
            return
        name = self.target.model if keep_model else session.model
        if not keep_backend:
            backend: BackendName = session.backend
            model = self._models[backend]
            self.target = msgspec.structs.replace(self.target, backend=backend, model=model)
        if name and (keep_model or session.backend == self.target.backend):
            self.set_model(name)

    def rejoin(self, answer: str) -> bool:
        """Take the whole answer of the turn that was under way when the session was loaded; return
        whether it brings anything that was not known."""
        if self._unanswered:
            self.answered(self._unanswered, answer)
            self._unanswered = ""
            return bool(answer)
        if not self.history or answer == self.history[-1].content:
            return False
        if not answer.startswith(self.history[-1].content):
            return False
        self.history = (*self.history[:-1], ChatMessage("assistant", answer))
        return True

    def switch(self, backend: BackendName) -> None:
        """Ask another backend, with the model last used there; the conversation goes along."""
        self._models[self.target.backend] = self.target.model
        self.target = msgspec.structs.replace(
            self.target, backend=backend, model=self._models[backend]
        )

    def set_model(self, name: str, backend: BackendName | None = None) -> str:
        """Take a model of a backend (default: the present one); return its whole name.

        Raises UsageError for a name that Ollama cannot have.
        """
        backend = backend or self.target.backend
        if backend == "ollama":
            name = normalise_ollama_model(name)
        self._models[backend] = name
        if backend == self.target.backend:
            self.target = msgspec.structs.replace(self.target, model=name)
        return name


def history_of(messages: Iterable[StoredMessage]) -> tuple[ChatMessage, ...]:
    """Return the part of a stored conversation that can be sent: pairs of question and answer."""
    history: list[ChatMessage] = []
    question = ""
    for message in messages:
        if message.role == "user":
            question = message.content
        elif message.role == "assistant" and message.content and question:
            history += (ChatMessage("user", question), ChatMessage("assistant", message.content))
            question = ""
    return tuple(history)
