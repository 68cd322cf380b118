"""The simulated server; what it gets is on record before it answers. Alone too: `python -m …`."""

import sys

import msgspec

from chatbot.simserver import process, server
from chatbot.simserver.model import Answer, Profile
from chatbot.wire.format import ChatRequest
from tests.system.storm.arms import Arm
from tests.system.storm.scenario import REQUEST_RECEIVED

INBOX = process.INBOX
SETTINGS = process.SETTINGS
main = process.main

_answer = server.answer  # type: ignore[attr-defined] # the name by which the server calls it
_arm = Arm()
_NEVER_S = 3600.0


def _record_and_answer(profile: Profile, request: ChatRequest, others: int = 0) -> Answer:
    text = request.messages[-1].content.split()[0]
    answer = _answer(profile, request, others)
    is_struck = (_arm.directory / "struck").exists()
    _arm.journal.write("received", text=text)
    if _arm.scenario.point == REQUEST_RECEIVED and _arm.aims_at(text) and not is_struck:
        return msgspec.structs.replace(answer, first_s=_NEVER_S)
    return answer


server.answer = _record_and_answer  # type: ignore[attr-defined] # likewise

if __name__ == "__main__":
    sys.exit(process.run_alone(_arm.scenario.server))
