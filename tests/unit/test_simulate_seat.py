"""The seat of a run, with nobody but the test around it: what it does after a kill, a signal, a full disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatbot.errors import ExitCode, FailureKind
from chatbot.messages import (
    Answered,
    Ask,
    Cancel,
    Cancelled,
    Completion,
    Flush,
    Flushed,
    Interrupt,
    Leaving,
    ListModels,
    Message,
    ModelsListed,
    ProcessStatus,
    ReadStatus,
    StatusRead,
    Stop,
    Target,
    Timing,
    WorkStatus,
)
from chatbot.otel import Tracing
from chatbot.settings import Arguments, UiSettings, load
from chatbot.simulate import process, stages
from chatbot.simulate.journal import Journal
from chatbot.simulate.past import ASKED, REPORT, RESULT, RUN, Asked, Over, Run, read_turns
from chatbot.simulate.result import Result, decode
from chatbot.simulate.schedule import Start
from chatbot.simulate.turn import Phase, Turn
from chatbot.simulation import Simulation
from chatbot.tracing import Recorder

SECOND = 1_000_000_000


class Pipeline:
    """Both ends of the seat's mailbox: answers at once, or leaves the turns alone."""

    def __init__(self, *, answers: bool = True) -> None:
        self.parting = Stop()
        self.sent: list[Message] = []
        self.waiting: list[Any] = []
        self.models = ModelsListed("", "sim")
        self.after: list[tuple[int, Any]] = []  # after so many asks, this arrives
        self._answers = answers
        self._asks = 0

    def send(self, message: Message) -> None:
        self.sent.append(message)
        match message:
            case ReadStatus(request_id):
                there = tuple(ProcessStatus("worker", n, 1 << 22, "ready", 1.0) for n in range(2))
                self.waiting.append(StatusRead(request_id, there, WorkStatus()))
            case Flush(request_id):
                self.waiting.append(Flushed(request_id))
            case ListModels(request_id):
                self.waiting.append(msgspec.structs.replace(self.models, request_id=request_id))
            case Cancel(request_id):
                self.waiting.append(Cancelled(request_id, 1))
            case Ask(request_id):
                self._asks += 1
                self.waiting += [late for at, late in self.after if at == self._asks]
                if self._answers:
                    done = Completion("so", output_tokens=2)
                    self.waiting.append(Answered(request_id, 1, done, timing=Timing(1, 2)))
            case _:
                pass

    offer: Callable[..., bool] = send  # type: ignore[assignment] # a report is always taken
    gather = send

    def flush(self) -> None:
        pass

    def take(self, timeout_s: float) -> list[Any]:
        taken, self.waiting = self.waiting, []
        return taken

    @property
    def code(self) -> int:
        """How it said that it went."""
        (leaving,) = [message for message in self.sent if isinstance(message, Leaving)]
        return leaving.exit_code


def settings_of(directory: Path, *, restarted: bool = False, **more: Any) -> UiSettings:
    """Two sessions of two turns, and nothing saved."""
    backend = more.pop("backend", "sim")
    given = {"sessions": 2, "turns": 2, "saves": False, "live": False, "workers": 2, **more}
    settings = load(Arguments(mode="chat", backend="sim"), {}).ui
    return msgspec.structs.replace(
        settings,
        mode="simulate",
        target=Target(backend, "m"),
        simulation=Simulation(out=str(directory), **given),
        restarted=restarted,
    )


def run(settings: UiSettings, pipeline: Pipeline) -> int:
    """Take the seat until it leaves; return the exit code."""
    recorder = Recorder("ui", 0, lambda report: True, Tracing(sample_ratio=0.0))
    mailbox: Any = pipeline
    assert process.main(settings, mailbox, mailbox, recorder) == ExitCode.OK
    return pipeline.code


def result_in(directory: Path) -> Result:
    return decode((directory / RESULT).read_bytes(), RESULT)


class Killed:
    """The files of a run whose seat was killed."""

    def __init__(self, settings: UiSettings, directory: Path) -> None:
        assert settings.simulation is not None
        self.journal = Journal(directory)
        self.journal.begin(
            Run(
                program="chatbot",
                run_id="r",
                started=1.0,
                simulation=settings.simulation,
                target=settings.target,
            )
        )

    def stage(
        self, number: int, phase: Phase, start_ns: int, *, ended: int = 4, over: bool = True
    ) -> None:
        """Two sessions of two turns in a stage, so many of them ended."""
        self.journal.begin_stage(number, start_ns)
        turns = [(session, index) for index in (0, 1) for session in (0, 1)]
        for count, (session, index) in enumerate(turns):
            at_ns = start_ns + 1 + count
            if index and count > ended:
                break
            start = Start(session, index, at_ns, "run")
            self.journal.asked(Asked(number, start, at_ns, f"req_{number}{count}"))
            if count < ended:
                self.journal.ended(answered(session, index, phase, at_ns))
        if over:
            self.journal.end_stage(number, Over(start_ns + SECOND, 0))
        self.journal.flush()


def answered(session: int, index: int, phase: Phase, at_ns: int) -> Turn:
    return Turn(
        session=session,
        index=index,
        phase=phase,
        status="answered",
        intended_ns=at_ns,
        asked_ns=at_ns,
        begun_ns=at_ns,
        sent_ns=at_ns,
        first_content_ns=at_ns + 1000_000,
        done_ns=at_ns + 2_000_000,
        true_arrived_ns=at_ns if phase != "run" else 0,
        true_first_ns=at_ns + 500_000 if phase != "run" else 0,
    )


def test_a_run_goes_from_its_first_turn_to_its_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings_of(tmp_path), Pipeline()) == ExitCode.OK
    result = result_in(tmp_path)
    assert result.totals.answered == result.totals.asked == 4
    assert result.verdict.name in capsys.readouterr().out
    assert not (tmp_path / ASKED).exists()


