"""What the chat knows: the session, whom it asks, and what was said. Pure.

The history is what the next question is sent with. Its roles alternate: a question that got no
answer at all is left out, one whose answer broke off keeps the part that came. Both are turns, and
the last turn can be taken back or asked again. Where several were asked it at once, one of their
turns is a part of the conversation; the others are kept beside it, as its siblings, to be picked.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from chatbot.aliases import BACKEND_NAMES
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
    """A question that was asked, its request, what came as its answer, its trace (empty: none), the thinking
    before the answer, and who was asked (None: not known). `ended`: no more of its answer is to come."""

    request_id: str
    question: str
    answer: str = ""
    trace_id: str = ""
    reasoning: str = ""
    target: Target | None = None
    ended: bool = True

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


class Defaults(msgspec.Struct, frozen=True):
    """What a chat begins with: the configured options and system prompts of the backends, and the options that
    the person has chosen for all of them. `system_is_explicit`: so is the system prompt."""

    options_of: Mapping[BackendName, Options] = {}
    system_of: Mapping[BackendName, str] = {}
    chosen: Options = {}
    system_is_explicit: bool = True


class Conversation:
    """The state of a chat between two turns."""

    def __init__(
        self,
        session_id: str,
        target: Target,
        models: dict[BackendName, str],
        cache: CachePolicy,
        defaults: Defaults = Defaults(),  # noqa: B008 - frozen
    ) -> None:
        self.session_id = session_id
        self.target = target
        self.cache: CachePolicy = cache
        self.turns: list[Turn] = []
        self.siblings: tuple[Turn, ...] = ()  # of the last turn, itself among them
        self.siblings_are_loaded = False  # as they stood then: there may be more of them by now
        self.has_fanned = False  # several were asked at once, in the last turn or before it
        self.is_new = True  # nothing was ever said in it, and nobody else knows of it
        self._history = History()
        self._digests: list[bytes] = []  # of the history before each turn: undoing hashes nothing
        self._models = dict(models)
        self._configured = target
        self._defaults = defaults
        self._system_is_chosen = defaults.system_is_explicit
        self._chosen = dict(defaults.chosen)  # by the person, whoever is asked
        self._options_of = dict(defaults.options_of)  # or what a resumed session has brought

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

    def ask_again(self, request_id: str, content: str | None, *, hop: str, turn: str) -> Ask:
        """Return the last question once more, or another one, to take its turn's place. Raises IndexError
        without a turn; the turn itself stays until `undo`."""
        last, before = self.turns[-1], self._before_last()
        return Ask(
            request_id,
            self.session_id,
            last.question if content is None else content,
            self.target,
            before.messages,
            "refresh" if content is None else self.cache,
            traceparent=hop,
            turn_traceparent=turn,
            history_digest=before.digest,
            replaces=last.request_id,
        )

    def answered(self, turn: Turn) -> None:
        """A turn is over; an empty answer leaves no mark on what is sent next. Neither does an answer
        to nobody knows what. The siblings stay where it is one of them."""
        if not turn.question:
            return
        is_sibling = any(each.request_id == turn.request_id for each in self.siblings)
        self.siblings = (
            tuple(turn if each.request_id == turn.request_id else each for each in self.siblings)
            if is_sibling
            else ()
        )
        self.turns.append(turn)
        self._digests.append(self._history.digest)
        if turn.is_sent:
            self._history = self._history.followed_by(*turn.messages)

    def fanned(self, turns: Sequence[Turn]) -> None:
        """The same was asked of several, and all are over: go on with the first of them, and with whom it
        was asked."""
        self.answered(turns[0])
        self.siblings = tuple(turns)
        self.siblings_are_loaded = False
        self.has_fanned = True
        self._go_on_with(turns[0].target)

    def reload_siblings(self, messages: Sequence[StoredMessage]) -> None:
        """Take the siblings of the last turn as they are stored now; it stays what it is."""
        last = self.turns[-1].request_id if self.turns else ""
        of_last = [each for each in messages if each.role == "user" and each.request_id == last]
        self.siblings = _siblings_of_last(messages, of_last)

    def pick(self, number: int) -> Turn:
        """Go on with another of the last turn's siblings, 1 is the first, and with whom it was asked.
        Raises IndexError where there is no such."""
        picked = self.siblings[number - 1 if number > 0 else len(self.siblings)]
        siblings = self.siblings
        self.undo()
        self.answered(picked)
        self.siblings = siblings
        self._go_on_with(picked.target)
        return picked

    def undo(self) -> Turn:
        """Take the last turn back, and return it. Raises IndexError when there is none."""
        before = self._before_last()
        self.siblings = ()
        self._digests.pop()
        self._history = before
        return self.turns.pop()

    def reopen(self, request_id: str) -> str:
        """Take the last turn back if it is this request's, and return its question: the end of its
        answer is still to come. Empty where it is not known. The siblings wait for it."""
        if self.turns and self.turns[-1].request_id == request_id:
            siblings = self.siblings
            question = self.undo().question
            self.siblings = siblings
            return question
        return ""

    def new_session(self, session_id: str) -> None:
        """Begin again with nothing said. Backend and model stay; system prompt and options are the
        configured ones, also behind a session that had its own."""
        self.session_id = session_id
        self.is_new = True
        self._forget()
        self._chosen = dict(self._defaults.chosen)
        self._options_of = dict(self._defaults.options_of)
        self._system_is_chosen = self._defaults.system_is_explicit
        configured = self._options_of.get(self.target.backend)
        self.target = msgspec.structs.replace(
            self.target,
            system=self._system_for(self.target.backend, self._configured.system),
            options=self._configured.options
            if configured is None
            else {**configured, **self._chosen},
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
        of_conversation = [message for message in messages if message.active]
        for turn in turns_of(of_conversation):
            self.turns.append(turn)
            self._digests.append(digest)
            if turn.is_sent:
                said += turn.messages
                digest = extended(digest, turn.messages)
        self._history = History(tuple(said), digest)
        self._chosen = dict(explicit.options)
        self._system_is_chosen = True  # it is the session's own
        self.siblings = _siblings_of_last(messages, of_conversation)
        self.siblings_are_loaded = True
        self.has_fanned = any(message.fan for message in messages)
        self.target = msgspec.structs.replace(
            self.target,
            system=self.target.system if explicit.system else session.system,
            options={**session.options, **explicit.options},
        )
        self._options_of = dict(self._defaults.options_of)
        if session.backend not in self._models:  # another version of this program knows it
            return
        self._options_of[session.backend] = session.options
        name = self.target.model if explicit.model else session.model
        if not explicit.backend:
            backend: BackendName = session.backend
            model = self._models[backend]
            self.target = msgspec.structs.replace(self.target, backend=backend, model=model)
        if name and (explicit.model or session.backend == self.target.backend):
            self.set_model(name)

    def switch(self, backend: BackendName) -> None:
        """Ask another backend, with the model last used there and the options that are its own; the
        conversation goes along."""
        if backend == self.target.backend:
            return
        self._models[self.target.backend] = self.target.model
        self.target = self.target_of(backend)

    def _go_on_with(self, target: Target | None) -> None:
        if target is not None:
            self.switch(target.backend)
            self.set_model(target.model)

    def target_of(self, backend: BackendName, model: str = "") -> Target:
        """Return whom a backend's model is: what it would be asked with. Raises UsageError like `set_model`."""
        if backend == self.target.backend:
            name, options = self.target.model, self.target.options
        else:
            name = self._models[backend]
            options = self._options_for(backend)
        if model:
            name = normalise_ollama_model(model) if backend == "ollama" else model
        return Target(backend, name, self._system_for(backend, self.target.system), options)

    def set_option(self, key: str, value: int | float | str | bool | None) -> None:
        """Set an option for whoever is asked from now on; None: as it is configured."""
        options = {name: old for name, old in self.target.options.items() if name != key}
        self._chosen.pop(key, None)
        backend = self.target.backend
        configured = self._defaults.options_of.get(backend, {})
        if value is not None:
            self._chosen[key] = options[key] = value
        else:
            as_configured = {key: configured[key]} if key in configured else {}
            options |= as_configured
            if backend in self._options_of:
                own = {name: old for name, old in self._options_of[backend].items() if name != key}
                self._options_of[backend] = own | as_configured
        self.target = msgspec.structs.replace(self.target, options=options)

    def set_system(self, text: str) -> None:
        """Set the system prompt; an empty one is none."""
        self._system_is_chosen = True
        self.target = msgspec.structs.replace(self.target, system=text or None)

    def _system_for(self, backend: BackendName, chosen: str | None) -> str | None:
        if self._system_is_chosen or backend not in self._defaults.system_of:
            return chosen
        return self._defaults.system_of[backend] or None

    def _options_for(self, backend: BackendName) -> Options:
        configured = self._options_of.get(backend)
        return self.target.options if configured is None else {**configured, **self._chosen}

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
        self.siblings = ()
        self.siblings_are_loaded = self.has_fanned = False
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
            turns.append(
                Turn(
                    message.request_id,
                    message.content,
                    trace_id=message.trace_id or "",
                    target=_target_of(message),
                    ended=False,
                )
            )
        elif message.role == "assistant" and message.request_id in open_:
            place = open_.pop(message.request_id)
            turns[place] = msgspec.structs.replace(
                turns[place],
                answer=message.content,
                reasoning=message.reasoning or "",
                ended=message.status == "complete" or message.finish_reason is not None,
            )
    return turns


def _target_of(message: StoredMessage) -> Target | None:
    for backend in BACKEND_NAMES:
        if message.backend == backend:
            return Target(backend, message.model)
    return None


def _siblings_of_last(
    messages: Sequence[StoredMessage], of_conversation: Sequence[StoredMessage]
) -> tuple[Turn, ...]:
    """Return the turns that were asked at once with the last turn of a conversation, itself among them."""
    questions = [message for message in of_conversation if message.role == "user"]
    fan = questions[-1].fan if questions else ""
    return tuple(turns_of(message for message in messages if fan and message.fan == fan))
