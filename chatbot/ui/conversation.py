"""What the chat knows: the session, whom it asks, and what was said. Pure.

The history is what the next question is sent with. Its roles alternate: a question that got no
answer at all is left out, one whose answer broke off keeps the part that came. Both are turns, and
the last turn can be taken back or asked again.
"""

from collections.abc import Iterable, Sequence

import msgspec

from chatbot.backends import normalise_ollama_model
from chatbot.history import DIGEST_OF_NOTHING, History, extended
from chatbot.messages import (
    Ask,
    BackendName,
    CachePolicy,
    ChatMessage,
    Options,
    Session,
    StoredMessage,
    Target,
)


class Turn(msgspec.Struct, frozen=True):
    """A question that was asked, its request, what came as its answer, and its trace (empty: none)."""

    request_id: str
    question: str
    answer: str = ""
    trace_id: str = ""

    @property
    def is_sent(self) -> bool:
        """Whether it is a part of what the next question is sent with."""
        return bool(self.question and self.answer)

    @property
    def messages(self) -> tuple[ChatMessage, ChatMessage]:
        """The two messages that it is sent as."""
        return ChatMessage("user", self.question), ChatMessage("assistant", self.answer)


class Explicit(msgspec.Struct, frozen=True):
    """What the command line says, and a resumed session does not change."""

    backend: bool = False
    model: bool = False
    system: bool = False
    options: Options = {}


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
        self.turns: list[Turn] = []
        self.is_new = True  # nothing was ever said in it, and nobody else knows of it
        self._history = History()
        self._digests: list[bytes] = []  # of the history before each turn: undoing hashes nothing
        self._models = dict(models)
        self._configured = target

    @property
    def history(self) -> tuple[ChatMessage, ...]:
        """What the next question is sent with."""
        return self._history.messages

    def ask(self, request_id: str, content: str, *, hop: str, turn: str) -> Ask:
        """Return the question as a message; `hop` and `turn` are traceparents."""
        self.is_new = False
        return Ask(
            request_id,
            self.session_id,
            content,
            self.target,
            self._history.messages,
            self.cache,
            traceparent=hop,
            turn_traceparent=turn,
            history_digest=self._history.digest,
        )

    def ask_again(self, request_id: str, *, hop: str, turn: str) -> Ask:
        """Return the last question once more, to take its turn's place. Raises IndexError without
        a turn; the turn itself stays until `undo`."""
        last, before = self.turns[-1], self._before_last()
        return Ask(
            request_id,
            self.session_id,
            last.question,
            self.target,
            before.messages,
            "refresh",
            traceparent=hop,
            turn_traceparent=turn,
            history_digest=before.digest,
            replaces=last.request_id,
        )

    def answered(self, request_id: str, question: str, answer: str, trace_id: str = "") -> None:
        """A turn is over; an empty answer leaves no mark on what is sent next. Neither does an answer
        to nobody knows what."""
        if not question:
            return
        turn = Turn(request_id, question, answer, trace_id)
        self.turns.append(turn)
        self._digests.append(self._history.digest)
        if turn.is_sent:
            self._history = self._history.followed_by(*turn.messages)

    def undo(self) -> Turn:
        """Take the last turn back, and return it. Raises IndexError when there is none."""
        before = self._before_last()
        self._digests.pop()
        self._history = before
        return self.turns.pop()

    def reopen(self, request_id: str) -> str:
        """Take the last turn back if it is this request's, and return its question: the end of its
        answer is still to come. Empty where it is not known."""
        if self.turns and self.turns[-1].request_id == request_id:
            return self.undo().question
        return ""

    def new_session(self, session_id: str) -> None:
        """Begin again with nothing said. Backend and model stay; system prompt and options are the
        configured ones, also behind a session that had its own."""
        self.session_id = session_id
        self.is_new = True
        self._forget()
        self.target = msgspec.structs.replace(
            self.target, system=self._configured.system, options=self._configured.options
        )

    def resume(
        self,
        session: Session,
        messages: Sequence[StoredMessage],
        explicit: Explicit = Explicit(),  # noqa: B008 - frozen
    ) -> None:
        """Go on where a stored session ended, with all that was its own, except for what is
        explicit. Raises UsageError like `set_model`."""
        self.session_id = session.session_id
        self.is_new = False
        self._forget()
        said: list[ChatMessage] = []
        digest = DIGEST_OF_NOTHING
        for turn in turns_of(messages):
            self.turns.append(turn)
            self._digests.append(digest)
            if turn.is_sent:
                said += turn.messages
                digest = extended(digest, turn.messages)
        self._history = History(tuple(said), digest)
        self.target = msgspec.structs.replace(
            self.target,
            system=self.target.system if explicit.system else session.system,
            options={**session.options, **explicit.options},
        )
        if session.backend not in self._models:  # another version of this program knows it
            return
        name = self.target.model if explicit.model else session.model
        if not explicit.backend:
            backend: BackendName = session.backend
            model = self._models[backend]
            self.target = msgspec.structs.replace(self.target, backend=backend, model=model)
        if name and (explicit.model or session.backend == self.target.backend):
            self.set_model(name)

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

    def _before_last(self) -> History:
        kept = len(self.history) - 2 * self.turns[-1].is_sent
        return History(self.history[:kept], self._digests[-1])

    def _forget(self) -> None:
        self.turns = []
        self._digests = []
        self._history = History()


def turns_of(messages: Iterable[StoredMessage]) -> list[Turn]:
    """Return the turns of a stored conversation: each question with what came as its answer.

    Two terminals in one session may have asked at once: an answer belongs to its request, wherever it
    stands. One whose question is not among the messages is left out.
    """
    turns: list[Turn] = []
    open_: dict[str, int] = {}
    for message in messages:
        if message.role == "user":
            open_[message.request_id] = len(turns)
            trace_id = message.trace_id or ""
            turns.append(Turn(message.request_id, message.content, trace_id=trace_id))
        elif message.role == "assistant" and message.request_id in open_:
            place = open_.pop(message.request_id)
            turns[place] = msgspec.structs.replace(turns[place], answer=message.content)
    return turns
