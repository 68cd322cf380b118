"""A SIGKILL at a named point, from inside, once in a run."""

import os
import signal

from tests.system.storm import scenario
from tests.system.storm.journal import Journal
from tests.system.storm.scenario import ordinal_of


class Arm:
    """What a process of a run carries: the scenario, the journal, and the point where it dies."""

    def __init__(self) -> None:
        self.directory = scenario.directory()
        self.scenario = scenario.read()
        self.journal = Journal(self.directory, scenario.life())

    def aims_at(self, request_id: str) -> bool:
        """Whether this request is the one during which it is to happen."""
        return ordinal_of(request_id) == self.scenario.ordinal

    def strike(self, point: str) -> None:
        """Kill this process if this is the point, unless it was reached before."""
        if point != self.scenario.point:
            return
        try:
            os.close(os.open(self.directory / "struck", os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        self.journal.write("killed", role=point.split()[0])
        os.kill(os.getpid(), signal.SIGKILL)
