"""A session that goes on: brought back from the store, with all that was its own."""

from chatbot.errors import ChatbotError, ExitCode, UsageError
from chatbot.ids import new_request_id
from chatbot.messages import Load, Loaded, StoredMessage, Terminal
from chatbot.settings import UiSettings
from chatbot.ui import listing
from chatbot.ui.asking import Asking
from chatbot.ui.conversation import Conversation, Explicit
from chatbot.ui.exchange import GIVEN_UP, Exchange, Leave
from chatbot.ui.view import Notices, View


class Resuming:
    """Brings sessions back into the conversation."""

    def __init__(
        self,
        settings: UiSettings,
        conversation: Conversation,
        exchange: Exchange,
        asking: Asking,
        view: View,
        notices: Notices,
    ) -> None:
        self._settings = settings
        self._conversation = conversation
        self._exchange = exchange
        self._asking = asking
        self._view = view
        self._notices = notices
        self._loaded = Loaded("")

    def resume(self, session_id: str) -> ExitCode:
        """Go on with another session, with all that was its own. Raises ChatbotError, UsageError, Leave."""
        loaded = self._exchange.reply(Load(new_request_id(), session_id), Loaded)
        if loaded.error:
            given_up = loaded.error == GIVEN_UP
            raise ChatbotError("(given up)" if given_up else f"cannot load it: {loaded.error}")
        if loaded.session is None:
            raise UsageError(f"there is no session {session_id!r}: /sessions shows which there are")
        code = ExitCode.OK
        try:
            self._conversation.resume(loaded.session, loaded.messages)
        except UsageError as error:
            self._notices.say(str(error))
            code = ExitCode.USAGE
        self._exchange.enter(self._conversation.session_id)
        self._view.heading(loaded.session)
        target = self._conversation.target
        self._notices.say(f"Backend: {target.backend}, model {target.model}")
        self._loaded = loaded
        self.show_loaded()
        return code

    def load(self) -> None:
        """Load the session that the settings name; a missing one ends the program."""
        settings, chat = self._settings, self._conversation
        wanted = settings.session_id
        loaded = self._exchange.load(wanted or None)
        if settings.restarted and loaded.session is None:
            # The chat goes on, with nothing known but the answer that may be under way.
            if loaded.error:
                self._notices.say(f"cannot load what was said before: {loaded.error}")
            chat.new_session(wanted or chat.session_id)
            self._loaded = loaded
            return
        if loaded.error:
            self._notices.say(f"cannot load the session: {loaded.error}")
            raise Leave(ExitCode.USAGE)
        if loaded.session is None:
            if wanted:
                self._notices.say(
                    f"there is no session {wanted!r}: --continue takes the latest, or leave the option out"
                )
                raise Leave(ExitCode.USAGE)
            self._notices.say("there is no session yet: this is a new one")
            chat.set_model(chat.target.model)
            return
        explicit = Explicit(
            settings.backend_is_explicit,
            settings.model_is_explicit,
            settings.system_is_explicit,
            settings.explicit_options,
        )
        # After a restart, what was chosen last is what the session has.
        chat.resume(loaded.session, loaded.messages, Explicit() if settings.restarted else explicit)
        self._loaded = loaded

    def show_loaded(self) -> None:
        """Show what was said in a session that goes on. After a restart, the answer that is under way
        belongs to it: with what has come of it, and what is to come."""
        loaded, self._loaded = self._loaded, Loaded("")
        ended = self._exchange.ended()
        under_way = loaded.under_way
        if ended is not None and (ended.request_id == under_way or _knows_end(ended, loaded)):
            ended = None
        open_ = under_way or (ended.request_id if ended else "")
        if loaded.truncated:
            self._notices.say("(older messages are not shown; /history shows all)")
        for message, unanswered, sibling in listing.by_turns([loaded.messages]):
            if open_ and message.request_id == open_:
                if message.role == "assistant":
                    continue  # a part of what is shown in a moment
                unanswered = False
            session_id = self._conversation.session_id
            self._view.message(session_id, message, unanswered=unanswered, sibling=sibling)
        if under_way:
            self._asking.follow(self._conversation, loaded)
        elif ended is not None:
            self._asking.show_ended(self._conversation, ended)


def _knows_end(ended: Terminal, loaded: Loaded) -> bool:
    """Whether a loaded session has the end of a turn already, or does not have the turn at all: a sibling's end
    is not a part of the conversation."""
    if loaded.session is None:
        return False
    turns = [m for m in loaded.messages if m.request_id == ended.request_id and m.active]
    return not turns or any(map(_is_finished, turns))


def _is_finished(message: StoredMessage) -> bool:
    finished = message.status == "complete" or message.finish_reason is not None
    return message.role == "assistant" and finished
