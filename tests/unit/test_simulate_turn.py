"""What follows from one turn."""

import msgspec
import pytest

from chatbot.simulate.result import DEFINITIONS
from chatbot.simulate.turn import MEASURES, Turn
from tests.unit.simulated import MS, S, turn


def _us(turn: Turn) -> dict[str, int | None]:
    return {name: measure(turn) for name, measure in MEASURES.items()}


def test_every_measure_that_is_defined_is_taken() -> None:
    assert [*DEFINITIONS] == [name for name in DEFINITIONS if name in {*MEASURES, "gap", "session"}]
    assert set(MEASURES) < set(DEFINITIONS)


def test_response_times_count_from_when_it_was_due_and_service_times_from_the_sending() -> None:
    assert _us(turn(S, late_ms=4.0, waited_ms=1.0)) == {
        "ttft": 25_000,
        "ttft_service": 20_000,
        "ttfo": 25_000,
        "ttfo_service": 20_000,
        "tpot": 2000,
        "latency": 34_000,
        "latency_service": 29_000,
        "late": 4000,
        "own_late": 3000,
        "waited": 1000,
        "pipeline": 1000,
        "connect": 100,
        "headers": 500,
        "commit": 3000,
        "server_total": None,
        "server_prompt": None,
        "server_generate": None,
    }


def test_reasoning_is_a_first_token_and_no_visible_one() -> None:
    plain = turn(S)
    reasoning = msgspec.structs.replace(plain, first_reasoning_ns=plain.first_content_ns - 5 * MS)
    assert _us(reasoning)["ttft_service"] == 15_000
    assert _us(reasoning)["ttfo_service"] == 20_000
    assert _us(reasoning)["tpot"] == 13_000 // 4
    hidden = msgspec.structs.replace(reasoning, first_content_ns=0)
    assert _us(hidden)["ttft_service"] == 15_000
    assert _us(hidden)["ttfo_service"] is None


@pytest.mark.parametrize(
    ("tokens", "chunks", "tpot"),
    [(None, 5, 2000), (9, 5, 1000), (1, 5, None), (0, 5, None), (None, 1, None)],
)
def test_the_time_per_token_divides_by_the_tokens_the_server_told_else_by_the_chunks(
    tokens: int | None, chunks: int, tpot: int | None
) -> None:
    assert _us(turn(S, output_tokens=tokens, chunks=chunks))["tpot"] == tpot


def test_a_turn_that_was_never_sent_has_no_times_but_its_lateness() -> None:
    lost = Turn(
        session=0,
        index=0,
        phase="run",
        status="lost",
        intended_ns=S,
        asked_ns=S + 5 * MS,
        done_ns=2 * S,
    )
    assert {name: us for name, us in _us(lost).items() if us is not None} == {"late": 5000}
    assert lost.end_ns == 2 * S


def test_the_attempts_before_the_last_are_not_the_pipelines_time() -> None:
    assert _us(turn(S, attempts=2))["pipeline"] is None


def test_the_servers_own_durations_are_taken_where_it_tells_them() -> None:
    told = msgspec.structs.replace(
        turn(S), server_total_ns=7 * MS, server_prompt_ns=2 * MS, server_generate_ns=4 * MS
    )
    assert [_us(told)[f"server_{name}"] for name in ("total", "prompt", "generate")] == [
        7000, 2000, 4000,
    ]  # fmt: skip
