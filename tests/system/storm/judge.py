"""Did the rules of delivery hold? Evidence → violations, as sentences: pure.

    nothing accepted is lost      what was acknowledged stands in the database, and so does what was sent
    one end for each request      told once, saved once, and the same; within a deadline
    nothing is sent twice         the server has got no question twice
    order is kept                 a session's rows stand in the order in which it asked

Where the program itself was killed, what was in flight may have been lost, or be left unfinished; but
not what was acknowledged, and nothing may be sent or saved twice even then.
"""

from collections import Counter, defaultdict
from itertools import pairwise

import msgspec

from tests.system.storm.journal import Line, What

DEADLINE_S = 30.0

_STATUS = {
    "answered": "complete",
    "failed": "failed",
    "cancelled": "interrupted",
    "interrupted": "interrupted",
}


class Row(msgspec.Struct, frozen=True):
    """A row of `messages`: where it stands, and what the rules need to know of it."""

    id: int
    session_id: str
    role: str
    request_id: str
    status: str
    finish_reason: str | None
    text: str
    digest: int


class Evidence(msgspec.Struct, frozen=True):
    """What is left of a run: its journal, its database, and SQLite's own verdict on that."""

    lines: list[Line]
    rows: list[Row]
    integrity: str = "ok"


def violations(evidence: Evidence) -> list[str]:
    """Return what was not as it must be; nothing, where all the rules held."""
    found = _Case(evidence).judged()
    if again := unmerged(evidence):
        found.append(f"identical questions were sent {again} times again")
    return found


def unmerged(evidence: Evidence) -> int:
    """Return how many identical questions were sent although none of those before had failed."""
    case = _Case(evidence)
    extra = 0
    for text, asked in case.asked_by_text.items():
        without_answer = sum(not case.is_answered(line.request_id) for line in asked)
        if len(asked) > 1:
            extra += max(case.received[text] - 1 - without_answer, 0)
    return extra


