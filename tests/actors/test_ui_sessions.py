"""Sessions and the cache at the terminal: what is asked of the store, shown, and made sure of first."""

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chatbot.errors import ExitCode
from chatbot.history import DIGEST_OF_NOTHING
from chatbot.messages import (
    Answered,
    Ask,
    CacheRead,
    CacheStats,
    Completion,
    Delete,
    Entered,
    Failed,
    Found,
    FromAny,
    FromUi,
    Interrupt,
    Leaving,
    Listed,
    ListSessions,
    Load,
    Loaded,
    Message,
    NotSaving,
    Prune,
    ReadCache,
    Ready,
    Record,
    Recover,
    Recovered,
    Rename,
    Report,
    Saving,
    Search,
    SearchHit,
    Session,
    SpanRecord,
    Stop,
    StoredMessage,
    Target,
    UiInbox,
    Undo,
    Undone,
)
from chatbot.settings import Manage, UiMode, UiSettings
from chatbot.tracing import Recorder
from chatbot.ui import manage as manage_room
from chatbot.ui import process
from chatbot.ui.export import read_json
from tests.fakes import Peer

SKY = Session(
    "session_1_aa", "Of the sky", 0.0, "anthropic", "opus", "be kind", {"seed": 1}, 3, 9.0
)
SEA = Session("session_2_bb", "Of the sea", 0.0, "sim", "sim", messages=1)
MESSAGES = (
    StoredMessage("user", "blue?", "complete", 0.0, id=1, request_id="r1"),
    StoredMessage("assistant", "yes", "complete", 0.0, id=2, request_id="r1"),
    StoredMessage("user", "why?", "complete", 0.0, id=3, request_id="r2"),
)


decode = msgspec.msgpack.Decoder(list[Record]).decode


class Terminal(io.StringIO):
    """A standard input with a person before it."""

    def isatty(self) -> bool:
        return True


class Store(threading.Thread):
    """Says to the terminal what the others would: a small store, and a model that says "answer".

    `says` gives other replies, by the kind of what is asked; `heard` keeps all that was asked.
    """

    def __init__(self, peer: Peer, says: dict[type, Callable[[Any], list[Message]]]) -> None:
        super().__init__(daemon=True)
        self._peer = peer
        self._says = says
        self.heard: list[Any] = []
        self.entered: list[str] = []
        self.reports: list[Report] = []
        self.start()

    def run(self) -> None:
        while True:
            message = self._peer.next(object, 20)
            if isinstance(message, Entered):
                self.entered.append(message.session_id)
            if isinstance(message, Report):
                self.reports.append(message)
            if isinstance(message, Report | Ready | Entered):
                continue
            self.heard.append(message)
            if isinstance(message, Leaving):
                return
            reply = self._says.get(type(message), self._reply)
            self._peer.send(*reply(message))

    def all(self, kind: type) -> list[Any]:
        """Return what was asked of this kind."""
        return [message for message in self.heard if isinstance(message, kind)]

    def _reply(self, message: Any) -> list[Message]:
        request_id = message.request_id
        match message:
            case Load(session_id=wanted, after=after):
                for session in (SKY, SEA):
                    if wanted in (session.session_id, session.session_id[-2:]):
                        rest = [m for m in MESSAGES if after is None or m.id > after]
                        page = rest if after is None else rest[:2]
                        return [Loaded(request_id, session, tuple(page), len(rest) > len(page))]
                return [Loaded(request_id)]
            case ListSessions() | Prune():
                return [Listed(request_id, (SKY, SEA))]
            case Rename(title=title):
                return [Listed(request_id, (Session(SKY.session_id, title, 0.0, "sim", "sim"),))]
            case Delete(session_ids=ids):
                return [Listed(request_id, tuple(s for s in (SKY, SEA) if s.session_id in ids))]
            case Search():
                hit = SearchHit(SKY.session_id, SKY.title, 1, "user", 0.0, "blue?", ((0, 4),))
                return [Found(request_id, (hit,))]
            case Undo():
                return [Undone(request_id)]
            case ReadCache():
                return [CacheRead(request_id, CacheStats(3, 2048, 4096, 60.0, 1, 1))]
            case Recover():
                return [Recovered(request_id, "chatbot.db.damaged", 1, 2)]
            case Ask():
                return [Answered(request_id, 1, Completion("answer"))]
        return []


