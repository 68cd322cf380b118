"""What can be done with the last turn: take it back, pick another answer, copy it, see the thinking before it."""

from collections.abc import Callable

from chatbot.errors import ChatbotError, ExitCode, UsageError
from chatbot.ids import new_request_id
from chatbot.messages import Load, Loaded, Pick, Picked, Undo, Undone
from chatbot.ui.conversation import Conversation
from chatbot.ui.exchange import GIVEN_UP, Exchange
from chatbot.ui.view import Notices, View

_SHOWN = 60


class LastTurn:
    """The last turn of the conversation. `write_raw` reaches the terminal as it is; None: there is none."""

    def __init__(
        self,
        conversation: Conversation,
        exchange: Exchange,
        view: View,
        notices: Notices,
        write_raw: Callable[[str], None] | None,
    ) -> None:
        self._conversation = conversation
        self._exchange = exchange
        self._view = view
        self._notices = notices
        self._write_raw = write_raw

    def undo(self) -> ExitCode:
        """Take the last turn back, here in any case: the next question is not to be sent with it."""
        chat = self._conversation
        if not chat.turns:
            raise UsageError("there is nothing yet to be undone")
        turn = chat.undo()
        undo = Undo(new_request_id(), chat.session_id, turn.request_id)
        undone = self._exchange.reply(undo, Undone)
        if undone.error:
            raise ChatbotError(f"undone here, but not in the database: {undone.error}")
        self._view.done("undone", f"undone: {_start_of(turn.question)}", turn=turn.request_id)
        return ExitCode.OK

    def pick(self, number: int) -> ExitCode:
        """Go on with another answer of those that were asked at once, and with whom it was asked."""
        chat = self._conversation
        is_known = chat.siblings and not chat.siblings_are_loaded
        if chat.has_fanned and not is_known:
            self._reload_siblings()
        count = len(chat.siblings)
        if not count:
            raise UsageError(
                "only the last turn can be picked from"
                if chat.has_fanned
                else "there is nothing to pick from: /fan BACKEND,BACKEND asks several at once"
            )
        if not 1 <= number <= count:
            raise UsageError(f"there is no answer {number}: /pick takes 1 to {count}")
        if not chat.siblings[number - 1].ended:
            raise UsageError(f"answer {number} is not finished yet")
        turn = chat.pick(number)
        if error := self.tell_pick():
            raise ChatbotError(f"picked here, but not in the database: {error}")
        target = chat.target
        line = f"going on with answer {number}: {target.backend}, model {target.model}"
        self._view.done(
            "picked", line, turn=turn.request_id, backend=target.backend, model=target.model
        )
        return ExitCode.OK

    def _reload_siblings(self) -> None:
        """Read the siblings of the last turn: they may have gone on since they were loaded, or it is the last
        again since a later one was undone."""
        chat = self._conversation
        loaded = self._exchange.reply(Load(new_request_id(), chat.session_id), Loaded)
        if loaded.error:
            given_up = loaded.error == GIVEN_UP
            raise ChatbotError(
                "(given up)" if given_up else f"cannot load the answers: {loaded.error}"
            )
        chat.reload_siblings(loaded.messages)

    def tell_pick(self) -> str:
        """Have the store go on with the last turn instead of its siblings; return why it did not."""
        chat = self._conversation
        pick = Pick(new_request_id(), chat.session_id, chat.turns[-1].request_id)
        return self._exchange.reply(pick, Picked).error

    def copy(self, what: str, number: int) -> ExitCode:
        """Put the last answer, or a block of code in it, onto the clipboard. Raises ChatbotError."""
        turns = [turn for turn in self._conversation.turns if turn.answer]
        if not turns:
            raise UsageError("there is no answer yet to be copied")
        answer = turns[-1].answer
        if what == "answer":
            if number > len(turns):
                raise UsageError(f"there is no answer {number}: the last one is {len(turns)}")
            answer = turns[number - 1].answer  # 0: the last
            said = f"answer {number}" if number else "the answer"
        else:
            from chatbot.ui.markdown import code

            blocks = code.blocks(answer)
            if not blocks:
                raise UsageError("there is no code in the last answer")
            if number > len(blocks):
                raise UsageError(f"there is no code block {number}: the last one is {len(blocks)}")
            answer = blocks[number - 1].text  # 0: the last
            said = f"code block {number or len(blocks)} of {len(blocks)}"
        from chatbot.ui import clipboard  # the first prompt is not to wait for it

        where = clipboard.copy(answer, self._write_raw)
        self._view.done("copied", f"copied {said} {where}", text=answer)
        return ExitCode.OK

    def thoughts(self) -> ExitCode:
        """Show the thinking before the last answer."""
        reasoning = self._conversation.turns[-1].reasoning if self._conversation.turns else ""
        if not reasoning:
            raise UsageError("the last answer came without any thinking")
        self._view.thoughts(reasoning)
        return ExitCode.OK


def _start_of(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
