"""What a run is to be, in a file in its directory; its processes find it by the environment."""

import os
from pathlib import Path

import msgspec

from chatbot.distribution import constant
from chatbot.messages import BackendName
from chatbot.settings import SimServerSettings

DIRECTORY = "CHATBOT_STORM_DIRECTORY"
LIFE = "CHATBOT_STORM_LIFE"

# The rules that can be taken out: replies go out before the commit; nothing looks whether a request
# has its rows already; no `Sending` leaves the worker.
ACKNOWLEDGES_EARLY = "store acknowledges before it commits"
SAVES_TWICE = "store saves twice what it gets twice"
SAYS_NOTHING = "worker does not say that it sends"

REQUEST_RECEIVED = "worker request received"  # the point at which the server waits for the kill


class Scenario(msgspec.Struct, frozen=True):
    """The load, and what happens to the program under it.

    `questions` is how many each session asks before the driver leaves by itself; 0: until it is told
    to. `varied` mixes identical, long, cached and cancelled questions in; else all are plain. `point`
    is where a process ends itself, while it deals with the question of number `ordinal` of a session;
    `mutation` the rule that is taken out.
    """

    seed: int = 0
    sessions: int = 1
    questions: int = 3
    backends: tuple[BackendName, ...] = ("sim",)
    varied: bool = False
    server: SimServerSettings = SimServerSettings(first_token=constant(0.02), chunks=constant(8))
    point: str = ""
    ordinal: int = 2
    mutation: str = ""

    def arms(self, role: str) -> bool:
        """Whether a room of this role has to be an armed one."""
        return self.point.startswith(f"{role} ") or self.mutation.startswith(f"{role} ")

    def write(self, directory: Path) -> None:
        """Put it where the processes of the run find it."""
        (directory / "scenario.json").write_bytes(msgspec.json.encode(self))


def directory() -> Path:
    """Return the directory of the run that this process belongs to."""
    return Path(os.environ[DIRECTORY])


def life() -> int:
    """Return which start of the program this process belongs to; 0 for what is outside of it."""
    return int(os.environ.get(LIFE, "0"))


def read() -> Scenario:
    """Return the scenario of the run that this process belongs to."""
    return msgspec.json.decode((directory() / "scenario.json").read_bytes(), type=Scenario)


def ordinal_of(request_id: str) -> int:
    """Return which question of its session a request is; 0 for one that is not the driver's."""
    parts = request_id.split(".")
    return int(parts[1]) if len(parts) == 4 else 0
