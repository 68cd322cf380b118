"""The result of a run on one screen, and that of a sweep."""

from unicodedata import category

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chatbot.simulate.html import page
from chatbot.simulate.result import Failure, Metric, Result, Verdict
from chatbot.simulate.screen import LINES, screen, within
from chatbot.simulate.sweep import sweep_page, sweep_screen
from chatbot.traces.style import columns_of
from tests.results import result, structs

RUN = result(turns=3000)
LIMITED = Verdict(
    name="CLIENT-LIMITED",
    reasons=("achieved 190 of 200 turns/s requested", "the event loop was 12 ms late at p99"),
)


def row(lines: list[str], name: str, after: str = "") -> list[str]:
    """Return the cells of the first row with this name, below the line that begins with `after`."""
    start = next(place for place, line in enumerate(lines) if line.startswith(after))
    return next(line for line in lines[start:] if line.startswith(name)).removeprefix(name).split()


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "shown",
    [
        RUN,
        result(turns=3000, rate=50.0, reasoning=True, indexes=12, failing=0.06),
        result(turns=0, indexes=1),
        result(turns=300, failing=1.0, verdict=LIMITED),
        result(turns=1, indexes=1, failing=0.0),
    ],
    ids=["usual", "much of it", "no turn", "all failed", "one turn"],
)
def test_it_fits_one_screen(shown: Result, width: int) -> None:
    lines = screen(shown, width)
    assert len(lines) <= LINES
    assert all(columns_of(line) <= width for line in lines)
    assert not any(
        "…" in line for line in lines if not any(cut in line for cut in ("more", "HTTP"))
    )


def test_the_verdict_comes_first_with_its_reasons() -> None:
    lines = screen(result(turns=300, verdict=LIMITED), 100)
    assert lines[0].startswith("CLIENT-LIMITED: ")
    assert lines[1:3] == [f"  - {reason}" for reason in LIMITED.reasons]


def test_the_figures_are_those_of_the_result() -> None:
    lines = screen(RUN, 100)
    ttft = RUN.metrics["ttft"]
    assert (ttft.mean, ttft.p50, ttft.p95) != (None, None, None)
    cells = row(lines, "TTFT ")
    assert cells[:3] == ["2,970", f"{ttft.mean:.1f}", f"{ttft.p50:.1f}"]
    assert cells[4] == f"{ttft.p95:.1f}"
    assert row(lines, "  95 % within", "TTFT")[0] == within(ttft, "p50")
    assert row(lines, "whole run, 0–60 s")[:3] == ["50.0", "49.5", "0.50"]
    assert "3,000 turns: 2,970 answered, 30 failed, 3 asked late, 2,970 saved" in lines
    assert row(lines, "turn 2")[:2] == ["1,000", "990"]
    assert row(lines, "worker")[:2] == ["2", "1,729"]
    assert any("  15 server_error (HTTP 500): openai answered 500" in line for line in lines)
    said = next(line for line in lines if line.startswith("accuracy in the run"))
    error, own = RUN.accuracy[0].ttft_error, RUN.accuracy[0].own_share
    assert f"TTFT from sending +{error.p50:.2f} ms p50, +{error.p99:.2f} ms p99" in said
    assert f"from when due +{own.p50:.2f} and +{own.p99:.2f} (" in " ".join(" ".join(lines).split())


def test_what_was_requested_is_beside_what_was_reached() -> None:
    lines = screen(result(turns=3000, rate=60.0), 100)
    assert "requested 60.0 turns/s, achieved 50.0 (83.3 %)" in lines


def test_percentiles_among_the_failed_are_infinite() -> None:
    lines = screen(result(turns=300, failing=1.0), 100)
    assert row(lines, "TTFT ") == ["0", "–", "∞", "∞", "∞", "∞", "–", "–"]


def test_output_is_told_apart_only_where_the_model_reasons() -> None:
    shown = [screen(result(turns=300, reasoning=thinks), 100) for thinks in (False, True)]
    assert [any(line.startswith("TTFO") for line in lines) for lines in shown] == [False, True]


