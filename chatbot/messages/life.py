"""The life of a process: what children and the supervisor tell each other about it."""

from chatbot.messages.parts import Message, ProcessRole, ProcessStatus, WorkStatus


class Ready(Message, frozen=True):
    """From any child → supervisor: set up, working. `address` is where the sim-server listens."""

    pid: int
    address: str = ""


class Beat(Message, frozen=True):
    """From any child's work loop → supervisor: still turning."""


class Resigned(Message, frozen=True):
    """From any child → supervisor: cannot start, or cannot go on; why, in one line with the remedy.

    It ends after that. `lasting`: the next one would say the same for as long as nobody mends it.
    """

    reason: str
    lasting: bool = False


class Stop(Message, frozen=True):
    """From supervisor → any child: drain, then exit."""


class Leaving(Message, frozen=True):
    """From ui → supervisor: the user is done; end the program with this exit code."""

    exit_code: int


class Entered(Message, frozen=True):
    """From ui → supervisor: the session that the terminal is in now; one that has to be started again
    comes back to it."""

    session_id: str


class Interrupt(Message, frozen=True):
    """From supervisor → ui: the supervisor was sent SIGINT (the terminal sends it to both)."""


class ProcessRestarted(Message, frozen=True):
    """From supervisor → ui: a process died and was started again."""

    role: ProcessRole
    slot: int
    reason: str


class NotSaving(Message, frozen=True):
    """From supervisor → ui: nothing can be saved, why; the chat goes on without the store."""

    reason: str


class Saving(Message, frozen=True):
    """From supervisor → ui: the store is back after a `NotSaving`. `unsaved` counts the messages that
    were too many to be kept for it until then; all others are being saved now."""

    unsaved: int = 0


class ReadStatus(Message, frozen=True):
    """From ui → supervisor: how is everybody?"""

    request_id: str


class StatusRead(Message, frozen=True):
    """From supervisor → ui: the processes in the order of their start, and the work among them."""

    request_id: str
    processes: tuple[ProcessStatus, ...] = ()
    work: WorkStatus = WorkStatus()


class Notice(Message, frozen=True):
    """From supervisor, store or telemetry → ui: one line that the user should know."""

    text: str