class _Case:
    """The evidence, sorted by what is asked about it."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._found: list[str] = []
        by_what: dict[What, list[Line]] = defaultdict(list)
        for line in evidence.lines:
            by_what[line.what].append(line)
        self._by_what = by_what
        self.asked = {line.request_id: line for line in by_what["asked"]}
        self.asked_by_text: dict[str, list[Line]] = defaultdict(list)
        for line in by_what["asked"]:
            self.asked_by_text[line.text].append(line)
        self.received = Counter(line.text for line in by_what["received"])
        self._terminals: dict[str, list[Line]] = defaultdict(list)
        for line in by_what["terminal"]:
            self._terminals[line.request_id].append(line)
        self._users = {row.request_id: row for row in evidence.rows if row.role == "user"}
        self._answers = {row.request_id: row for row in evidence.rows if row.role == "assistant"}
        self._killed_lives = {line.life for line in by_what["killed"] if line.role == "supervisor"}
        self._killed = {(line.life, line.pid) for line in by_what["killed"]}

    def is_answered(self, request_id: str) -> bool:
        """Whether a request has its whole answer."""
        row = self._answers.get(request_id)
        return row is not None and row.status == "complete" and row.finish_reason is not None

    def judged(self) -> list[str]:
        """Return all violations."""
        if self._evidence.integrity != "ok":
            self._found.append(f"the database is damaged: {self._evidence.integrity}")
        self._judge_lives()
        self._judge_rows()
        self._judge_acknowledged()
        self._judge_server()
        self._judge_ends()
        self._judge_order()
        return self._found

    def _judge_lives(self) -> None:
        codes = {line.life: line.outcome for line in self._by_what["ended"]}
        for line in self._by_what["began"]:
            code = codes.get(line.life)
            if code is None:
                self._found.append(f"the program's life {line.life} has no end")
            elif line.life not in self._killed_lives and code != "0":
                self._found.append(f"the program's life {line.life} ended by itself, with {code}")

    def _judge_rows(self) -> None:
        rows = Counter((row.request_id, row.role) for row in self._evidence.rows)
        for (request_id, role), count in rows.items():
            if count > 1:
                self._found.append(f"{request_id} has {count} rows of the {role}")
            if request_id not in self.asked:
                self._found.append(f"{request_id} has a row of the {role}, and was never asked")
            if role == "assistant" and request_id not in self._users:
                self._found.append(f"{request_id} has an answer in the database, and no question")
        for request_id, row in self._users.items():
            asked = self.asked.get(request_id)
            if asked is not None and (asked.digest, asked.session_id) != (
                row.digest,
                row.session_id,
            ):
                self._found.append(f"{request_id} was saved as another question than it was")

    def _judge_acknowledged(self) -> None:
        for line in self._by_what["accepted"]:
            if line.request_id not in self._users:
                self._found.append(f"{line.request_id} was accepted, and its question is lost")
        for line in self._by_what["saved"]:
            if not self._is_finished(line.request_id):
                self._found.append(f"{line.request_id} was saved, and its answer is lost")

    def _judge_server(self) -> None:
        saved = Counter(row.text for row in self._users.values())
        for text, count in self.received.items():
            if not saved[text]:
                self._found.append(f"the server received {text}, and no question of it is saved")
            if len(self.asked_by_text[text]) == 1 and count > 1:
                self._found.append(f"the server received {text} {count} times")

    def _judge_ends(self) -> None:
        told = {line.request_id for line in self._by_what["told"]}
        saved = told | {line.request_id for line in self._by_what["saved"]}
        got = {line.request_id for line in self._by_what["got"]}
        for request_id, asked in self.asked.items():
            terminals = self._terminals[request_id]
            if len(terminals) > 1:
                ends = " and ".join(line.outcome for line in terminals)
                self._found.append(f"{request_id} ended {len(terminals)} times: {ends}")
            program_lived = asked.life not in self._killed_lives
            if program_lived and request_id in got and not self._is_finished(request_id):
                self._found.append(f"{request_id} was asked, and has no end in the database")
            if program_lived and (asked.life, asked.pid) not in self._killed:
                if not terminals:
                    self._found.append(f"{request_id} was asked, and nobody was told how it ended")
                if request_id not in told:
                    self._found.append(f"{request_id} was asked, and nobody was told it was saved")
            for terminal in terminals:
                self._judge_end(asked, terminal, is_kept=program_lived or request_id in saved)
        for request_id in self._terminals.keys() - self.asked.keys():
            self._found.append(f"{request_id} ended, and was never asked")

    def _judge_end(self, asked: Line, terminal: Line, *, is_kept: bool) -> None:
        request_id, took_s = asked.request_id, terminal.at - asked.at
        if took_s > DEADLINE_S:
            self._found.append(f"{request_id} took {took_s:.1f} s to end")
        is_answered = terminal.outcome == "answered"
        if is_answered and not self.received[asked.text]:
            self._found.append(f"{request_id} was answered, and the server never received it")
        row = self._answers.get(request_id)
        if row is None or not is_kept:
            return
        if row.status != _STATUS[terminal.outcome.split()[0]]:
            self._found.append(f"{request_id} ended as {terminal.outcome}, and is {row.status}")
        elif is_answered and row.digest != terminal.digest:
            self._found.append(f"{request_id} has another answer in the database than was shown")

    def _judge_order(self) -> None:
        conversations: dict[tuple[str, int], list[Line]] = defaultdict(list)
        for line in self._by_what["asked"]:
            if line.request_id in self._users:
                conversations[line.session_id, line.life].append(line)
        for asked in conversations.values():
            for one, next_one in pairwise(asked):
                if not self._is_before(one, next_one):
                    self._found.append(f"{next_one.request_id} is saved before {one.request_id}")
        for request_id, answer in self._answers.items():
            question = self._users.get(request_id)
            if question is not None and answer.id < question.id:
                self._found.append(f"{request_id} has its answer before its question")

    def _is_before(self, one: Line, next_one: Line) -> bool:
        """Whether a turn stands before the next; its answer too, where the next waited for that."""
        question = self._users[next_one.request_id]
        if self._users[one.request_id].id > question.id:
            return False
        if one.pid != next_one.pid:
            return True
        answer = self._answers.get(one.request_id)
        return answer is not None and answer.id < question.id

    def _is_finished(self, request_id: str) -> bool:
        row = self._answers.get(request_id)
        return row is not None and row.finish_reason is not None
