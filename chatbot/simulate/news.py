"""What the seat hears besides the ends of turns: how the other processes are, and what they have to say.

It is written down, counted and shown. What follows from it for the run is the seat's business.
"""

from chatbot.messages import (
    Flushed,
    ModelsListed,
    Notice,
    NotSaving,
    ProcessRestarted,
    Saving,
    StatusRead,
)
from chatbot.simulate.accounts import Accounts
from chatbot.simulate.display import Display
from chatbot.simulate.journal import Journal

Tidings = Flushed | ModelsListed | Notice | NotSaving | ProcessRestarted | Saving | StatusRead


class News:
    """The newest of each kind; None, or False: there was none."""

    def __init__(self, accounts: Accounts, journal: Journal, display: Display) -> None:
        self.status: StatusRead | None = None
        self.models: ModelsListed | None = None
        self.is_flushed = False
        self._accounts = accounts
        self._journal = journal
        self._display = display

    def take(self, message: Tidings) -> None:
        """Take a message in."""
        match message:
            case StatusRead():
                self.look(message)
            case ModelsListed():
                self.models = message
            case Flushed():
                self.is_flushed = True
            case ProcessRestarted(role=role, reason=reason):
                self.restarted(role)
                self._display.say(f"{role} process restarted: {reason}")
            case NotSaving(reason=reason):
                self._accounts.not_saving = reason
                self._journal.not_saving(reason)
                self._display.say(f"not saving: {reason}")
            case Saving():
                self._display.say("saving again")
            case Notice(text=text):
                self._display.say(text)

    def restarted(self, role: str) -> None:
        """A process was started again."""
        self._accounts.restarted(role)
        self._journal.restarted(role)

    def look(self, status: StatusRead, *, begin: bool = False) -> None:
        """See what the processes have used; `begin`: count from now on."""
        self.status = status
        self._journal.used(*self._accounts.look(status, begin=begin))

    def is_anybody_missing(self, workers: int) -> bool:
        """Whether one of the processes, of them so many workers, is not there yet."""
        if self.status is None:
            return True
        roles = [each.role for each in self.status.processes]
        is_ready = all(each.state == "ready" for each in self.status.processes)
        return roles.count("worker") < workers or not is_ready
