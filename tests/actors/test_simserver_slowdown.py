"""A server that is slower the more it has to do: what it has to do is what is under way just then."""

import contextlib
import socket

import pytest

from chatbot.distribution import constant
from chatbot.settings import SimServerSettings
from chatbot.simserver import model
from chatbot.simserver import server as server_module
from chatbot.simserver.model import Answer, Profile
from chatbot.wire.format import ChatRequest
from tests.actors.test_simserver import CHAT, connect, eventually, serving

real_answer = model.answer

SLOW = SimServerSettings(
    first_token=constant(3600.0), inter_chunk=constant(10.0), chunks=constant(2), slowdown=0.5
)


def test_an_answer_is_slower_by_those_that_are_under_way_when_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Answer] = []

    def answer(profile: Profile, request: ChatRequest, others: int = 0) -> Answer:
        answers.append(real_answer(profile, request, others))
        return answers[-1]

    monkeypatch.setattr(server_module, "answer", answer)
    with contextlib.ExitStack() as open_until_the_end, serving(SLOW) as (server, address):

        def ask() -> socket.socket:
            before = len(answers)
            sock = open_until_the_end.enter_context(connect(address))
            sock.sendall(CHAT)
            eventually(lambda: len(answers) == before + 1)
            return sock

        first, _, _ = ask(), ask(), ask()
        assert [each.first_s for each in answers] == [3600.0, 1.5 * 3600, 2 * 3600]
        assert [each.gap_s for each in answers] == [10.0, 15.0, 20.0]
        first.close()
        eventually(lambda: server.active == 2)
        ask()
        assert answers[-1].first_s == 2 * 3600  # beside two, as the third was