class Run:
    """Runs the room to its end; keeps what was asked, printed, and returned."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.says: dict[type, Callable[[Any], list[Message]]] = {}

    def manage(self, manage: Manage, typed: str | None = None, *, json: bool = False) -> ExitCode:
        """Do one thing with the saved sessions; with `typed`, a person is there."""
        return self._run(self._settings("manage", json=json, manage=manage), typed)

    def chat(self, *lines: str, **more: Any) -> ExitCode:
        """Have a chat with a person."""
        typed = "".join(f"{line}\n" for line in lines)
        return self._run(self._settings("chat", **more), typed)

    def script(self, *lines: str, **more: Any) -> ExitCode:
        """Run a script."""
        self._monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return self._run(self._settings("script", **more), None)

    def events(self) -> list[dict[str, Any]]:
        """Return what was printed, as events."""
        return [json.loads(line) for line in self.out.splitlines()]

    @staticmethod
    def _settings(mode: UiMode, **more: Any) -> UiSettings:
        models: Any = {"sim": "sim", "anthropic": "claude"}
        return UiSettings(mode, Target("sim", "sim", "be brief"), models, **more)

    def _run(self, settings: UiSettings, typed: str | None) -> ExitCode:
        if typed is not None:
            self._monkeypatch.setattr(sys, "stdin", Terminal(typed))
        elif settings.mode == "manage":
            self._monkeypatch.setattr(sys, "stdin", io.StringIO())
        peer = Peer(UiInbox, FromUi | FromAny)
        self.store = Store(peer, self.says)
        reports: list[Report] = []

        def offer(report: Report) -> bool:
            reports.append(report)
            return True

        recorder = Recorder("ui", 0, offer)
        process.main(settings, peer.inbox, peer.outbox, recorder)
        self.store.join(20)
        self.out, self.err = self._capsys.readouterr()
        self.reports = reports
        return ExitCode(self.store.heard[-1].exit_code)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Run(monkeypatch, capsys)
    for number, handler in before.items():
        signal.signal(number, handler)


def failing(kind: Any) -> Callable[[Any], list[Message]]:
    return lambda message: [kind(message.request_id, error="the disk is full")]


def lost(kind: Any) -> Callable[[Any], list[Message]]:
    return lambda message: [NotSaving("no database"), kind(message.request_id, error="no database")]


# --- the programs


def test_a_list_goes_to_stdout_and_has_every_session(run: Run) -> None:
    assert run.manage(Manage("list", limit=7)) == ExitCode.OK
    assert [line.split()[0] for line in run.out.splitlines()] == ["aa", "bb"]
    assert run.err == ""
    assert run.store.all(ListSessions)[0].limit == 7


def test_a_list_in_json_is_an_event_for_each_session(run: Run) -> None:
    assert run.manage(Manage("list"), json=True) == ExitCode.OK
    assert [(e["event"], e["session_id"]) for e in run.events()] == [
        ("session", "session_1_aa"),
        ("session", "session_2_bb"),
    ]


@pytest.mark.parametrize(
    ("manage", "asks", "empty"),
    [
        (Manage("list"), ListSessions, Listed),
        (Manage("search", text="x"), Search, Found),
    ],
)
def test_nothing_found_is_said_and_is_exit_1(
    run: Run, manage: Manage, asks: type, empty: Any
) -> None:
    run.says[asks] = lambda message: [empty(message.request_id)]
    assert run.manage(manage) == ExitCode.TURN_FAILED
    assert run.out == ""
    assert len(run.err.splitlines()) == 1


FAILURES = [
    (Manage("list"), ListSessions, Listed),
    (Manage("search", text="x"), Search, Found),
    (Manage("rename", ("aa",), "t"), Rename, Listed),
    (Manage("delete", ("aa",), yes=True), Delete, Listed),
    (Manage("prune", keep_last=1, yes=True), Prune, Listed),
    (Manage("recover", yes=True), Recover, Recovered),
    (Manage("cache-stats"), ReadCache, CacheRead),
    (Manage("cache-clear", yes=True), ReadCache, CacheRead),
]


@pytest.mark.parametrize(("manage", "asks", "reply"), FAILURES, ids=lambda case: str(case)[:24])
def test_what_the_store_could_not_do_is_one_line_and_exit_1_without_a_database_2(
    run: Run, manage: Manage, asks: type, reply: Any
) -> None:
    run.says[asks] = failing(reply)
    assert run.manage(manage) == ExitCode.TURN_FAILED
    assert run.out == ""
    assert run.err.splitlines()[-1].endswith(": the disk is full")
    run.says[asks] = lost(reply)
    assert run.manage(manage) == ExitCode.USAGE
    assert run.err.count("no database") == 1


@pytest.mark.parametrize(
    "manage",
    [
        Manage("show", ("zz",)),
        Manage("export", ("zz",)),
        Manage("rename", ("zz",), "t"),
        Manage("delete", ("aa", "zz"), yes=True),
    ],
    ids=lambda manage: manage.action,
)
def test_a_session_that_is_not_there_is_exit_2_and_changes_nothing(
    run: Run, manage: Manage
) -> None:
    assert run.manage(manage) == ExitCode.USAGE
    assert run.err == "there is no session 'zz' in the database\n"
    assert not run.store.all(Rename)
    assert not run.store.all(Delete)
    run.says[Load] = failing(Loaded)  # which may be that two ids fit
    assert run.manage(manage) == ExitCode.USAGE
    assert run.err == "cannot load the session: the disk is full\n"


def test_a_conversation_is_shown_whole_though_it_comes_in_pieces(run: Run) -> None:
    assert run.manage(Manage("show", ("aa",))) == ExitCode.OK
    assert run.out.startswith("Of the sky\nsession_1_aa · anthropic, model opus · 3 messages")
    assert all(text in run.out for text in ("\nblue?\n", "\nyes\n", "\nwhy?\n"))
    assert "· unanswered\nwhy?\n" in run.out
    assert [load.after for load in run.store.all(Load)] == [0, 2]
    assert run.manage(Manage("show", ("aa",)), json=True) == ExitCode.OK
    events = run.events()
    assert [e["event"] for e in events] == ["session", "message", "message", "message"]
    assert [e["unanswered"] for e in events[1:]] == [False, False, True]


@pytest.mark.parametrize("kind", ["md", "json"])
def test_an_export_has_all_pieces_on_stdout_or_in_a_new_file(
    run: Run, tmp_path: Path, kind: Any
) -> None:
    assert run.manage(Manage("export", ("aa",), format=kind)) == ExitCode.OK
    document = run.out
    path = tmp_path / f"sky.{kind}"
    manage = Manage("export", ("aa",), format=kind, out=str(path))
    assert run.manage(manage) == ExitCode.OK
    assert run.out == ""
    assert path.read_text(encoding="utf-8") == document
    if kind == "json":
        assert read_json(document) == (SKY, MESSAGES)
    else:
        assert document.count("\n## ") == 4
    assert run.manage(manage) == ExitCode.TURN_FAILED
    assert "exists already" in run.err


def test_an_export_that_breaks_off_leaves_no_file(run: Run, tmp_path: Path) -> None:
    def load(message: Load) -> list[Message]:
        if message.after:
            return [Loaded(message.request_id, error="the disk is full")]
        return [Loaded(message.request_id, SKY, MESSAGES[:2], truncated=True)]

    run.says[Load] = load
    path = tmp_path / "sky.md"
    assert run.manage(Manage("export", ("aa",), out=str(path))) == ExitCode.TURN_FAILED
    assert run.err == "cannot read all of the session: the disk is full\n"
    assert not list(tmp_path.iterdir())


def test_an_export_in_json_is_events_or_tells_of_its_file(run: Run, tmp_path: Path) -> None:
    assert run.manage(Manage("export", ("aa",), format="json"), json=True) == ExitCode.OK
    assert [e["event"] for e in run.events()] == ["session", *["message"] * 3]
    out = str(tmp_path / "sky.md")
    assert run.manage(Manage("export", ("aa",), out=out), json=True) == ExitCode.OK
    (event,) = run.events()
    assert (event["event"], event["file"], event["session_id"]) == ("exported", out, "session_1_aa")


def test_a_title_is_given_to_the_session_that_the_id_stands_for(run: Run) -> None:
    assert run.manage(Manage("rename", ("aa",), "Blue")) == ExitCode.OK
    (rename,) = run.store.all(Rename)
    assert (rename.session_id, rename.title) == ("session_1_aa", "Blue")
    assert run.err == "aa is now: Blue\n"
    assert run.manage(Manage("rename", ("aa",), "Blue"), json=True) == ExitCode.OK
    assert [(e["event"], e["title"]) for e in run.events()] == [("renamed", "Blue")]


# --- consent

CONSENTS = [
    (Manage("delete", ("aa", "bb", "aa")), Delete),
    (Manage("prune", older_than_s=60.0, keep_last=2), Prune),
    (Manage("recover", db="my.db"), Recover),
    (Manage("cache-clear"), ReadCache),
]


def done(store: Store, kind: type) -> list[Any]:
    """What was asked of the store that changes something."""
    return [
        m for m in store.all(kind) if getattr(m, "clear", True) and not getattr(m, "dry_run", 0)
    ]


@pytest.mark.parametrize(("manage", "kind"), CONSENTS, ids=lambda case: str(case)[:24])
@pytest.mark.parametrize("typed", ["y\n", " YES \n"])
def test_what_cannot_be_undone_is_done_when_the_person_agrees(
    run: Run, manage: Manage, kind: type, typed: str
) -> None:
    assert run.manage(manage, typed) == ExitCode.OK
    assert len(done(run.store, kind)) == 1
    assert "[y/N]" in run.err


@pytest.mark.parametrize(("manage", "kind"), CONSENTS, ids=lambda case: str(case)[:24])
@pytest.mark.parametrize("typed", ["n\n", "\n", "", "yeah\n"])
def test_what_cannot_be_undone_is_left_when_the_person_does_not(
    run: Run, manage: Manage, kind: type, typed: str
) -> None:
    assert run.manage(manage, typed) == ExitCode.TURN_FAILED
    assert not done(run.store, kind)
    assert run.err.splitlines()[-1].endswith(("was deleted", "was changed", "was cleared"))


@pytest.mark.parametrize(("manage", "kind"), CONSENTS, ids=lambda case: str(case)[:24])
@pytest.mark.parametrize("json", [True, False])
def test_without_a_person_consent_is_given_beforehand_or_not_at_all(
    run: Run, manage: Manage, kind: type, json: bool
) -> None:
    typed = "y\n" if json else None  # with JSON nobody is asked though there is a terminal
    assert run.manage(manage, typed, json=json) == ExitCode.USAGE
    assert not done(run.store, kind)
    assert run.err.endswith("this needs --yes\n")
    agreed = msgspec.structs.replace(manage, yes=True)
    assert run.manage(agreed, json=json) == ExitCode.OK
    assert len(done(run.store, kind)) == 1


def test_it_is_told_exactly_what_is_to_be_deleted(run: Run) -> None:
    run.manage(Manage("delete", ("bb", "aa")), "n\n")
    assert "Of the sky" in run.err
    assert "Of the sea" in run.err
    assert "this deletes 2 sessions with 4 messages for good" in run.err
    run.manage(Manage("recover", db="my.db"), "n\n")
    assert "my.db: " in run.err
    run.manage(Manage("cache-clear"), "n\n")
    assert "3 answers, 2.0 KB" in run.err


def test_a_safe_copy_is_told_and_sessions_that_are_gone_are_events(run: Run) -> None:
    assert run.manage(Manage("recover", yes=True)) == ExitCode.OK
    assert "1 session with 2 messages could be read" in run.err
    assert run.err.endswith("is now chatbot.db.damaged\n")
    assert run.manage(Manage("delete", ("aa",), yes=True), json=True) == ExitCode.OK
    (event,) = run.events()
    assert (event["event"], event["session_id"]) == ("deleted", "session_1_aa")


def test_a_dry_run_lists_and_deletes_nothing(run: Run) -> None:
    manage = Manage("prune", older_than_s=60.0, keep_last=2, dry_run=True)
    assert run.manage(manage) == ExitCode.OK
    (prune,) = run.store.all(Prune)
    assert (prune.older_than_s, prune.keep_last, prune.dry_run) == (60.0, 2, True)
    assert len(run.out.splitlines()) == 2
    assert run.err == "2 sessions would be deleted\n"


def test_pruning_deletes_by_the_moment_of_the_list_that_was_agreed_to(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=count(0, 5).__next__)  # five seconds pass at the question
    monkeypatch.setattr(manage_room, "time", clock)
    assert run.manage(Manage("prune", older_than_s=60.0, keep_last=2), "y\n") == ExitCode.OK
    look, prune = run.store.all(Prune)
    assert (look.dry_run, prune.dry_run, prune.keep_last) == (True, False, 2)
    assert (look.older_than_s, prune.older_than_s) == (60.0, 65.0)
    run.says[Prune] = lambda message: [Listed(message.request_id)]
    assert run.manage(Manage("prune", keep_last=2)) == ExitCode.OK
    assert run.err == "nothing to delete\n"


def test_ctrl_c_ends_a_program_that_waits(run: Run) -> None:
    run.says[ListSessions] = lambda message: [Interrupt()]
    assert run.manage(Manage("list")) == ExitCode.INTERRUPTED
    run.says[ListSessions] = lambda message: [Stop()]
    assert run.manage(Manage("list")) == ExitCode.INTERRUPTED


# --- in the chat


def test_lists_and_hits_are_notices_beside_the_answers(run: Run) -> None:
    run.chat("/sessions", "/search blue sky", "/resume")
    assert run.out == ""
    assert run.err.count("Of the sea") == 2
    assert "«blue»?" in run.err
    assert "/resume ID goes on" in run.err
    assert run.store.all(Search)[0].text == "blue sky"


def test_it_is_told_which_session_the_terminal_is_in(run: Run) -> None:
    run.chat("/new", "/resume aa")
    first, second, third = run.store.entered
    assert first != second
    assert third == "session_1_aa"


def test_a_resumed_session_goes_on_with_all_its_own(run: Run) -> None:
    run.chat("hello", "/resume aa", "next")
    first, ask = run.store.all(Ask)
    assert ask.session_id == "session_1_aa"
    assert ask.target == Target("anthropic", "opus", "be kind", {"seed": 1})
    assert [m.content for m in ask.history] == ["blue?", "yes"]
    assert first.session_id != ask.session_id
    assert "You: blue?\nBot: yes\nYou: why? [unanswered]\n" in run.err


def test_a_session_that_cannot_be_resumed_leaves_the_chat_where_it_was(run: Run) -> None:
    run.chat("hello", "/resume zz", "next")
    first, second = run.store.all(Ask)
    assert first.session_id == second.session_id
    assert "there is no session 'zz'" in run.err
    assert [m.content for m in second.history] == ["hello", "answer"]


def test_undone_turns_are_not_sent_and_the_store_knows_them(run: Run) -> None:
    run.chat("one", "two", "/undo", "three", "/undo", "/undo", "/undo", "four")
    one, two, three, four = run.store.all(Ask)
    assert [m.content for m in three.history] == ["one", "answer"]
    assert four.history == ()
    undone = [(undo.session_id, undo.turn) for undo in run.store.all(Undo)]
    assert undone == [(one.session_id, ask.request_id) for ask in (two, three, one)]
    assert "there is nothing yet to be undone" in run.err


def test_a_turn_is_undone_here_though_the_store_could_not(run: Run) -> None:
    run.says[Undo] = failing(Undone)
    run.chat("one", "/undo", "two")
    assert run.store.all(Ask)[1].history == ()
    assert "not in the database: the disk is full\n" in run.err


@pytest.mark.parametrize("first", ["answered", "failed"])
def test_the_last_question_is_asked_again_in_the_place_of_its_turn(run: Run, first: str) -> None:
    if first == "failed":
        run.says[Ask] = lambda ask: [Failed(ask.request_id, 1, "timeout", "silent")]
    run.chat("/regenerate", "one", "/regenerate", "/regenerate")
    one, again, once_more = run.store.all(Ask)
    assert (again.content, again.cache, again.replaces) == ("one", "refresh", one.request_id)
    assert once_more.replaces == again.request_id
    assert (once_more.history, once_more.history_digest) == ((), DIGEST_OF_NOTHING)
    assert one.replaces == ""
    assert "there is nothing yet to be asked again" in run.err


def test_a_resumed_session_knows_its_last_question(run: Run) -> None:
    run.chat("/resume aa", "/regenerate", "/undo", "/undo")
    (ask,) = run.store.all(Ask)
    assert (ask.content, ask.replaces) == ("why?", "r2")
    assert [undo.turn for undo in run.store.all(Undo)] == [ask.request_id, "r1"]


def test_all_that_was_said_is_shown_and_exported(run: Run, tmp_path: Path) -> None:
    md, json_ = tmp_path / "a b.md", tmp_path / "a.json"
    run.chat("/resume aa", "/history", f"/export {md}", f"/export {json_}", f"/export {md}")
    assert run.err.count("You: why? [unanswered]\n") == 2
    assert md.read_text(encoding="utf-8").startswith("# Of the sky\n")
    assert read_json(json_.read_bytes()) == (SKY, MESSAGES)
    assert f"{md} exists already" in run.err


def test_without_a_name_an_export_is_named_after_the_session(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run.chat("/resume aa", "/export")
    assert os.listdir(tmp_path) == ["session_1_aa.md"]


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("n", False)])
def test_after_the_present_session_is_deleted_a_new_one_begins(
    run: Run, answer: str, gone: bool
) -> None:
    run.chat("/resume aa", "/delete", answer, "next")
    (ask,) = run.store.all(Ask)
    assert (ask.session_id != "session_1_aa") == gone
    assert (ask.history == ()) == gone
    assert (ask.target.system == "be brief") == gone
    assert bool(run.store.all(Delete)) == gone


def test_a_deletion_that_was_done_before_its_store_was_killed_is_told_as_done(run: Run) -> None:
    run.says[Delete] = lambda delete: [
        Listed(delete.request_id)
    ]  # the second time there is nothing
    run.chat("/resume aa", "/delete", "y", "next")
    assert "deleted: 1 session\n" in run.err
    assert run.store.all(Ask)[0].session_id != "session_1_aa"


def test_another_session_is_deleted_and_the_chat_stays_in_its_own(run: Run) -> None:
    run.chat("/resume aa", "/delete bb", "y", "next")
    assert run.store.all(Delete)[0].session_ids == ("session_2_bb",)
    assert run.store.all(Ask)[0].session_id == "session_1_aa"


def test_a_script_deletes_nothing_since_nobody_can_be_asked(run: Run) -> None:
    assert run.script("/delete aa", "y") == ExitCode.USAGE
    assert not run.store.all(Delete)
    assert "--yes" in run.err
    assert run.store.all(Ask)[0].content == "y"


@pytest.mark.parametrize(
    ("line", "asks", "reply"),
    [
        ("/sessions", ListSessions, Listed),
        ("/search x", Search, Found),
        ("/rename x", Rename, Listed),
        ("/history", Load, Loaded),
        ("/export /nowhere/x.md", Load, Loaded),
        ("/resume aa", Load, Loaded),
    ],
)
def test_ctrl_c_gives_up_what_is_waited_for_and_the_chat_goes_on(
    run: Run, line: str, asks: type, reply: Any
) -> None:
    if asks is Rename:
        run.says[Load] = lambda load: [Loaded(load.request_id, SKY)]
    run.says[asks] = lambda message: [Interrupt()]
    assert run.chat("hello", line, "next") == ExitCode.OK
    assert "(given up)" in run.err
    assert [ask.content for ask in run.store.all(Ask)] == ["hello", "next"]
    run.says[asks] = failing(reply)
    assert run.script("hello", line, "next") != ExitCode.OK
    assert run.err.count("the disk is full\n") == 1
    assert [ask.content for ask in run.store.all(Ask)] == ["hello", "next"]


@pytest.mark.parametrize("line", ["/rename x", "/delete", "/history", "/export"])
def test_in_a_session_in_which_nothing_was_said_there_is_nothing_to_be_done(
    run: Run, line: str
) -> None:
    assert run.script(line) == ExitCode.USAGE
    assert run.err == "nothing has been said in this session yet\n"
    assert not run.store.all(Load)


def test_scripts_have_their_lists_as_events(run: Run) -> None:
    lines = (
        "/sessions",
        "/search x",
        "/resume aa",
        "/rename x",
        "/undo",
        "/regenerate",
        "/history",
    )
    assert run.script(*lines, json=True) == ExitCode.OK
    names = [event["event"] for event in run.events()]
    resumed = ["session", "message", "message", "message"]
    assert names == [
        *("session", "session", "found", *resumed, "renamed", "undone"),
        *("asked", "answered", "message", "message", "message"),
    ]


def test_what_cannot_be_saved_and_what_can_again_is_told(run: Run) -> None:
    def answer(ask: Ask) -> list[Message]:
        end = Answered(ask.request_id, 1, Completion("answer"))
        return [NotSaving("the disk is full"), Saving(), Saving(1), Saving(2), end]

    run.says[Ask] = answer
    run.script("hello")
    assert run.err.splitlines() == [
        "not saving: the disk is full",
        "saving again",
        "saving again; 1 message was too many to be kept",
        "saving again; 2 messages were too many to be kept",
    ]


@pytest.mark.parametrize("own", [True, False])
def test_a_turn_that_another_ones_call_has_answered_links_to_it(run: Run, own: bool) -> None:
    other = f"00-{'ab' * 16}-{'cd' * 8}-01"

    def answer(ask: Ask) -> list[Message]:
        call = ask.turn_traceparent if own else other
        return [Answered(ask.request_id, 1, Completion("answer"), call_traceparent=call)]

    run.says[Ask] = answer
    run.script("hello")
    records = [r for report in run.reports for r in decode(report.payload)]
    (turn,) = [r for r in records if isinstance(r, SpanRecord) and r.name == "chat_turn"]
    assert turn.links == (() if own else (other,))
