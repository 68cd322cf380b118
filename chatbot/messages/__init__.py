"""All that crosses a process boundary: one frozen struct per message, one union per inbox.

    parts        names, and the structs that stand inside of messages
    turn         Ask … Answered: a question on its way, and its answer on the way back
    sessions     Load, Search, Delete …: what else the store can be asked
    life         Ready, Stop …: births and deaths
    telemetry    spans, log lines, measurements

Commands are imperative (`Ask`, `Cancel`), facts are past participles (`Answered`, `Saved`), pieces
of a stream are nouns (`Delta`). They are encoded as MessagePack arrays by `mailbox.py` and decoded
straight into the union of the reader's inbox: a message that does not belong there is refused by
the decoder, not by an `if`.

    ui ──Ask──▶ store ──Accepted──▶ dispatcher ──Call──▶ worker ──Sending · Delta… · Answered──▶ ui
                                                                                        └──▶ store ──Saved──▶ ui

Times: `_ns` are Unix nanoseconds, `_s` and `_ms` durations. `traceparent` is the W3C header
(https://www.w3.org/TR/trace-context/) of the span a message continues; empty means "no trace".
"""

from chatbot.messages.life import (
    Beat,
    Entered,
    Interrupt,
    Leaving,
    Notice,
    NotSaving,
    ProcessRestarted,
    ReadStatus,
    Ready,
    Resigned,
    Saving,
    StatusRead,
    Stop,
)
from chatbot.messages.parts import (
    BackendName,
    CachePolicy,
    CacheStats,
    ChatMessage,
    Completion,
    Durations,
    Level,
    Message,
    MessageStatus,
    Options,
    ProcessRole,
    ProcessStatus,
    Role,
    SearchHit,
    Session,
    StoredMessage,
    Target,
    Timing,
    Truth,
    WorkStatus,
)
from chatbot.messages.sessions import (
    CacheRead,
    Delete,
    Found,
    Listed,
    ListSessions,
    Load,
    Loaded,
    Pick,
    Picked,
    Prune,
    Query,
    ReadCache,
    Recover,
    Recovered,
    Rename,
    Reply,
    Search,
    Undo,
    Undone,
    refused,
)
from chatbot.messages.telemetry import (
    AttributeValue,
    EncodedMeasurement,
    EncodedRecord,
    Flush,
    Flushed,
    LogRecord,
    Measurement,
    ProcessEnded,
    Record,
    Report,
    SpanEvent,
    SpanRecord,
    SpanStarted,
    Taken,
    TelemetryStatus,
)
from chatbot.messages.turn import (
    Accepted,
    Answered,
    Ask,
    Call,
    Cancel,
    Cancelled,
    Checkpoint,
    ContextRead,
    Delta,
    Failed,
    Hit,
    Interrupted,
    ListModels,
    ModelsListed,
    ReadContext,
    Retrying,
    Saved,
    Sending,
    Terminal,
)

# --- the inboxes -----------------------------------------------------------------------------

UiInbox = (
    Retrying
    | Delta
    | Terminal
    | Saved
    | Reply
    | ModelsListed
    | ContextRead
    | ProcessRestarted
    | NotSaving
    | Saving
    | Notice
    | StatusRead
    | Flushed
    | Interrupt
    | Stop
)
StoreInbox = Ask | Terminal | Checkpoint | Query | Stop
WorkerInbox = Call | Cancel | ListModels | ReadContext | Stop
TelemetryInbox = Report | ProcessEnded | Flush | Stop
SimServerInbox = Stop

FromUi = Ask | Cancel | Query | ListModels | ReadContext | ReadStatus | Flush | Entered | Leaving
FromStore = Accepted | Saved | Reply | Notice
FromTelemetry = Notice | Flushed | Taken | TelemetryStatus
FromWorker = Sending | Retrying | Delta | Answered | Failed | Cancelled | ModelsListed | ContextRead
FromAny = Ready | Beat | Resigned | Report

__all__ = [
    "Accepted",
    "Answered",
    "Ask",
    "AttributeValue",
    "BackendName",
    "Beat",
    "CachePolicy",
    "CacheRead",
    "CacheStats",
    "Call",
    "Cancel",
    "Cancelled",
    "ChatMessage",
    "Checkpoint",
    "Completion",
    "ContextRead",
    "Delete",
    "Delta",
    "EncodedMeasurement",
    "EncodedRecord",
    "Entered",
    "Failed",
    "Flush",
    "Flushed",
    "Found",
    "FromAny",
    "FromStore",
    "FromTelemetry",
    "FromUi",
    "FromWorker",
    "Hit",
    "Interrupt",
    "Interrupted",
    "Leaving",
    "Level",
    "Listed",
    "ListModels",
    "ListSessions",
    "Load",
    "Loaded",
    "LogRecord",
    "Measurement",
    "Message",
    "MessageStatus",
    "ModelsListed",
    "Notice",
    "NotSaving",
    "Options",
    "Pick",
    "Picked",
    "ProcessEnded",
    "ProcessRestarted",
    "ProcessRole",
    "ProcessStatus",
    "Prune",
    "Query",
    "ReadCache",
    "ReadContext",
    "ReadStatus",
    "Ready",
    "Record",
    "Recover",
    "Recovered",
    "Rename",
    "Reply",
    "refused",
    "Report",
    "Resigned",
    "Retrying",
    "Role",
    "Saved",
    "Saving",
    "Search",
    "SearchHit",
    "Sending",
    "Session",
    "SimServerInbox",
    "SpanEvent",
    "SpanRecord",
    "SpanStarted",
    "StatusRead",
    "Stop",
    "StoredMessage",
    "StoreInbox",
    "Taken",
    "Target",
    "TelemetryInbox",
    "TelemetryStatus",
    "Terminal",
    "Timing",
    "Durations",
    "Truth",
    "UiInbox",
    "Undo",
    "Undone",
    "WorkStatus",
    "WorkerInbox",
]
