"""How full the context is, turn by turn: what was sent, what the server counted, how much it has loaded.

`context` judges. Only Ollama cuts what it was sent and says nothing: it is asked, after an answer, how long the
context is that it has loaded, and the turn is judged again when it has told.
"""

from collections.abc import Sequence
from itertools import takewhile

import msgspec

from chatbot.messages import Answered, BackendName, ChatMessage, ContextRead, Target, Terminal
from chatbot.ui import context
from chatbot.ui.context import Measure, Verdict
from chatbot.ui.conversation import Conversation, Turn
from chatbot.ui.exchange import Exchange
from chatbot.ui.view import View


class Contexts:
    """The measures of this conversation's turns. `lengths` is what the settings say of each backend; `in_chat`:
    there can be told commands of the chat."""

    def __init__(
        self,
        conversation: Conversation,
        exchange: Exchange,
        view: View,
        lengths: dict[BackendName, int],
        *,
        in_chat: bool = True,
    ) -> None:
        self._conversation = conversation
        self._exchange = exchange
        self._view = view
        self._configured = lengths
        self._in_chat = in_chat
        self._loaded: dict[tuple[BackendName, str], int] = {}
        self._measures: dict[str, Measure] = {}
        self._sent: set[tuple[BackendName, str, str, int]] = set()
        self._said = ""
        self._warned_of = ""
        exchange.on_context = self._know

    def weigh(self, ended: Sequence[Terminal]) -> None:
        """The last turn has ended, or it and its siblings: show how full the context is, and say so where it was
        too short. What came from our own cache says nothing of it."""
        chat = self._conversation
        if not chat.turns:
            return
        # What was asked before is the same for all of them.
        history = chat.history[:-2] if chat.turns[-1].is_sent else chat.history
        turns = {turn.request_id: turn for turn in (*chat.siblings, chat.turns[-1])}
        for terminal in ended:
            turn = turns.get(terminal.request_id)
            if isinstance(terminal, Answered) and terminal.cached_age_s is None and turn:
                self._measure(turn, terminal, history)
        last = chat.turns[-1]
        if last.request_id not in self._measures or last.target is None:
            return
        self._tell(last)
        if (
            last.target.backend == "ollama" and self._exchange.chatting
        ):  # a script has no use for it in time
            self._exchange.ask_context("ollama", last.target.model)

    def show(self) -> None:
        """Have the state drawn, with how full the context was in the last turn of whom the next question goes to."""
        state, turn = self._exchange.state, self._last_of_target()
        verdict = self._judged(turn) if turn is not None else None
        verdict = verdict or Verdict()
        state.context_used, state.context_length = verdict.used, verdict.length
        self._exchange.show_state()

    def _measure(self, turn: Turn, answered: Answered, history: Sequence[ChatMessage]) -> None:
        target = turn.target
        if target is None:
            return
        said = [message.content for message in history]
        system = target.system or ""
        whole = context.characters((system, *said, turn.question))
        key = (target.backend, target.model, turn.question, whole)
        completion = answered.completion
        self._measures[turn.request_id] = Measure(
            whole,
            context.characters((turn.question, *said[-1:])),
            completion.input_tokens,
            completion.output_tokens,
            system=system,
            sent_before=key in self._sent,
        )
        self._sent.add(key)

    def _know(self, read: ContextRead) -> None:
        if read.tokens is None:
            return
        self._loaded[read.backend, read.model] = read.tokens
        turns = self._conversation.turns
        if turns and _asked(turns[-1]) == (read.backend, read.model):
            self._tell(turns[-1])
        self.show()

    def _tell(self, turn: Turn) -> None:
        """Show what the last turn has come to, and warn: once of a turn, whatever is learned of it later, and
        not of the next one in the same words."""
        self.show()
        verdict = self._judged(turn)
        if verdict is None or turn.target is None or turn.target.backend != "ollama":
            return
        if verdict.warning != self._said:
            self._said = verdict.warning
            if verdict.warning and self._warned_of != turn.request_id:
                self._warned_of = turn.request_id
                self._view.aside(verdict.warning)

    def _last_of_target(self) -> Turn | None:
        """Return the last turn, of those that are a part of what is sent, of whom the next question goes to."""
        chat = self._conversation
        target = (chat.target.backend, chat.target.model)
        return next(
            (turn for turn in reversed(chat.turns) if turn.is_sent and _asked(turn) == target), None
        )

    def _judged(self, turn: Turn) -> Verdict | None:
        """Judge a turn of the conversation, with what is known now."""
        now = self._measures.get(turn.request_id)
        if now is None or turn.target is None:
            return None
        before = [
            self._measures[each.request_id]
            for each in takewhile(lambda each: each is not turn, self._conversation.turns)
            if each.request_id in self._measures and _asked(each) == _asked(turn)
        ]
        now = msgspec.structs.replace(now, context=self._length(turn.target))
        return context.judge(before, now, in_chat=self._in_chat)

    def _length(self, target: Target) -> int | None:
        """What the server has loaded, else what it was asked to load, else what the settings say."""
        asked = target.options.get("num_ctx")
        if loaded := self._loaded.get((target.backend, target.model)):
            return loaded
        if isinstance(asked, int) and not isinstance(asked, bool) and asked > 0:
            return asked
        return self._configured.get(target.backend)


def _asked(turn: Turn) -> tuple[BackendName, str] | None:
    return None if turn.target is None else (turn.target.backend, turn.target.model)