def test_a_run_of_one_turn_a_session_has_no_table_by_turn() -> None:
    assert not any(line.startswith("by turn") for line in screen(result(indexes=1), 100))


def test_an_early_end_and_what_went_wrong_beside_the_turns_are_told() -> None:
    shown = result(
        turns=300,
        ended_early="stopped by Ctrl-C",
        not_saving="the disk is full",
        telemetry_dropped=7,
        restarts={"worker": 1},
    )
    told = "\n".join(screen(shown, 100))
    for words in (
        "ended early: stopped by Ctrl-C",
        "warning: not saving: the disk is full",
        "telemetry dropped 7 records",
    ):
        assert words in told


def test_the_interval_is_the_farther_of_its_ends() -> None:
    metric = Metric(count=9, p50=10.0, p95=20.0, intervals={"p50": (9.5, 12.0), "p95": (1, "inf")})
    assert [within(metric, field) for field in ("p50", "p95", "p99")] == ["±2.00", "±∞", ""]


def test_a_sweep_is_a_table_of_its_points() -> None:
    points = [("sessions=1", RUN), ("sessions=64", result(turns=300, verdict=LIMITED, failing=0.5))]
    lines = sweep_screen(points)
    assert lines[0].split()[:2] == ["load", "turns/s"]
    cells = row(lines, "sessions=1 ")
    assert (cells[0], cells[1], cells[-1]) == ("49.5", f"{RUN.metrics['ttft'].p50:.1f}", "VALID")
    assert row(lines, "sessions=64 ")[-3:] == ["50.0", "%", "CLIENT-LIMITED"]
    assert lines[-1] == "  sessions=64: achieved 190 of 200 turns/s requested"


def test_turns_that_were_cut_off_did_not_fail_and_a_point_that_ended_early_is_marked() -> None:
    cut = result(turns=300, failing=0.0, ended_early="interrupted")
    totals = msgspec.structs.replace(cut.totals, asked=cut.totals.asked + 300, cancelled=300)
    cut = msgspec.structs.replace(cut, totals=totals)
    lines = sweep_screen([("sessions=1", cut)])
    assert row(lines, "sessions=1 ")[-4:] == ["%", "VALID,", "ended", "early"]
    assert row(lines, "sessions=1 ")[-5] == "0"
    assert "ended early: interrupted" in sweep_page([("sessions=1", cut)])


def test_the_remedy_at_the_end_of_a_failure_is_not_cut_off() -> None:
    message = "the server says 404: " + "no such model, " * 8 + "take it with: ollama pull it"
    failed = result(
        turns=100, failures=(Failure(kind="model_not_found", count=3, example=message),)
    )
    told = " ".join(" ".join(screen(failed, 100)).split())
    assert message in told


def test_a_server_that_failed_every_turn_is_not_said_to_be_slow() -> None:
    limited = Verdict(name="SERVER-LIMITED", reasons=("no turn was answered: 9 × auth",))
    dead = result(turns=100, failing=1.0, verdict=limited)
    assert "every turn failed" in screen(dead, 100)[0]
    assert "every turn failed" in page(dead)
    slow = result(turns=100, verdict=limited)
    assert "could not keep up" in screen(slow, 100)[0]
    assert "could not keep up" in page(slow)


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink one takes minutes
    max_examples=25,
    deadline=None,
)
@given(structs(Result), st.integers(0, 130))
def test_any_result_fits(shown: Result, width: int) -> None:
    for lines in (screen(shown, width), sweep_screen([("x", shown), ("\x1b[2J", shown)], width)):
        assert len(lines) <= LINES
        assert all(columns_of(line) <= width for line in lines)
        assert not any(category(each) == "Cc" for line in lines for each in line)


def test_no_escape_sequence_of_a_server_gets_to_the_terminal() -> None:
    failure = msgspec.structs.replace(
        result(turns=300, failing=0.1).failures[0],
        example="\x1b[2J\x1b]0;title\x07",
        kind="\x9b31m",
    )
    shown = result(turns=300, failures=(failure,), model="\x1b[31mred", warnings=("\x1b[1A",))
    assert not any(category(each) == "Cc" for line in screen(shown, 100) for each in line)
