"""How full the context is, turn by turn: what was sent, what the server counted, how much it has loaded.

`context` judges. Only Ollama cuts what it was sent and says nothing: it is asked, after an answer, how long the
context is that it has loaded, and the turn is judged again when it has told.
"""

import msgspec

from chatbot.messages import Answered, BackendName, ContextRead, Terminal
from chatbot.ui import context
from chatbot.ui.context import Measure
from chatbot.ui.conversation import Conversation
from chatbot.ui.exchange import Exchange
from chatbot.ui.view import View


class Contexts:
    """The measures of this conversation's turns. `lengths` is what the settings say of each backend."""

    def __init__(
        self,
        conversation: Conversation,
        exchange: Exchange,
        view: View,
        lengths: dict[BackendName, int],
    ) -> None:
        self._conversation = conversation
        self._exchange = exchange
        self._view = view
        self._configured = lengths
        self._loaded: dict[tuple[BackendName, str], int] = {}
        self._measures: dict[str, Measure] = {}
        self._said = ""
        exchange.on_context = self._know

    def weigh(self, terminal: Terminal) -> None:
        """A turn has ended: show how full the context is, and say so where it was too short. What came from
        our own cache says nothing of it."""
        chat = self._conversation
        if not isinstance(terminal, Answered) or terminal.cached_age_s is not None:
            return
        if not chat.turns or chat.turns[-1].request_id != terminal.request_id:
            return
        sent = chat.history[:-2] if chat.turns[-1].is_sent else chat.history
        question = chat.turns[-1].question
        completion = terminal.completion
        self._measures[terminal.request_id] = Measure(
            context.characters(
                (chat.target.system or "", *(message.content for message in sent), question)
            ),
            context.characters((question, *(message.content for message in sent[-1:]))),
            completion.input_tokens,
            completion.output_tokens,
            system=chat.target.system or "",
        )
        self._judge()
        if chat.target.backend == "ollama":
            self._exchange.ask_context("ollama", chat.target.model)

    def _know(self, read: ContextRead) -> None:
        target = self._conversation.target
        if read.tokens is not None:
            self._loaded[read.backend, read.model] = read.tokens
            if (read.backend, read.model) == (target.backend, target.model):
                self._judge()

    def _judge(self) -> None:
        """Judge the last turn, with what is known now."""
        chat, state = self._conversation, self._exchange.state
        target = chat.target
        if not chat.turns or (now := self._measures.get(chat.turns[-1].request_id)) is None:
            return
        before = [
            self._measures[turn.request_id]
            for turn in chat.turns[:-1]
            if turn.request_id in self._measures
            and turn.target is not None
            and (turn.target.backend, turn.target.model) == (target.backend, target.model)
        ]
        now = msgspec.structs.replace(now, context=self._length())
        verdict = context.judge(before, now)
        state.context_used, state.context_length = verdict.used, verdict.length
        self._exchange.show_state()
        if target.backend == "ollama" and verdict.warning != self._said:
            self._said = verdict.warning
            if verdict.warning:
                self._view.aside(verdict.warning)

    def _length(self) -> int | None:
        """What the server has loaded, else what it was asked to load, else what the settings say."""
        target = self._conversation.target
        asked = target.options.get("num_ctx")
        if loaded := self._loaded.get((target.backend, target.model)):
            return loaded
        if isinstance(asked, int) and not isinstance(asked, bool) and asked > 0:
            return asked
        return self._configured.get(target.backend)
