"""What a person can see at any time of the chat: the toolbar's contents. Pure."""

import msgspec

from chatbot.messages import BackendName


class State(msgspec.Struct):
    """Written by the chat's thread, read by the console's for each frame: every field by itself is whole.

    `context_used` and `context_length` are tokens; None: not known. `queued` lines wait until the answer
    under way has ended; `answers` of a fan-out can be picked.
    """

    session_id: str = ""
    backend: BackendName = "ollama"
    model: str = ""
    context_used: int | None = None
    context_length: int | None = None
    not_saving: str = ""
    restarts: int = 0
    activity: str = ""  # "", "waiting", "thinking", "answering", "stopping", "watching"
    queued: tuple[str, ...] = ()
    answers: int = 0
