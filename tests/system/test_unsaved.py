"""A program that saves nothing, by wish: no store is started, and every question is answered all the same."""

from pathlib import Path

from chatbot.supervisor.ledger import NOTHING_SAVED
from tests.fakes import eventually
from tests.system.program import Program

_MAIN = """
import os, sys
import msgspec
from chatbot.settings import Arguments, load
from chatbot.supervisor import process

settings = load(Arguments(mode="chat", backend="sim", json=True), os.environ)
store = msgspec.structs.replace(settings.store, saves=False)
sys.exit(process.run(msgspec.structs.replace(settings, store=store)))
"""


class Unsaved(Program):
    runs = ("-c", _MAIN)


def test_without_saving_every_question_is_answered_and_there_is_no_store(tmp_path: Path) -> None:
    program = Unsaved(tmp_path)
    try:
        for question in ("What is a pipeline?", "And an actor?"):
            program.say(question)
            assert program.next("answered")["text"]
        program.say("/search pipeline")
        assert eventually(lambda: f"cannot search: {NOTHING_SAVED}\n" in program.stderr)
        assert program.finish() == 0
        assert "not saved" not in program.stderr
        assert not list(tmp_path.glob("*.db*"))
        ready = {line["fields"]["role"] for line in program.log_lines("ready")}
        assert ready >= {"ui", "worker"}
        assert "store" not in ready
        assert all("not_saving" not in event["event"] for event in program.events)
    finally:
        program.end()
