"""The judge finds each violation, in evidence that has just this one, and none where there is none."""

from pathlib import Path

import msgspec
import pytest

from tests.system.storm.journal import Journal, Line, Tail, What, digest
from tests.system.storm.judge import Evidence, Row, violations
from tests.system.storm.stage import longest_silence

SUPERVISOR, DRIVER = 10, 11


class Run:
    """Evidence in the making: a life of the program, in which everything goes as it should."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.rows: list[Row] = []
        self.say("began")

    def say(self, what: What, *, pid: int = 0, life: int = 1, **fields: str | int) -> None:
        """Append a line; the clock goes on by a tenth of a second with each."""
        at = len(self.lines) / 10
        self.lines.append(
            msgspec.convert({"what": what, "at": at, "pid": pid, "life": life, **fields}, Line)
        )

    def ask(self, request_id: str, *, text: str = "", life: int = 1, pid: int = DRIVER) -> None:
        """A question is asked, accepted, and received by the server."""
        text = text or request_id
        self.say(
            "asked",
            request_id=request_id,
            session_id="s",
            text=text,
            digest=digest(text),
            life=life,
            pid=pid,
        )
        self.say("got", request_id=request_id, life=life)
        self.say("accepted", request_id=request_id, life=life)
        self.say("received", text=text, life=0)
        self.row("user", request_id, "complete", None, text)

    def end(self, request_id: str, *, outcome: str = "answered", status: str = "complete") -> None:
        """It ends, and the end is saved."""
        self.say("terminal", request_id=request_id, outcome=outcome, digest=digest("yes"))
        self.row("assistant", request_id, status, "stop", "yes")
        self.say("saved", request_id=request_id)
        self.say("told", request_id=request_id)

    def row(
        self, role: str, request_id: str, status: str, finish_reason: str | None, text: str
    ) -> None:
        """A row stands in the database."""
        number = len(self.rows) + 1
        self.rows.append(
            Row(number, "s", role, request_id, status, finish_reason, text, digest(text))
        )

    def kill(self, role: str, pid: int, life: int = 1) -> None:
        """A process is killed."""
        self.say("killed", role=role, pid=pid, life=life)

    def leave(self, life: int = 1, outcome: str = "0") -> None:
        """The program ends."""
        self.say("ended", life=life, outcome=outcome)

    def without(self, what: What, request_id: str = "b") -> None:
        """Take lines out."""
        self.lines = [
            line
            for line in self.lines
            if line.what != what or request_id not in (line.request_id, line.text)
        ]

    def without_row(self, role: str, request_id: str = "b") -> None:
        """Take rows out."""
        self.rows = [row for row in self.rows if (row.role, row.request_id) != (role, request_id)]

    def change(self, role: str, request_id: str = "b", **changes: object) -> None:
        """Change a row."""
        self.rows = [
            msgspec.structs.replace(row, **changes)
            if (row.role, row.request_id) == (role, request_id)
            else row
            for row in self.rows
        ]

    def judged(self, integrity: str = "ok") -> list[str]:
        """Return what the judge says."""
        rows = sorted(self.rows, key=lambda row: row.id)
        return violations(Evidence(self.lines, rows, integrity))


@pytest.fixture
def run() -> Run:
    """Three questions, one after another, each answered; the program has left."""
    run = Run()
    for request_id in ("a", "b", "c"):
        run.ask(request_id)
        run.end(request_id)
    run.leave()
    return run


@pytest.fixture
def cut_off() -> Run:
    """A life in which the program was killed while `b` was in flight; then one with `c`."""
    run = Run()
    run.ask("a")
    run.end("a")
    run.ask("b")
    run.kill("supervisor", SUPERVISOR)
    run.leave(1, "-9")
    run.say("began", life=2)
    run.ask("c", life=2)
    run.end("c")
    run.leave(2)
    return run


def test_a_run_in_which_all_goes_well_has_no_violations(run: Run) -> None:
    assert run.judged() == []


def test_what_was_in_flight_when_the_program_was_killed_may_be_unfinished(cut_off: Run) -> None:
    assert cut_off.judged() == []
    cut_off.row("assistant", "b", "interrupted", None, "ye")
    assert cut_off.judged() == []


def test_a_killed_driver_need_not_be_told_the_end_but_the_database_must(run: Run) -> None:
    run.without("terminal")
    run.without("told")
    assert len(run.judged()) == 2
    run.kill("ui", DRIVER)
    assert run.judged() == []
    run.change("assistant", finish_reason=None)
    assert run.judged() == [
        "b was saved, and its answer is lost",
        "b was asked, and has no end in the database",
    ]


def test_a_damaged_database_is_one(run: Run) -> None:
    assert run.judged("page 3 is gone") == ["the database is damaged: page 3 is gone"]


def test_a_lost_question_is_one_even_if_the_program_was_killed(cut_off: Run) -> None:
    cut_off.without_row("user")
    assert cut_off.judged() == [
        "b was accepted, and its question is lost",
        "the server received b, and no question of it is saved",
    ]


def test_a_question_that_was_sent_before_it_was_saved_is_one(cut_off: Run) -> None:
    cut_off.without_row("user")
    cut_off.without("accepted")
    assert cut_off.judged() == ["the server received b, and no question of it is saved"]


def test_a_lost_answer_is_one_even_if_the_program_was_killed(cut_off: Run) -> None:
    cut_off.say("saved", request_id="b")
    assert cut_off.judged() == ["b was saved, and its answer is lost"]


def test_a_request_that_never_ends_is_one(run: Run) -> None:
    for what in ("terminal", "saved", "told"):
        run.without(what)
    run.without_row("assistant")
    assert run.judged() == [
        "b was asked, and has no end in the database",
        "b was asked, and nobody was told how it ended",
        "b was asked, and nobody was told it was saved",
        "c is saved before b",
    ]


def test_a_second_end_is_one(run: Run) -> None:
    run.say("terminal", request_id="b", outcome="answered", digest=digest("yes"))
    assert run.judged() == ["b ended 2 times: answered and answered"]


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_second_row_is_one(role: str, run: Run) -> None:
    row = next(row for row in run.rows if (row.role, row.request_id) == (role, "c"))
    run.rows.append(msgspec.structs.replace(row, id=99))
    assert f"c has 2 rows of the {role}" in run.judged()


def test_a_request_that_the_server_received_twice_is_one_even_if_the_program_was_killed(
    run: Run, cut_off: Run
) -> None:
    for each in (run, cut_off):
        each.say("received", text="b", life=0)
        assert each.judged() == ["the server received b 2 times"]


def test_an_answer_that_nobody_gave_is_one(run: Run) -> None:
    run.without("received")
    assert run.judged() == ["b was answered, and the server never received it"]


def test_another_end_in_the_database_than_was_told_is_one(run: Run) -> None:
    run.change("assistant", status="interrupted")
    assert run.judged() == ["b ended as answered, and is interrupted"]


def test_another_text_in_the_database_than_was_asked_or_shown_is_one(run: Run) -> None:
    run.change("assistant", digest=digest("no"))
    run.change("user", "c", digest=digest("no"))
    assert run.judged() == [
        "c was saved as another question than it was",
        "b has another answer in the database than was shown",
    ]


def test_rows_that_nobody_asked_for_are_one(run: Run) -> None:
    run.row("assistant", "x", "complete", "stop", "yes")
    run.say("terminal", request_id="x", outcome="answered")
    assert run.judged() == [
        "x has a row of the assistant, and was never asked",
        "x has an answer in the database, and no question",
        "x ended, and was never asked",
    ]


def test_questions_in_another_order_than_they_were_asked_are_one(run: Run) -> None:
    run.change("user", "b", id=0)
    assert run.judged() == ["b is saved before a"]


def test_a_question_before_the_answer_that_it_waited_for_is_one(run: Run) -> None:
    run.change("assistant", "b", id=99)
    assert run.judged() == ["c is saved before b"]


def test_a_question_that_waited_for_nothing_may_stand_before_an_answer(run: Run) -> None:
    run.lines = [
        msgspec.structs.replace(line, pid=DRIVER + 1)
        if line.what == "asked" and line.text == "c"
        else line
        for line in run.lines
    ]
    run.change("assistant", "b", id=99)
    assert run.judged() == []


def test_an_answer_before_its_question_is_one(run: Run) -> None:
    run.change("assistant", "a", id=0)
    assert run.judged() == ["a has its answer before its question"]


def test_an_end_that_comes_too_late_is_one(run: Run) -> None:
    run.lines = [
        msgspec.structs.replace(line, at=line.at + 40) if line.what == "terminal" else line
        for line in run.lines
        if line.request_id == "b" or line.what != "terminal"
    ]
    found = run.judged()
    assert any(violation.startswith("b took 40.") for violation in found)


def test_a_program_that_ends_by_itself_or_not_at_all_is_one(run: Run) -> None:
    run.say("began", life=2)
    assert run.judged() == ["the program's life 2 has no end"]
    run.leave(2, "1")
    assert run.judged() == ["the program's life 2 ended by itself, with 1"]


def test_identical_questions_are_sent_again_only_when_the_one_before_has_failed() -> None:
    run = Run()
    run.ask("a", text="same")
    run.end("a", outcome="interrupted", status="interrupted")
    for request_id in ("b", "c"):
        run.ask(request_id, text="same")
        run.end(request_id)
    run.leave()
    assert run.judged() == ["identical questions were sent 1 times again"]
    run.lines.remove(next(line for line in run.lines if line.what == "received"))
    assert run.judged() == []


def test_the_longest_silence_ends_with_the_load_and_can_leave_starts_out(cut_off: Run) -> None:
    overall, killed = longest_silence(cut_off.lines)
    of_one_life, _ = longest_silence(cut_off.lines, of_one_life=True)
    assert killed == ["supervisor"]
    assert overall > 0 == of_one_life


def test_a_line_that_a_kill_has_cut_in_two_costs_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    tail = Tail(tmp_path)
    journal.write("asked", request_id="a")
    with (tmp_path / "journal").open("ab") as file:
        file.write(b'\n{"what":"terminal","at":1.0,"pi')
    journal.write("asked", request_id="b")
    assert [line.request_id for line in tail.read()] == ["a", "b"]
    journal.write("told", request_id="b")
    journal.close()
    assert [line.what for line in tail.read()] == ["told"]
