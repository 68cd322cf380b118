"""What runs, in which order, and what each process may say: data, no code that starts anything.

    ui          Ask · Cancel · Load · Search · ListModels · …       ──▶ dispatcher
                Flush ──▶ telemetry             ReadStatus ──▶ supervisor
    store       Accepted · Saved · Loaded · Listed · Notice · …     ──▶ dispatcher
    worker × N  Sending · Retrying · Delta · Answered · Failed · …  ──▶ dispatcher
    sim-server  (its address, in Ready)
    telemetry   Notice · Flushed ──▶ ui         Taken · TelemetryStatus ──▶ supervisor
    all         Ready · Beat · Resigned · Report ──▶ supervisor (a Report goes on to telemetry)

The UI starts first and alone, so that its prompt is there while the others are still loading; then
what the first answer needs, then the rest. The simulated server starts when it is first needed. A program that only manages
sessions needs the store alone: nothing is asked, and nothing traced.
"""

import signal
from typing import Any

import msgspec

from chatbot.actor import Child
from chatbot.messages import (
    FromAny,
    FromStore,
    FromTelemetry,
    FromUi,
    FromWorker,
    ProcessRole,
)
from chatbot.otel import Tracing
from chatbot.settings import Settings
from chatbot.supervisor.policy import Policy

FOR_STORE = Policy(5, 30.0, (0.0, 0.1, 0.5, 2.0, 5.0))
FOR_WORKER = Policy(5, 30.0, (0.0, 0.1, 0.5, 2.0, 5.0))
FOR_TELEMETRY = Policy(5, 30.0, (0.0, 0.5, 2.0, 5.0))
FOR_UI = Policy(2, 30.0)
# What the sessions have measured is in files, and each start goes on with it.
FOR_SESSIONS = Policy(10, 30.0, (0.0, 0.0, 0.0, 0.1, 0.5, 1.0))

# Who answers is stopped before who saves the answers, and telemetry last, to hear of it all.
STOP_ORDER: tuple[ProcessRole, ...] = ("ui", "worker", "sim-server", "store", "telemetry")
# Who writes down what there is, and is started again for it even while the program ends.
TO_THE_END: tuple[ProcessRole, ...] = ("store", "telemetry")


class ProcessSpec(msgspec.Struct, frozen=True):
    """One process to run. `says` is the union its messages are decoded into; `silent_for_s` how long
    its loop may be without a beat before it counts as stuck (None: it has no loop that beats);
    `queued` how many messages may wait for it before what can be dropped is dropped."""

    child: Child
    settings: Any
    says: Any
    policy: Policy
    silent_for_s: float | None
    stop_within_s: float
    queued: int = 16384


def ui(settings: Settings) -> ProcessSpec:
    """The terminal, or the simulated sessions in its place. The terminal may stand in a read for ever, so it is
    not asked to beat. Where the supervisor dies it must be able to leave the terminal as it was, and the
    sessions to report what was measured, which they do at every end."""
    says = FromUi | FromAny
    if settings.ui.mode == "simulate":
        child = _child(settings, "ui", 0, "chatbot.simulate.process", parent_signal=signal.SIGTERM)
        return ProcessSpec(child, settings.ui, says, FOR_SESSIONS, 10.0, 15.0)
    child = _child(settings, "ui", 0, "chatbot.ui.process", parent_signal=signal.SIGTERM)
    return ProcessSpec(child, settings.ui, says, FOR_UI, None, 1.0)


def to_answer(settings: Settings) -> tuple[ProcessSpec, ...]:
    """What the first answer needs, in order: starts once the UI is ready."""
    if settings.ui.mode == "manage":
        return (store(settings),)
    return (_worker(settings, 0), *([store(settings)] if settings.store.saves else []))


def store(settings: Settings) -> ProcessSpec:
    """The database. It outlives the supervisor, to save what it was sent."""
    child = _child(settings, "store", 0, "chatbot.store.process", outlives_parent=True)
    return ProcessSpec(child, settings.store, FromStore | FromAny, FOR_STORE, 30.0, 10.0)


def telemetry(settings: Settings) -> ProcessSpec:
    """The logs, traces and metrics; it tells the user when they cannot be written. It outlives the
    supervisor and whoever else is told to stop, to write down how all ended."""
    stays: dict[str, bool] = {"outlives_parent": True, "heeds_sigterm": False}
    child = _child(settings, "telemetry", 0, "chatbot.telemetry.process", **stays)
    says = FromTelemetry | FromAny
    return ProcessSpec(child, settings.telemetry, says, FOR_TELEMETRY, 30.0, 5.0, queued=1024)


def behind_the_first_worker(settings: Settings) -> tuple[ProcessSpec, ...]:
    """What the first answer can do without: starts once a worker is ready."""
    return (
        telemetry(settings),
        *(_worker(settings, slot) for slot in range(1, settings.supervisor.workers)),
    )


def _worker(settings: Settings, slot: int) -> ProcessSpec:
    child = _child(settings, "worker", slot, "chatbot.worker.process")
    return ProcessSpec(child, settings.worker, FromWorker | FromAny, FOR_WORKER, 5.0, 3.0)


def sim_server(settings: Settings) -> ProcessSpec:
    """The simulated LLM."""
    child = _child(settings, "sim-server", 0, "chatbot.simserver.process")
    return ProcessSpec(child, settings.sim_server, FromAny, FOR_WORKER, 5.0, 1.0)


def _child(settings: Settings, role: ProcessRole, slot: int, module: str, **more: Any) -> Child:
    # Who only manages sessions has nobody to report to.
    manages = settings.ui.mode == "manage"
    tracing = Tracing(enabled=False) if manages else settings.tracing
    return Child(role, slot, module, tracing=tracing, **more)