def test_a_seat_killed_after_the_run_reports_the_run(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, restarted=True, backend="ollama", calibration_s=0.05)
    killed = Killed(settings, tmp_path)
    killed.stage(stages.BEFORE, "before", SECOND)
    killed.stage(stages.RUN, "run", 10 * SECOND)
    killed.stage(stages.AFTER, "after", 20 * SECOND, ended=1, over=False)
    run(settings, Pipeline())
    result = result_in(tmp_path)
    assert result.totals.answered == result.totals.asked == 4
    assert [each.where for each in result.accuracy if each.turns] == ["before", "after"]
    assert result.restarts == {"ui": 1}
    assert result.wall_s == pytest.approx(1.0)
    lost = [turn for turn in read_turns(tmp_path) if turn.status == "lost"]
    assert [(turn.phase, turn.error) for turn in lost] == [("after", "killed")]


def test_a_seat_killed_in_the_run_keeps_what_the_calibration_found(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, restarted=True, backend="ollama", calibration_s=0.05)
    killed = Killed(settings, tmp_path)
    killed.stage(stages.BEFORE, "before", SECOND)
    killed.stage(stages.RUN, "run", 10 * SECOND, ended=3, over=False)
    run(settings, Pipeline())
    result = result_in(tmp_path)
    assert (result.totals.answered, result.totals.lost) == (3, 1)
    assert "before" in [each.where for each in result.accuracy if each.turns]


def test_a_seat_killed_while_it_showed_the_result_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(settings_of(tmp_path), Pipeline())
    shown = capsys.readouterr().out
    assert "VALID" in shown
    pipeline = Pipeline()
    assert run(settings_of(tmp_path, restarted=True), pipeline) == ExitCode.OK
    assert capsys.readouterr().out == shown
    assert not any(isinstance(message, Ask) for message in pipeline.sent)


def test_what_a_killed_seat_knew_is_in_the_result(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, restarted=True, duration_s=600.0)
    killed = Killed(settings, tmp_path)
    killed.stage(stages.RUN, "run", SECOND, ended=1, over=False)
    killed.journal.restarted("worker")
    killed.journal.not_saving("the disk is full")
    killed.journal.stopped("interrupted")
    killed.journal.flush()
    pipeline = Pipeline()
    assert run(settings, pipeline) == ExitCode.INTERRUPTED
    result = result_in(tmp_path)
    assert result.restarts == {"worker": 1, "ui": 1}
    assert result.not_saving == "the disk is full"
    assert result.ended_early == "interrupted"
    assert not any(isinstance(message, Ask) for message in pipeline.sent)


@pytest.mark.parametrize("signal", [Interrupt(), Stop()])
def test_whoever_ends_it_has_the_rest_cancelled(tmp_path: Path, signal: Message) -> None:
    pipeline = Pipeline(answers=False)
    pipeline.after = [(2, signal)]
    assert run(settings_of(tmp_path, duration_s=600.0), pipeline) == ExitCode.INTERRUPTED
    assert result_in(tmp_path).totals.by_kind == {"cancelled": 2}


def test_without_the_supervisor_the_rest_is_lost_at_once(tmp_path: Path) -> None:
    pipeline = Pipeline(answers=False)
    pipeline.after = [(2, pipeline.parting)]
    run(settings_of(tmp_path, duration_s=600.0), pipeline)
    assert result_in(tmp_path).totals.by_kind == {"unfinished": 2}


def test_an_end_before_the_first_turn_has_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = Pipeline()
    pipeline.waiting.append(Interrupt())
    assert run(settings_of(tmp_path), pipeline) == ExitCode.INTERRUPTED
    assert not (tmp_path / RESULT).exists()
    assert capsys.readouterr().out == ""


def test_a_result_that_stands_nowhere_is_no_success(tmp_path: Path) -> None:
    (tmp_path / RESULT).mkdir()
    assert run(settings_of(tmp_path), Pipeline()) == ExitCode.OK  # the page is there
    (tmp_path / REPORT).unlink()
    (tmp_path / REPORT).mkdir()
    (tmp_path / RUN).unlink()
    assert run(settings_of(tmp_path), Pipeline()) == ExitCode.TURN_FAILED


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("{}")
    (tmp_path / ASKED).mkdir()
    assert run(settings_of(tmp_path, restarted=True), Pipeline()) == ExitCode.TURN_FAILED


def test_a_server_that_lists_no_models_is_asked_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = Pipeline()
    pipeline.models = ModelsListed("", "openai", error="no such address", kind="not_found")
    assert run(settings_of(tmp_path, backend="openai", calibration_s=0.0), pipeline) == ExitCode.OK
    assert result_in(tmp_path).totals.answered == 4
    assert "asking all the same (no such address)" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["unreachable", "auth", "timeout", None])
def test_where_there_is_nobody_to_ask_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: FailureKind | None
) -> None:
    pipeline = Pipeline()
    pipeline.models = ModelsListed("", "openai", error="nobody is there", kind=kind)
    assert run(settings_of(tmp_path, backend="openai"), pipeline) == ExitCode.USAGE
    assert capsys.readouterr().err == "chatbot: nobody is there\n"
    assert not any(isinstance(message, Ask) for message in pipeline.sent)


def test_a_calibration_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_of(tmp_path, backend="openai", calibration_s=0.05)
    assert run(settings, Pipeline()) == ExitCode.OK
    said = capsys.readouterr().err.splitlines()
    assert "chatbot: measuring this client itself before the run, for 0.05 s" in said
    assert "chatbot: measuring this client itself after the run, for 0.05 s" in said
