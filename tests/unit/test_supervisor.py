"""What cannot be delivered for its size ends all the same, so that nobody waits for it."""

import signal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chatbot.errors import MessageTooLarge
from chatbot.messages import (
    Flush,
    Flushed,
    Interrupt,
    Leaving,
    Loaded,
    Message,
    ProcessRole,
    Ready,
    Report,
    Session,
    StoredMessage,
    TelemetryStatus,
)
from chatbot.settings import Arguments, load
from chatbot.simulation import Simulation
from chatbot.supervisor import plan
from chatbot.supervisor.dispatch import Send
from chatbot.supervisor.process import Supervisor

SESSION = Session("s", "title", 0.0, "sim", "sim")
MESSAGES = tuple(StoredMessage("user", str(n), "complete", 0.0) for n in range(8))


@pytest.mark.parametrize(("fits", "left"), [(4, 4), (1, 1), (0, 0), (-1, None)])
def test_a_session_that_is_too_large_is_shortened_until_it_fits(
    fits: int, left: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(load(Arguments(mode="chat", backend="sim"), {}))
    delivered: list[Message] = []

    def deliver(role: ProcessRole, slot: int, message: Message) -> None:
        assert (role, slot) == ("ui", 0)
        if isinstance(message, Loaded) and message.session and len(message.messages) > fits:
            raise MessageTooLarge("too large")
        delivered.append(message)

    monkeypatch.setattr(supervisor._router, "deliver", deliver)
    supervisor._obey([Send("ui", 0, Loaded("l", SESSION, MESSAGES))])
    (loaded,) = delivered
    assert isinstance(loaded, Loaded)
    if left is None:
        assert loaded.error
    else:
        assert loaded.messages == MESSAGES[len(MESSAGES) - left :]
        assert loaded.truncated


def test_top_adds_up_what_every_telemetry_has_dropped() -> None:
    supervisor = Supervisor(load(Arguments(mode="chat", backend="sim"), {}))
    for pid, status in (
        (7, TelemetryStatus(3)),
        (7, TelemetryStatus(5, "http://127.0.0.1:4318")),
        (8, TelemetryStatus(2)),
    ):
        child: Any = SimpleNamespace(role="telemetry", slot=0, process=SimpleNamespace(pid=pid))
        supervisor._on_message(child, status, 0.0)
    supervisor._router.telemetry_gone()
    child = SimpleNamespace(role="worker", slot=0, process=SimpleNamespace(pid=9))
    supervisor._on_message(child, Report("worker", 0, 9, b"\x90", dropped=10, records=100), 0.0)
    work = supervisor._status("r", 0.0).work
    assert (work.dropped, work.collector) == (5 + 2 + 110, "")


def test_a_flush_is_answered_where_telemetry_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(Arguments(mode="chat", backend="sim"), {})
    supervisor = Supervisor(settings)
    told: list[Message] = []
    monkeypatch.setattr(supervisor._router, "deliver", lambda _role, _slot, sent: told.append(sent))
    ui: Any = SimpleNamespace(role="ui", slot=0)
    supervisor._on_message(ui, Flush("early"), 0.0)
    assert told == []
    supervisor._give_up(plan.telemetry(settings), "no room", usage=False)
    assert Flushed("early") in told
    supervisor._on_message(ui, Flush("late"), 0.0)
    assert told[-1] == Flushed("late")
    assert supervisor._status("r", 0.0).work.not_recording == "no room"


def test_a_telemetry_that_is_due_is_not_forgotten_while_the_store_is_waited_for() -> None:
    settings = load(Arguments(mode="chat", backend="sim"), {})
    supervisor = Supervisor(settings)
    supervisor._family.due = [(1e12, plan.telemetry(settings)), (1e12, plan.store(settings))]
    supervisor._settle()
    assert supervisor._family.is_due("telemetry")
    assert not supervisor._family.is_due("store")


class Simulating:
    """A supervisor of a run, whose UI is there, or not, as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(Arguments(mode="chat", backend="sim"), {})
        ui = msgspec.structs.replace(
            settings.ui, mode="simulate", simulation=Simulation(out="a run")
        )
        self.settings = msgspec.structs.replace(settings, ui=ui)
        self.supervisor = Supervisor(self.settings)
        self.told: list[Message] = []
        monkeypatch.setattr(
            self.supervisor._router, "deliver", lambda _role, _slot, sent: self.told.append(sent)
        )
        monkeypatch.setattr(self.supervisor, "_start_to_answer", lambda: None)

    def ui_is_ready(self, *, restarted: bool = False) -> Any:
        spec = SimpleNamespace(settings=SimpleNamespace(restarted=restarted))
        ui: Any = SimpleNamespace(role="ui", slot=0, ready=False, address="", spec=spec)
        self.supervisor._family.children["ui", 0] = ui
        self.supervisor._on_message(ui, Ready(7), 0.0)
        return ui

    def ui_is_dead(self) -> None:
        del self.supervisor._family.children["ui", 0]

    def interrupt(self) -> int | None:
        """Press Ctrl-C; return the exit code by then."""
        self.supervisor._on_stop_signal(signal.SIGINT)
        return self.supervisor._exit_code


def test_a_run_that_heeds_no_interrupt_is_ended_by_the_third(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Simulating(monkeypatch)
    run.ui_is_ready()
    assert run.interrupt() is None
    assert run.interrupt() is None
    assert run.told == [Interrupt(), Interrupt()]
    assert run.interrupt() == 130


def test_an_interrupt_outlives_the_process_that_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Simulating(monkeypatch)
    run.ui_is_ready()
    assert run.interrupt() is None
    run.ui_is_dead()
    run.told.clear()
    run.ui_is_ready(restarted=True)
    assert run.told == [Interrupt()]


def test_an_interrupt_while_the_sessions_come_back_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Simulating(monkeypatch)
    run.ui_is_ready()
    run.ui_is_dead()
    assert run.interrupt() is None
    assert run.told == []
    run.ui_is_ready(restarted=True)
    assert run.told == [Interrupt()]


def test_who_leaves_because_it_was_told_to_does_not_say_how_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Simulating(monkeypatch)
    assert run.interrupt() == 130  # nobody is there whom it could be for
    ui = run.ui_is_ready()
    run.supervisor._on_message(ui, Leaving(1), 0.0)
    assert run.supervisor._exit_code == 130


def test_a_run_that_is_given_up_can_be_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Simulating(monkeypatch)
    run.supervisor._give_up(plan.ui(run.settings), "it died", usage=False)
    assert "chatbot simulate report 'a run'" in capsys.readouterr().err


def test_the_sessions_are_watched_and_the_terminal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = plan.ui(Simulating(monkeypatch).settings)
    terminal = plan.ui(load(Arguments(mode="chat", backend="sim"), {}))
    assert sessions.silent_for_s is not None
    assert terminal.silent_for_s is None
    assert sessions.policy.intensity > terminal.policy.intensity
